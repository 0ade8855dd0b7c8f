#!/usr/bin/env bash
# Drives `alpha-arena exchange` with other people's OKX clients: OKX's Python SDK, ccxt and ccxt.pro.
# Needs Python 3.9 or later with venv and the package index; without them it says so and ends well.
#   bash tests/clients/run.sh [path of the binary]
set -euo pipefail
cd "$(dirname "$0")"
export ALPHA_ARENA_BIN="${1:-$(cd ../.. && pwd)/target/release/alpha-arena}"
[ -x "$ALPHA_ARENA_BIN" ] || { echo "no binary at $ALPHA_ARENA_BIN; build it with: cargo build --release"; exit 1; }
command -v python3 > /dev/null || { echo "clients: skipped, no Python here"; exit 0; }
venv="${CLIENTS_VENV:-../../target/clients-venv}"
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import ccxt, okx' 2> /dev/null; then
  if ! { python3 -m venv "$venv" && "$venv/bin/pip" install -q -r requirements.txt; } > "${TMPDIR:-/tmp}/clients-pip.log" 2>&1; then
    echo "clients: skipped, the packages cannot be installed here:"
    tail -3 "${TMPDIR:-/tmp}/clients-pip.log"
    exit 0
  fi
fi
failed=0
for script in ccxt_rest ccxt_pro python_okx; do
  "$venv/bin/python" "$script.py" || failed=1
done
exit $failed
