//! Order operations, the same for REST and WebSocket, single or in a batch: check limits and the
//! deadline, hand all items to the core in one step, answer per item.

use serde_json::{Value, json};

use super::super::core::{CreateSeen, Exchange, Rejection};
use super::parse::{self, field};
use super::{Site, VenueFailure};
use crate::domain::Ms;

/// Operation requested on an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TradeOp {
    Place,
    Cancel,
    Amend,
}

impl TradeOp {
    /// From a REST path or a WebSocket op; with whether it is a batch.
    pub(super) fn parse(name: &str) -> Option<(Self, bool)> {
        Some(match name {
            "trade/order" | "order" => (TradeOp::Place, false),
            "trade/batch-orders" | "batch-orders" => (TradeOp::Place, true),
            "trade/cancel-order" | "cancel-order" => (TradeOp::Cancel, false),
            "trade/cancel-batch-orders" | "batch-cancel-orders" => (TradeOp::Cancel, true),
            "trade/amend-order" | "amend-order" => (TradeOp::Amend, false),
            "trade/amend-batch-orders" | "batch-amend-orders" => (TradeOp::Amend, true),
            _ => return None,
        })
    }

    const fn batch_path(self) -> &'static str {
        match self {
            TradeOp::Place => "trade/batch-orders",
            TradeOp::Cancel => "trade/cancel-batch-orders",
            TradeOp::Amend => "trade/amend-batch-orders",
        }
    }
}

/// Orders of one batch.
const BATCH_MAX: usize = 20;

/// Runs one operation over its items and answers with OKX's envelope. `exp_time` is the request's
/// deadline in venue milliseconds, or empty.
pub(super) async fn operate(
    site: &Site,
    (op, batch): (TradeOp, bool),
    exp_time: &str,
    items: Vec<Value>,
) -> Result<Value, VenueFailure> {
    let received = site.engine.clock.now();
    if items.is_empty() || !items.iter().all(Value::is_object) {
        return Err(VenueFailure::new(400, "50002", "JSON syntax error"));
    }
    if items.len() > BATCH_MAX {
        let code = if op == TradeOp::Amend {
            "51501"
        } else if op == TradeOp::Cancel {
            "51406"
        } else {
            "51111"
        };
        return Err(VenueFailure::new(
            200,
            code,
            format!("Maximum {BATCH_MAX} orders can be sent in one batch."),
        ));
    }
    admit(site, op, batch, &items, received)?;
    let deadline = match exp_time {
        "" => None,
        text => Some(Ms(text.parse().map_err(|_| {
            VenueFailure::new(400, "51000", "Parameter expTime error")
        })?)),
    };
    let one = items.len() == 1;
    // Deadlines are judged by the clock that the venue shows.
    let shown = site.now();
    let over: Vec<bool> = items
        .iter()
        .map(|item| op != TradeOp::Cancel && !within_sub_account(site, item, received))
        .collect();
    let rows: Vec<Value> = site
        .engine
        .ask(move |x| {
            let each = items.into_iter().zip(over);
            each.map(|(item, over)| answer(x, op, item, over, (received, shown), deadline))
                .collect()
        })
        .await?;
    let failed = rows.iter().filter(|row| row["sCode"] != "0").count();
    let (code, msg) = match failed {
        0 => ("0", ""),
        n if n == rows.len() && one && !batch => ("1", "Operation failed."),
        n if n == rows.len() => ("1", "All operations failed"),
        _ => ("2", "Bulk operation partially succeeded."),
    };
    Ok(
        json!({"code": code, "msg": msg, "data": rows, "inTime": (received.0 * 1000).to_string(),
        "outTime": (site.engine.clock.now().0 * 1000).to_string()}),
    )
}

/// Counts the orders per instrument against the operation's window; a batch of one as a single.
fn admit(
    site: &Site,
    op: TradeOp,
    batch: bool,
    items: &[Value],
    now: Ms,
) -> Result<(), VenueFailure> {
    let mut counts: std::collections::BTreeMap<&str, usize> = Default::default();
    for item in items {
        *counts.entry(field(item, "instId")).or_default() += 1;
    }
    debug_assert!(batch || items.len() == 1, "a single operation has one item");
    let admitted = counts
        .iter()
        .all(|(inst, n)| site.limits.admit_batch(op.batch_path(), inst, *n, now));
    if admitted {
        Ok(())
    } else {
        Err(VenueFailure::new(429, "50011", "Too Many Requests"))
    }
}

fn within_sub_account(site: &Site, item: &Value, now: Ms) -> bool {
    field(item, "tdMode") == "cash" || site.limits.admit_order(now)
}

fn answer(
    x: &mut Exchange,
    op: TradeOp,
    item: Value,
    over: bool,
    at: (Ms, Ms),
    deadline: Option<Ms>,
) -> Value {
    let cl_ord_id = field(&item, "clOrdId").to_owned();
    let (tag, req_id, ord_id) = (
        field(&item, "tag").to_owned(),
        field(&item, "reqId").to_owned(),
        field(&item, "ordId").to_owned(),
    );
    let outcome = run(x, op, item, over, at, deadline);
    let mut row = match outcome {
        Ok(id) => {
            let named = x
                .ledger
                .orders
                .get(&id)
                .map_or(cl_ord_id, |order| order.cl_ord_id.clone());
            let words = if op == TradeOp::Place {
                "Order placed"
            } else {
                ""
            };
            json!({"ordId": id.to_string(), "clOrdId": named, "sCode": "0", "sMsg": words})
        }
        Err(r) => json!({"ordId": ord_id, "clOrdId": cl_ord_id, "sCode": r.code, "sMsg": r.msg}),
    };
    row["ts"] = json!(x.now().0.to_string());
    match op {
        TradeOp::Place => row["tag"] = json!(tag),
        TradeOp::Amend => row["reqId"] = json!(req_id),
        TradeOp::Cancel => {}
    }
    row
}

fn run(
    x: &mut Exchange,
    op: TradeOp,
    item: Value,
    over: bool,
    (received, shown): (Ms, Ms),
    deadline: Option<Ms>,
) -> Result<u64, Rejection> {
    let (inst, ord_id, cl_ord_id) = (
        field(&item, "instId").to_owned(),
        field(&item, "ordId").to_owned(),
        field(&item, "clOrdId").to_owned(),
    );
    if op == TradeOp::Place {
        x.ledger.creates.push(CreateSeen {
            cl_ord_id: cl_ord_id.clone(),
            recv_ms: received.0,
            body: item.to_string(),
        });
        x.changes.creates += 1;
    }
    if over {
        return Err(Rejection::new(
            "50061",
            "The order rate limit of the sub-account is exceeded.",
        ));
    }
    if op != TradeOp::Cancel
        && deadline.is_some_and(|at| x.now().plus(Ms(shown.0 - received.0)) > at)
    {
        return Err(Rejection::new(
            "50036",
            "The expTime can't be earlier than the current system time.",
        ));
    }
    if op != TradeOp::Place && x.market.get(&inst).is_none() {
        return Err(Rejection::new(
            "51001",
            format!("Instrument ID or Spread ID {inst} doesn't exist."),
        ));
    }
    match op {
        TradeOp::Place => x.place(parse::order(&item)?),
        TradeOp::Cancel => x.cancel(&inst, &ord_id, &cl_ord_id),
        TradeOp::Amend => x.amend(&inst, &ord_id, &cl_ord_id, &parse::amend(&item)?),
    }
}

/// `trade/close-position`.
pub(super) async fn close_position(site: &Site, body: Value) -> Result<Value, VenueFailure> {
    let (inst, name, tag) = (
        field(&body, "instId").to_owned(),
        field(&body, "clOrdId").to_owned(),
        field(&body, "tag").to_owned(),
    );
    if field(&body, "mgnMode") != "cross" {
        return Err(VenueFailure::new(400, "51000", "Parameter mgnMode error"));
    }
    let auto = body["autoCxl"].as_bool().unwrap_or(false) || field(&body, "autoCxl") == "true";
    let echo = json!([{"instId": inst, "posSide": "net", "clOrdId": name, "tag": tag}]);
    let done = site
        .engine
        .ask(move |x| x.close_position(&inst, &name, &tag, auto))
        .await?;
    done.map(|_| echo)
        .map_err(|r| VenueFailure::new(200, r.code, r.msg))
}

/// `trade/cancel-all-after`.
pub(super) async fn cancel_all_after(site: &Site, body: Value) -> Result<Value, VenueFailure> {
    let text = body["timeOut"]
        .as_str()
        .map_or_else(|| body["timeOut"].to_string(), str::to_owned);
    let seconds: i64 = text
        .parse()
        .map_err(|_| VenueFailure::new(400, "51000", "Parameter timeOut error"))?;
    let tag = field(&body, "tag").to_owned();
    let echo = tag.clone();
    let (at, now) = site
        .engine
        .ask(move |x| (x.cancel_all_after(seconds, &tag), x.now()))
        .await?;
    let at = at.map_err(|r| VenueFailure::new(200, r.code, r.msg))?;
    let trigger = at.map_or("0".to_owned(), |at| at.0.to_string());
    Ok(json!([{"triggerTime": trigger, "tag": echo, "ts": now.0.to_string()}]))
}

/// `trade/order-algo`, `cancel-algos` and `amend-algos`.
pub(super) async fn algo(site: &Site, endpoint: &str, body: Value) -> Result<Value, VenueFailure> {
    let items = match (endpoint, body) {
        ("trade/cancel-algos" | "trade/cancel-advance-algos", Value::Array(items))
            if (1..=10).contains(&items.len()) =>
        {
            items
        }
        ("trade/order-algo" | "trade/amend-algos", body) if body.is_object() => vec![body],
        _ => return Err(VenueFailure::new(400, "51000", "Parameter data error")),
    };
    let endpoint = endpoint.to_owned();
    let rows: Vec<Value> = site
        .engine
        .ask(move |x| {
            items
                .iter()
                .map(|item| algo_item(x, &endpoint, item))
                .collect()
        })
        .await?;
    let failed = rows.iter().filter(|row| row["sCode"] != "0").count();
    // Algo endpoints can say 0 above an item that failed; only when every item failed it is 1.
    let (code, msg) = if failed == rows.len() {
        ("1", "All operations failed")
    } else {
        ("0", "")
    };
    Ok(json!({"code": code, "msg": msg, "data": rows}))
}

fn algo_item(x: &mut Exchange, endpoint: &str, item: &Value) -> Value {
    let (id, name) = (field(item, "algoId"), field(item, "algoClOrdId"));
    let outcome = match endpoint {
        "trade/order-algo" => parse::algo(item).and_then(|new| x.place_algo(new)),
        "trade/amend-algos" => {
            parse::algo_amend(item).and_then(|(size, legs)| x.amend_algo(id, name, size, legs))
        }
        _ => x.cancel_algo(id, name),
    };
    let mut row = match outcome {
        Ok(id) => json!({"algoId": id.to_string(), "algoClOrdId": name, "sCode": "0", "sMsg": ""}),
        Err(r) => json!({"algoId": id, "algoClOrdId": name, "sCode": r.code, "sMsg": r.msg}),
    };
    match endpoint {
        "trade/order-algo" => {
            row["clOrdId"] = json!(field(item, "clOrdId"));
            row["tag"] = json!(field(item, "tag"));
        }
        "trade/amend-algos" => row["reqId"] = json!(field(item, "reqId")),
        _ => {}
    }
    row
}
