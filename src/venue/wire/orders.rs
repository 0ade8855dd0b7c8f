//! Orders, fills and stops, and the body of a create.

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value, json};

use super::number::{amount, price, size, time};
use super::page::{Page, RowKind, read_page};
use super::{Malformed, list, malformed};
use crate::domain::OrderName;
use crate::domain::ids::CLIENT_ID_PREFIX;
use crate::domain::{
    AlgoState, ContenderId, Fill, InstId, InstKind, Instrument, Liquidity, Ms, OrderId,
    OrderIntent, Price, Qty, RunId, Side, StopOrder, TradeId, VenueOrdId, VenueReport, VenueStatus,
};
use crate::venue::codes::OrderRef;

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
    #[serde(default, deserialize_with = "price")]
    px: Option<Decimal>,
    state: String,
    #[serde(deserialize_with = "size")]
    sz: Option<Decimal>,
    #[serde(deserialize_with = "size")]
    acc_fill_sz: Option<Decimal>,
    #[serde(deserialize_with = "price")]
    avg_px: Option<Decimal>,
    #[serde(default, deserialize_with = "price")]
    fill_px: Option<Decimal>,
    #[serde(default, deserialize_with = "size")]
    fill_sz: Option<Decimal>,
    #[serde(default, deserialize_with = "amount")]
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
    /// Limit price of the order, as it is now.
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

const ORDER: RowKind = RowKind {
    what: "order",
    id: "ordId",
    subject: "instId",
};
const FILL: RowKind = RowKind {
    what: "fill",
    id: "tradeId",
    subject: "instId",
};
const ALGO: RowKind = RowKind {
    what: "algo order",
    id: "algoId",
    subject: "instId",
};

/// Orders of a page.
pub fn read_orders(data: &Value) -> Result<Page<OrderPush>, Malformed> {
    read_page(ORDER, data, |row: OrderRow| {
        let status = match row.state.as_str() {
            "live" => VenueStatus::Live,
            "partially_filled" => VenueStatus::PartiallyFilled,
            "filled" => VenueStatus::Filled,
            "canceled" | "mmp_canceled" => VenueStatus::Canceled,
            // A word we do not know about somebody else's order must not cost us the page.
            _ if !row.cl_ord_id.starts_with(CLIENT_ID_PREFIX) => return Ok(None),
            other => return Err(format!("state: unknown '{other}'")),
        };
        let at = row.u_time.ok_or("uTime is empty")?;
        let filled = row.acc_fill_sz.unwrap_or_default().normalize();
        if filled.is_sign_negative() && !filled.is_zero() {
            return Err(format!("accFillSz: {filled} is below zero"));
        }
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
                    liquidity: if row.exec_type == "M" {
                        Liquidity::Maker
                    } else {
                        Liquidity::Taker
                    },
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
            side: Side::parse(&row.side).ok_or_else(|| format!("side: unknown '{}'", row.side))?,
            qty: row.sz.map(Qty),
            category: row.category,
            report: VenueReport {
                venue_id: VenueOrdId::new(row.ord_id),
                status,
                filled: Qty(filled),
                average: row.avg_px.filter(|px| !px.is_zero()).map(Price),
                cancel_source: Some(row.cancel_source).filter(|s| !s.is_empty()),
                at,
            },
            fill,
        }))
    })
}

/// Orders of a push or a query, each of which must be readable.
pub fn parse_orders(data: &str) -> Result<Vec<OrderPush>, Malformed> {
    read_orders(&list(ORDER.what, data)?)?.whole()
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
    #[serde(deserialize_with = "price")]
    fill_px: Option<Decimal>,
    #[serde(deserialize_with = "size")]
    fill_sz: Option<Decimal>,
    side: String,
    #[serde(default)]
    exec_type: String,
    #[serde(deserialize_with = "amount")]
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
pub fn read_fills(data: &Value) -> Result<Page<FillReport>, Malformed> {
    read_page(FILL, data, |row: FillRow| {
        let qty = row.fill_sz.ok_or("fillSz is empty")?;
        if qty <= Decimal::ZERO {
            return Err(format!("fillSz: {qty} is not positive"));
        }
        Ok(Some(FillReport {
            bill_id: row.bill_id,
            inst: InstId::new(row.inst_id),
            venue_id: VenueOrdId::new(row.ord_id),
            cl_ord_id: row.cl_ord_id,
            side: Side::parse(&row.side).ok_or_else(|| format!("side: unknown '{}'", row.side))?,
            fill: RawFill {
                trade_id: TradeId::new(row.trade_id),
                price: Price(row.fill_px.ok_or("fillPx is empty")?),
                qty: Qty(qty),
                fee: row.fee.ok_or("fee is empty")?,
                fee_ccy: row.fee_ccy,
                liquidity: if row.exec_type == "M" {
                    Liquidity::Maker
                } else {
                    Liquidity::Taker
                },
                at: row.fill_time.or(row.ts).ok_or("fillTime is empty")?,
            },
        }))
    })
}

/// The same where each row must be readable.
pub fn parse_fills(data: &Value) -> Result<Vec<FillReport>, Malformed> {
    read_fills(data)?.whole()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AlgoRow {
    algo_id: String,
    algo_cl_ord_id: String,
    state: String,
    #[serde(default, deserialize_with = "size")]
    sz: Option<Decimal>,
    #[serde(default, deserialize_with = "price")]
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
    /// Size and trigger; `None` where the venue leaves them empty.
    pub qty: Option<Qty>,
    pub trigger: Option<Price>,
    pub at: Option<Ms>,
}

/// Algo orders of a page.
pub fn read_algos(data: &Value) -> Result<Page<AlgoPush>, Malformed> {
    read_page(ALGO, data, |row: AlgoRow| {
        if let Some(qty) = row
            .sz
            .filter(|qty| qty.is_sign_negative() && !qty.is_zero())
        {
            return Err(format!("sz: {qty} is below zero"));
        }
        Ok(Some(AlgoPush {
            state: AlgoState::parse(&row.state)
                .filter(|s| !matches!(s, AlgoState::Intended | AlgoState::Unborn)),
            algo_id: row.algo_cl_ord_id,
            venue_id: row.algo_id,
            qty: row.sz.map(Qty),
            trigger: row.sl_trigger_px.map(Price),
            at: row.u_time,
        }))
    })
}

/// Algo orders of a push or query, each of which must be readable.
pub fn parse_algos(data: &str) -> Result<Vec<AlgoPush>, Malformed> {
    read_algos(&list(ALGO.what, data)?)?.whole()
}

/// Transport of an order operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderTransportKind {
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
    match OrderName::of(id) {
        OrderName::Adopted(venue_id) => ("ordId", venue_id),
        OrderName::Ours(id) => ("clOrdId", id),
    }
}

/// Returns the name that an answer about an order of this id must repeat.
pub fn asked(id: &str) -> OrderRef<'_> {
    match name_of(id) {
        ("ordId", venue_id) => OrderRef { name: "", venue_id },
        (_, name) => OrderRef::ours(name),
    }
}

/// Over WebSocket, when the venue gave the instrument no code.
pub fn create_body(
    intent: &OrderIntent,
    inst: &Instrument,
    op: OrderTransportKind,
) -> Result<Value, Malformed> {
    let mut body = json!({
        "tdMode": if inst.kind == InstKind::Spot { "cash" } else { "cross" },
        "side": intent.side.as_str(),
        "ordType": intent.ord_type.okx(),
        "sz": intent.qty.to_string(),
        "clOrdId": intent.cl_ord_id,
        "tag": TAG,
    });
    match op {
        OrderTransportKind::Rest => body["instId"] = json!(intent.inst),
        OrderTransportKind::WebSocket => {
            let code = inst
                .code
                .ok_or_else(|| malformed("instrument")(format!("{} has no instIdCode", inst.id)))?;
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

/// The body of a stop that stands alone: a market order over its size when the last price reaches
/// the trigger.
pub fn stop_body(stop: &StopOrder, inst: &Instrument) -> Value {
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

    /// Ours by clOrdId, those the venue made by ordId.
    #[test]
    fn orders_go_by_their_makers_id() {
        assert_eq!(
            name_of("as12345678901234567890123456"),
            ("clOrdId", "as12345678901234567890123456")
        );
        assert_eq!(name_of("v1743947485"), ("ordId", "1743947485"));
        assert_eq!(
            (name_of("v"), name_of("vX1")),
            (("clOrdId", "v"), ("clOrdId", "vX1"))
        );
    }
}
