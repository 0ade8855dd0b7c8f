//! Market data: instruments, tickers, books, trades, candles, funding.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::super::core::{DepthChange, Exchange, volumes};
use super::super::market::{Level, Listed, Trade};
use super::{text, with_empty};
use crate::domain::{Bar, Candle, InstKind, InstState, Instrument, Ms};

/// A row of `public/instruments`.
pub fn instrument(i: &Instrument) -> Value {
    let swap = i.kind == InstKind::Swap;
    let of_swap = |value: &str| {
        if swap {
            value.to_owned()
        } else {
            String::new()
        }
    };
    let family = of_swap(&format!("{}-{}", i.base, i.quote));
    let size = text(i.max_limit_size.0);
    let state = match &i.state {
        InstState::Live => "live",
        InstState::Other(state) => state,
    };
    let row = json!({
        "instType": i.kind.okx(), "instId": i.id, "instIdCode": i.code, "groupId": if swap { "4" } else { "1" },
        "uly": family, "instFamily": family,
        "baseCcy": if swap { "" } else { &i.base }, "quoteCcy": if swap { "" } else { &i.quote },
        "settleCcy": of_swap(&i.quote), "ctVal": of_swap(&text(i.contract_value)), "ctMult": of_swap("1"),
        "ctValCcy": of_swap(&i.base), "ctType": of_swap("linear"), "tickSz": text(i.tick.0), "lotSz": text(i.lot.0),
        "minSz": text(i.min_size.0), "maxLmtSz": size, "maxMktSz": text(i.max_market_size.0),
        "maxLmtAmt": "20000000", "maxMktAmt": "1000000", "maxTwapSz": size, "maxIcebergSz": size,
        "maxTriggerSz": size, "maxStopSz": size, "lever": if swap { text(i.max_leverage) } else { String::new() },
        "listTime": "1606468572000", "state": state, "ruleType": "normal", "category": "1", "instCategory": "1",
        "tradeQuoteCcyList": if swap { json!([]) } else { json!([i.quote]) },
        "initPxLmtPct": "0.05", "floatPxLmtPct": "0.03", "maxPxLmtPct": "0.15", "futureSettlement": false,
        "upcChg": [],
    });
    with_empty(
        row,
        &[
            "alias",
            "auctionEndTime",
            "contTdSwTime",
            "expTime",
            "maxPlatOILmt",
            "openType",
            "optType",
            "posLmtAmt",
            "posLmtPct",
            "preMktSwTime",
            "stk",
        ],
    )
}

/// `market/ticker` data.
pub fn ticker(x: &Exchange, listed: &Listed) -> Value {
    let inst = &listed.listing.inst;
    let book = x.book(inst.id.as_str());
    let best = |levels: &[Level]| {
        levels.first().map_or((String::new(), String::new()), |l| {
            (text(l.price), text(l.size))
        })
    };
    let ((ask, ask_size), (bid, bid_size)) = (best(&book.asks), best(&book.bids));
    let last_size = x
        .trades(listed, None, 1)
        .first()
        .map_or("0".into(), |trade| text(trade.size));
    let day = x.day(listed);
    let last = Decimal::max(book.last, Decimal::ZERO);
    let base = day.volume * inst.contract_value;
    let in_ccy = if inst.kind == InstKind::Spot {
        (base * last).round_dp(8)
    } else {
        base
    };
    json!({
        "instType": inst.kind.okx(), "instId": inst.id, "last": text(last), "lastSz": last_size,
        "askPx": ask, "askSz": ask_size, "bidPx": bid, "bidSz": bid_size, "open24h": text(day.open),
        "high24h": text(day.high), "low24h": text(day.low), "vol24h": text(day.volume), "volCcy24h": text(in_ccy),
        "sodUtc0": text(day.sod_utc0), "sodUtc8": text(day.sod_utc8), "ts": x.now().0.to_string(),
    })
}

fn level(l: &Level) -> [String; 4] {
    let count = if l.size.is_zero() { "0" } else { "1" };
    [text(l.price), text(l.size), "0".into(), count.into()]
}

/// `market/books` data with at most `depth` levels a side; `seq` is the showing it belongs to.
pub fn book(x: &Exchange, listed: &Listed, depth: usize, seq: i64) -> Value {
    let book = x.book(listed.listing.inst.id.as_str());
    let side =
        |levels: &[Level]| -> Vec<[String; 4]> { levels.iter().take(depth).map(level).collect() };
    json!({"asks": side(&book.asks), "bids": side(&book.bids), "ts": x.now().0.to_string(), "seqId": seq})
}

/// A change of the `books` channel.
pub fn depth(x: &Exchange, change: &DepthChange) -> Value {
    json!({
        "asks": change.asks.iter().map(level).collect::<Vec<_>>(),
        "bids": change.bids.iter().map(level).collect::<Vec<_>>(),
        "ts": x.now().0.to_string(), "checksum": 0, "seqId": change.seq, "prevSeqId": change.prev_seq,
    })
}

/// `public/mark-price` data; the mark price is the last price here.
pub fn mark_price(x: &Exchange, listed: &Listed) -> Value {
    let inst = &listed.listing.inst;
    json!({"instType": inst.kind.okx(), "instId": inst.id, "markPx": text(x.last(inst.id.as_str())),
        "ts": x.now().0.to_string()})
}

/// `public/price-limit` data.
pub fn price_limit(x: &Exchange, listed: &Listed) -> Value {
    let inst = &listed.listing.inst;
    let (low, high) = x.price_limits(inst);
    json!({"instType": inst.kind.okx(), "instId": inst.id, "buyLmt": text(high), "sellLmt": text(low),
        "enabled": true, "ts": x.now().0.to_string()})
}

/// `public/funding-rate` data.
pub fn funding(x: &Exchange, listed: &Listed) -> Value {
    const EIGHT_HOURS: i64 = 28_800_000;
    let next = Ms(x.now().floor(Ms(EIGHT_HOURS)).0 + EIGHT_HOURS);
    let inst = &listed.listing.inst.id;
    let rate = |at| text(x.funding_rate(inst.as_str(), at));
    json!({
        "instType": "SWAP", "instId": inst, "method": "current_period", "formulaType": "noRate",
        "fundingRate": rate(next), "fundingTime": next.0.to_string(), "nextFundingRate": "",
        "nextFundingTime": (next.0 + EIGHT_HOURS).to_string(), "minFundingRate": "-0.0001", "maxFundingRate": "0.0001",
        "premium": "0", "settState": "settled", "settFundingRate": rate(Ms(next.0 - EIGHT_HOURS)),
        "prevFundingTime": (next.0 - EIGHT_HOURS).to_string(), "ts": x.now().0.to_string(),
    })
}

/// `public/open-interest` data: a third of the last day's volume, there being nobody else to ask.
pub fn open_interest(x: &Exchange, listed: &Listed) -> Value {
    let inst = &listed.listing.inst;
    let contracts = (x.day(listed).volume / Decimal::from(3)).trunc();
    let coins = contracts * inst.contract_value;
    let usd = (coins * x.last(inst.id.as_str())).round_dp(4);
    json!({"instType": inst.kind.okx(), "instId": inst.id, "oi": text(contracts), "oiCcy": text(coins), "oiUsd": text(usd),
        "ts": x.now().0.to_string()})
}

/// One trade of others, as lists show it.
fn trade_row(listed: &Listed, t: &Trade) -> Value {
    json!({"instId": listed.listing.inst.id, "tradeId": t.id.to_string(), "px": text(t.price), "sz": text(t.size),
        "side": t.side.as_str(), "ts": t.at.0.to_string()})
}

/// `market/trades` data, newest first.
pub fn trades(x: &Exchange, listed: &Listed, below: Option<i64>, limit: usize) -> Vec<Value> {
    x.trades(listed, below, limit)
        .iter()
        .map(|t| trade_row(listed, t))
        .collect()
}

/// `data` of a market channel for this moment; `None` for channels that have nothing to say now.
pub fn push(x: &Exchange, listed: &Listed, channel: &str) -> Option<String> {
    let inst = listed.listing.inst.id.as_str();
    if !x.is_shown(inst) {
        return None; // a price that nobody vouches for is not shown
    }
    let row = match channel {
        "tickers" => ticker(x, listed),
        "books5" => book(x, listed, 5, x.showing()),
        "bbo-tbt" => book(x, listed, 1, x.showing()),
        "mark-price" => mark_price(x, listed),
        "price-limit" => price_limit(x, listed),
        "funding-rate" if listed.listing.inst.kind == InstKind::Swap => funding(x, listed),
        _ => return None,
    };
    Some(format!("[{row}]"))
}

/// The trades of one second as the channel pushes them; `None` if there were none.
pub fn trades_of(x: &Exchange, listed: &Listed, second: i64) -> Option<String> {
    let over = x.market.range().is_some_and(|(_, end)| second >= end);
    let fresh = listed.trades(second, x.shift(listed.listing.inst.id.as_str(), second));
    let rows: Vec<Value> = fresh.iter().map(|t| pushed_trade(listed, t)).collect();
    (!over && !rows.is_empty()).then(|| Value::Array(rows).to_string())
}

/// A trade as the channel pushes it.
pub fn pushed_trade(listed: &Listed, trade: &Trade) -> Value {
    let mut row = trade_row(listed, trade);
    row["count"] = json!("1");
    row
}

/// A candle row; `confirm` false while the bar still forms.
pub fn bar_row(listed: &Listed, candle: &Candle, confirm: bool) -> Value {
    let (in_base, in_quote) = volumes(listed, candle);
    let second_volume = if listed.listing.inst.kind == InstKind::Spot {
        in_quote
    } else {
        in_base
    };
    json!([
        candle.ts.0.to_string(),
        text(candle.open.0),
        text(candle.high.0),
        text(candle.low.0),
        text(candle.close.0),
        text(candle.volume.0),
        text(second_volume),
        text(in_quote),
        if confirm { "1" } else { "0" },
    ])
}

/// The pushes of one candle channel for the seconds after `from` up to `now`: each bar that closed,
/// then the forming one.
pub fn candle_pushes(x: &Exchange, listed: &Listed, bar: Bar, from: i64, now: i64) -> Vec<String> {
    bars_since(x, listed, bar, from, now)
        .iter()
        .map(|row| format!("[{row}]"))
        .collect()
}

/// The same for the mark price: six columns.
pub fn mark_candle_pushes(
    x: &Exchange,
    listed: &Listed,
    bar: Bar,
    from: i64,
    now: i64,
) -> Vec<String> {
    let row = |row: &Value| json!([[row[0], row[1], row[2], row[3], row[4], row[8]]]).to_string();
    bars_since(x, listed, bar, from, now)
        .iter()
        .map(row)
        .collect()
}

fn bars_since(x: &Exchange, listed: &Listed, bar: Bar, from: i64, now: i64) -> Vec<Value> {
    let span = bar.span();
    let (first, open) = (Ms::secs(from).floor(span), Ms::secs(now).floor(span));
    let mut out: Vec<Value> = x
        .candles(listed, bar, first, open)
        .iter()
        .filter(|candle| candle.ts.plus(span) > Ms::secs(from))
        .map(|candle| bar_row(listed, candle, true))
        .collect();
    if let Some(forming) = x.forming(listed, bar).filter(|_| !x.is_over()) {
        out.push(bar_row(listed, &forming, false));
    }
    out
}

/// Which candles are asked for.
#[derive(Clone, Copy, Debug)]
pub struct CandleRows {
    pub after: Option<Ms>,
    pub before: Option<Ms>,
    pub limit: usize,
    /// True if the page starts with the bar that still forms (`candles`), false if not
    /// (`history-candles`).
    pub with_forming: bool,
    /// Oldest time that is served (`candles` keeps 1,440 bars).
    pub oldest: Option<Ms>,
}

/// Contents of a page of candles: the forming bar, if the page begins with one, and the closed ones
/// with `from <= ts < to`.
#[derive(Debug)]
pub struct CandleRange {
    pub forming: Option<Value>,
    pub from: Ms,
    pub to: Ms,
}

/// The range of `market/candles` that a page asks for. `after`: older than; `before`: newer than;
/// both exclusive.
pub fn candle_range(x: &Exchange, listed: &Listed, bar: Bar, page: CandleRows) -> CandleRange {
    let span = bar.span();
    let open = x.now().floor(span);
    // Exclusive upper bound of open times, aligned.
    let end = page
        .after
        .map_or(open, |ts| Ms(ts.0 + span.0 - 1).floor(span))
        .min(open);
    let wants_forming = page.with_forming && page.after.is_none_or(|ts| ts > open);
    let room = page.limit - usize::from(wants_forming);
    let mut from = Ms(end.0 - span.0 * room as i64);
    if let Some(before) = page.before {
        from = from.max(before.floor(span).plus(span));
    }
    from = from.max(page.oldest.unwrap_or(from));
    let shows_forming = wants_forming && page.before.is_none_or(|ts| ts < open) && !x.is_over();
    let forming = if shows_forming {
        x.forming(listed, bar)
            .map(|bar| bar_row(listed, &bar, false))
    } else {
        None
    };
    CandleRange {
        forming,
        from,
        to: end,
    }
}

/// Rows of a page, newest first.
pub fn candle_rows(listed: &Listed, forming: Option<Value>, closed: &[Candle]) -> Vec<Value> {
    forming
        .into_iter()
        .chain(
            closed
                .iter()
                .rev()
                .map(|candle| bar_row(listed, candle, true)),
        )
        .collect()
}
