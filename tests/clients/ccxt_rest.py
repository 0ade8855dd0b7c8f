"""ccxt's OKX client over REST: markets, data, every order operation, every mistake as ccxt's own exception."""

import time

import ccxt

from common import Exchange, Report, until

report = Report("ccxt REST")
check, run, raises = report.check, report.run, report.raises
SPOT, SWAP = "BTC/USDT", "BTC/USDT:USDT"


def client(at, **other):
    made = ccxt.okx({"apiKey": at["api_key"], "secret": at["secret"], "password": at["passphrase"], **other})
    made.urls["api"] = {"rest": at["rest"]}
    made.options["timeDifference"] = 0
    return made


with Exchange() as exchange:
    x = client(exchange.at)
    x.hostname = "127.0.0.1"

    markets = run("load_markets", x.load_markets)
    check("markets", {SPOT, SWAP, "ETH/USDT", "SOL/USDT:USDT"} <= set(markets), list(markets))
    check("contract size", markets[SWAP]["contractSize"] == 0.01 and markets[SWAP]["linear"], markets[SWAP])
    check("currencies", {"BTC", "USDT"} <= set(x.currencies), list(x.currencies))
    now = run("fetch_time", x.fetch_time)
    check("time", abs(now - time.time() * 1000) < 5000, now)
    run("fetch_status", lambda: x.fetch_status()["status"] == "ok")

    ticker = run("fetch_ticker", lambda: x.fetch_ticker(SPOT))
    check("ticker", ticker["bid"] < ticker["ask"] and ticker["high"] >= ticker["last"] >= ticker["low"], ticker)
    run("fetch_tickers", lambda: len(x.fetch_tickers([SPOT, "ETH/USDT"])) == 2)
    book = run("fetch_order_book", lambda: x.fetch_order_book(SWAP, 10))
    check("book", len(book["bids"]) == 10 and book["bids"][0][0] < book["asks"][0][0], book)
    trades = run("fetch_trades", lambda: x.fetch_trades(SPOT, limit=50))
    check("trades", len(trades) == 50 and all(a["timestamp"] <= b["timestamp"] for a, b in zip(trades, trades[1:])))

    minute = 60_000
    last = run("fetch_ohlcv", lambda: x.fetch_ohlcv(SWAP, "1m", limit=100))
    check("candles", len(last) == 100 and all(b[0] - a[0] == minute for a, b in zip(last, last[1:])), last[:2])
    since, pages = now - 3000 * minute, []
    while len(pages) < 900:
        page = run("fetch_ohlcv page", lambda: x.fetch_ohlcv(SWAP, "1m", since=since, limit=300))
        if not page:
            break
        pages += page
        since = page[-1][0] + minute
    joined = all(b[0] - a[0] == minute for a, b in zip(pages, pages[1:]))
    check("candle pages join", len(pages) == 900 and joined, len(pages))
    rate = run("fetch_funding_rate", lambda: x.fetch_funding_rate(SWAP))
    check("funding rate", abs(rate["fundingRate"]) <= 0.0001 and rate["fundingTimestamp"] > now, rate)
    run("fetch_funding_rate_history", lambda: len(x.fetch_funding_rate_history(SWAP, limit=20)) == 20)
    run("fetch_mark_price", lambda: x.fetch_mark_price(SWAP)["markPrice"] > 0)
    run("fetch_leverage_tiers", lambda: x.fetch_market_leverage_tiers(SWAP, {"marginMode": "cross"})[0]["maxLeverage"] == 50)

    balance = run("fetch_balance", x.fetch_balance)
    check("balance", balance["USDT"]["total"] == 100_000 and balance["USDT"]["free"] == 100_000, balance.get("USDT"))
    run("fetch_accounts", lambda: len(x.fetch_accounts()) == 1)
    run("fetch_trading_fee", lambda: x.fetch_trading_fee(SPOT)["taker"] == 0.001)
    run("set_leverage", lambda: x.set_leverage(7, SWAP, {"mgnMode": "cross"}))
    run("fetch_leverage", lambda: x.fetch_leverage(SWAP, {"marginMode": "cross"})["longLeverage"] == 7)
    run("set_position_mode", lambda: x.set_position_mode(False))
    check("no positions yet", run("fetch_positions", lambda: x.fetch_positions() == []) is True)

    # Limit orders: place, look at by both ids, amend, cancel.
    low = x.price_to_precision(SPOT, ticker["last"] * 0.97)
    order = run("create limit", lambda: x.create_order(SPOT, "limit", "buy", 0.01, low))
    seen = run("fetch_order", lambda: x.fetch_order(order["id"], SPOT))
    check("order", seen["status"] == "open" and seen["amount"] == 0.01 and seen["price"] == float(low), seen)
    named = run("create with a client id", lambda: x.create_order(SPOT, "limit", "buy", 0.01, low, {"clOrdId": "mine1"}))
    by_name = run("fetch by client id", lambda: x.fetch_order(None, SPOT, {"clOrdId": "mine1"}))
    check("client id", by_name["id"] == named["id"] and by_name["clientOrderId"] == "mine1", by_name)
    run("fetch_open_orders", lambda: len(x.fetch_open_orders(SPOT)) == 2)
    run("edit_order", lambda: x.edit_order(order["id"], SPOT, "limit", "buy", 0.02, low))
    run("edited", lambda: x.fetch_order(order["id"], SPOT)["amount"] == 0.02)
    run("cancel_order", lambda: x.cancel_order(order["id"], SPOT))
    run("cancelled", lambda: x.fetch_order(order["id"], SPOT)["status"] == "canceled")
    run("cancel by client id", lambda: x.cancel_order(None, SPOT, {"clOrdId": "mine1"}))

    # Batches.
    wanted = [{"symbol": SWAP, "type": "limit", "side": "buy", "amount": 1, "price": float(x.price_to_precision(SWAP, ticker["last"] * (0.96 + i / 1000)))} for i in range(5)]
    batch = run("create_orders", lambda: x.create_orders(wanted))
    check("batch", len(batch) == 5 and all(o["id"] for o in batch), batch)
    gone = run("cancel_orders", lambda: x.cancel_orders([o["id"] for o in batch], SWAP))
    check("batch cancelled", len(gone) == 5 and x.fetch_open_orders(SWAP) == [])

    # Market orders on both kinds; fills, position, close.
    bought = run("market buy spot", lambda: x.create_order(SPOT, "market", "buy", 0.05))
    filled = run("filled", lambda: x.fetch_order(bought["id"], SPOT))
    check("market order", filled["status"] == "closed" and filled["filled"] == 0.05 and filled["fee"]["cost"] > 0, filled)
    fills = run("fetch_my_trades", lambda: x.fetch_my_trades(SPOT))
    check("fills", abs(sum(f["amount"] for f in fills) - 0.05) < 1e-9 and fills[0]["takerOrMaker"] == "taker", fills)
    run("fetch_order_trades", lambda: len(x.fetch_order_trades(bought["id"], SPOT)) == len(fills))
    run("market sell with cost", lambda: x.create_order(SPOT, "market", "sell", 0.01))
    run("buy swap", lambda: x.create_order(SWAP, "market", "buy", 5))
    position = run("fetch_position", lambda: x.fetch_position(SWAP))
    check("position", position["contracts"] == 5 and position["entryPrice"] > 0 and position["leverage"] == 7, position)
    run("fetch_positions", lambda: len(x.fetch_positions([SWAP])) == 1)
    run("reduce only", lambda: x.create_order(SWAP, "market", "sell", 2, None, {"reduceOnly": True}))
    run("reduced", lambda: x.fetch_position(SWAP)["contracts"] == 3)
    run("stop and target attached", lambda: x.create_order(SWAP, "market", "buy", 1, None, {
        "stopLoss": {"triggerPrice": float(x.price_to_precision(SWAP, ticker["last"] * 0.9)), "price": None, "type": "market"},
        "takeProfit": {"triggerPrice": float(x.price_to_precision(SWAP, ticker["last"] * 1.1)), "price": None, "type": "market"}}))

    # Algo orders: stop, trigger, trailing; list, amend, cancel.
    stop_at = float(x.price_to_precision(SWAP, ticker["last"] * 0.92))
    stop = run("stop", lambda: x.create_order(SWAP, "conditional", "sell", 2, None, {"stopLossPrice": stop_at, "reduceOnly": True}))
    trigger = run("trigger", lambda: x.create_order(SWAP, "trigger", "buy", 1, None, {"triggerPrice": float(x.price_to_precision(SWAP, ticker["last"] * 1.03))}))
    trailing = run("trailing", lambda: x.create_order(SWAP, "move_order_stop", "sell", 1, None, {"trailingPercent": 5, "reduceOnly": True}))
    run("open stops", lambda: stop["id"] in [o["id"] for o in x.fetch_open_orders(SWAP, params={"ordType": "conditional"})])
    run("open triggers", lambda: [o["id"] for o in x.fetch_open_orders(SWAP, params={"ordType": "trigger"})] == [trigger["id"]])
    run("open trailing", lambda: [o["id"] for o in x.fetch_open_orders(SWAP, params={"trailing": True})] == [trailing["id"]])
    run("cancel stops", lambda: x.cancel_orders([stop["id"], trigger["id"]], SWAP, {"trigger": True}))
    run("cancel trailing", lambda: x.cancel_orders([trailing["id"]], SWAP, {"trailing": True}))
    run("no triggers left", lambda: x.fetch_open_orders(SWAP, params={"ordType": "trigger"}) == [])
    hit = run("a stop that triggers", lambda: x.create_order(SWAP, "conditional", "sell", 2, None, {"stopLossPrice": stop_at, "reduceOnly": True}))
    exchange.sim("/sim/market", {"instId": "BTC-USDT-SWAP", "px": str(x.price_to_precision(SWAP, stop_at - 10))})
    run("triggered", lambda: until("position shrinks", lambda: x.fetch_position(SWAP)["contracts"] == 2))
    run("canceled and closed", lambda: len(x.fetch_canceled_orders(SPOT)) >= 2 and len(x.fetch_closed_orders(SPOT)) >= 2)
    run("close_position", lambda: x.close_position(SWAP, params={"marginMode": "cross"}))
    run("closed", lambda: x.fetch_positions([SWAP]) == [])
    run("fetch_ledger", lambda: len(x.fetch_ledger("USDT")) > 5)
    run("dead man's switch", lambda: x.cancel_all_orders_after(15000))

    # Mistakes, each as the client's own exception.
    raises("unknown instrument", ccxt.BadSymbol, lambda: x.publicGetMarketTicker({"instId": "NOPE-USDT"}))
    raises("below the minimum", ccxt.InvalidOrder, lambda: x.privatePostTradeOrder({"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "0.000001", "px": low}))
    raises("no such client id", ccxt.OrderNotFound, lambda: x.fetch_order(None, SPOT, {"clOrdId": "never"}))
    raises("cancel what is gone", ccxt.OrderNotFound, lambda: x.cancel_order(order["id"], SPOT))
    x.create_order(SPOT, "limit", "buy", 0.001, low, {"clOrdId": "twice"})
    raises("duplicate client id", ccxt.InvalidOrder, lambda: x.create_order(SPOT, "limit", "buy", 0.001, low, {"clOrdId": "twice"}))
    raises("insufficient funds", ccxt.InsufficientFunds, lambda: x.create_order(SPOT, "limit", "buy", 900, low))
    raises("price off the limit", ccxt.InvalidOrder, lambda: x.create_order(SPOT, "limit", "buy", 0.001, ticker["last"] * 2))
    raises("no such method", ccxt.ExchangeError, lambda: x.fetch2("trade/order-precheck", "private", "POST", {}))
    raises("bad signature", ccxt.AuthenticationError, client({**exchange.at, "secret": "0" * 32}).fetch_balance)
    raises("wrong passphrase", ccxt.AuthenticationError, client({**exchange.at, "passphrase": "wrong"}).fetch_balance)
    raises("unknown key", ccxt.AuthenticationError, client({**exchange.at, "api_key": "nobody"}).fetch_balance)
    late = client(exchange.at)
    late.iso8601 = lambda _: "2020-12-08T09:08:57.715Z"
    raises("expired timestamp", ccxt.InvalidNonce, late.fetch_balance)
    hasty = client(exchange.at, enableRateLimit=False)
    raises("rate limit", ccxt.RateLimitExceeded, lambda: [hasty.privateGetAccountConfig() for _ in range(20)])

with Exchange("--demo") as demo:
    plain = client(demo.at)
    raises("a live client on demo", ccxt.AuthenticationError, plain.fetch_balance)
    sandbox = client(demo.at, headers={"x-simulated-trading": "1"})
    run("a demo client on demo", lambda: sandbox.fetch_balance()["USDT"]["total"] == 100_000)

report.end()
