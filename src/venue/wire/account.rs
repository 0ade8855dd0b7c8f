//! Balances, positions and bills.

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

use super::{Malformed, decimal, malformed, time};
use crate::domain::{AccountView, Balance, Bill, InstId, Ms, Position, Price, Qty, TradeId, Usd, VenueOrdId};

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
    notional_usd: Option<Decimal>,
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
    for (side, position) in parse_positions(positions, as_of)? {
        if side != "net" {
            return Err(bad(format!("{} has a '{side}' position; net mode is required", position.inst)));
        }
        if !position.qty.is_zero() {
            by_inst.insert(position.inst.clone(), position);
        }
    }
    let equity = Usd(row.total_eq.ok_or_else(|| bad("totalEq is empty".into()))?);
    Ok(AccountView {
        as_of,
        other_bills: Default::default(),
        transfers: Default::default(),
        funding: Default::default(),
        equity,
        available: Usd(available),
        balances,
        positions: by_inst,
    })
}

/// Rows of `account/positions`, each with its `posSide`. Rows of size 0 linger at the venue.
pub fn parse_positions(data: &Value, as_of: Ms) -> Result<Vec<(String, Position)>, Malformed> {
    let bad = malformed("position");
    let rows = Vec::<PositionRow>::deserialize(data).map_err(|e| bad(e.to_string()))?;
    let parse = |p: PositionRow| {
        let qty = p.pos.ok_or_else(|| bad(format!("{} has a position without a size", p.inst_id)))?;
        let position = Position {
            inst: InstId::new(p.inst_id),
            qty: Qty(qty),
            average: p.avg_px.map(Price),
            mark: p.mark_px.map(Price),
            unrealised: p.upl.unwrap_or_default(),
            notional: p.notional_usd.map(|value| Usd(value.abs())),
            liquidation: p.liq_px.map(Price),
            leverage: p.lever,
            at: p.u_time.unwrap_or(as_of),
        };
        Ok((p.pos_side, position))
    };
    rows.into_iter().map(parse).collect()
}

/// What start-up must know of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountConfig {
    pub uid: String,
    /// 1 spot, 2 futures, 3 multi-currency, 4 portfolio.
    pub level: String,
    pub position_mode: String,
    /// Comma list of read_only, trade, withdraw.
    pub permissions: String,
    /// Comma list of addresses the key is bound to; empty: none.
    pub addresses: String,
    pub auto_loan: bool,
}

/// The row of `account/config`.
pub fn parse_config(data: &Value) -> Result<AccountConfig, Malformed> {
    let text = |name: &str| {
        let value = data[0][name].as_str().filter(|text| !text.is_empty());
        value.map(str::to_owned).ok_or_else(|| malformed("account config")(format!("{name} is missing")))
    };
    Ok(AccountConfig {
        uid: text("uid")?,
        level: text("acctLv")?,
        position_mode: text("posMode")?,
        permissions: text("perm")?,
        addresses: data[0]["ip"].as_str().unwrap_or("").to_owned(),
        auto_loan: data[0]["autoLoan"].as_bool().unwrap_or(false) || data[0]["autoLoan"] == "true",
    })
}

/// The taker rate of an `account/trade-fee` row, as a share; negative is paid. Contracts margined in USDT have a field of
/// their own.
pub fn parse_taker(data: &Value) -> Result<Decimal, Malformed> {
    let rate = |name: &str| data[0][name].as_str().and_then(|text| text.parse::<Decimal>().ok());
    rate("takerU").or_else(|| rate("taker")).ok_or_else(|| malformed("trade fee")("taker is missing".into()))
}
