//! Public data: candles, quotes, instruments.

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

use super::number::{CONTRACT, LEVERAGE, PRICE, SIZE, STEP, price, rate, read_time, size, time};
use super::page::{Page, RowKind, read_page};
use super::{Malformed, malformed, row};
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
            let price = |name: &str, text: &str| {
                PRICE
                    .read(text)
                    .map(Price)
                    .map_err(|why| bad(format!("{name}: {why}")))
            };
            let candle = Candle {
                ts: read_time(ts).map_err(|why| bad(format!("ts: {why}")))?,
                open: price("open", open)?,
                high: price("high", high)?,
                low: price("low", low)?,
                close: price("close", close)?,
                volume: SIZE
                    .read(volume)
                    .map(Qty)
                    .map_err(|why| bad(format!("volume: {why}")))?,
            };
            if !candle.is_sane() {
                return Err(bad(format!(
                    "impossible values at {ts}: o {open} h {high} l {low} c {close} v {volume}"
                )));
            }
            Ok((candle, *confirm == "1"))
        })
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TickerRow<'a> {
    inst_id: &'a str,
    #[serde(deserialize_with = "price")]
    last: Option<Decimal>,
    #[serde(deserialize_with = "price")]
    ask_px: Option<Decimal>,
    #[serde(deserialize_with = "size")]
    ask_sz: Option<Decimal>,
    #[serde(deserialize_with = "price")]
    bid_px: Option<Decimal>,
    #[serde(deserialize_with = "size")]
    bid_sz: Option<Decimal>,
    #[serde(deserialize_with = "time")]
    ts: Option<Ms>,
}

/// The newest ticker of a push or reply. One without both sides, or crossed, is refused: the quote
/// goes stale.
pub fn parse_quote(data: &str) -> Result<(InstId, Quote), Malformed> {
    let bad = malformed("ticker");
    let mut rows: Vec<TickerRow<'_>> = row("ticker", data)?;
    let row = rows.pop().ok_or_else(|| bad("no row".into()))?;
    let need =
        |value: Option<Decimal>, name: &str| value.ok_or_else(|| bad(format!("{name} is empty")));
    let quote = Quote {
        bid: Price(need(row.bid_px, "bidPx")?),
        bid_qty: Qty(need(row.bid_sz, "bidSz")?),
        ask: Price(need(row.ask_px, "askPx")?),
        ask_qty: Qty(need(row.ask_sz, "askSz")?),
        last: Price(need(row.last, "last")?),
        at: row.ts.ok_or_else(|| bad("ts is empty".into()))?,
    };
    if !quote.is_sane() {
        return Err(bad(format!(
            "bid {} ask {} last {}",
            quote.bid, quote.ask, quote.last
        )));
    }
    Ok((InstId::from(row.inst_id), quote))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MarkRow<'a> {
    inst_id: &'a str,
    #[serde(deserialize_with = "price")]
    mark_px: Option<Decimal>,
    #[serde(deserialize_with = "time")]
    ts: Option<Ms>,
}

/// The newest row of a `mark-price` push: what the venue values positions and triggers liquidations
/// by.
pub fn parse_mark(data: &str) -> Result<(InstId, Price, Ms), Malformed> {
    let bad = malformed("mark price");
    let mut rows: Vec<MarkRow<'_>> = row("mark price", data)?;
    let row = rows.pop().ok_or_else(|| bad("no row".into()))?;
    let price = row
        .mark_px
        .filter(|px| *px > Decimal::ZERO)
        .ok_or_else(|| bad("markPx is not a price".into()))?;
    Ok((
        InstId::from(row.inst_id),
        Price(price),
        row.ts.ok_or_else(|| bad("ts is empty".into()))?,
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InstrumentRow {
    inst_id: String,
    inst_type: String,
    #[serde(default)]
    base_ccy: String,
    #[serde(default)]
    quote_ccy: String,
    #[serde(default)]
    settle_ccy: String,
    #[serde(default)]
    ct_val_ccy: String,
    #[serde(default)]
    ct_type: String,
    #[serde(default)]
    ct_val: String,
    #[serde(default)]
    ct_mult: String,
    #[serde(default)]
    tick_sz: String,
    #[serde(default)]
    lot_sz: String,
    #[serde(default)]
    min_sz: String,
    #[serde(default)]
    max_lmt_sz: String,
    #[serde(default)]
    max_mkt_sz: String,
    #[serde(default)]
    lever: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    inst_id_code: Option<i64>,
}

const INSTRUMENT: RowKind = RowKind {
    what: "instrument",
    id: "instId",
    subject: "instId",
};

/// The most of one order as a row says it; a ceiling beyond all sizes, or none at all, is no
/// ceiling.
fn ceiling(text: &str) -> Option<Qty> {
    parse_decimal(text)
        .ok()
        .filter(|most| *most > Decimal::ZERO)
        .map(|most| Qty(most.min(SIZE.most())))
}

/// Rows of `instruments` that we could trade; those with missing steps (`preopen`) or of kinds we
/// do not trade (inverse contracts, options) are left out.
pub fn read_instruments(data: &Value) -> Result<Page<Instrument>, Malformed> {
    read_page(INSTRUMENT, data, |row: InstrumentRow| {
        let kind = match (row.inst_type.as_str(), row.ct_type.as_str()) {
            ("SPOT", _) => InstKind::Spot,
            ("SWAP", "linear") => InstKind::Swap,
            _ => return Ok(None),
        };
        // Read only now: what we do not trade may have steps of any kind.
        let step = |name: &str, text: &str| match text {
            "" => Ok(None),
            text => STEP
                .read(text)
                .map(Some)
                .map_err(|why| format!("{name}: {why}")),
        };
        let steps = (
            step("tickSz", &row.tick_sz)?,
            step("lotSz", &row.lot_sz)?,
            step("minSz", &row.min_sz)?,
        );
        let (Some(tick), Some(lot), Some(min)) = steps else {
            return Ok(None);
        };
        let part = |name: &str, text: &str| match text {
            "" => Ok(Decimal::ONE),
            text => CONTRACT.read(text).map_err(|why| format!("{name}: {why}")),
        };
        let contract_value = match kind {
            InstKind::Spot => Decimal::ONE,
            InstKind::Swap => {
                let worth = part("ctVal", &row.ct_val)?.checked_mul(part("ctMult", &row.ct_mult)?);
                let worth = worth.ok_or("ctVal × ctMult is no number")?;
                CONTRACT
                    .read(&worth.to_string())
                    .map_err(|why| format!("ctVal × ctMult: {why}"))?
            }
        };
        let max_leverage = match row.lever.as_str() {
            "" => Decimal::ONE,
            text => LEVERAGE.read(text).map_err(|why| format!("lever: {why}"))?,
        };
        let (base, quote) = match kind {
            InstKind::Spot => (row.base_ccy, row.quote_ccy),
            InstKind::Swap => (row.ct_val_ccy, row.settle_ccy),
        };
        let unbounded = Qty(Decimal::MAX);
        let max_limit_size = ceiling(&row.max_lmt_sz).unwrap_or(unbounded);
        Ok(Some(Instrument {
            id: InstId::new(row.inst_id),
            kind,
            base,
            quote,
            tick: Price(tick),
            lot: Qty(lot),
            min_size: Qty(min),
            max_limit_size,
            max_market_size: ceiling(&row.max_mkt_sz).unwrap_or(max_limit_size),
            contract_value,
            max_leverage,
            code: row.inst_id_code,
            state: if row.state == "live" {
                InstState::Live
            } else {
                InstState::Other(row.state)
            },
        }))
    })
}

/// The same without those whose rules cannot be believed.
pub fn parse_instruments(data: &Value) -> Result<Vec<Instrument>, Malformed> {
    read_instruments(data).map(|page| page.rows)
}

/// The venue's clock.
pub fn parse_time(data: &Value) -> Result<Ms, Malformed> {
    let ts = data[0]["ts"]
        .as_str()
        .ok_or_else(|| malformed("time")("ts is missing".into()))?;
    read_time(ts).map_err(malformed("time"))
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
    let mut rows: Vec<BookRow<'_>> = row("book", data)?;
    let row = rows.pop().ok_or_else(|| bad("no row".into()))?;
    let side = |levels: &[Vec<&str>]| {
        levels
            .iter()
            .map(|level| {
                let [price, size, ..] = level.as_slice() else {
                    return Err(bad(format!("{} columns", level.len())));
                };
                let price = PRICE
                    .read(price)
                    .map(Price)
                    .map_err(|why| bad(format!("price: {why}")))?;
                Ok((
                    price,
                    SIZE.read(size)
                        .map(Qty)
                        .map_err(|why| bad(format!("size: {why}")))?,
                ))
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
    if falls && rises && apart {
        Ok(book)
    } else {
        Err(bad("crossed or out of order".into()))
    }
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
    #[serde(deserialize_with = "price")]
    px: Option<Decimal>,
    #[serde(deserialize_with = "size")]
    sz: Option<Decimal>,
    side: &'a str,
    #[serde(deserialize_with = "time")]
    ts: Option<Ms>,
}

/// Trades of a push or reply, in its order.
pub fn parse_trades(data: &str) -> Result<Vec<TradePush>, Malformed> {
    let bad = malformed("trade");
    let rows: Vec<TradeRow<'_>> = row("trade", data)?;
    let parse = |row: TradeRow<'_>| {
        let positive = |value: Option<Decimal>, name: &str| {
            value
                .filter(|v| *v > Decimal::ZERO)
                .ok_or_else(|| bad(format!("{name} is not positive")))
        };
        Ok(TradePush {
            inst: InstId::new(row.inst_id),
            id: row
                .trade_id
                .parse()
                .map_err(|_| bad(format!("tradeId '{}' is not a number", row.trade_id)))?,
            price: Price(positive(row.px, "px")?),
            qty: Qty(positive(row.sz, "sz")?),
            side: Side::parse(row.side)
                .ok_or_else(|| bad(format!("unknown side '{}'", row.side)))?,
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
    #[serde(deserialize_with = "rate")]
    funding_rate: Option<Decimal>,
    #[serde(default, deserialize_with = "rate")]
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
    #[serde(deserialize_with = "size")]
    oi: Option<Decimal>,
}

/// Contracts that are open, of all instruments in `open-interest`.
pub fn parse_open_interest(data: &Value) -> Result<Vec<(InstId, Qty)>, Malformed> {
    let bad = malformed("open interest");
    let rows = Vec::<OpenInterestRow>::deserialize(data).map_err(|e| bad(e.to_string()))?;
    let parse = |row: OpenInterestRow| {
        let contracts = row
            .oi
            .filter(|oi| !oi.is_sign_negative())
            .ok_or_else(|| bad("oi is empty or below zero".into()))?;
        Ok((InstId::new(row.inst_id), Qty(contracts)))
    };
    rows.into_iter().map(parse).collect()
}

/// Rows of `funding-rate` and `funding-rate-history`; what was really paid is preferred to what was
/// announced.
pub fn parse_funding(data: &Value) -> Result<Vec<FundingRate>, Malformed> {
    let bad = malformed("funding rate");
    let rows = Vec::<FundingRow>::deserialize(data).map_err(|e| bad(e.to_string()))?;
    let parse = |row: FundingRow| {
        let at = row
            .funding_time
            .ok_or_else(|| bad("fundingTime is empty".into()))?;
        Ok(FundingRate {
            inst: InstId::new(row.inst_id),
            at,
            every: row
                .next_funding_time
                .map(|next| next.since(at))
                .filter(|every| *every > Ms::ZERO),
            rate: row
                .realized_rate
                .or(row.funding_rate)
                .ok_or_else(|| bad("fundingRate is empty".into()))?,
        })
    };
    rows.into_iter().map(parse).collect()
}
