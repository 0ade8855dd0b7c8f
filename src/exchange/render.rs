//! The exchange's nouns in OKX's spelling: all numbers as decimal strings, `""` where a value does not apply.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::core::{Algo, BillLine, Exchange, Execution, Order};
use super::market::{Level, Listed};
use crate::domain::{Bar, InstKind, Ms, OrdType};

fn text(value: Decimal) -> String {
    value.normalize().to_string()
}

fn opt(value: Option<Decimal>) -> String {
    value.map(text).unwrap_or_default()
}

/// `SPOT` or `SWAP`, by the name.
pub fn inst_type(inst: &str) -> &'static str {
    if inst.ends_with("-SWAP") { "SWAP" } else { "SPOT" }
}

/// An order object; with `fill`, the fields of the execution that this push reports.
pub fn order(o: &Order, fill: Option<&Execution>) -> Value {
    let kind = if o.all_or_none { "fok" } else { o.ord_type.okx() };
    json!({
        "instType": inst_type(&o.inst), "instId": o.inst, "ordId": o.id.to_string(), "clOrdId": o.cl_ord_id,
        "tag": o.tag, "px": opt(o.price), "sz": text(o.size), "notionalUsd": "",
        "pnl": text(o.pnl), "ordType": kind, "side": o.side.as_str(), "posSide": "net", "tdMode": o.td_mode,
        "accFillSz": text(o.filled), "avgPx": opt(o.average()), "state": o.status.okx(),
        "fillPx": opt(fill.map(|f| f.price)), "fillSz": fill.map_or("0".into(), |f| text(f.size)),
        "tradeId": fill.map(|f| f.trade_id.to_string()).unwrap_or_default(),
        "fillTime": fill.map(|f| f.at.0.to_string()).unwrap_or_default(),
        "fillFee": fill.map_or("0".into(), |f| text(f.fee)),
        "fillFeeCcy": fill.map(|f| f.fee_ccy.clone()).unwrap_or_default(),
        "fillPnl": fill.map_or("0".into(), |f| text(f.pnl)),
        "execType": fill.map_or("", |f| if f.maker { "M" } else { "T" }),
        "fee": text(o.fee), "feeCcy": o.fee_ccy, "rebate": "0", "rebateCcy": o.fee_ccy,
        "lever": "", "reduceOnly": o.reduce_only.to_string(), "category": o.category, "source": o.source,
        "cancelSource": o.cancel_source, "cancelSourceReason": "",
        "algoId": o.algo_id.map(|id| id.to_string()).unwrap_or_default(), "algoClOrdId": o.algo_cl_ord_id,
        "attachAlgoClOrdId": "", "attachAlgoOrds": o.attached.iter().map(|s| json!({
            "attachAlgoClOrdId": s.algo_cl_ord_id, "slTriggerPx": text(s.trigger), "slOrdPx": "-1",
            "slTriggerPxType": "last", "tpTriggerPx": "", "tpOrdPx": "", "tpTriggerPxType": "",
        })).collect::<Vec<_>>(),
        "linkedAlgoOrd": {"algoId": ""}, "isTpLimit": "false", "stpId": "", "stpMode": "cancel_maker",
        "tgtCcy": if o.ord_type == OrdType::Market && inst_type(&o.inst) == "SPOT" { "base_ccy" } else { "" },
        "ccy": "", "quickMgnType": "", "amendResult": "", "reqId": "", "code": "0", "msg": "",
        "cTime": o.created.0.to_string(), "uTime": o.updated.0.to_string(),
    })
}

/// A row of `trade/fills`.
pub fn execution(x: &Execution) -> Value {
    json!({
        "instType": inst_type(&x.inst), "instId": x.inst, "tradeId": x.trade_id.to_string(),
        "ordId": x.order.to_string(), "clOrdId": x.cl_ord_id, "billId": x.id.to_string(), "subType": "",
        "tag": "", "fillPx": text(x.price), "fillSz": text(x.size), "side": x.side.as_str(), "posSide": "net",
        "execType": if x.maker { "M" } else { "T" }, "feeCcy": x.fee_ccy, "fee": text(x.fee),
        "fillPnl": text(x.pnl), "fillTime": x.at.0.to_string(), "ts": x.at.0.to_string(),
    })
}

/// An algo order object.
pub fn algo(a: &Algo) -> Value {
    json!({
        "instType": inst_type(&a.inst), "instId": a.inst, "algoId": a.id.to_string(), "algoClOrdId": a.cl_ord_id,
        "clOrdId": "", "ordId": a.child.map(|id| id.to_string()).unwrap_or_default(),
        "ordIdList": a.child.map(|id| vec![id.to_string()]).unwrap_or_default(),
        "ordType": "conditional", "side": a.side.as_str(), "posSide": "net", "tdMode": a.td_mode,
        "sz": text(a.size), "state": a.status.okx(), "slTriggerPx": text(a.trigger), "slOrdPx": "-1",
        "slTriggerPxType": "last", "tpTriggerPx": "", "tpOrdPx": "", "reduceOnly": "true", "tag": "", "ccy": "",
        "actualSz": "", "actualPx": "", "actualSide": "", "triggerTime": "", "failCode": "", "lever": "",
        "cTime": a.created.0.to_string(), "uTime": a.updated.0.to_string(),
    })
}

/// A row of `account/bills`.
pub fn bill(b: &BillLine) -> Value {
    json!({
        "billId": b.id.to_string(), "type": b.kind.to_string(), "subType": b.sub.to_string(), "ccy": b.ccy,
        "balChg": text(b.change), "bal": text(b.balance), "posBalChg": "0", "posBal": "0", "sz": text(b.size),
        "px": text(b.price), "fee": text(b.fee), "pnl": text(b.pnl), "interest": "0",
        "instType": if b.inst.is_empty() { "" } else { inst_type(&b.inst) }, "instId": b.inst,
        "ordId": b.order.map(|id| id.to_string()).unwrap_or_default(), "clOrdId": "",
        "tradeId": b.trade_id.map(|id| id.to_string()).unwrap_or_default(), "execType": "", "mgnMode": "",
        "from": "", "to": "", "notes": "", "tag": "", "fillTime": b.at.0.to_string(), "ts": b.at.0.to_string(),
    })
}

/// `account/balance` data.
pub fn balance(x: &Exchange) -> Value {
    let sheet = x.balance_sheet();
    let now = x.now().0.to_string();
    let (mut total, mut imr, mut frozen) = (Decimal::ZERO, Decimal::ZERO, Decimal::ZERO);
    let details: Vec<Value> = sheet
        .iter()
        .map(|(ccy, line)| {
            let usd = (line.equity() * line.usd_price).round_dp(8);
            total += usd;
            imr += line.imr * line.usd_price;
            frozen += line.frozen * line.usd_price;
            json!({
                "ccy": ccy, "eq": text(line.equity()), "cashBal": text(line.cash), "availBal": text(line.available()),
                "availEq": text(line.available()), "frozenBal": text(line.frozen + line.imr),
                "ordFrozen": text(line.frozen), "upl": text(line.upl), "uplLiab": "", "liab": "", "interest": "",
                "eqUsd": text(usd), "disEq": text(usd), "imr": text(line.imr), "mmr": "0", "mgnRatio": "",
                "isoEq": "0", "spotBal": "", "accAvgPx": "", "openAvgPx": "", "uTime": now,
            })
        })
        .collect();
    json!({
        "totalEq": text(total), "adjEq": "", "isoEq": "0", "availEq": "", "ordFroz": text(frozen), "imr": text(imr),
        "mmr": "", "mgnRatio": "", "notionalUsd": "", "upl": "", "borrowFroz": "", "uTime": now, "details": details,
    })
}

/// One position object; a flat one has `pos` 0.
pub fn position(x: &Exchange, inst: &str) -> Value {
    let pos = x.ledger.positions.get(inst).cloned().unwrap_or_default();
    let (upl, notional) = x.mark(inst, &pos);
    let leverage = x.leverage(inst);
    let flat = pos.qty.is_zero();
    let or_empty = |value: Decimal| if flat { String::new() } else { text(value) };
    json!({
        "instType": "SWAP", "instId": inst, "posId": pos.id.to_string(), "posSide": "net", "mgnMode": "cross",
        "pos": text(pos.qty), "availPos": text(pos.qty), "avgPx": or_empty(pos.avg), "upl": or_empty(upl),
        "uplRatio": "", "lever": text(leverage), "liqPx": "", "markPx": text(x.last(inst)), "last": text(x.last(inst)),
        "idxPx": "", "margin": "", "imr": or_empty((notional / leverage).round_dp(12)), "mmr": "", "mgnRatio": "",
        "ccy": "USDT", "notionalUsd": or_empty(notional.round_dp(8)), "adl": "0", "realizedPnl": text(pos.realised + pos.fee + pos.funding),
        "pnl": text(pos.realised), "fee": text(pos.fee), "fundingFee": text(pos.funding), "liqPenalty": "0",
        "bePx": "", "tradeId": pos.last_trade.to_string(), "cTime": pos.created.0.to_string(),
        "uTime": pos.updated.0.to_string(),
    })
}

/// A row of `public/instruments`.
pub fn instrument(listed: &Listed) -> Value {
    let i = &listed.listing.inst;
    let swap = i.kind == InstKind::Swap;
    let of_swap = |value: &str| if swap { value.to_owned() } else { String::new() };
    json!({
        "instType": i.kind.okx(), "instId": i.id, "instIdCode": i.code, "groupId": if swap { "4" } else { "1" },
        "uly": of_swap(&format!("{}-{}", i.base, i.quote)), "instFamily": of_swap(&format!("{}-{}", i.base, i.quote)),
        "baseCcy": if swap { "" } else { &i.base }, "quoteCcy": if swap { "" } else { &i.quote },
        "settleCcy": of_swap(&i.quote), "ctVal": of_swap(&text(i.contract_value)), "ctMult": of_swap("1"),
        "ctValCcy": of_swap(&i.base), "ctType": of_swap("linear"), "tickSz": text(i.tick.0), "lotSz": text(i.lot.0),
        "minSz": text(i.min_size.0), "maxLmtSz": text(i.max_limit_size.0), "maxMktSz": text(i.max_limit_size.0),
        "maxLmtAmt": "20000000", "maxMktAmt": "1000000", "maxTwapSz": "", "maxIcebergSz": "", "maxTriggerSz": "",
        "maxStopSz": "", "lever": if swap { text(i.max_leverage) } else { String::new() }, "listTime": "1606468572000",
        "expTime": "", "contTdSwTime": "", "openType": "", "state": "live", "ruleType": "normal", "alias": "",
        "category": "1", "stk": "", "optType": "", "instCategory": "1", "tradeQuoteCcyList": [i.quote],
        "initPxLmtPct": "0.05", "floatPxLmtPct": "0.03", "maxPxLmtPct": "0.15", "futureSettlement": false,
        "auctionEndTime": "", "preMktSwTime": "", "upcChg": [],
    })
}

/// `market/ticker` data.
pub fn ticker(x: &Exchange, listed: &Listed) -> Value {
    let inst = &listed.listing.inst;
    let second = x.now().0.div_euclid(1000);
    let book = x.book(inst.id.as_str());
    let best =
        |levels: &[Level]| levels.first().map_or((String::new(), String::new()), |l| (text(l.price), text(l.size)));
    let ((ask, ask_size), (bid, bid_size)) = (best(&book.asks), best(&book.bids));
    let [_, trade] = listed.trades(second, x.shift(inst.id.as_str(), second));
    json!({
        "instType": inst.kind.okx(), "instId": inst.id, "last": text(book.last), "lastSz": text(trade.size),
        "askPx": ask, "askSz": ask_size, "bidPx": bid, "bidSz": bid_size, "open24h": "", "high24h": "", "low24h": "",
        "vol24h": "", "volCcy24h": "", "sodUtc0": "", "sodUtc8": "", "ts": x.now().0.to_string(),
    })
}

/// `market/books` data with at most `depth` levels a side.
pub fn book(x: &Exchange, listed: &Listed, depth: usize) -> Value {
    let book = x.book(listed.listing.inst.id.as_str());
    let side = |levels: &[Level]| -> Vec<[String; 4]> {
        levels.iter().take(depth).map(|l| [text(l.price), text(l.size), "0".into(), "1".into()]).collect()
    };
    json!({
        "asks": side(&book.asks), "bids": side(&book.bids), "ts": x.now().0.to_string(),
        "seqId": x.now().0.div_euclid(1000), "checksum": 0, "prevSeqId": -1,
    })
}

/// `data` of a market channel for this moment; `None` for channels not served.
pub fn market(x: &Exchange, listed: &Listed, channel: &str) -> Option<String> {
    let inst = &listed.listing.inst;
    let second = x.now().0.div_euclid(1000);
    Some(match channel {
        "tickers" => format!("[{}]", ticker(x, listed)),
        "books5" => format!("[{}]", book(x, listed, 5)),
        "bbo-tbt" => format!("[{}]", book(x, listed, 1)),
        "mark-price" => json!([{"instType": inst.kind.okx(), "instId": inst.id,
            "markPx": text(x.last(inst.id.as_str())), "ts": x.now().0.to_string()}])
        .to_string(),
        "trades" => {
            let trades = listed.trades(second, x.shift(inst.id.as_str(), second));
            let rows: Vec<Value> = trades
                .iter()
                .enumerate()
                .map(|(i, t)| {
                    json!({"instId": inst.id, "tradeId": (second * 2 + i as i64).to_string(), "px": text(t.price),
                        "sz": text(t.size), "side": t.side.as_str(), "count": "1", "ts": t.at.0.to_string()})
                })
                .collect();
            Value::Array(rows).to_string()
        }
        _ => return None,
    })
}

/// A candle row; `confirm` false while the bar still forms.
fn candle_row(x: &Exchange, listed: &Listed, raw: &super::market::RawCandle, confirm: bool) -> Value {
    let inst = &listed.listing.inst;
    let shift = x.shift(inst.id.as_str(), raw.second);
    let price = |ticks: i64| text(listed.price((ticks + shift).max(1)));
    let volume = listed.size(raw.lots);
    let (in_base, in_quote) = {
        let base = volume * inst.contract_value;
        (base, (base * listed.price(raw.close + shift)).round_dp(8))
    };
    let second_volume = if inst.kind == InstKind::Spot { in_quote } else { in_base };
    json!([
        (raw.second * 1000).to_string(),
        price(raw.open),
        price(raw.high),
        price(raw.low),
        price(raw.close),
        text(volume),
        text(second_volume),
        text(in_quote),
        if confirm { "1" } else { "0" },
    ])
}

/// The pushes of one candle channel for the seconds after `from` up to `now`: each bar that closed, then the forming one.
pub fn candle_pushes(x: &Exchange, listed: &Listed, bar: Bar, from: i64, now: i64) -> Vec<String> {
    let span = bar.span().0 / 1000;
    let first = from.div_euclid(span) * span;
    let open = now.div_euclid(span) * span;
    let mut out: Vec<String> = listed
        .candles(bar, first, open)
        .iter()
        .filter(|raw| raw.second + span > from)
        .map(|raw| format!("[{}]", candle_row(x, listed, raw, true)))
        .collect();
    if let Some(forming) = forming(x, listed, bar, open, now) {
        out.push(format!("[{forming}]"));
    }
    out
}

fn forming(x: &Exchange, listed: &Listed, bar: Bar, open: i64, now: i64) -> Option<Value> {
    // A bar that has just opened has one trade; a longer one is folded from the seconds it has seen.
    let seen = listed.candles(Bar::S1, open, now.max(open + 1));
    let (first, last) = (seen.first()?, seen.last()?);
    let just_opened = now == open;
    let raw = super::market::RawCandle {
        second: open,
        open: first.open,
        high: if just_opened { first.open } else { seen.iter().map(|c| c.high).max()? },
        low: if just_opened { first.open } else { seen.iter().map(|c| c.low).min()? },
        close: if just_opened { first.open } else { last.close },
        lots: seen.iter().map(|c| c.lots).sum(),
    };
    let _ = bar;
    Some(candle_row(x, listed, &raw, false))
}

/// Rows of `market/candles`, newest first. `after`: older than; `before`: newer than; both exclusive.
pub fn candles(x: &Exchange, listed: &Listed, bar: Bar, page: CandlePage) -> Vec<Value> {
    let span = bar.span().0 / 1000;
    let now = x.now().0.div_euclid(1000);
    let open = now.div_euclid(span) * span;
    // Exclusive upper bound of open times, aligned.
    let end = page.after.map_or(open, |ts| Ms(ts.0 + bar.span().0 - 1).floor(bar.span()).0 / 1000).min(open);
    let wants_forming = page.with_forming && page.after.is_none_or(|ts| ts.0 > open * 1000);
    let room = page.limit - usize::from(wants_forming);
    let mut from = end - span * room as i64;
    if let Some(before) = page.before {
        from = from.max((before.0.div_euclid(1000)).div_euclid(span) * span + span);
    }
    if let Some(oldest) = page.oldest {
        from = from.max(oldest.0 / 1000);
    }
    let mut rows: Vec<Value> = Vec::new();
    if wants_forming && page.before.is_none_or(|ts| ts.0 < open * 1000) {
        rows.extend(forming(x, listed, bar, open, now));
    }
    if from < end {
        rows.extend(listed.candles(bar, from, end).iter().rev().map(|raw| candle_row(x, listed, raw, true)));
    }
    rows
}

/// Which candles are asked for.
#[derive(Clone, Copy, Debug)]
pub struct CandlePage {
    pub after: Option<Ms>,
    pub before: Option<Ms>,
    pub limit: usize,
    /// Does the page start with the bar that still forms (`candles`) or not (`history-candles`)?
    pub with_forming: bool,
    /// Nothing older than this is served (`candles` keeps 1,440 bars).
    pub oldest: Option<Ms>,
}
