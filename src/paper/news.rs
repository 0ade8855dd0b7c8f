//! From OKX's messages to the exchange's news. Pure.

use crate::domain::{Bar, Price, Qty};
use crate::exchange::FeedEvent;
use crate::exchange::market::{Level, Trade};
use crate::venue::{
    BookPush, FundingRate, TradePush, parse_book, parse_candles, parse_quote, parse_trades,
};

/// Converts a push of a public channel into a feed event; `Ok(None)` for channels that the exchange
/// does not use.
///
/// # Errors
/// What is wrong with a message that cannot be what the venue means.
pub(super) fn of_push(channel: &str, data: &str) -> Result<Option<FeedEvent>, String> {
    if let Some(bar) = channel
        .strip_prefix("candle")
        .and_then(|bar| bar.parse::<Bar>().ok())
    {
        return parse_candles(data)
            .map(|rows| Some(FeedEvent::Candles(bar, rows)))
            .map_err(|e| e.to_string());
    }
    match channel {
        "books5" => parse_book(data)
            .map(|book| Some(of_book(book)))
            .map_err(|e| e.to_string()),
        "trades" => parse_trades(data)
            .map(|trades| Some(of_trades(trades)))
            .map_err(|e| e.to_string()),
        _ => Ok(None),
    }
}

/// Converts a recorded message into feed events: the same as a push, and also tickers, whose best
/// bid and ask are the book where no other was recorded.
///
/// # Errors
/// As [`of_push`].
pub fn of_recorded(channel: &str, data: &str) -> Result<Vec<FeedEvent>, String> {
    if channel == "tickers" {
        let (_, quote) = parse_quote(data).map_err(|e| e.to_string())?;
        let level = |price: Price, qty: Qty| {
            vec![Level {
                price: price.0,
                size: qty.0,
            }]
        };
        let book = FeedEvent::Book {
            bids: level(quote.bid, quote.bid_qty),
            asks: level(quote.ask, quote.ask_qty),
            at: quote.at,
        };
        return Ok(vec![FeedEvent::Last(quote.last.0), book]);
    }
    of_push(channel, data).map(|news| news.into_iter().collect())
}

pub(super) fn of_book(book: BookPush) -> FeedEvent {
    let level = |(price, size): (Price, Qty)| Level {
        price: price.0,
        size: size.0,
    };
    FeedEvent::Book {
        bids: book.bids.into_iter().map(level).collect(),
        asks: book.asks.into_iter().map(level).collect(),
        at: book.at,
    }
}

fn of_trades(trades: Vec<TradePush>) -> FeedEvent {
    let trade = |t: TradePush| Trade {
        id: t.id,
        price: t.price.0,
        size: t.qty.0,
        side: t.side,
        at: t.at,
    };
    FeedEvent::Trades(trades.into_iter().map(trade).collect())
}

pub(super) fn of_funding(rate: FundingRate) -> FeedEvent {
    FeedEvent::Funding(rate.at, rate.rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Books, trades and candles are taken; mark prices are not.
    #[test]
    fn used_channels_parse_others_are_skipped() {
        let book = r#"[{"asks":[["2","1","0","1"]],"bids":[["1","3","0","1"]],"ts":"5"}]"#;
        assert!(
            matches!(of_push("books5", book), Ok(Some(FeedEvent::Book { bids, .. })) if bids.len() == 1)
        );
        let trade = r#"[{"instId":"A","tradeId":"9","px":"2","sz":"1","side":"buy","ts":"5"}]"#;
        assert!(matches!(of_push("trades", trade), Ok(Some(FeedEvent::Trades(t))) if t[0].id == 9));
        assert!(matches!(
            of_push("candle1m", "[]"),
            Ok(Some(FeedEvent::Candles(Bar::M1, _)))
        ));
        assert!(matches!(of_push("mark-price", "[]"), Ok(None)));
    }

    #[test]
    fn crossed_book_is_not_passed_on() {
        let crossed = r#"[{"asks":[["1","1","0","1"]],"bids":[["2","3","0","1"]],"ts":"5"}]"#;
        assert!(of_push("books5", crossed).unwrap_err().contains("crossed"));
    }
}
