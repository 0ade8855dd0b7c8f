#!/usr/bin/env bash
# Models as their user meets them: the example configuration, a provider that is not there, what is shown and kept, replay.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$PWD/target/release/alpha-arena
example=$PWD/config/models.toml
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

fail() { echo "smoke 06: $*" >&2; exit 1; }
has() { grep -q -- "$1" <<<"$2" || fail "'$1' is missing in: $2"; }

# Nobody listens on this port: every question fails, and nothing else does.
sed -e 's|http://127.0.0.1:11434|http://127.0.0.1:9|' -e 's|^bar = "5m"|bar = "1m"|' "$example" >models.toml
aa() { "$bin" --config models.toml --state-dir st "$@"; }
has "ok: mode sim" "$(aa config check)"
has '"additionalProperties": false' "$(aa prompt schema portfolio)"
aa run --speed 60 --for 12s >/dev/null 2>run.log &
run=$!
for _ in $(seq 100); do [ -S st/control.sock ] && grep -q "ready" run.log && break; sleep 0.1; done
shown=$(aa prompt show --contender thinker --inst ETH-USDT-SWAP)
has "=== system ===" "$shown"
has "Decide about ETH-USDT-SWAP now" "$shown"
wait $run || fail "run exits $?: $(cat run.log)"
has "no answer: no new risk" "$(cat run.log)"
has "0 fills\|no fills" "$(aa fills)"
story=$(aa decisions --json --limit 1)
has '"schema":"decisions/1"' "$story"
has "the same to the byte" "$(aa replay --all)"
has "no idea of a model" "$(aa calibration)"
rc=0; aa prompt show --contender thinker 2>err.txt >/dev/null || rc=$?
[ "$rc" = 69 ] || fail "a prompt without a daemon exits $rc"
# A rule for the time that a provider fails, and one that nobody knows.
sed -e 's|^# rule_fallback|rule_fallback|' -e 's|^#   .*||' models.toml >fallback.toml
has "ok: mode sim" "$("$bin" --config fallback.toml --state-dir st3 config check)"
sed -e 's|"atr_trail"|"atr_tail"|' fallback.toml >broken.toml
rc=0; "$bin" --config broken.toml --state-dir st3 config check 2>err.txt >/dev/null || rc=$?
[ "$rc" = 78 ] || fail "an unknown fallback exits $rc: $(cat err.txt)"
has "contender\[[0-9]*\].rule_fallback.strategy: no strategy 'atr_tail'" "$(cat err.txt)"
# A hosted model without its key does not start.
sed -e 's|http://127.0.0.1:9/v1|https://models.invalid/v1|' -e 's|^max_tokens = .*|input_usd_per_mtok = "1"\noutput_usd_per_mtok = "1"|' models.toml >hosted.toml
rc=0; "$bin" --config hosted.toml --state-dir st2 run --for 1s 2>err.txt || rc=$?
[ "$rc" = 78 ] || fail "a missing key exits $rc: $(cat err.txt)"
has "MODEL_KEY_LOCAL" "$(cat err.txt)"
echo "smoke 06: ok"
