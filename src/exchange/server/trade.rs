//! Order operations, the same for REST and WebSocket: parse, check the deadline, place or cancel, answer per item.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::super::core::{AttachedStop, CreateSeen, NewOrder, Refusal};
use super::{Failure, Site};
use crate::domain::{Ms, OrdType, Side};

/// `POST trade/order`.
pub(super) async fn place(site: &Site, exp_time: &str, body: Value) -> Result<String, Failure> {
    let received = site.engine.clock.now();
    Ok(envelope(received, place_one(site, exp_time, body, received).await?, site))
}

/// `POST trade/cancel-order`.
pub(super) async fn cancel(site: &Site, body: Value) -> Result<String, Failure> {
    let received = site.engine.clock.now();
    Ok(envelope(received, cancel_one(site, body).await?, site))
}

/// `POST trade/cancel-algos`: a list of at most ten.
pub(super) async fn cancel_algos(site: &Site, body: Value) -> Result<String, Failure> {
    let Some(list) = body.as_array().filter(|list| (1..=10).contains(&list.len())) else {
        return Err(Failure::new(400, "51000", "Parameter data error"));
    };
    let asked: Vec<(String, String)> =
        list.iter().map(|item| (field(item, "algoId").to_owned(), field(item, "algoClOrdId").to_owned())).collect();
    let outcomes = site
        .engine
        .ask(move |x| {
            asked
                .into_iter()
                .map(|(id, name)| (id.clone(), name.clone(), x.cancel_algo(&id, &name)))
                .collect::<Vec<_>>()
        })
        .await?;
    let failed = outcomes.iter().all(|(.., outcome)| outcome.is_err());
    let items: Vec<Value> = outcomes
        .into_iter()
        .map(|(id, name, outcome)| match outcome {
            Ok(id) => json!({"algoId": id.to_string(), "algoClOrdId": name, "sCode": "0", "sMsg": ""}),
            Err(r) => json!({"algoId": id, "algoClOrdId": name, "sCode": r.code, "sMsg": r.msg}),
        })
        .collect();
    let (code, msg) = if failed { ("1", "All operations failed") } else { ("0", "") };
    Ok(json!({"code": code, "msg": msg, "data": items}).to_string())
}

/// Code and data of a one-item operation, as REST and WebSocket both wrap it.
pub(super) fn envelope(received: Ms, item: Value, site: &Site) -> String {
    let failed = item["sCode"] != "0";
    let (code, msg) = if failed { ("1", "All operations failed") } else { ("0", "") };
    json!({"code": code, "msg": msg, "data": [item], "inTime": (received.0 * 1000).to_string(),
        "outTime": (site.engine.clock.now().0 * 1000).to_string()})
    .to_string()
}

/// Places one order; the item has `sCode` "0" or OKX's refusal.
pub(super) async fn place_one(site: &Site, exp_time: &str, body: Value, received: Ms) -> Result<Value, Failure> {
    let cl_ord_id = field(&body, "clOrdId").to_owned();
    let echo = cl_ord_id.clone();
    let tag = field(&body, "tag").to_owned();
    let deadline = match exp_time {
        "" => None,
        text => Some(Ms(text.parse().map_err(|_| Failure::new(400, "51000", "Parameter expTime error"))?)),
    };
    let admitted = field(&body, "tdMode") == "cash" || site.limits.admit_order(received);
    let outcome = site
        .engine
        .ask(move |x| {
            x.ledger.creates.push(CreateSeen { cl_ord_id, recv_ms: received.0, body: body.clone() });
            x.changes.creates += 1;
            if !admitted {
                return Err(Refusal::new("50061", "The order rate limit of the sub-account is exceeded."));
            }
            if deadline.is_some_and(|at| x.now() > at) {
                return Err(Refusal::new("50036", "The expTime can't be earlier than the current system time."));
            }
            x.place(parse(&body)?)
        })
        .await?;
    let ts = site.engine.clock.now().0.to_string();
    Ok(match outcome {
        Ok(id) => {
            json!({"ordId": id.to_string(), "clOrdId": echo, "tag": tag, "ts": ts, "sCode": "0", "sMsg": "Order placed"})
        }
        Err(r) => json!({"ordId": "", "clOrdId": echo, "tag": tag, "ts": ts, "sCode": r.code, "sMsg": r.msg}),
    })
}

/// Cancels one order; success means the request was accepted.
pub(super) async fn cancel_one(site: &Site, body: Value) -> Result<Value, Failure> {
    let (inst, ord_id, cl_ord_id) =
        (field(&body, "instId").to_owned(), field(&body, "ordId").to_owned(), field(&body, "clOrdId").to_owned());
    let echo = (ord_id.clone(), cl_ord_id.clone());
    let outcome = site.engine.ask(move |x| x.cancel(&inst, &ord_id, &cl_ord_id)).await?;
    let ts = site.engine.clock.now().0.to_string();
    Ok(match outcome {
        Ok(id) => json!({"ordId": id.to_string(), "clOrdId": echo.1, "ts": ts, "sCode": "0", "sMsg": ""}),
        Err(r) => json!({"ordId": echo.0, "clOrdId": echo.1, "ts": ts, "sCode": r.code, "sMsg": r.msg}),
    })
}

/// A text field; absent, null and empty are the same to OKX.
pub(super) fn field<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name].as_str().unwrap_or("")
}

fn decimal(body: &Value, name: &str) -> Result<Option<Decimal>, Refusal> {
    match &body[name] {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => bounded(text, name).map(Some),
        Value::Number(number) => bounded(&number.to_string(), name).map(Some),
        _ => Err(bad(name)),
    }
}

/// Nothing anybody could mean is larger than this, and no product of two such overflows.
fn bounded(text: &str, name: &str) -> Result<Decimal, Refusal> {
    let value: Decimal = text.parse().map_err(|_| bad(name))?;
    if value.abs() <= Decimal::from(1_000_000_000_000i64) && value.scale() <= 12 { Ok(value) } else { Err(bad(name)) }
}

fn bad(name: &str) -> Refusal {
    Refusal::new("51000", format!("Parameter {name} error"))
}

fn truth(value: &Value) -> bool {
    value.as_bool().unwrap_or(false) || value.as_str() == Some("true")
}

fn parse(body: &Value) -> Result<NewOrder, Refusal> {
    let side = Side::parse(field(body, "side")).ok_or_else(|| bad("side"))?;
    let (ord_type, all_or_none) = match field(body, "ordType") {
        "fok" => (OrdType::Ioc, true),
        other => (OrdType::parse(other).ok_or_else(|| bad("ordType"))?, false),
    };
    if !matches!(field(body, "posSide"), "" | "net") {
        return Err(bad("posSide"));
    }
    let inst = field(body, "instId").to_owned();
    let spot_market = ord_type == OrdType::Market && !inst.ends_with("-SWAP");
    let size_in_quote = spot_market
        && match field(body, "tgtCcy") {
            "" => side == Side::Buy,
            "quote_ccy" => true,
            "base_ccy" => false,
            _ => return Err(bad("tgtCcy")),
        };
    let mut attached = Vec::new();
    if let Some(list) = body["attachAlgoOrds"].as_array() {
        for stop in list {
            if let Some(trigger) = decimal(stop, "slTriggerPx")? {
                attached.push(AttachedStop { algo_cl_ord_id: field(stop, "attachAlgoClOrdId").to_owned(), trigger });
            }
        }
    }
    Ok(NewOrder {
        inst,
        td_mode: field(body, "tdMode").to_owned(),
        side,
        ord_type,
        all_or_none,
        size: decimal(body, "sz")?.ok_or_else(|| bad("sz"))?,
        size_in_quote,
        price: decimal(body, "px")?.filter(|_| ord_type != OrdType::Market),
        cl_ord_id: field(body, "clOrdId").to_owned(),
        tag: field(body, "tag").to_owned(),
        reduce_only: truth(&body["reduceOnly"]),
        attached,
    })
}
