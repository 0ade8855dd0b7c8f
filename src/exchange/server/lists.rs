//! Orders, fills, algo orders and bills: what there is now and what was, page by page.

use serde_json::{Value, json};

use super::super::core::{AlgoStatus, Exchange, VenueOrder};
use super::super::render;
use super::public::{bad, unknown};
use super::{Request, Site, VenueFailure};
use crate::domain::Ms;

/// GET endpoints of `trade/`, and the bills.
pub(super) async fn read(
    site: &Site,
    request: &Request,
    endpoint: &str,
) -> Result<Value, VenueFailure> {
    let (request, endpoint) = (request.for_engine(), endpoint.to_owned());
    let purged = site.faults.purged_before();
    site.engine
        .ask(move |x| rows(x, &request, &endpoint, purged).map(Value::Array))
        .await?
}

/// A page of a list that is kept oldest first: newest first, `after` older than, `before` newer
/// than.
fn page<'a, T: 'a>(
    request: &Request,
    newest_first: impl Iterator<Item = (u64, &'a T)>,
    render: impl Fn(&T) -> Value,
) -> Result<Vec<Value>, VenueFailure> {
    let id = |name: &str| match request.param(name) {
        "" => Ok(None),
        text => text.parse::<u64>().map(Some).map_err(|_| bad(name)),
    };
    let (after, before) = (id("after")?, id("before")?);
    let limit = super::public::number(request, "limit", 100, 100)? as usize;
    Ok(newest_first
        .filter(|(key, _)| after.is_none_or(|a| *key < a) && before.is_none_or(|b| *key > b))
        .take(limit)
        .map(|(_, row)| render(row))
        .collect())
}

fn rows(
    x: &Exchange,
    request: &Request,
    endpoint: &str,
    purged: Ms,
) -> Result<Vec<Value>, VenueFailure> {
    let wanted =
        |name: &str, value: &str| request.param(name).is_empty() || request.param(name) == value;
    let by_inst =
        |inst: &str| wanted("instId", inst) && wanted("instType", render::inst_type(inst));
    let time = |name: &str| request.param(name).parse::<i64>().ok();
    let (begin, end) = (time("begin"), time("end"));
    let in_span = |at: Ms| begin.is_none_or(|b| at.0 >= b) && end.is_none_or(|e| at.0 <= e);
    let within =
        |at: Ms| begin.is_none_or(|b| at.0 >= b) && end.is_none_or(|e| at.0 <= e) && at >= purged;
    let named = request.param("instId");
    if !named.is_empty() && x.market.get(named).is_none() {
        return Err(unknown(named));
    }
    let needs = |name: &'static str| {
        if request.param(name).is_empty() {
            Err(bad(name))
        } else {
            Ok(())
        }
    };
    match endpoint {
        "account/bills" | "account/bills-archive" => {
            let rows = x.ledger.bills.iter().rev().filter(|(_, b)| {
                wanted("type", &b.kind.to_string())
                    && wanted("ccy", &b.ccy)
                    && within(b.at)
                    && (named.is_empty() || b.inst == named)
            });
            page(request, rows.map(|(id, b)| (*id, b)), render::bill)
        }
        "trade/order" => {
            needs("instId")?;
            if request.param("ordId").is_empty() && request.param("clOrdId").is_empty() {
                return Err(VenueFailure::new(
                    200,
                    "51003",
                    "Either client order ID or order ID is required.",
                ));
            }
            let found = x.find_order(named, request.param("ordId"), request.param("clOrdId"));
            match found.filter(|order| !forgotten(x, order, purged)) {
                Some(order) => Ok(vec![render::order_queried(x, order)]),
                None => Err(VenueFailure::new(200, "51603", "Order does not exist")),
            }
        }
        "trade/orders-pending" => {
            let mut open: Vec<&VenueOrder> = x
                .open_orders()
                .filter(|o| {
                    by_inst(&o.inst) && wanted("state", o.status.okx()) && kind_is(request, o)
                })
                .collect();
            open.reverse();
            page(request, open.into_iter().map(|o| (o.id, o)), |o| {
                render::order_queried(x, o)
            })
        }
        "trade/orders-history" | "trade/orders-history-archive" => {
            needs("instType")?;
            let ended = x.ledger.orders.iter().rev().filter(|(_, o)| {
                !o.status.is_open()
                    && by_inst(&o.inst)
                    && wanted("state", o.status.okx())
                    && kind_is(request, o)
                    && in_span(o.created)
                    && !forgotten(x, o, purged)
            });
            page(request, ended.map(|(id, o)| (*id, o)), |o| {
                render::order_queried(x, o)
            })
        }
        "trade/fills" | "trade/fills-history" => {
            let rows = x.ledger.executions.iter().rev().filter(|(_, f)| {
                by_inst(&f.inst) && wanted("ordId", &f.order.to_string()) && within(f.at)
            });
            page(request, rows.map(|(id, f)| (*id, f)), render::execution)
        }
        "trade/order-algo" => {
            let (id, name) = (request.param("algoId"), request.param("algoClOrdId"));
            if id.is_empty() && name.is_empty() {
                return Err(VenueFailure::new(
                    200,
                    "51003",
                    "Either client order ID or order ID is required.",
                ));
            }
            let is_it = |a: &&super::super::core::Algo| {
                if id.is_empty() {
                    a.cl_ord_id == name
                } else {
                    a.id.to_string() == id
                }
            };
            match x.ledger.algos.values().rev().find(is_it) {
                Some(algo) => Ok(vec![render::algo(algo)]),
                None => Err(VenueFailure::new(200, "51603", "Order does not exist")),
            }
        }
        "trade/orders-algo-pending" | "trade/orders-algo-history" => {
            needs("ordType")?;
            let live = endpoint == "trade/orders-algo-pending";
            let kinds: Vec<&str> = request.param("ordType").split(',').collect();
            let rows = x.ledger.algos.iter().rev().filter(|(_, a)| {
                (a.status == AlgoStatus::Live) == live
                    && by_inst(&a.inst)
                    && kinds.contains(&a.kind.okx())
                    && wanted("state", a.status.okx())
                    && wanted("algoId", &a.id.to_string())
                    && wanted("algoClOrdId", &a.cl_ord_id)
            });
            page(request, rows.map(|(id, a)| (*id, a)), render::algo)
        }
        "trade/account-rate-limit" => Ok(vec![
            json!({"accRateLimit": "1000", "nextAccRateLimit": "1000",
            "fillRatio": "", "mainFillRatio": "", "ts": x.now().0.to_string()}),
        ]),
        other => unreachable!("the table names {other}, which nobody serves"),
    }
}

fn kind_is(request: &Request, order: &VenueOrder) -> bool {
    let kinds = request.param("ordType");
    let own = if order.shown_as.is_empty() {
        order.ord_type.okx()
    } else {
        order.shown_as.as_str()
    };
    kinds.is_empty() || kinds.split(',').any(|kind| kind == own)
}

/// Two hours after it ended without a fill, an order is as if it had never been; so is all that a
/// purge took.
fn forgotten(x: &Exchange, order: &VenueOrder, purged: Ms) -> bool {
    let ended = !order.status.is_open();
    ended
        && ((order.filled.is_zero() && x.now().since(order.updated) > Ms::secs(7200))
            || order.updated < purged)
}
