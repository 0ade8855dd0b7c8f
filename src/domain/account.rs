//! Holdings of the account, as the venue reports them.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{InstId, Ms, Price, Qty, TradeId, Usd, VenueOrdId};

/// One currency's balance. Amounts in that currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    pub ccy: String,
    /// Cash, without unrealised profit.
    pub cash: Decimal,
    /// Cash plus unrealised profit.
    pub equity: Decimal,
    /// Amount that can be spent on new orders.
    pub available: Decimal,
    /// Held by open orders and margin.
    pub frozen: Decimal,
    /// Equity in dollars, as the venue values it.
    pub equity_usd: Usd,
}

/// One swap position, net mode: the sign is the direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub inst: InstId,
    /// Contracts; negative is short.
    pub qty: Qty,
    pub average: Option<Price>,
    pub mark: Option<Price>,
    /// Unrealised profit in the settle currency, by mark price.
    pub unrealised: Decimal,
    /// Value in dollars as the venue reports it, without sign; `None`: not reported.
    #[serde(default)]
    pub notional: Option<Usd>,
    /// Price at which the venue would liquidate; `None` when it names none.
    pub liquidation: Option<Price>,
    pub leverage: Option<Decimal>,
    pub at: Ms,
}

/// A line of the venue's own ledger that is not a trade: transfer, funding, liquidation fee …
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bill {
    pub bill_id: String,
    /// OKX's bill type: 1 transfer, 2 trade, 8 funding …
    pub kind: String,
    pub ccy: String,
    /// Change of the balance, in `ccy`.
    pub change: Decimal,
    pub inst: Option<InstId>,
    pub venue_id: Option<VenueOrdId>,
    pub trade_id: Option<TradeId>,
    pub at: Ms,
}

/// The account at one instant. Made only from reads that all succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// Venue time at which the read began: what it says may be older, never newer.
    pub as_of: Ms,
    /// Sum of all bills by currency that are not trades, since this database began: what transfers,
    /// funding and the like have done to the cash.
    #[serde(default)]
    pub other_bills: BTreeMap<String, Decimal>,
    /// Sum of all transfers in (out: negative) by currency, since this database began.
    #[serde(default)]
    pub transfers: BTreeMap<String, Decimal>,
    /// Sum of all funding payments by instrument, since this database began, in its settle
    /// currency; negative is paid.
    #[serde(default)]
    pub funding: BTreeMap<InstId, Decimal>,
    /// All currencies and positions in dollars.
    pub equity: Usd,
    /// Dollars free for new margin or purchases.
    pub available: Usd,
    pub balances: BTreeMap<String, Balance>,
    pub positions: BTreeMap<InstId, Position>,
    /// Currencies and instruments of which the venue said something that cannot be believed, and
    /// what. They are missing above, which says nothing of what is held.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unreadable: BTreeMap<String, String>,
}

impl Bill {
    /// Money that came from or went to somewhere outside the account (OKX bill type 1, transfer).
    pub fn is_transfer(&self) -> bool {
        self.kind == "1"
    }
    /// A payment between longs and shorts (OKX bill type 8, funding fee).
    pub fn is_funding(&self) -> bool {
        self.kind == "8"
    }
}

/// No coin is worth more dollars than this.
const PRICE_MAX: Decimal = Decimal::from_parts(1_410_065_408, 2, 0, false, 0); // ten billion

impl AccountView {
    /// Dollars for one unit of a currency, as the venue values it; USDT and USDC count as dollars.
    /// `None`: not known.
    pub fn price_of(&self, ccy: &str) -> Option<Decimal> {
        let valued = self
            .balances
            .get(ccy)
            .filter(|balance| !balance.equity.is_zero());
        // Of a speck that was left over the quotient may be anything.
        let plausible = |price: &Decimal| !price.is_sign_negative() && *price <= PRICE_MAX;
        let rate = valued
            .and_then(|balance| balance.equity_usd.0.checked_div(balance.equity))
            .filter(plausible);
        rate.or_else(|| {
            ["USDT", "USDC", "USD"]
                .contains(&ccy)
                .then_some(Decimal::ONE)
        })
    }
}

/// Subject of a baseline: what the venue holds and nobody here has traded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaselineSubject<'a> {
    /// The position in an instrument, by its name.
    Position(&'a str),
    /// The cash of a currency.
    Cash(&'a str),
}

impl<'a> BaselineSubject<'a> {
    /// Reads the name that a baseline is kept under, the only place that does: OKX's instruments
    /// have a hyphen (`BTC-USDT-SWAP`), its currencies have none (`BTC`).
    pub fn of(name: &'a str) -> Self {
        match name.contains('-') {
            true => BaselineSubject::Position(name),
            false => BaselineSubject::Cash(name),
        }
    }
}
