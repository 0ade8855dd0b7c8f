#!/usr/bin/env bash
# Mutation testing of what decides about money: risk, order lifecycle, sizing. Each file under test is copied, unchanged, into
# a crate of its own that holds the pure files only, and cargo-mutants breaks them there one place at a time.
#
#   cargo install cargo-mutants --locked      # once
#   bash tests/mutants/run.sh                 # everything; prints the share that was noticed and what was not
#   bash tests/mutants/run.sh --file src/risk/rules.rs   # any option of `cargo mutants`
#   bash tests/mutants/run.sh --check      # only builds the crate and runs its tests; `.ci/run` does it
#
# Not part of `cargo test`: it takes a quarter to a whole hour on two cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "${1:-}" = --check ] || command -v cargo-mutants >/dev/null || { echo "cargo-mutants is missing: cargo install cargo-mutants --locked" >&2; exit 69; }
crate=${MUTANTS_DIR:-$PWD/target/mutants-crate}
rm -rf "$crate/src" && mkdir -p "$crate/src/runtime" "$crate/src/decision" "$crate/src/allocation" "$crate/src/risk"
cp tests/mutants/Cargo.toml.in "$crate/Cargo.toml"
cp Cargo.lock "$crate/Cargo.lock"
cp tests/mutants/lib.rs "$crate/src/lib.rs"
cp -r src/domain "$crate/src/domain"
cp src/runtime/sabotage.rs "$crate/src/runtime/"
cp src/decision/snapshot.rs "$crate/src/decision/"
cp -r src/allocation/sizing.rs src/allocation/working.rs src/allocation/sizing src/allocation/working "$crate/src/allocation/"
for part in case exposure flatten protect recent restrict rules switch unwind view; do
    cp "src/risk/$part.rs" "$crate/src/risk/"
    [ ! -d "src/risk/$part" ] || cp -r "src/risk/$part" "$crate/src/risk/$part"
done
if [ "${1:-}" = --check ]; then
    cargo test --quiet --manifest-path "$crate/Cargo.toml"
    exit
fi
under_test=(src/risk/*.rs src/risk/*/*.rs src/allocation/sizing.rs src/allocation/working.rs)
under_test+=(src/domain/lifecycle.rs src/domain/algo.rs src/domain/equity.rs src/domain/trading.rs src/domain/tally.rs src/domain/permission.rs)
files=()
if [[ " $* " != *" --file "* ]]; then
    cd "$crate"
    for file in "${under_test[@]}"; do [ ! -f "$file" ] || [[ $file == */tests* || $file == */case.rs ]] || files+=(--file "$file"); done
    cd - >/dev/null
fi
began=$(date +%s)
rc=0
# The tests draw fewer random cases: a mutant that only one case in a thousand shows counts as missed.
(cd "$crate" && PROPTEST_CASES=256 CARGO_TERM_COLOR=never cargo mutants --no-shuffle --baseline run \
    --minimum-test-timeout 20 --exclude-re 'impl (fmt::)?(Display|Debug) for' "${files[@]}" "$@") || rc=$?
[ "$rc" = 0 ] || [ "$rc" = 2 ] || [ "$rc" = 3 ] || exit "$rc"
out=$crate/mutants.out
lines() { [ ! -f "$out/$1.txt" ] || wc -l <"$out/$1.txt"; }
missed=$(lines missed) caught=$(lines caught) hung=$(lines timeout) unviable=$(lines unviable)
viable=$((missed + caught + hung))
echo "viable $viable, noticed $((caught + hung)) ($(((caught + hung) * 1000 / viable))‰), not noticed $missed, no program $unviable, $(($(date +%s) - began)) s"
# What is not noticed must be on the list, with the reason why that is no hole.
unexplained=$(sort "$out/missed.txt" | sed -E 's/:[0-9]+:[0-9]+:/:/' | grep -vxFf <(grep -v '^#' tests/mutants/survivors.txt | grep .) || true)
[ -z "$unexplained" ] || { echo "not noticed, and not explained in tests/mutants/survivors.txt:"; echo "$unexplained"; exit 1; }
[ $(((caught + hung) * 100)) -ge $((viable * 95)) ] || { echo "less than 95 %" >&2; exit 1; }
