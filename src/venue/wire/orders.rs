//! Orders, fills and stops, and the body of a create.

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Malformed, decimal, malformed, time};
use crate::domain::ids::CLIENT_ID_PREFIX;
use crate::domain::{
    AlgoState, ContenderId, Fill, InstId, InstKind, Instrument, Liquidity, Ms, OrderId, OrderIntent, Price, Qty, RunId,
    Side, Stop, TradeId, VenueOrdId, VenueReport, VenueStatus,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderRow {
    inst_id: String,
    ord_id: String,
    #[serde(default)]
    cl_ord_id: String,
    #[serde(default)]
    algo_cl_ord_id: String,
    #[serde(default)]
    algo_id: String,
    side: String,
    #[serde(default, deserialize_with = "decimal")]
    px: Option<Decimal>,
    state: String,
    #[serde(deserialize_with = "decimal")]
    sz: Option<Decimal>,
    #[serde(deserialize_with = "decimal")]
    acc_fill_sz: Option<Decimal>,
    #[serde(deserialize_with = "decimal")]
    avg_px: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal")]
    fill_px: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal")]
    fill_sz: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal")]
    fill_fee: Option<Decimal>,
    #[serde(default)]
    fill_fee_ccy: String,
    #[serde(default)]
    trade_id: String,
    #[serde(default)]
    exec_type: String,
    #[serde(default, deserialize_with = "time")]
    fill_time: Option<Ms>,
    #[serde(default)]
    cancel_source: String,
    #[serde(default)]
    category: String,
    #[serde(deserialize_with = "time")]
    u_time: Option<Ms>,
}

/// One order as the venue tells it, on the orders channel or in a query.
#[derive(Clone, Debug)]
pub struct OrderPush {
    pub inst: InstId,
    /// Empty for a child of a stop, a liquidation, or an order made by hand.
    pub cl_ord_id: String,
    /// Our name of the stop that made it, if one did, and the venue's.
    pub algo_id: String,
    pub venue_algo_id: String,
    pub side: Side,
    pub qty: Option<Qty>,
    /// Its limit, as it is now.
    pub limit: Option<Price>,
    pub category: String,
    pub report: VenueReport,
    /// The execution that this push reports, if it reports one.
    pub fill: Option<RawFill>,
}

/// An execution before we know whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFill {
    pub trade_id: TradeId,
    pub price: Price,
    pub qty: Qty,
    pub fee: Decimal,
    pub fee_ccy: String,
    pub liquidity: Liquidity,
    pub at: Ms,
}

impl RawFill {
    /// The fill, booked to an order of ours.
    pub fn of(
        self,
        inst: &InstId,
        side: Side,
        order: &OrderId,
        venue: &VenueOrdId,
        contender: &ContenderId,
        run: RunId,
    ) -> Fill {
        Fill {
            inst: inst.clone(),
            trade_id: self.trade_id,
            order_id: order.clone(),
            venue_id: venue.clone(),
            contender: contender.clone(),
            run_id: run,
            side,
            price: self.price,
            qty: self.qty,
            fee: self.fee,
            fee_ccy: self.fee_ccy,
            liquidity: self.liquidity,
            at: self.at,
        }
    }
}

/// Orders of a push or a query.
pub fn parse_orders(data: &str) -> Result<Vec<OrderPush>, Malformed> {
    let bad = malformed("order");
    let rows: Vec<OrderRow> = serde_json::from_str(data).map_err(|e| bad(e.to_string()))?;
    rows.into_iter()
        .map(|row| {
            let status = match row.state.as_str() {
                "live" => VenueStatus::Live,
                "partially_filled" => VenueStatus::PartiallyFilled,
                "filled" => VenueStatus::Filled,
                "canceled" | "mmp_canceled" => VenueStatus::Canceled,
                // A word we do not know about somebody else's order must not cost us the page.
                _ if !row.cl_ord_id.starts_with(CLIENT_ID_PREFIX) => return Ok(None),
                other => return Err(bad(format!("unknown state '{other}'"))),
            };
            let at = row.u_time.ok_or_else(|| bad("uTime is empty".into()))?;
            let fill = match (row.fill_px, row.fill_sz) {
                (Some(price), Some(size))
                    if !row.trade_id.is_empty() && row.trade_id != "0" && size > Decimal::ZERO =>
                {
                    row.fill_fee.map(|fee| RawFill {
                        trade_id: TradeId::new(row.trade_id),
                        price: Price(price),
                        qty: Qty(size),
                        fee,
                        fee_ccy: row.fill_fee_ccy,
                        liquidity: if row.exec_type == "M" { Liquidity::Maker } else { Liquidity::Taker },
                        at: row.fill_time.unwrap_or(at),
                    })
                }
                _ => None,
            };
            Ok(Some(OrderPush {
                inst: InstId::new(row.inst_id),
                cl_ord_id: row.cl_ord_id,
                algo_id: row.algo_cl_ord_id,
                venue_algo_id: row.algo_id,
                limit: row.px.map(Price),
                side: Side::parse(&row.side).ok_or_else(|| bad(format!("unknown side '{}'", row.side)))?,
                qty: row.sz.map(Qty),
                category: row.category,
                report: VenueReport {
                    venue_id: VenueOrdId::new(row.ord_id),
                    status,
                    filled: Qty(row.acc_fill_sz.unwrap_or_default().normalize()),
                    average: row.avg_px.filter(|px| !px.is_zero()).map(Price),
                    cancel_source: Some(row.cancel_source).filter(|s| !s.is_empty()),
                    at,
                },
                fill,
            }))
        })
        .filter_map(Result::transpose)
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FillRow {
    inst_id: String,
    trade_id: String,
    ord_id: String,
    #[serde(default)]
    cl_ord_id: String,
    bill_id: String,
    #[serde(deserialize_with = "decimal")]
    fill_px: Option<Decimal>,
    #[serde(deserialize_with = "decimal")]
    fill_sz: Option<Decimal>,
    side: String,
    #[serde(default)]
    exec_type: String,
    #[serde(deserialize_with = "decimal")]
    fee: Option<Decimal>,
    fee_ccy: String,
    #[serde(default, deserialize_with = "time")]
    fill_time: Option<Ms>,
    #[serde(deserialize_with = "time")]
    ts: Option<Ms>,
}

/// One row of `trade/fills`.
#[derive(Clone, Debug)]
pub struct FillReport {
    pub bill_id: String,
    pub inst: InstId,
    pub venue_id: VenueOrdId,
    pub cl_ord_id: String,
    pub side: Side,
    pub fill: RawFill,
}

/// Rows of `trade/fills`, newest first as they come.
pub fn parse_fills(data: &Value) -> Result<Vec<FillReport>, Malformed> {
    let bad = malformed("fill");
    let rows = Vec::<FillRow>::deserialize(data).map_err(|e| bad(e.to_string()))?;
    rows.into_iter()
        .map(|row| {
            let need = |value: Option<Decimal>, name: &str| value.ok_or_else(|| bad(format!("{name} is empty")));
            Ok(FillReport {
                bill_id: row.bill_id,
                inst: InstId::new(row.inst_id),
                venue_id: VenueOrdId::new(row.ord_id),
                cl_ord_id: row.cl_ord_id,
                side: Side::parse(&row.side).ok_or_else(|| bad(format!("unknown side '{}'", row.side)))?,
                fill: RawFill {
                    trade_id: TradeId::new(row.trade_id),
                    price: Price(need(row.fill_px, "fillPx")?),
                    qty: Qty(need(row.fill_sz, "fillSz")?),
                    fee: need(row.fee, "fee")?,
                    fee_ccy: row.fee_ccy,
                    liquidity: if row.exec_type == "M" { Liquidity::Maker } else { Liquidity::Taker },
                    at: row.fill_time.or(row.ts).ok_or_else(|| bad("fillTime is empty".into()))?,
                },
            })
        })
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AlgoRow {
    algo_id: String,
    algo_cl_ord_id: String,
    state: String,
    #[serde(default, deserialize_with = "decimal")]
    sz: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal")]
    sl_trigger_px: Option<Decimal>,
    #[serde(deserialize_with = "time")]
    u_time: Option<Ms>,
}

/// A stop's state as the venue tells it.
#[derive(Clone, Debug)]
pub struct AlgoPush {
    /// Our name of it.
    pub algo_id: String,
    /// The venue's.
    pub venue_id: String,
    /// `None` for words we do not know.
    pub state: Option<AlgoState>,
    /// Its size and trigger; `None` where the venue leaves them empty.
    pub qty: Option<Qty>,
    pub trigger: Option<Price>,
    pub at: Option<Ms>,
}

/// Algo orders of a push or query.
pub fn parse_algos(data: &str) -> Result<Vec<AlgoPush>, Malformed> {
    let rows: Vec<AlgoRow> = serde_json::from_str(data).map_err(|e| malformed("algo order")(e.to_string()))?;
    Ok(rows
        .into_iter()
        .map(|row| AlgoPush {
            state: AlgoState::parse(&row.state).filter(|s| !matches!(s, AlgoState::Intended | AlgoState::Unborn)),
            algo_id: row.algo_cl_ord_id,
            venue_id: row.algo_id,
            qty: row.sz.map(Qty),
            trigger: row.sl_trigger_px.map(Price),
            at: row.u_time,
        })
        .collect())
}

/// How an order operation travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// REST names the instrument by `instId`.
    Rest,
    /// WebSocket names it by `instIdCode`, a bare integer.
    WebSocket,
}

/// The body of a create, complete.
///
/// # Errors
/// By which key the venue knows an order of this id: ours by our own, `v` and a number by the venue's (see `tracking/ledger`).
pub fn name_of(id: &str) -> (&'static str, &str) {
    match id.strip_prefix('v').filter(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit())) {
        Some(venue_id) => ("ordId", venue_id),
        None => ("clOrdId", id),
    }
}

/// Over WebSocket, when the venue gave the instrument no code.
pub fn create_body(intent: &OrderIntent, inst: &Instrument, op: Op) -> Result<Value, Malformed> {
    let mut body = json!({
        "tdMode": if inst.kind == InstKind::Spot { "cash" } else { "cross" },
        "side": intent.side.as_str(),
        "ordType": intent.ord_type.okx(),
        "sz": intent.qty.to_string(),
        "clOrdId": intent.cl_ord_id,
        "tag": TAG,
    });
    match op {
        Op::Rest => body["instId"] = json!(intent.inst),
        Op::WebSocket => {
            let code = inst.code.ok_or_else(|| malformed("instrument")(format!("{} has no instIdCode", inst.id)))?;
            body["instIdCode"] = json!(code);
        }
    }
    if let Some(limit) = intent.limit {
        body["px"] = json!(limit.to_string());
    } else if inst.kind == InstKind::Spot {
        // Otherwise a market buy's size would be read as quote currency.
        body["tgtCcy"] = json!("base_ccy");
    }
    if let Some(slippage) = intent.slippage.filter(|_| intent.limit.is_none()) {
        body["slippagePct"] = json!(slippage.fraction().normalize().to_string());
    }
    if intent.reduce_only && inst.kind == InstKind::Swap {
        body["reduceOnly"] = json!(true);
    }
    if let Some(stop) = intent.stop.as_ref().filter(|stop| stop.attached) {
        body["attachAlgoOrds"] = json!([{
            "attachAlgoClOrdId": stop.algo_id,
            "slTriggerPx": stop.trigger.to_string(),
            "slTriggerPxType": "last",
            "slOrdPx": "-1",
        }]);
    }
    Ok(body)
}

/// The body of a stop that stands alone: a market order over its size when the last price reaches the trigger.
pub fn stop_body(stop: &Stop, inst: &Instrument) -> Value {
    let mut body = json!({
        "instId": stop.inst,
        "tdMode": if inst.kind == InstKind::Spot { "cash" } else { "cross" },
        "side": stop.side.as_str(),
        "ordType": "conditional",
        "sz": stop.qty.unwrap_or_default().to_string(),
        "algoClOrdId": stop.id,
        "tag": TAG,
        "slTriggerPx": stop.trigger.to_string(),
        "slTriggerPxType": "last",
        "slOrdPx": "-1",
    });
    if inst.kind == InstKind::Swap {
        body["reduceOnly"] = json!(true);
    } else {
        body["tgtCcy"] = json!("base_ccy");
    }
    body
}

/// Our mark on every order: what cancel-all-after and an owner's eye go by.
pub const TAG: &str = "alphaarena";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_of_ours_goes_by_our_name_and_one_that_the_venue_made_by_its_own() {
        assert_eq!(name_of("as12345678901234567890123456"), ("clOrdId", "as12345678901234567890123456"));
        assert_eq!(name_of("v1743947485"), ("ordId", "1743947485"));
        assert_eq!((name_of("v"), name_of("vX1")), (("clOrdId", "v"), ("clOrdId", "vX1")));
    }
}
