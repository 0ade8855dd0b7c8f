#!/usr/bin/env bash
# Backtests as their user meets them: history, a run, a report, a batch, a ranking, summaries, checks.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$PWD/target/release/alpha-arena
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

fail() { echo "smoke 05: $*" >&2; exit 1; }
has() { grep -q -- "$1" <<<"$2" || fail "'$1' is missing in: $2"; }
aa() { "$bin" --state-dir st "$@"; }

has "stored 525600 bars" "$(aa data generate --bars 525600)"
out=$(aa backtest run --strategy sma_cross -p fast=20 -p slow=100 --inst BTC-USDT-SWAP --html run.html --fills-csv fills.csv)
has "buy and hold" "$out"
has "wrote run.html" "$out"
grep -q "</svg>" run.html || fail "the report has no chart"
[ "$(wc -l <fills.csv)" -gt 10 ] || fail "hardly a fill"
has '"fills_model":"next-open"' "$(aa backtest run --strategy sma_cross --inst BTC-USDT-SWAP --fills next-open --json)"
has "nothing that was said depends on what came later" "$(aa backtest lookahead --inst BTC-USDT-SWAP --to 2025-01-15)"
has "says what it says with all of history behind it" "$(aa backtest warmup --inst BTC-USDT-SWAP --to 2025-01-15)"

search=(--strategy sma_cross --axis fast=10,20 --axis slow=50,100,200 --inst BTC-USDT-SWAP --bar 15m --limits off)
has "6 runs, 6 of them now" "$(aa backtest batch "${search[@]}")"
has "6 runs, 0 of them now (6 were there)" "$(aa backtest batch "${search[@]}")"
has "distinguishable from luck" "$(aa backtest rank)"
has "best so far" "$(aa backtest summary --weekly --out weeks.parquet)"
has "out of sample" "$(aa backtest walkforward --train 60 --test 30)"
has "batch" "$(aa backtest list)"
rc=0; aa backtest run --strategy sma_cross --inst NO-SUCH 2>err.txt >/dev/null || rc=$?
[ "$rc" = 65 ] || fail "no history exits $rc"
has "data download" "$(cat err.txt)"
echo "smoke 05: ok"
