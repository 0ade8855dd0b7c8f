#!/usr/bin/env bash
# The release binary with market data: download, import, check, export, a recording, paper, the tape.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$PWD/target/release/alpha-arena
dir=$(mktemp -d)
source_pid=
trap '[ -z "$source_pid" ] || kill "$source_pid" 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" # away from anybody's .env

fail() { echo "smoke 02: $*" >&2; exit 1; }
has() { grep -q "$1" <<<"$2" || fail "'$1' is missing in: $2"; }

"$bin" --state-dir a data download --inst BTC-USDT-SWAP --bar 1m --from 2026-03-01 --to 2026-03-02 --funding >download.log || fail "download"
has "1440 rows, 1440 of them new, 0 missing" "$(cat download.log)"
"$bin" --state-dir a data export --inst BTC-USDT-SWAP --bar 1m --out candles.csv.gz >/dev/null || fail "export"
"$bin" --state-dir a data check candles.csv.gz >/dev/null || fail "check of what was exported"
has '"rows":1440' "$("$bin" --state-dir a data import candles.csv.gz --inst COPY --json)"
has '"missing":0' "$("$bin" --state-dir a data list --json)"

# The recording is traded from start to end, and then the run ends by itself.
cat >replay.toml <<'TOML'
[exchange]
candles = ["candles.csv.gz"]
speed = 2000
[[instrument]]
id = "BTC-USDT-SWAP"
[market]
bar = "1m"
[decision]
every_bars = 1
[[contender]]
id = "trend"
kind = "rule"
strategy = "sma_cross"
stage = "live"
weight = "0.1"
instruments = ["BTC-USDT-SWAP"]
params = { fast = 5, slow = 20 }
execution = { policy = "ioc_limit", collar_bps = 10 }
[venue]
order_expiry_ms = 60000
[risk]
quote_age_ms_max = 60000
account_age_ms_max = 3600000
decision_age_ms_max = 60000
[sync]
account_ms = 300000
TOML
timeout 120 "$bin" --config replay.toml --state-dir b run >replay.log 2>&1 || { tail -5 replay.log; fail "the replay ended with $?"; }
grep -q "the recording is played to its end" replay.log || fail "the recording was not played to its end"
has '"liquidity"' "$("$bin" --config replay.toml --state-dir b fills --json --limit 1)"

# Another exchange plays OKX's public side; paper trades on what it shows, and records it.
"$bin" exchange --json --seed 9 >source.json 2>/dev/null &
source_pid=$!
for _ in $(seq 100); do [ -s source.json ] && break; sleep 0.1; done
rest=$(sed 's/.*"rest":"\([^"]*\)".*/\1/' source.json)
ws=$(sed 's/.*"ws":"\([^"]*\)".*/\1/' source.json)
export ALPHA_ARENA__MODE=paper ALPHA_ARENA__VENUE__REST_URL=$rest ALPHA_ARENA__VENUE__WS_URL=$ws ALPHA_ARENA__TAPE__RECORD=true
"$bin" --state-dir c run --for 15s >paper.log 2>&1 || { tail -5 paper.log; fail "the paper run ended with $?"; }
grep -q "the price feed is complete" paper.log || fail "the feed never came up"
has '"state":"filled"' "$("$bin" --state-dir c orders --json)"
has " ok" "$("$bin" --state-dir c tape verify)"
unset ALPHA_ARENA__MODE ALPHA_ARENA__VENUE__REST_URL ALPHA_ARENA__VENUE__WS_URL ALPHA_ARENA__TAPE__RECORD
echo "smoke 02: ok"
