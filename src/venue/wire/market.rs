//! Public data: candles, quotes, instruments.

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

use super::{Malformed, decimal, malformed, time};
use crate::domain::units::parse_decimal;
use crate::domain::{Candle, InstId, InstKind, InstState, Instrument, Ms, Price, Qty, Quote, Side};

/// Candle rows `[ts, o, h, l, c, vol, …, confirm]`, with whether each is final.
pub fn parse_candles(data: &str) -> Result<Vec<(Candle, bool)>, Malformed> {
    let bad = malformed("candle");
    let rows: Vec<Vec<&str>> = serde_json::from_str(data).map_err(|e| bad(e.to_string()))?;
    rows.iter()
        .map(|row| {
            let [ts, open, high, low, close, volume, .., confirm] = row.as_slice() else {
                return Err(bad(format!("{} columns", row.len())));
            };
            let number = |text: &str| parse_decimal(text).map_err(|_| bad(format!("'{text}' is not a decimal")));
            let candle = Candle {
                ts: Ms(ts.parse().map_err(|_| bad(format!("'{ts}' is not a time")))?),
                open: Price(number(open)?),
                high: Price(number(high)?),
                low: Price(number(low)?),
                close: Price(number(close)?),
                volume: Qty(number(volume)?),
            };
            if !candle.is_sane() {
                return Err(bad(format!("impossible values at {ts}: o {open} h {high} l {low} c {close} v {volume}")));
            }
            Ok((candle, *confirm == "1"))
        })
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TickerRow<'a> {
    inst_id: &'a str,
    #[serde(deserialize_with = "decimal")]
    last: Option<Decimal>,
    #[serde(deserialize_with = "decimal")]
    ask_px: Option<Decimal>,
    #[serde(deserialize_with = "decimal")]
    ask_sz: Option<Decimal>,
    #[serde(deserialize_with = "decimal")]
    bid_px: Option<Decimal>,
    #[serde(deserialize_with = "decimal")]
    bid_sz: Option<Decimal>,
    #[serde(deserialize_with = "time")]
    ts: Option<Ms>,
}

/// The newest ticker of a push or reply. One without both sides, or crossed, is refused: the quote goes stale.
pub fn parse_quote(data: &str) -> Result<(InstId, Quote), Malformed> {
    let bad = malformed("ticker");
    let mut rows: Vec<TickerRow<'_>> = serde_json::from_str(data).map_err(|e| bad(e.to_string()))?;
    let row = rows.pop().ok_or_else(|| bad("no row".into()))?;
    let need = |value: Option<Decimal>, name: &str| value.ok_or_else(|| bad(format!("{name} is empty")));
    let quote = Quote {
        bid: Price(need(row.bid_px, "bidPx")?),
        bid_qty: Qty(need(row.bid_sz, "bidSz")?),
        ask: Price(need(row.ask_px, "askPx")?),
        ask_qty: Qty(need(row.ask_sz, "askSz")?),
        last: Price(need(row.last, "last")?),
        at: row.ts.ok_or_else(|| bad("ts is empty".into()))?,
    };
    if !quote.is_sane() {
        return Err(bad(format!("bid {} ask {} last {}", quote.bid, quote.ask, quote.last)));
    }
    Ok((InstId::from(row.inst_id), quote))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MarkRow<'a> {
    inst_id: &'a str,
    #[serde(deserialize_with = "decimal")]
    mark_px: Option<Decimal>,
    #[serde(deserialize_with = "time")]
    ts: Option<Ms>,
}

/// The newest row of a `mark-price` push: what the venue values positions and triggers liquidations by.
pub fn parse_mark(data: &str) -> Result<(InstId, Price, Ms), Malformed> {
    let bad = malformed("mark price");
    let mut rows: Vec<MarkRow<'_>> = serde_json::from_str(data).map_err(|e| bad(e.to_string()))?;
    let row = rows.pop().ok_or_else(|| bad("no row".into()))?;
    let price = row.mark_px.filter(|px| *px > Decimal::ZERO).ok_or_else(|| bad("markPx is not a price".into()))?;
    Ok((InstId::from(row.inst_id), Price(price), row.ts.ok_or_else(|| bad("ts is empty".into()))?))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InstrumentRow {
    inst_id: String,
    inst_type: String,
    base_ccy: String,
    quote_ccy: String,
    settle_ccy: String,
    ct_val_ccy: String,
    ct_type: String,
    #[serde(deserialize_with = "decimal")]
    ct_val: Option<Decimal>,
    #[serde(deserialize_with = "decimal")]
    ct_mult: Option<Decimal>,
    #[serde(deserialize_with = "decimal")]
    tick_sz: Option<Decimal>,
    #[serde(deserialize_with = "decimal")]
    lot_sz: Option<Decimal>,
    #[serde(deserialize_with = "decimal")]
    min_sz: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal")]
    max_lmt_sz: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal")]
    max_mkt_sz: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal")]
    lever: Option<Decimal>,
    state: String,
    #[serde(default)]
    inst_id_code: Option<i64>,
}

/// Rows of `instruments` that we could trade; those with missing steps (`preopen`) or of kinds we do
/// not trade (inverse contracts, options) are left out.
pub fn parse_instruments(data: &Value) -> Result<Vec<Instrument>, Malformed> {
    let bad = malformed("instrument");
    let rows = data.as_array().ok_or_else(|| bad("data is not a list".into()))?;
    let mut out = Vec::new();
    for row in rows {
        let Ok(row) = InstrumentRow::deserialize(row) else { continue };
        let kind = match (row.inst_type.as_str(), row.ct_type.as_str()) {
            ("SPOT", _) => InstKind::Spot,
            ("SWAP", "linear") => InstKind::Swap,
            _ => continue,
        };
        let (Some(tick), Some(lot), Some(min)) = (row.tick_sz, row.lot_sz, row.min_sz) else { continue };
        if tick <= Decimal::ZERO || lot <= Decimal::ZERO {
            continue;
        }
        let (value, multiplier) = (row.ct_val.unwrap_or(Decimal::ONE), row.ct_mult.unwrap_or(Decimal::ONE));
        let Some(worth) = value.checked_mul(multiplier) else { continue };
        let (base, quote) = match kind {
            InstKind::Spot => (row.base_ccy, row.quote_ccy),
            InstKind::Swap => (row.ct_val_ccy, row.settle_ccy),
        };
        out.push(Instrument {
            id: InstId::new(row.inst_id),
            kind,
            base,
            quote,
            tick: Price(tick),
            lot: Qty(lot),
            min_size: Qty(min),
            max_limit_size: Qty(row.max_lmt_sz.unwrap_or(Decimal::MAX)),
            max_market_size: Qty(row.max_mkt_sz.or(row.max_lmt_sz).unwrap_or(Decimal::MAX)),
            contract_value: match kind {
                InstKind::Spot => Decimal::ONE,
                InstKind::Swap => worth,
            },
            max_leverage: row.lever.unwrap_or(Decimal::ONE),
            code: row.inst_id_code,
            state: if row.state == "live" { InstState::Live } else { InstState::Other(row.state) },
        });
    }
    Ok(out)
}

/// The venue's clock.
pub fn parse_time(data: &Value) -> Result<Ms, Malformed> {
    let ts = data[0]["ts"].as_str().and_then(|ts| ts.parse().ok());
    ts.map(Ms).ok_or_else(|| malformed("time")("ts is missing".into()))
}

/// A whole book, best level first on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookPush {
    pub bids: Vec<(Price, Qty)>,
    pub asks: Vec<(Price, Qty)>,
    pub at: Ms,
}

#[derive(Deserialize)]
struct BookRow<'a> {
    #[serde(borrow)]
    asks: Vec<Vec<&'a str>>,
    #[serde(borrow)]
    bids: Vec<Vec<&'a str>>,
    #[serde(deserialize_with = "time")]
    ts: Option<Ms>,
}

/// The newest book of a push or reply. A crossed book, or one out of order, is refused.
pub fn parse_book(data: &str) -> Result<BookPush, Malformed> {
    let bad = malformed("book");
    let mut rows: Vec<BookRow<'_>> = serde_json::from_str(data).map_err(|e| bad(e.to_string()))?;
    let row = rows.pop().ok_or_else(|| bad("no row".into()))?;
    let side = |levels: &[Vec<&str>]| {
        levels
            .iter()
            .map(|level| {
                let [price, size, ..] = level.as_slice() else { return Err(bad(format!("{} columns", level.len()))) };
                let number = |text: &str| parse_decimal(text).map_err(|_| bad(format!("'{text}' is not a decimal")));
                Ok((Price(number(price)?), Qty(number(size)?)))
            })
            .collect::<Result<Vec<_>, _>>()
    };
    let book = BookPush {
        bids: side(&row.bids)?,
        asks: side(&row.asks)?,
        at: row.ts.ok_or_else(|| bad("ts is empty".into()))?,
    };
    let falls = book.bids.windows(2).all(|w| w[0].0 > w[1].0);
    let rises = book.asks.windows(2).all(|w| w[0].0 < w[1].0);
    let apart = match (book.bids.first(), book.asks.first()) {
        (Some(bid), Some(ask)) => bid.0 < ask.0,
        _ => true,
    };
    if falls && rises && apart { Ok(book) } else { Err(bad("crossed or out of order".into())) }
}

/// A trade between others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TradePush {
    pub inst: InstId,
    pub id: i64,
    pub price: Price,
    pub qty: Qty,
    /// The taker's side.
    pub side: Side,
    pub at: Ms,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TradeRow<'a> {
    inst_id: &'a str,
    trade_id: &'a str,
    #[serde(deserialize_with = "decimal")]
    px: Option<Decimal>,
    #[serde(deserialize_with = "decimal")]
    sz: Option<Decimal>,
    side: &'a str,
    #[serde(deserialize_with = "time")]
    ts: Option<Ms>,
}

/// Trades of a push or reply, in its order.
pub fn parse_trades(data: &str) -> Result<Vec<TradePush>, Malformed> {
    let bad = malformed("trade");
    let rows: Vec<TradeRow<'_>> = serde_json::from_str(data).map_err(|e| bad(e.to_string()))?;
    let parse = |row: TradeRow<'_>| {
        let positive = |value: Option<Decimal>, name: &str| {
            value.filter(|v| *v > Decimal::ZERO).ok_or_else(|| bad(format!("{name} is not positive")))
        };
        Ok(TradePush {
            inst: InstId::new(row.inst_id),
            id: row.trade_id.parse().map_err(|_| bad(format!("tradeId '{}' is not a number", row.trade_id)))?,
            price: Price(positive(row.px, "px")?),
            qty: Qty(positive(row.sz, "sz")?),
            side: Side::parse(row.side).ok_or_else(|| bad(format!("unknown side '{}'", row.side)))?,
            at: row.ts.ok_or_else(|| bad("ts is empty".into()))?,
        })
    };
    rows.into_iter().map(parse).collect()
}

/// A funding rate and when it is paid; longs pay shorts when it is positive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FundingRate {
    pub inst: InstId,
    pub at: Ms,
    /// As a share of notional.
    pub rate: Decimal,
    /// Until the payment after that; `None`: it is over, or the venue does not say.
    pub every: Option<Ms>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FundingRow {
    inst_id: String,
    #[serde(deserialize_with = "decimal")]
    funding_rate: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal")]
    realized_rate: Option<Decimal>,
    #[serde(deserialize_with = "time")]
    funding_time: Option<Ms>,
    #[serde(default, deserialize_with = "time")]
    next_funding_time: Option<Ms>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OpenInterestRow {
    inst_id: String,
    #[serde(deserialize_with = "decimal")]
    oi: Option<Decimal>,
}

/// Contracts that are open, of all instruments in `open-interest`.
pub fn parse_open_interest(data: &Value) -> Result<Vec<(InstId, Qty)>, Malformed> {
    let bad = malformed("open interest");
    let rows = Vec::<OpenInterestRow>::deserialize(data).map_err(|e| bad(e.to_string()))?;
    let parse = |row: OpenInterestRow| {
        let contracts =
            row.oi.filter(|oi| !oi.is_sign_negative()).ok_or_else(|| bad("oi is empty or below zero".into()))?;
        Ok((InstId::new(row.inst_id), Qty(contracts)))
    };
    rows.into_iter().map(parse).collect()
}

/// Rows of `funding-rate` and `funding-rate-history`; what was really paid is preferred to what was announced.
pub fn parse_funding(data: &Value) -> Result<Vec<FundingRate>, Malformed> {
    let bad = malformed("funding rate");
    let rows = Vec::<FundingRow>::deserialize(data).map_err(|e| bad(e.to_string()))?;
    let parse = |row: FundingRow| {
        let at = row.funding_time.ok_or_else(|| bad("fundingTime is empty".into()))?;
        Ok(FundingRate {
            inst: InstId::new(row.inst_id),
            at,
            every: row.next_funding_time.map(|next| next.since(at)).filter(|every| *every > Ms::ZERO),
            rate: row.realized_rate.or(row.funding_rate).ok_or_else(|| bad("fundingRate is empty".into()))?,
        })
    };
    rows.into_iter().map(parse).collect()
}
