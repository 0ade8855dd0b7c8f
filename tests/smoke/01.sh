#!/usr/bin/env bash
# The release binary as a newcomer meets it: runs, trades, shows it, stops; refuses what it must.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$PWD/target/release/alpha-arena
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" # away from anybody's .env

fail() { echo "smoke 01: $*" >&2; exit 1; }
has() { grep -q "$1" <<<"$2" || fail "'$1' is missing in: $2"; }

# No fault point is in a release binary.
grep -q "fault injected at" "$bin" && fail "the release binary has fault points"
grep -q "ALPHA_ARENA_SABOTAGE" "$bin" && fail "the release binary can be sabotaged"

"$bin" --state-dir "$dir/a" run --for 12s --speed 10 >run.log 2>&1 || { cat run.log; fail "the run ended with $?"; }
grep -q "ready: reconciled" run.log || { cat run.log; fail "it was never ready"; }
has '"liquidity"' "$("$bin" --state-dir "$dir/a" fills --json --limit 1)"
has '"state":"filled"' "$("$bin" --state-dir "$dir/a" orders --json)"
has '"target_bps"' "$("$bin" decisions --json --limit 1 --state-dir "$dir/a")"
"$bin" --state-dir "$dir/a" sync-account >/dev/null || fail "sync-account"
rc=0; "$bin" --state-dir "$dir/a" health >/dev/null || rc=$?
[ "$rc" = 1 ] || fail "health without a daemon is a warning (1), was $rc"

TRADING_ENABLED=false "$bin" --state-dir "$dir/b" run --cycles 2 --speed 10 >off.log 2>&1 || fail "the run with trading off"
has '"state":"suppressed"' "$("$bin" --state-dir "$dir/b" orders --json)"
has '"rows":\[\]' "$("$bin" --state-dir "$dir/b" fills --json)"

rc=0; ALPHA_ARENA__RISK__OPEN_ORDER_MAX=1 "$bin" config check >/dev/null 2>err.log || rc=$?
[ "$rc" = 78 ] || fail "a typo in a key must exit 78, was $rc"
has "did you mean 'open_orders_max'" "$(cat err.log)"
echo "smoke 01: ok"
