//! Balances, positions and bills.

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

use super::number::{amount, dollars, leverage, price, size, time};
use super::page::{Page, RowKind, read_page};
use super::{Malformed, malformed, number};
use crate::domain::{
    AccountView, Balance, Bill, InstId, Ms, Position, Price, Qty, TradeId, Usd, VenueOrdId,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BillRow {
    bill_id: String,
    #[serde(rename = "type")]
    kind: String,
    ccy: String,
    #[serde(deserialize_with = "amount")]
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

const BILL: RowKind = RowKind {
    what: "bill",
    id: "billId",
    subject: "ccy",
};

/// Rows of `account/bills`, newest first as they come.
pub fn read_bills(data: &Value) -> Result<Page<Bill>, Malformed> {
    read_page(BILL, data, |row: BillRow| {
        Ok(Some(Bill {
            bill_id: row.bill_id,
            kind: row.kind,
            ccy: row.ccy,
            change: row.bal_chg.ok_or("balChg is empty")?,
            inst: Some(row.inst_id).filter(|s| !s.is_empty()).map(InstId::new),
            venue_id: Some(row.ord_id)
                .filter(|s| !s.is_empty())
                .map(VenueOrdId::new),
            trade_id: Some(row.trade_id)
                .filter(|s| !s.is_empty())
                .map(TradeId::new),
            at: row.ts.ok_or("ts is empty")?,
        }))
    })
}

/// The same where each row must be readable.
pub fn parse_bills(data: &Value) -> Result<Vec<Bill>, Malformed> {
    read_bills(data)?.whole()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BalanceRow {
    #[serde(deserialize_with = "dollars")]
    total_eq: Option<Decimal>,
    details: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BalanceDetail {
    ccy: String,
    #[serde(deserialize_with = "amount")]
    eq: Option<Decimal>,
    #[serde(deserialize_with = "amount")]
    cash_bal: Option<Decimal>,
    #[serde(default, deserialize_with = "amount")]
    avail_bal: Option<Decimal>,
    #[serde(default, deserialize_with = "amount")]
    avail_eq: Option<Decimal>,
    #[serde(default, deserialize_with = "amount")]
    frozen_bal: Option<Decimal>,
    #[serde(default, deserialize_with = "dollars")]
    eq_usd: Option<Decimal>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PositionRow {
    inst_id: String,
    pos_side: String,
    #[serde(deserialize_with = "size")]
    pos: Option<Decimal>,
    #[serde(deserialize_with = "price")]
    avg_px: Option<Decimal>,
    #[serde(default, deserialize_with = "price")]
    mark_px: Option<Decimal>,
    #[serde(default, deserialize_with = "amount")]
    upl: Option<Decimal>,
    #[serde(default, deserialize_with = "dollars")]
    notional_usd: Option<Decimal>,
    #[serde(default, deserialize_with = "price")]
    liq_px: Option<Decimal>,
    #[serde(default, deserialize_with = "leverage")]
    lever: Option<Decimal>,
    #[serde(default, deserialize_with = "time")]
    u_time: Option<Ms>,
}

const BALANCE: RowKind = RowKind {
    what: "balance",
    id: "ccy",
    subject: "ccy",
};
const POSITION: RowKind = RowKind {
    what: "position",
    id: "posId",
    subject: "instId",
};

/// The account from one balance reply and one positions reply, both complete. A currency or
/// position whose numbers cannot be believed is named in `unreadable` and nowhere else.
pub fn parse_account(
    balance: &Value,
    positions: &Value,
    as_of: Ms,
) -> Result<AccountView, Malformed> {
    let bad = malformed("account");
    let row = balance
        .as_array()
        .and_then(|rows| rows.last())
        .ok_or_else(|| bad("no balance row".into()))?;
    let row: BalanceRow =
        serde_path_to_error::deserialize(row).map_err(|error| bad(error.to_string()))?;
    let mut view = AccountView {
        as_of,
        equity: Usd(row.total_eq.ok_or_else(|| bad("totalEq is empty".into()))?),
        ..AccountView::default()
    };
    let details = read_page(BALANCE, &row.details, |d: BalanceDetail| Ok(Some(d)))?;
    for d in details.rows {
        let free = d.avail_eq.or(d.avail_bal).unwrap_or_default();
        if d.ccy == "USDT" {
            view.available = Usd(free);
        }
        let balance = Balance {
            ccy: d.ccy.clone(),
            cash: d.cash_bal.unwrap_or_default(),
            equity: d.eq.unwrap_or_default(),
            available: free,
            frozen: d.frozen_bal.unwrap_or_default(),
            equity_usd: Usd(d.eq_usd.unwrap_or_default()),
        };
        view.balances.insert(d.ccy, balance);
    }
    let read = read_positions(positions, as_of)?;
    for (side, position) in read.rows {
        if side != "net" {
            return Err(bad(format!(
                "{} has a '{side}' position; net mode is required",
                position.inst
            )));
        }
        if !position.qty.is_zero() {
            view.positions.insert(position.inst.clone(), position);
        }
    }
    for refused in details.refused.into_iter().chain(read.refused) {
        view.unreadable
            .insert(refused.subject.clone(), refused.to_string());
    }
    Ok(view)
}

/// Rows of `account/positions`, each with its `posSide`. Rows of size 0 linger at the venue.
fn read_positions(data: &Value, as_of: Ms) -> Result<Page<(String, Position)>, Malformed> {
    read_page(POSITION, data, |p: PositionRow| {
        let position = Position {
            qty: Qty(p.pos.ok_or("pos is empty")?),
            inst: InstId::new(p.inst_id),
            average: p.avg_px.map(Price),
            mark: p.mark_px.map(Price),
            unrealised: p.upl.unwrap_or_default(),
            notional: p.notional_usd.map(|value| Usd(value.abs())),
            liquidation: p.liq_px.map(Price),
            leverage: p.lever,
            // Never later than the read that shows it.
            at: p.u_time.unwrap_or(as_of).min(as_of),
        };
        Ok(Some((p.pos_side, position)))
    })
}

/// The same where each row must be readable.
pub fn parse_positions(data: &Value, as_of: Ms) -> Result<Vec<(String, Position)>, Malformed> {
    read_positions(data, as_of)?.whole()
}

/// Account facts that start-up must know.
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
        value
            .map(str::to_owned)
            .ok_or_else(|| malformed("account config")(format!("{name} is missing")))
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

/// The taker rate of an `account/trade-fee` row, as a share; negative is paid. Contracts margined
/// in USDT have a field of their own.
pub fn parse_taker(data: &Value) -> Result<Decimal, Malformed> {
    let rate = |name: &str| {
        data[0][name]
            .as_str()
            .and_then(|text| number::RATE.read(text).ok())
    };
    rate("takerU")
        .or_else(|| rate("taker"))
        .ok_or_else(|| malformed("trade fee")("taker is missing".into()))
}
