"""ccxt.pro: every watch channel, and orders over the socket."""

import asyncio

import ccxt.pro as ccxt

from common import Exchange, Report

report = Report("ccxt.pro")
check = report.check
SPOT, SWAP = "BTC/USDT", "BTC/USDT:USDT"


async def hear(what, work, seconds=20):
    """Awaits one message; what it was, or `None` after a failure that has been noted."""
    try:
        heard = await asyncio.wait_for(work, seconds)
    except Exception as error:  # noqa: BLE001
        check(what, False, f"{type(error).__name__} {error}")
        return None
    check(what, True)
    return heard


async def main(exchange):
    at = exchange.at
    x = ccxt.okx({"apiKey": at["api_key"], "secret": at["secret"], "password": at["passphrase"]})
    x.urls["api"] = {"rest": at["rest"], "ws": at["ws"]}
    x.hostname = "127.0.0.1"
    try:
        await x.load_markets()
        ticker = await hear("watch_ticker", x.watch_ticker(SPOT))
        check("ticker", ticker and ticker["bid"] < ticker["ask"], ticker)
        await hear("watch_tickers", x.watch_tickers([SPOT, SWAP]))
        await hear("watch_bids_asks", x.watch_bids_asks([SPOT]))
        trades = await hear("watch_trades", x.watch_trades(SWAP))
        check("trades", trades and trades[0]["price"] > 0, trades)
        bars = await hear("watch_ohlcv", x.watch_ohlcv(SWAP, "1m"))
        check("bars", bars and len(bars[0]) == 6, bars)
        book = await hear("watch_order_book", x.watch_order_book(SWAP))
        for _ in range(5):
            book = await hear("the book goes on", x.watch_order_book(SWAP))
        check("book", book and book["bids"][0][0] < book["asks"][0][0] and len(book["bids"]) >= 20, book and book["bids"][:2])
        await hear("watch_order_book books5", x.watch_order_book(SPOT, None, {"depth": "books5"}))
        await hear("watch_order_book bbo-tbt", x.watch_order_book(SPOT, None, {"depth": "bbo-tbt"}))
        await hear("watch_mark_price", x.watch_mark_price(SWAP))
        await hear("watch_funding_rate", x.watch_funding_rate(SWAP))

        balance = await hear("watch_balance", x.watch_balance())
        check("balance", balance and balance["USDT"]["total"] == 100_000, balance and balance.get("USDT"))
        orders = asyncio.create_task(x.watch_orders(SWAP))
        mine = asyncio.create_task(x.watch_my_trades(SWAP))
        positions = asyncio.create_task(x.watch_positions([SWAP]))
        await asyncio.sleep(1)  # ccxt offers nothing to await a subscription by
        placed = await hear("create_order_ws", x.create_order_ws(SWAP, "market", "buy", 2))
        seen = await hear("watch_orders", orders)
        check("own order", placed and seen and seen[-1]["id"] == placed["id"], seen)
        fills = await hear("watch_my_trades", mine)
        check("own fill", fills and fills[0]["order"] == placed["id"], fills)
        held = await hear("watch_positions", positions)
        for _ in range(5):  # the first push is the account as it was, perhaps without a position
            held = held or await hear("watch_positions again", x.watch_positions([SWAP]))
        check("position", held and held[0]["contracts"] == 2, held)
        low = float(x.price_to_precision(SWAP, ticker["last"] * 0.97))
        resting = await hear("a resting order", x.create_order_ws(SWAP, "limit", "buy", 1, low))
        await hear("edit_order_ws", x.edit_order_ws(resting["id"], SWAP, "limit", "buy", 2, low))
        await hear("cancel_order_ws", x.cancel_order_ws(resting["id"], SWAP))
        several = [await x.create_order_ws(SWAP, "limit", "buy", 1, low) for _ in range(2)]
        await hear("cancel_orders_ws", x.cancel_orders_ws([o["id"] for o in several], SWAP))
        check("nothing rests", await x.fetch_open_orders(SWAP) == [])
        try:
            await asyncio.wait_for(x.create_order_ws(SPOT, "limit", "buy", 900, low), 20)
            check("insufficient funds over the socket", False, "accepted")
        except ccxt.InsufficientFunds:
            check("insufficient funds over the socket", True)
    finally:
        await x.close()


with Exchange() as running:
    asyncio.run(main(running))
report.end()
