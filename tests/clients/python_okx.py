"""OKX's own Python SDK: REST over HTTP, WebSocket over TLS (the SDK knows no other).

The SDK raises nothing: it hands out the venue's JSON whatever the HTTP status, so a mistake shows as
its code.
"""

import asyncio
import json
import os
import tempfile
import warnings

warnings.simplefilter("ignore")
pem = os.path.join(tempfile.mkdtemp(), "ca.pem")

from okx.Account import AccountAPI  # noqa: E402
from okx.Funding import FundingAPI  # noqa: E402
from okx.MarketData import MarketAPI  # noqa: E402
from okx.PublicData import PublicAPI  # noqa: E402
from okx.Status import StatusAPI  # noqa: E402
from okx.Trade import TradeAPI  # noqa: E402
from okx.websocket.WsPrivateAsync import WsPrivateAsync  # noqa: E402
from okx.websocket.WsPublicAsync import WsPublicAsync  # noqa: E402

from common import Exchange, Report, until  # noqa: E402

report = Report("python-okx")
check, run = report.check, report.run
SPOT, SWAP = "BTC-USDT", "BTC-USDT-SWAP"


def ok(reply):
    """The data of a reply in which everything went well."""
    bad = reply["code"] != "0" or any(row.get("sCode", "0") != "0" for row in reply["data"] if isinstance(row, dict))
    if bad:
        raise RuntimeError(reply)
    return reply["data"]


def code(reply):
    """What went wrong: the item's code if there is one, else the reply's."""
    items = [row["sCode"] for row in reply.get("data", []) if row.get("sCode", "0") != "0"]
    return items[0] if items else reply["code"]


def rest(exchange):
    at = exchange.at
    key = (at["api_key"], at["secret"], at["passphrase"])
    made = {"flag": "0", "domain": at["rest"], "debug": False}
    account, trade = AccountAPI(*key, **made), TradeAPI(*key, **made)
    public, market, funding = PublicAPI(**made), MarketAPI(**made), FundingAPI(*key, **made)

    check("time", int(ok(public.get_system_time())[0]["ts"]) > 1_700_000_000_000)
    check("status", ok(StatusAPI(**made).status()) == [])
    swaps = ok(public.get_instruments("SWAP"))
    check("instruments", {SWAP} <= {row["instId"] for row in swaps} and isinstance(swaps[0]["instIdCode"], int))
    check("no futures", ok(public.get_instruments("FUTURES")) == [])
    run("mark price", lambda: float(ok(public.get_mark_price("SWAP", instId=SWAP))[0]["markPx"]) > 0)
    limit = run("price limit", lambda: ok(public.get_price_limit(SWAP))[0])
    check("price limit", float(limit["sellLmt"]) < float(limit["buyLmt"]) and limit["enabled"] is True, limit)
    run("funding rate", lambda: ok(public.get_funding_rate(SWAP))[0]["instId"] == SWAP)
    history = run("funding history", lambda: ok(public.funding_rate_history(SWAP, limit="5")))
    check("funding history", len(history) == 5 and int(history[0]["fundingTime"]) - int(history[1]["fundingTime"]) == 28_800_000)
    run("position tiers", lambda: ok(public.get_position_tiers("SWAP", "cross", instFamily="BTC-USDT"))[0]["maxLever"] == "50")
    run("tickers", lambda: len(ok(market.get_tickers("SPOT"))) == 3)
    ticker = run("ticker", lambda: ok(market.get_ticker(SPOT))[0])
    book = run("books", lambda: ok(market.get_orderbook(SWAP, "20"))[0])
    check("book", len(book["asks"]) == 20 and len(book["asks"][0]) == 4 and book["seqId"] > 0, book)
    run("trades", lambda: len(ok(market.get_trades(SPOT, "30"))) == 30)
    rows = run("candles", lambda: ok(market.get_candlesticks(SWAP, bar="1m", limit="300")))
    check("candles", len(rows) == 300 and len(rows[0]) == 9 and rows[0][8] == "0" and rows[1][8] == "1", rows[:2])
    walked, after = [], ""
    for _ in range(5):
        page = ok(market.get_history_candlesticks(SWAP, bar="1m", after=after, limit="100"))
        walked += [int(row[0]) for row in page]
        after = page[-1][0]
    check("history walks back without a gap", len(walked) == 500 and all(a - b == 60_000 for a, b in zip(walked, walked[1:])))
    run("history trades", lambda: len(ok(market.get_history_trades(SPOT, limit="100"))) == 100)

    config = run("config", lambda: ok(account.get_account_config())[0])
    check("config", config["acctLv"] == "2" and config["posMode"] == "net_mode" and config["uid"] == at["uid"], config)
    balance = run("balance", lambda: ok(account.get_account_balance())[0])
    check("balance", balance["details"][0]["ccy"] == "USDT" and float(balance["totalEq"]) == 100_000, balance)
    run("one currency", lambda: len(ok(account.get_account_balance("USDT"))[0]["details"]) == 1)
    run("currencies", lambda: {"BTC", "USDT"} <= {row["ccy"] for row in ok(funding.get_currencies())})
    run("funding balances", lambda: ok(funding.get_balances()) == [])
    run("fees", lambda: ok(account.get_fee_rates("SWAP", instFamily="BTC-USDT"))[0]["taker"] == "-0.0005")
    run("set leverage", lambda: ok(account.set_leverage("3", "cross", instId=SWAP)))
    run("leverage", lambda: ok(account.get_leverage("cross", instId=SWAP))[0]["lever"] == "3")
    run("max size", lambda: float(ok(account.get_max_order_size(SWAP, "cross"))[0]["maxBuy"]) > 0)
    run("max avail size", lambda: float(ok(account.get_max_avail_size(SPOT, "cash"))[0]["availBuy"]) == 100_000)
    run("position mode", lambda: ok(account.set_position_mode("net_mode")))

    price = f"{float(ticker['last']) * 0.97:.1f}"
    placed = run("place", lambda: ok(trade.place_order(SPOT, "cash", "buy", "limit", "0.01", px=price, clOrdId="one"))[0])
    run("by id", lambda: ok(trade.get_order(SPOT, ordId=placed["ordId"]))[0]["clOrdId"] == "one")
    run("by client id", lambda: ok(trade.get_order(SPOT, clOrdId="one"))[0]["ordId"] == placed["ordId"])
    run("amend", lambda: ok(trade.amend_order(SPOT, ordId=placed["ordId"], newSz="0.02"))[0]["sCode"] == "0")
    run("pending", lambda: [row["sz"] for row in ok(trade.get_order_list(instType="SPOT"))] == ["0.02"])
    run("cancel", lambda: ok(trade.cancel_order(SPOT, clOrdId="one")))
    many = [{"instId": SWAP, "tdMode": "cross", "side": "buy", "ordType": "limit", "sz": "1", "px": price, "clOrdId": f"many{i}"} for i in range(3)]
    run("place many", lambda: len(ok(trade.place_multiple_orders(many))) == 3)
    run("amend many", lambda: len(ok(trade.amend_multiple_orders([{"instId": SWAP, "clOrdId": f"many{i}", "newSz": "2"} for i in range(3)]))) == 3)
    mixed = run("half a batch", lambda: trade.place_multiple_orders([{**many[0], "clOrdId": "good"}, {**many[0], "clOrdId": "bad", "sz": "0.001"}]))
    check("half a batch", mixed["code"] == "2" and [row["sCode"] for row in mixed["data"]] == ["0", "51121"], mixed)
    run("cancel many", lambda: len(ok(trade.cancel_multiple_orders([{"instId": SWAP, "clOrdId": f"many{i}"} for i in range(3)]))) == 3)
    ok(trade.cancel_order(SWAP, clOrdId="good"))
    bought = run("market by quote", lambda: ok(trade.place_order(SPOT, "cash", "buy", "market", "1000"))[0])
    order = run("its order", lambda: ok(trade.get_order(SPOT, ordId=bought["ordId"]))[0])
    check("quote size is echoed", order["sz"] == "1000" and order["tgtCcy"] == "quote_ccy" and order["state"] in ("filled", "canceled"), order)
    run("fills", lambda: len(ok(trade.get_fills(instType="SPOT", ordId=bought["ordId"]))) >= 1)
    run("fills history", lambda: len(ok(trade.get_fills_history("SPOT"))) >= 1)
    run("swap", lambda: ok(trade.place_order(SWAP, "cross", "sell", "optimal_limit_ioc", "4")))
    position = run("positions", lambda: ok(account.get_positions(instId=SWAP))[0])
    check("position", position["pos"] == "-4" and position["lever"] == "3", position)
    stop = run("algo", lambda: ok(trade.place_algo_order(SWAP, "cross", "buy", "oco", "4", reduceOnly="true",
        slTriggerPx=f"{float(ticker['last']) * 1.04:.1f}", slOrdPx="-1", tpTriggerPx=f"{float(ticker['last']) * 0.9:.1f}", tpOrdPx="-1", algoClOrdId="guard"))[0])
    run("algo pending", lambda: ok(trade.order_algos_list("oco"))[0]["algoClOrdId"] == "guard")
    run("amend algo", lambda: ok(trade.amend_algo_order(SWAP, algoId=stop["algoId"], newSz="3")))
    run("algo details", lambda: ok(trade.get_algo_order_details(algoId=stop["algoId"]))[0]["sz"] == "3")
    run("cancel algo", lambda: ok(trade.cancel_algo_order([{"instId": SWAP, "algoId": stop["algoId"]}])))
    run("algo history", lambda: ok(trade.order_algos_history("oco", state="canceled"))[0]["algoId"] == stop["algoId"])
    run("close", lambda: ok(trade.close_positions(SWAP, "cross")))
    run("flat", lambda: ok(account.get_positions(instId=SWAP)) == [])
    run("history", lambda: len(ok(trade.get_orders_history("SPOT"))) >= 1)
    run("archive", lambda: len(ok(trade.get_orders_history_archive("SWAP"))) >= 1)
    run("bills", lambda: len(ok(account.get_account_bills())) > 3 and len(ok(account.get_account_bills_archive())) > 3)

    bad = {
        "51001": lambda: trade.place_order("NOPE-USDT", "cash", "buy", "limit", "1", px="1"),
        "51020": lambda: trade.place_order(SPOT, "cash", "buy", "limit", "0.000001", px=price),
        "51008": lambda: trade.place_order(SPOT, "cash", "buy", "limit", "900", px=price),
        "51000": lambda: trade.place_order(SPOT, "cash", "buy", "limit", "0.01", px=price, clOrdId="not-allowed"),
        "51010": lambda: trade.place_order(SPOT, "cross", "buy", "limit", "0.01", px=price),
        "51006": lambda: trade.place_order(SPOT, "cash", "buy", "limit", "0.01", px=f"{float(price) * 2:.1f}"),
        "51603": lambda: trade.get_order(SPOT, clOrdId="never"),
        "51400": lambda: trade.cancel_order(SPOT, clOrdId="never"),
        "51503": lambda: trade.amend_order(SPOT, clOrdId="never", newSz="1"),
        "51170": lambda: trade.place_order(SWAP, "cross", "sell", "market", "1", reduceOnly="true"),
        "51023": lambda: trade.close_positions(SWAP, "cross"),
        "59102": lambda: account.set_leverage("900", "cross", instId=SWAP),
        "50113": lambda: AccountAPI(key[0], "0" * 32, key[2], **made).get_account_balance(),
        "50105": lambda: AccountAPI(key[0], key[1], "wrong", **made).get_account_balance(),
        "50111": lambda: AccountAPI("nobody", key[1], key[2], **made).get_account_balance(),
        "50101": lambda: AccountAPI(*key, **{**made, "flag": "1"}).get_account_balance(),
    }
    for expected, mistake in bad.items():
        got = run(f"mistake {expected}", lambda: code(mistake()))
        check(f"code {expected}", got == expected, got)
    ok(trade.place_order(SPOT, "cash", "buy", "limit", "0.01", px=price, clOrdId="twice"))
    got = code(trade.place_order(SPOT, "cash", "buy", "limit", "0.01", px=price, clOrdId="twice"))
    check("duplicate client id", got == "51016", got)
    hasty = [account.get_account_config()["code"] for _ in range(20)]
    check("rate limit", "50011" in hasty, hasty)


async def streams(exchange):
    at = exchange.at
    heard = {"public": [], "private": [], "business": []}

    def hear(name):
        return lambda message: heard[name].append(json.loads(message) if message != "pong" else {})

    def channels(name):
        return {frame["arg"]["channel"] for frame in heard[name] if "data" in frame}

    async def wait(what, truth):
        for _ in range(200):
            if truth():
                return check(what, True)
            await asyncio.sleep(0.1)
        return check(what, False, {name: frames[-3:] for name, frames in heard.items()})

    public, business = WsPublicAsync(at["ws"] + "/public"), WsPublicAsync(at["ws"] + "/business")
    private = WsPrivateAsync(at["api_key"], at["passphrase"], at["secret"], at["ws"] + "/private")
    for ws in (public, business, private):
        await ws.connect()
    pumps = [asyncio.create_task(ws.consume()) for ws in (public, business, private)]
    wanted = ["tickers", "trades", "books", "books5", "bbo-tbt", "mark-price", "funding-rate", "price-limit"]
    await public.subscribe([{"channel": name, "instId": SWAP} for name in wanted], hear("public"))
    await business.subscribe([{"channel": "candle1m", "instId": SWAP}], hear("business"))
    await private.subscribe(
        [{"channel": "orders", "instType": "ANY"}, {"channel": "account"}, {"channel": "positions", "instType": "ANY"}, {"channel": "balance_and_position"}],
        hear("private"),
    )
    await wait("every public channel speaks", lambda: channels("public") == set(wanted))
    await wait("candles speak", lambda: "candle1m" in channels("business"))
    trade = TradeAPI(at["api_key"], at["secret"], at["passphrase"], flag="0", domain=at["rest"], debug=False)
    ok(await asyncio.to_thread(trade.place_order, SWAP, "cross", "buy", "market", "2", clOrdId="heard"))
    orders = lambda: [row for frame in heard["private"] if frame.get("arg", {}).get("channel") == "orders" for row in frame.get("data", [])]
    await wait("the order is heard to its end", lambda: any(row["clOrdId"] == "heard" and row["state"] == "filled" for row in orders()))
    await wait("account, positions and both are heard", lambda: {"account", "positions", "balance_and_position"} <= channels("private"))
    for pump in pumps:
        pump.cancel()


with Exchange() as plain:
    rest(plain)
with Exchange("--tls", pem) as sealed:
    until("the certificate is there", lambda: os.path.exists(pem))
    os.environ["SSL_CERT_FILE"] = pem  # what the SDK's TLS trusts from here on
    asyncio.run(streams(sealed))
report.end()
