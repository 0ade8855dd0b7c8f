#!/usr/bin/env bash
# The risk gate as its user meets it: the checks before trading, a halt that ends flat, a restart that stays halted, a resume,
# a limit that latches, and a configuration that no ceiling lets through.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$PWD/target/release/alpha-arena
dir=$(mktemp -d)
pids=()
trap 'for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$dir"' EXIT
cd "$dir"

fail() { echo "smoke 04: $*" >&2; exit 1; }
has() { grep -q "$1" <<<"$2" || fail "'$1' is missing in: $2"; }
wait_for() { # what, command
    for _ in $(seq 300); do eval "$2" >/dev/null 2>&1 && return; sleep 0.1; done
    tail -5 run.log; fail "waited in vain for $1"
}
code() { # expected, command…
    local want=$1 rc=0; shift
    "$@" >out.txt 2>err.txt || rc=$?
    [ "$rc" = "$want" ] || fail "'$*' exits $rc, not $want: $(cat out.txt err.txt)"
}
aa() { "$bin" --state-dir st "$@"; }
start() { "$bin" --state-dir st run --speed 20 >run.log 2>&1 & daemon=$!; pids+=("$daemon"); }

code 0 aa preflight
has "key permissions" "$(cat out.txt)"
has "daily_loss" "$(aa risk rules)"
has '"schema":"risk rules/1"' "$(aa risk rules --json)"
ALPHA_ARENA__RISK__ORDER_NOTIONAL_MAX=10000000 code 78 aa risk rules
has "must be between 1 and 1000000" "$(cat err.txt)"
ALPHA_ARENA__RISK__ACTIONS__REPEATS=flatten code 78 aa config check
ALPHA_ARENA__RISK__DAILY_LOSS=5 code 78 aa config check
has "did you mean 'daily_loss_pct_max'" "$(cat err.txt)"

start
wait_for "a position" "aa positions --json | grep -q SWAP"
wait_for "stops" "aa status --json | grep -q '\"covered\":\"[1-9]'"
code 0 aa halt --flatten --reason "a smoke test"
has "flat, as the venue says" "$(cat out.txt)"
code 2 aa health
has "system/kill" "$(cat out.txt)"
code 75 aa resume system/kill
kill -9 "$daemon"
wait "$daemon" 2>/dev/null || true
code 2 aa health
code 1 aa resume
start
wait_for "the halt after a restart" "aa status --json | grep -q '\"trading_state\":\"halted\"'"
kill "$daemon"
wait "$daemon" 2>/dev/null || true
code 0 aa resume system/kill --reason "looked at it"
code 64 aa resume system/kill

export ALPHA_ARENA__RISK__DAILY_LOSS_PCT_MAX=0.01
start
wait_for "the latch" "aa status --json | grep -q 'system/daily_loss'"
has "daily_loss" "$(aa risk events --limit 50)"
has "reduce_only" "$(aa risk states)"
kill "$daemon"
wait "$daemon" 2>/dev/null || true
unset ALPHA_ARENA__RISK__DAILY_LOSS_PCT_MAX
code 0 aa resume --all
# Nobody there: the file is left, and the next start finds it.
code 1 aa halt --reason "nobody there"
[ -f st/HALT ] || fail "no HALT file"
start
wait_for "the file" "aa status --json | grep -q 'nobody there'"
kill "$daemon"
wait "$daemon" 2>/dev/null || true
code 0 aa resume --all
[ ! -f st/HALT ] || fail "the HALT file is still there"
echo "smoke 04: ok"
