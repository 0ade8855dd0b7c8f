//! Messages as OKX spells them, and what they are to us. Every number is an optional decimal string;
//! an unknown word is an error of that row, never a panic.

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::domain::units::parse_decimal;
use crate::domain::{
    AccountView, Balance, Bill, Candle, Fill, InstId, InstKind, InstState, Instrument, Liquidity, Ms, OrderIntent,
    Position, Price, Qty, Quote, Side, TradeId, VenueOrdId, VenueReport, VenueStatus,
};
use crate::domain::{ContenderId, OrderId, RunId, Usd};

/// A row that cannot be what the venue means.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Malformed {
    pub what: &'static str,
    pub why: String,
}

fn malformed(what: &'static str) -> impl Fn(String) -> Malformed {
    move |why| Malformed { what, why }
}

/// `""` is no number; anything else must be one.
fn decimal<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Decimal>, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    parse_decimal(&text).map(Some).map_err(|_| serde::de::Error::custom(format!("'{text}' is not a decimal")))
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Ms>, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(|ms| Some(Ms(ms))).map_err(|_| serde::de::Error::custom(format!("'{text}' is not a time")))
}

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
            contract_value: match kind {
                InstKind::Spot => Decimal::ONE,
                InstKind::Swap => row.ct_val.unwrap_or(Decimal::ONE) * row.ct_mult.unwrap_or(Decimal::ONE),
            },
            max_leverage: row.lever.unwrap_or(Decimal::ONE),
            code: row.inst_id_code,
            state: if row.state == "live" { InstState::Live } else { InstState::Other(row.state) },
        });
    }
    Ok(out)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderRow {
    inst_id: String,
    ord_id: String,
    #[serde(default)]
    cl_ord_id: String,
    #[serde(default)]
    algo_cl_ord_id: String,
    side: String,
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
    /// Our name of the stop that made it, if one did.
    pub algo_id: String,
    pub side: Side,
    pub qty: Option<Qty>,
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
            Ok(OrderPush {
                inst: InstId::new(row.inst_id),
                cl_ord_id: row.cl_ord_id,
                algo_id: row.algo_cl_ord_id,
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
            })
        })
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
struct BillRow {
    bill_id: String,
    #[serde(rename = "type")]
    kind: String,
    ccy: String,
    #[serde(deserialize_with = "decimal")]
    bal_chg: Option<Decimal>,
    #[serde(default)]
    inst_id: String,
    #[serde(default)]
    ord_id: String,
    #[serde(default)]
    trade_id: String,
    #[serde(deserialize_with = "time")]
    ts: Option<Ms>,
}

/// Rows of `account/bills`, newest first as they come.
pub fn parse_bills(data: &Value) -> Result<Vec<Bill>, Malformed> {
    let bad = malformed("bill");
    let rows = Vec::<BillRow>::deserialize(data).map_err(|e| bad(e.to_string()))?;
    rows.into_iter()
        .map(|row| {
            Ok(Bill {
                bill_id: row.bill_id,
                kind: row.kind,
                ccy: row.ccy,
                change: row.bal_chg.ok_or_else(|| bad("balChg is empty".into()))?,
                inst: Some(row.inst_id).filter(|s| !s.is_empty()).map(InstId::new),
                venue_id: Some(row.ord_id).filter(|s| !s.is_empty()).map(VenueOrdId::new),
                trade_id: Some(row.trade_id).filter(|s| !s.is_empty()).map(TradeId::new),
                at: row.ts.ok_or_else(|| bad("ts is empty".into()))?,
            })
        })
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BalanceRow {
    #[serde(deserialize_with = "decimal")]
    total_eq: Option<Decimal>,
    details: Vec<BalanceDetail>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BalanceDetail {
    ccy: String,
    #[serde(deserialize_with = "decimal")]
    eq: Option<Decimal>,
    #[serde(deserialize_with = "decimal")]
    cash_bal: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal")]
    avail_bal: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal")]
    avail_eq: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal")]
    frozen_bal: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal")]
    eq_usd: Option<Decimal>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PositionRow {
    inst_id: String,
    pos_side: String,
    #[serde(deserialize_with = "decimal")]
    pos: Option<Decimal>,
    #[serde(deserialize_with = "decimal")]
    avg_px: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal")]
    mark_px: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal")]
    upl: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal")]
    liq_px: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal")]
    lever: Option<Decimal>,
    #[serde(default, deserialize_with = "time")]
    u_time: Option<Ms>,
}

/// The account from one balance reply and one positions reply, both complete.
pub fn parse_account(balance: &Value, positions: &Value, as_of: Ms) -> Result<AccountView, Malformed> {
    let bad = malformed("account");
    let mut rows = Vec::<BalanceRow>::deserialize(balance).map_err(|e| bad(e.to_string()))?;
    let row = rows.pop().ok_or_else(|| bad("no balance row".into()))?;
    let mut available = Decimal::ZERO;
    let mut balances = std::collections::BTreeMap::new();
    for d in row.details {
        let (eq, usd) = (d.eq.unwrap_or_default(), d.eq_usd.unwrap_or_default());
        let free = d.avail_eq.or(d.avail_bal).unwrap_or_default();
        if d.ccy == "USDT" {
            available = free;
        }
        balances.insert(
            d.ccy.clone(),
            Balance {
                ccy: d.ccy,
                cash: d.cash_bal.unwrap_or_default(),
                equity: eq,
                available: free,
                frozen: d.frozen_bal.unwrap_or_default(),
                equity_usd: Usd(usd),
            },
        );
    }
    let mut by_inst = std::collections::BTreeMap::new();
    for p in Vec::<PositionRow>::deserialize(positions).map_err(|e| bad(e.to_string()))? {
        if p.pos_side != "net" {
            return Err(bad(format!("{} has a '{}' position; net mode is required", p.inst_id, p.pos_side)));
        }
        let qty = p.pos.unwrap_or_default();
        if qty.is_zero() {
            continue;
        }
        let inst = InstId::new(p.inst_id);
        by_inst.insert(
            inst.clone(),
            Position {
                inst,
                qty: Qty(qty),
                average: p.avg_px.map(Price),
                mark: p.mark_px.map(Price),
                unrealised: p.upl.unwrap_or_default(),
                liquidation: p.liq_px.map(Price),
                leverage: p.lever,
                at: p.u_time.unwrap_or(as_of),
            },
        );
    }
    let equity = Usd(row.total_eq.ok_or_else(|| bad("totalEq is empty".into()))?);
    Ok(AccountView { as_of, equity, available: Usd(available), balances, positions: by_inst })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AlgoRow {
    algo_cl_ord_id: String,
    state: String,
    #[serde(deserialize_with = "time")]
    u_time: Option<Ms>,
}

/// A stop's state as the venue tells it.
#[derive(Clone, Debug)]
pub struct AlgoPush {
    pub algo_id: String,
    /// One of live, effective, canceled, order_failed, partially_failed; `None` for words we do not know.
    pub state: Option<&'static str>,
    pub at: Option<Ms>,
}

/// Algo orders of a push or query.
pub fn parse_algos(data: &str) -> Result<Vec<AlgoPush>, Malformed> {
    let rows: Vec<AlgoRow> = serde_json::from_str(data).map_err(|e| malformed("algo order")(e.to_string()))?;
    let known = ["live", "effective", "canceled", "order_failed", "partially_failed"];
    Ok(rows
        .into_iter()
        .map(|row| AlgoPush {
            state: known.into_iter().find(|word| *word == row.state),
            algo_id: row.algo_cl_ord_id,
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
    if intent.reduce_only && inst.kind == InstKind::Swap {
        body["reduceOnly"] = json!(true);
    }
    if let Some(stop) = &intent.stop {
        body["attachAlgoOrds"] = json!([{
            "attachAlgoClOrdId": stop.algo_id,
            "slTriggerPx": stop.trigger.to_string(),
            "slTriggerPxType": "last",
            "slOrdPx": "-1",
        }]);
    }
    Ok(body)
}

/// Our mark on every order: what cancel-all-after and an owner's eye go by.
pub const TAG: &str = "alphaarena";
