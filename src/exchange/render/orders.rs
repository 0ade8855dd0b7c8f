//! Orders, fills and algo orders.

use serde_json::{Value, json};

use super::super::core::{Algo, AlgoKind, Exchange, Execution, Leg, VenueOrder};
use super::{inst_type, ms, opt, text, with_empty};
use crate::domain::{OrdType, Side};

const EMPTY: [&str; 14] = [
    "attachAlgoClOrdId",
    "cancelSourceReason",
    "ccy",
    "pxType",
    "pxUsd",
    "pxVol",
    "quickMgnType",
    "slOrdPx",
    "slTriggerPx",
    "slTriggerPxType",
    "stpId",
    "tpOrdPx",
    "tpTriggerPx",
    "tpTriggerPxType",
];

/// An order as the stream pushes it; with `fill`, the fields of the execution that this push
/// reports.
pub fn order(o: &VenueOrder, fill: Option<&Execution>) -> Value {
    let mut row = fields(o, fill);
    row["notionalUsd"] = json!("");
    row["fillFee"] = json!(fill.map_or("0".into(), |f| text(f.fee)));
    row["fillFeeCcy"] = json!(fill.map(|f| f.fee_ccy.clone()).unwrap_or_default());
    row["fillPnl"] = json!(fill.map_or("0".into(), |f| text(f.pnl)));
    row["fillNotionalUsd"] = json!("");
    row["execType"] = json!(fill.map_or("", |f| if f.maker { "M" } else { "T" }));
    row["lastPx"] = json!(opt(fill.map(|f| f.price)));
    row["amendResult"] = json!("");
    row["amendSource"] = json!("");
    row["reqId"] = json!("");
    row["code"] = json!("0");
    row["msg"] = json!("");
    with_empty(
        row,
        &[
            "fillPxVol",
            "fillPxUsd",
            "fillMarkVol",
            "fillFwdPx",
            "fillMarkPx",
        ],
    )
}

/// The push that says an amendment took effect.
pub fn order_amended(o: &VenueOrder, req_id: &str) -> Value {
    let mut row = order(o, None);
    row["amendResult"] = json!("0");
    row["amendSource"] = json!("1");
    row["reqId"] = json!(req_id);
    row
}

/// An order as a query shows it: with the last fill's price and size, but not its fee or side of
/// the book, which only the stream and the fill list tell.
pub fn order_queried(x: &Exchange, o: &VenueOrder) -> Value {
    fields(o, o.last_fill.and_then(|id| x.ledger.executions.get(&id)))
}

fn fields(o: &VenueOrder, fill: Option<&Execution>) -> Value {
    let kind = match (o.shown_as.as_str(), o.all_or_none) {
        ("", true) => "fok",
        ("", false) => o.ord_type.okx(),
        (name, _) => name,
    };
    let spot_market = o.ord_type == OrdType::Market && inst_type(&o.inst) == "SPOT";
    let (size, unit) = match (o.size_in_quote, spot_market) {
        // Ledgers of the first release did not keep what was asked.
        (true, _) => (
            if o.asked.is_zero() { o.size } else { o.asked },
            "quote_ccy",
        ),
        (false, true) => (o.size, "base_ccy"),
        (false, false) => (o.size, ""),
    };
    let attached = o.attached.iter().map(|a| {
        with_legs(
            json!({"attachAlgoId": "", "attachAlgoClOrdId": a.algo_cl_ord_id, "sz": "", "amendPxOnTriggerType": "0"}),
            a.stop.as_ref(),
            a.target.as_ref(),
        )
    });
    let row = json!({
        "instType": inst_type(&o.inst), "instId": o.inst, "ordId": o.id.to_string(), "clOrdId": o.cl_ord_id,
        "tag": o.tag, "px": opt(o.price), "sz": text(size), "pnl": text(o.pnl), "ordType": kind,
        "side": o.side.as_str(), "posSide": "net", "tdMode": o.td_mode, "accFillSz": text(o.filled),
        "avgPx": opt(o.average()), "state": o.status.okx(), "fillPx": opt(fill.map(|f| f.price)),
        "fillSz": fill.map_or("0".into(), |f| text(f.size)),
        "tradeId": fill.map(|f| f.trade_id.to_string()).unwrap_or_default(), "fillTime": ms(fill.map(|f| f.at)),
        "fee": text(o.fee), "feeCcy": o.fee_ccy, "rebate": "0", "rebateCcy": o.fee_ccy,
        "lever": "", "reduceOnly": o.reduce_only.to_string(), "category": o.category, "source": o.source,
        "cancelSource": o.cancel_source, "algoId": o.algo_id.map(|id| id.to_string()).unwrap_or_default(),
        "algoClOrdId": o.algo_cl_ord_id, "attachAlgoOrds": attached.collect::<Vec<_>>(),
        "linkedAlgoOrd": {"algoId": ""}, "isTpLimit": "false", "stpMode": o.stp.okx(), "tgtCcy": unit,
        "cTime": o.created.0.to_string(), "uTime": o.updated.0.to_string(),
    });
    with_empty(row, &EMPTY)
}

/// Trigger and order price of stop and target in OKX's names; -1 is a market order.
fn with_legs(mut row: Value, stop: Option<&Leg>, target: Option<&Leg>) -> Value {
    for (prefix, leg) in [("sl", stop), ("tp", target)] {
        let price = leg
            .map(|leg| leg.price.map_or("-1".into(), text))
            .unwrap_or_default();
        row[format!("{prefix}TriggerPx")] = json!(opt(leg.map(|leg| leg.trigger)));
        row[format!("{prefix}TriggerPxType")] = json!(if leg.is_some() { "last" } else { "" });
        row[format!("{prefix}OrdPx")] = json!(price);
    }
    row
}

/// A row of `trade/fills`.
pub fn execution(x: &Execution) -> Value {
    let row = json!({
        "instType": inst_type(&x.inst), "instId": x.inst, "tradeId": x.trade_id.to_string(),
        "ordId": x.order.to_string(), "clOrdId": x.cl_ord_id, "billId": x.id.to_string(),
        "subType": if x.side == Side::Buy { "1" } else { "2" },
        "tag": "", "fillPx": text(x.price), "fillSz": text(x.size), "side": x.side.as_str(), "posSide": "net",
        "execType": if x.maker { "M" } else { "T" }, "feeCcy": x.fee_ccy, "fee": text(x.fee), "feeRate": "",
        "fillPnl": text(x.pnl), "fillTime": x.at.0.to_string(), "ts": x.at.0.to_string(),
    });
    with_empty(
        row,
        &[
            "fillPxVol",
            "fillPxUsd",
            "fillMarkVol",
            "fillFwdPx",
            "fillMarkPx",
            "fillIdxPx",
        ],
    )
}

/// An algo order object.
pub fn algo(a: &Algo) -> Value {
    let trigger = a.stop.as_ref().filter(|_| a.kind == AlgoKind::Trigger);
    let legs = a.kind != AlgoKind::Trigger && a.kind != AlgoKind::Trailing;
    let trail = a.trail.as_ref();
    let row = json!({
        "instType": inst_type(&a.inst), "instId": a.inst, "algoId": a.id.to_string(), "algoClOrdId": a.cl_ord_id,
        "ordId": a.child.map(|id| id.to_string()).unwrap_or_default(),
        "ordIdList": a.child.map(|id| vec![id.to_string()]).unwrap_or_default(),
        "ordType": a.kind.okx(), "side": a.side.as_str(), "posSide": "net", "tdMode": a.td_mode,
        "sz": if a.whole { String::new() } else { text(a.size) }, "closeFraction": if a.whole { "1" } else { "" },
        "state": a.status.okx(), "reduceOnly": a.reduce_only.to_string(), "tag": a.tag,
        "triggerPx": opt(trigger.map(|leg| leg.trigger)),
        "triggerPxType": if trigger.is_some() { "last" } else { "" },
        "ordPx": trigger.map(|leg| leg.price.map_or("-1".into(), text)).unwrap_or_default(),
        "callbackRatio": opt(trail.and_then(|t| t.ratio)), "callbackSpread": opt(trail.and_then(|t| t.spread)),
        "activePx": opt(trail.and_then(|t| t.active)),
        "moveTriggerPx": opt(a.stop.as_ref().filter(|_| trail.is_some()).map(|leg| leg.trigger)),
        "actualSz": text(a.actual_size), "actualSide": if legs { a.actual_side.as_str() } else { "" },
        "triggerTime": ms(a.triggered), "failCode": a.fail_code, "attachAlgoOrds": [], "linkedOrd": {"ordId": ""},
        "cTime": a.created.0.to_string(), "uTime": a.updated.0.to_string(),
    });
    let row = with_legs(row, a.stop.as_ref().filter(|_| legs), a.target.as_ref());
    with_empty(
        row,
        &[
            "actualPx",
            "amendPxOnTriggerType",
            "amendResult",
            "ccy",
            "clOrdId",
            "last",
            "lever",
            "notionalUsd",
            "pxLimit",
            "pxSpread",
            "pxVar",
            "quickMgnType",
            "reqId",
            "szLimit",
            "tgtCcy",
            "timeInterval",
        ],
    )
}
