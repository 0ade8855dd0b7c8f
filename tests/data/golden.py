"""Writes golden.json and golden.tsv: messages of our own exchange and what they say, read without the
client, so that its parsers are held to something where the captured messages are not at hand.

    ALPHA_ARENA_BIN=target/release/alpha-arena python3 tests/data/golden.py
"""

import json
import pathlib
import sys
import types

here = pathlib.Path(__file__).parent
sys.path.insert(0, str(here.parent / "clients"))
sys.argv = [sys.argv[0], "/nonexistent"]
values = types.ModuleType("values")
source = (here / "fixture_values.py").read_text().split("\nfor line in (root")[0]
exec(compile(source, "fixture_values.py", "exec"), values.__dict__)

from okx.Account import AccountAPI  # noqa: E402
from okx.MarketData import MarketAPI  # noqa: E402
from okx.PublicData import PublicAPI  # noqa: E402
from okx.Trade import TradeAPI  # noqa: E402

from common import Exchange  # noqa: E402

with Exchange() as exchange:
    at = exchange.at
    key, made = (at["api_key"], at["secret"], at["passphrase"]), {"flag": "0", "domain": at["rest"], "debug": False}
    account, trade = AccountAPI(*key, **made), TradeAPI(*key, **made)
    public, market = PublicAPI(**made), MarketAPI(**made)
    price = f"{float(market.get_ticker('BTC-USDT-SWAP')['data'][0]['last']) * 0.97:.1f}"
    created = trade.place_order("BTC-USDT-SWAP", "cross", "buy", "limit", "2", px=price, clOrdId="golden1")
    trade.place_order("BTC-USDT-SWAP", "cross", "sell", "market", "3", clOrdId="golden2")
    trade.place_order("BTC-USDT", "cash", "buy", "market", "0.01", tgtCcy="base_ccy", clOrdId="golden3")
    trade.place_algo_order("BTC-USDT-SWAP", "cross", "buy", "conditional", "3", reduceOnly="true", algoClOrdId="golden4",
                           slTriggerPx=f"{float(price) * 1.06:.1f}", slOrdPx="-1")
    golden = {
        "time": public.get_system_time(),
        "instruments": public.get_instruments("SWAP"),
        "candles": market.get_candlesticks("BTC-USDT-SWAP", bar="1m", limit="3"),
        "quote": market.get_ticker("BTC-USDT"),
        "book": market.get_orderbook("BTC-USDT", "5"),
        "trades": market.get_trades("BTC-USDT", "4"),
        "funding": public.funding_rate_history("BTC-USDT-SWAP", limit="2"),
        "config": account.get_account_config(),
        "balance": account.get_account_balance(),
        "positions": account.get_positions(),
        "bills": account.get_account_bills(),
        "orders": trade.get_order_list(),
        "fills": trade.get_fills("SPOT"),
        "algos": trade.order_algos_list("conditional"),
        "created": created,
        "cancelled": trade.cancel_order("BTC-USDT-SWAP", clOrdId="golden1"),
    }
golden = {name: reply["data"] for name, reply in golden.items()}
lines = ["\t".join([name, name, *map(str, values.first(name, data))]) for name, data in golden.items()]
(here / "golden.json").write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
(here / "golden.tsv").write_text("\n".join(lines) + "\n")
