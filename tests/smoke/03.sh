#!/usr/bin/env bash
# Order truth as its user meets it: a position changed by hand is noticed, halts, is accepted; orders are shown from intent to
# end, closed and cancelled by command; a new configuration is compared before it is started.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$PWD/target/release/alpha-arena
dir=$(mktemp -d)
pids=()
trap 'for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$dir"' EXIT
cd "$dir"

fail() { echo "smoke 03: $*" >&2; exit 1; }
has() { grep -q "$1" <<<"$2" || fail "'$1' is missing in: $2"; }
wait_for() { # what, command
    for _ in $(seq 300); do eval "$2" >/dev/null 2>&1 && return; sleep 0.1; done
    tail -5 run.log; fail "waited in vain for $1"
}

cat >busy.toml <<'TOML'
[risk]
quote_age_ms_max = 60000
decision_age_ms_max = 60000
[venue]
order_expiry_ms = 60000
[[instrument]]
id = "BTC-USDT-SWAP"
[[contender]]
id = "holder"
kind = "rule"
strategy = "sma_cross"
stage = "live"
weight = "0.1"
instruments = ["BTC-USDT-SWAP"]
params = { fast = 20, slow = 60 }
execution = { policy = "ioc_limit", collar_bps = 10, tries = 3 }
TOML
aa() { "$bin" --config busy.toml --state-dir st "$@"; }

"$bin" --config busy.toml --state-dir st run --speed 20 >run.log 2>&1 &
pids+=($!)
daemon=$!
wait_for "a fill" "aa fills --json --limit 1 | grep -q liquidity"
has "nothing is halted" "$(aa reconcile)"
order=$(aa orders --json --limit 50 | sed 's/},{/\n/g' | grep '"state":"filled"' | head -1 | sed 's/.*"order_id":"\([^"]*\)".*/\1/')
story=$(aa orders show "$order")
has "intended" "$story"
has "filled" "$story"
has '"schema":"orders show/1"' "$(aa orders show "$order" --json)"
rc=0; aa orders show nonsense >/dev/null 2>&1 || rc=$?
[ "$rc" = 64 ] || fail "an order that is not there exits $rc"
rc=0; aa reconcile --accept position:NOTHING >/dev/null 2>&1 || rc=$?
[ "$rc" = 64 ] || fail "a case that is not there exits $rc"
aa close --all >close.txt || fail "close --all exits $?: $(cat close.txt)"
grep -q "flat, as the venue says" close.txt || fail "it does not say flat: $(cat close.txt)"
aa cancel --all >/dev/null || fail "cancel --all"
kill -9 "$daemon"
wait "$daemon" 2>/dev/null || true
sed -i 's/id = "holder"/id = "renamed"/' busy.toml
has "contender holder is gone" "$(aa config check --against-db)"
rc=0; aa reconcile >/dev/null 2>&1 || rc=$?
[ "$rc" = 69 ] || fail "reconcile without a daemon exits $rc"
timeout 60 "$bin" --config busy.toml --state-dir st run --speed 20 --for 5s >again.log 2>&1 || { tail -5 again.log; fail "the second run ended with $?"; }
grep -q "ready: reconciled" again.log || { cat again.log; fail "it did not recover"; }
echo "smoke 03: ok"
