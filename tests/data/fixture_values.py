"""Writes fixture_values.tsv: for each captured message of an endpoint the client uses, how many rows it
has and values of the first, read straight from the JSON. tests/it/conformance.rs holds the client's own
parsers to them.

    python3 tests/data/fixture_values.py ../shared/okx/fixtures > tests/data/fixture_values.tsv
"""

import json
import pathlib
import sys
from decimal import Decimal

root = pathlib.Path(sys.argv[1])

# Endpoint as the index of the fixtures names it -> reader of the client.
READERS = {
    "GET /api/v5/public/time": "time",
    "GET /api/v5/public/instruments?instType=SPOT": "instruments",
    "GET /api/v5/public/instruments?instType=SWAP": "instruments",
    "GET /api/v5/market/candles": "candles",
    "GET /api/v5/market/history-candles": "candles",
    "GET /api/v5/market/ticker": "quote",
    "GET /api/v5/market/books": "book",
    "GET /api/v5/public/funding-rate": "funding",
    "GET /api/v5/public/funding-rate-history": "funding",
    "GET /api/v5/account/config": "config",
    "GET /api/v5/account/balance": "balance",
    "GET /api/v5/account/balance (one details[] element)": "balance_detail",
    "GET /api/v5/account/positions": "positions",
    "GET /api/v5/account/bills": "bills",
    "GET /api/v5/trade/order": "orders",
    "GET /api/v5/trade/orders-pending": "orders",
    "GET /api/v5/trade/orders-history": "orders",
    "GET /api/v5/trade/fills": "fills",
    "GET /api/v5/trade/fills (one data[] element)": "fills",
    "GET /api/v5/trade/orders-algo-pending": "algos",
    "GET /api/v5/trade/orders-algo-history": "algos",
    "POST /api/v5/trade/order": "created",
    "POST /api/v5/trade/order (one data[] element)": "created",
    "POST /api/v5/trade/order rejected, HTTP 200": "created",
    "POST /api/v5/trade/cancel-order": "cancelled",
    "POST /api/v5/trade/cancel-algos": "cancelled",
    "WS op order": "created",
    "WS op cancel-order": "cancelled",
    "WS channel tickers": "quote",
    "WS public channel tickers": "quote",
    "WS channel trades": "trades",
    "WS public channel trades": "trades",
    "WS channel candle1D": "candles",
    "WS business channel candle1D": "candles",
    "WS channel orders": "orders",
    "WS private channel orders": "orders",
    "WS channel orders-algo": "algos",
    "WS business channel orders-algo": "algos",
}


def number(text):
    if text in ("", None):
        return "-"
    value = Decimal(text).normalize()
    return "0" if value == 0 else format(value, "f")


def rows(path):
    """The data rows of a file, whatever it is wrapped in."""
    text = path.read_text()
    if path.suffix == ".jsonl":
        frames = [json.loads(line) for line in text.splitlines() if line.strip()]
        return [row for frame in frames for row in frame.get("data", [])]
    whole = json.loads(text)
    if isinstance(whole, dict) and "data" in whole:
        return whole["data"]
    if isinstance(whole, list):
        return [row for frame in whole for row in frame.get("data", [frame])]
    return [whole]


def first(reader, data):
    r = data[0]
    if reader == "time":
        return [r["ts"]]
    if reader == "instruments":
        good = [i for i in data if i["tickSz"] and i["lotSz"] and i["minSz"] and (i["instType"] == "SPOT" or i["ctType"] == "linear")]
        kept = good[0] if good else None
        return [len(good)] + ([kept["instId"], number(kept["tickSz"]), number(kept["lotSz"]), number(kept["minSz"])] if kept else [])
    if reader == "candles":
        return [len(data), r[0], number(r[1]), number(r[2]), number(r[3]), number(r[4]), number(r[5]), r[-1]]
    if reader == "quote":
        r = data[-1]
        return [r["instId"], number(r["bidPx"]), number(r["askPx"]), number(r["last"]), r["ts"]]
    if reader == "book":
        return [len(r["bids"]), number(r["bids"][0][0]), number(r["asks"][0][0]), number(r["bids"][0][1]), r["ts"]]
    if reader == "funding":
        return [len(data), r["instId"], number(r.get("realizedRate") or r["fundingRate"]), r["fundingTime"]]
    if reader == "config":
        return [r["uid"], r["acctLv"], r["posMode"], r["perm"]]
    if reader == "balance":
        d = r["details"][0]
        return [len(r["details"]), number(r["totalEq"]), d["ccy"], number(d["cashBal"]), number(d["eq"]), number(d["eqUsd"])]
    if reader == "balance_detail":
        return [1, r["ccy"], number(r["cashBal"]), number(r["eq"]), number(r["eqUsd"])]
    if reader == "positions":
        return [r["instId"], number(r["pos"]), number(r["avgPx"]), number(r["markPx"]), number(r["upl"])]
    if reader == "bills":
        return [len(data), r["billId"], r["ccy"], number(r["balChg"]), r["type"], r["ts"]]
    if reader == "orders":
        return [len(data), r["instId"], r["ordId"], r.get("clOrdId") or "-", r["side"], r["state"], number(r["accFillSz"]), r["uTime"]]
    if reader == "fills":
        return [len(data), r["instId"], r["tradeId"], r["ordId"], number(r["fillPx"]), number(r["fillSz"]), number(r["fee"]), r["feeCcy"]]
    if reader == "algos":
        return [len(data), r["algoId"], r.get("algoClOrdId") or "-", r["state"]]
    if reader == "trades":
        return [len(data), r["instId"], r["tradeId"], number(r["px"]), number(r["sz"]), r["side"]]
    if reader in ("created", "cancelled"):
        return ["accepted" if r["sCode"] == "0" else "refused", r.get("ordId") or r.get("algoId") or "-", r["sCode"]]
    raise KeyError(reader)


for line in (root / "INDEX.md").read_text().splitlines():
    cells = [cell.strip() for cell in line.split("|")]
    if len(cells) < 4 or not cells[1].endswith((".json", ".jsonl")):
        continue
    reader = READERS.get(cells[2])
    data = rows(root / cells[1]) if reader else []
    if reader == "algos" and "algoId" not in data[0]:
        reader = "orders"  # the child of an algo order, as its frame says itself
    if reader:
        print("\t".join([cells[1], reader, *map(str, first(reader, data))]))
