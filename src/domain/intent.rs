//! What a stage wants done, before anybody has agreed to it.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Bps, ClOrdId, ContenderId, InstId, Ms, Price, Qty, RunId, Usd};

/// Which side of the book an order takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Buy,
    Sell,
}

impl Side {
    /// The venue's and the database's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Side::Buy => "buy",
            Side::Sell => "sell",
        }
    }
    /// The other side.
    pub const fn opposite(self) -> Side {
        match self {
            Side::Buy => Side::Sell,
            Side::Sell => Side::Buy,
        }
    }
    /// `qty` with the sign it gives a position.
    pub fn signed(self, qty: Qty) -> Qty {
        match self {
            Side::Buy => qty,
            Side::Sell => Qty(-qty.0),
        }
    }
    /// The side that moves a position by `delta`.
    pub fn of(delta: Qty) -> Side {
        if delta < Qty::ZERO { Side::Sell } else { Side::Buy }
    }
    /// Reads `buy` or `sell`.
    pub fn parse(text: &str) -> Option<Side> {
        match text {
            "buy" => Some(Side::Buy),
            "sell" => Some(Side::Sell),
            _ => None,
        }
    }
}

/// How an order behaves at the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrdType {
    /// Rests until filled or cancelled.
    Limit,
    /// Fills what it can at the limit or better at once; the rest is cancelled.
    Ioc,
    /// Rests, and is refused if it would take.
    PostOnly,
    /// Takes whatever is there.
    Market,
}

impl OrdType {
    /// OKX's `ordType`.
    pub const fn okx(self) -> &'static str {
        match self {
            OrdType::Limit => "limit",
            OrdType::Ioc => "ioc",
            OrdType::PostOnly => "post_only",
            OrdType::Market => "market",
        }
    }
    /// Reads OKX's `ordType`; `None` for the kinds we never send.
    pub fn parse(text: &str) -> Option<OrdType> {
        [OrdType::Limit, OrdType::Ioc, OrdType::PostOnly, OrdType::Market].into_iter().find(|t| t.okx() == text)
    }
}

/// Why an order exists. Entry is *opening*; the others are *protective* or reduce a sleeve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    Entry,
    Exit,
    Stop,
    Flatten,
    Repair,
}

impl Purpose {
    /// The database's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Purpose::Entry => "entry",
            Purpose::Exit => "exit",
            Purpose::Stop => "stop",
            Purpose::Flatten => "flatten",
            Purpose::Repair => "repair",
        }
    }
    /// Reads the database's word.
    pub fn parse(text: &str) -> Option<Purpose> {
        [Purpose::Entry, Purpose::Exit, Purpose::Stop, Purpose::Flatten, Purpose::Repair]
            .into_iter()
            .find(|p| p.as_str() == text)
    }
}

/// A protective stop attached to an entry: market order when the last price reaches `trigger`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopSpec {
    /// The name the venue will know the stop by (`attachAlgoClOrdId`).
    pub algo_id: ClOrdId,
    pub trigger: Price,
}

/// How a contender's orders are worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "snake_case")]
pub enum WorkingPolicy {
    /// Limit at the far touch plus a collar, immediate or cancel.
    IocLimit { collar: Bps },
    /// Rest at the near touch, cancel when `ttl` has passed on the venue's clock.
    PostOnly { ttl: Ms },
    /// Market order.
    Market,
}

/// One order somebody wants, complete to the last digit. Nothing after this point changes its size or price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderIntent {
    pub cl_ord_id: ClOrdId,
    pub run_id: RunId,
    pub contender: ContenderId,
    pub inst: InstId,
    pub side: Side,
    pub ord_type: OrdType,
    /// Base units (spot) or contracts (swap), always positive.
    pub qty: Qty,
    /// Limit price; `None` for a market order.
    pub limit: Option<Price>,
    pub purpose: Purpose,
    pub leg: u32,
    pub attempt: u32,
    pub reduce_only: bool,
    pub stop: Option<StopSpec>,
    /// The price the decision was made on: mid of the frozen snapshot.
    pub reference: Price,
    /// When the snapshot was frozen, venue time.
    pub decided_at: Ms,
    /// Cancel what rests after this long, venue time. `None`: it does not rest.
    pub ttl: Option<Ms>,
    /// The contender's capital when this was sized.
    pub sleeve: Usd,
    /// The contender's share of the account.
    pub weight: Decimal,
}

impl OrderIntent {
    /// Does it add risk, as opposed to taking it off?
    pub fn is_opening(&self) -> bool {
        self.purpose == Purpose::Entry
    }
}
