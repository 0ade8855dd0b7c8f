//! Intents: actions a stage wants, before any other stage has agreed to them.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Bps, ClOrdId, ContenderId, InstId, Ms, Price, Qty, RunId, Usd};

/// Until when, and how near to the price it was thought of at, an entry may leave. After that it is
/// over, not chased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoodFor {
    /// Last instant, venue time.
    pub until: Ms,
    /// Price at the time of the decision: the mark, or the mid where there is none.
    pub price: Price,
    pub within: Bps,
}

impl GoodFor {
    /// Why an entry may not leave any more, with the price of now; `None`: it may.
    pub fn over(&self, now: Ms, price: Option<Price>) -> Option<String> {
        if now > self.until {
            return Some(format!(
                "its time was over {} ms ago",
                now.since(self.until).0
            ));
        }
        let Some(moved) = price.and_then(|price| self.moved(price)) else {
            return Some("there is no price to hold it to".to_owned());
        };
        (moved > Decimal::from(self.within.0)).then(|| {
            format!(
                "the price has moved {moved} bps since; at most {}",
                self.within.0
            )
        })
    }

    /// Returns the distance of a price from the one at the decision, in hundredths of a percent.
    fn moved(&self, price: Price) -> Option<Decimal> {
        let share = (price.0 - self.price.0).abs().checked_div(self.price.0)?;
        Some((share * Decimal::from(10_000)).round_dp(1).normalize())
    }
}

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
        if delta < Qty::ZERO {
            Side::Sell
        } else {
            Side::Buy
        }
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

/// Behaviour of an order at the venue.
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
        [
            OrdType::Limit,
            OrdType::Ioc,
            OrdType::PostOnly,
            OrdType::Market,
        ]
        .into_iter()
        .find(|t| t.okx() == text)
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
    /// The venue's own order against our position: liquidation, auto-deleveraging, delivery.
    Liquidation,
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
            Purpose::Liquidation => "liquidation",
        }
    }
    /// Reads the database's word.
    pub fn parse(text: &str) -> Option<Purpose> {
        use Purpose as P;
        [
            P::Entry,
            P::Exit,
            P::Stop,
            P::Flatten,
            P::Repair,
            P::Liquidation,
        ]
        .into_iter()
        .find(|p| p.as_str() == text)
    }
}

/// A protective stop of an entry: market order when the last price reaches `trigger`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopSpec {
    /// The name the venue will know the stop by (`attachAlgoClOrdId`).
    pub algo_id: ClOrdId,
    pub trigger: Price,
    /// True if the stop is sent with the order; otherwise the gate places one when something has
    /// filled.
    pub attached: bool,
}

/// Execution policy of a contender's orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "snake_case")]
pub enum WorkingPolicy {
    /// Limit at the far touch plus a collar, immediate or cancel; what is left is tried again.
    IocLimit { collar: Bps, tries: u32 },
    /// Rest at the near touch; when `ttl` has passed on the venue's clock, do what `then` says.
    PostOnly {
        ttl: Ms,
        then: Then,
        collar: Bps,
        tries: u32,
    },
    /// Market order that the venue stops at `slippage` from the touch, if one is given.
    Market { slippage: Option<Bps> },
}

/// Next step for a resting order whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// Cancelled; the next decision starts afresh.
    Cancel,
    /// Moved to the current touch.
    Reprice,
    /// Cancelled; the remainder takes the available liquidity, up to the collar.
    Cross,
}

impl WorkingPolicy {
    /// Returns how many orders one decision may lead to.
    pub const fn tries(self) -> u32 {
        match self {
            WorkingPolicy::IocLimit { tries, .. } | WorkingPolicy::PostOnly { tries, .. } => tries,
            WorkingPolicy::Market { .. } => 1,
        }
    }
}

/// Treatment of the positions of a retiring contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retire {
    /// Kept until its stop, or a person, closes it.
    Hold,
    /// Closed at the next decision.
    Close,
}

impl std::str::FromStr for Retire {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "hold" => Ok(Retire::Hold),
            "close" => Ok(Retire::Close),
            other => Err(format!("must be hold or close, is '{other}'")),
        }
    }
}

/// One order somebody wants, complete to the last digit. Nothing after this point changes its size
/// or price.
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
    /// Largest distance from the touch at which a market order may fill; the venue ends it there.
    pub slippage: Option<Bps>,
    /// Not a new order: move this resting one to `limit`.
    pub moves: Option<super::OrderId>,
    /// The contender's capital when this was sized.
    pub sleeve: Usd,
    /// The contender's share of the account.
    pub weight: Decimal,
    /// Conditions that an entry must meet until it has been sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good_for: Option<GoodFor>,
}

impl OrderIntent {
    /// True if the order adds risk, as opposed to taking it off.
    pub fn is_opening(&self) -> bool {
        self.purpose == Purpose::Entry
    }

    /// Under whose name its progress is told: a repair is not the contender's own and does not
    /// stand in the way of its own.
    pub fn owner(&self) -> ContenderId {
        owner(self.purpose, &self.contender)
    }
}

/// See [`OrderIntent::owner`].
pub fn owner(purpose: Purpose, contender: &ContenderId) -> ContenderId {
    if purpose == Purpose::Repair {
        ContenderId::system()
    } else {
        contender.clone()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::domain::instrument::tests::swap;

    /// An entry to start from: 10 contracts bought at no more than 100.
    pub fn entry() -> OrderIntent {
        OrderIntent {
            cl_ord_id: "as1".into(),
            run_id: RunId(uuid::Uuid::nil()),
            contender: "trend".into(),
            inst: swap().id,
            side: Side::Buy,
            ord_type: OrdType::Ioc,
            qty: Qty(Decimal::TEN),
            limit: Some(Price(Decimal::ONE_HUNDRED)),
            purpose: Purpose::Entry,
            leg: 0,
            attempt: 0,
            reduce_only: false,
            stop: None,
            reference: Price(Decimal::ONE_HUNDRED),
            decided_at: Ms(0),
            ttl: None,
            slippage: None,
            moves: None,
            sleeve: Usd::ZERO,
            weight: Decimal::ONE,
            good_for: None,
        }
    }

    /// Past its time, too far from its price, or with no price at all to compare with.
    #[test]
    fn entry_expires_by_time_or_price() {
        let good_for = GoodFor {
            until: Ms(100),
            price: Price(Decimal::ONE_HUNDRED),
            within: Bps(20),
        };
        let check = |now: i64, price: Option<&str>, expected: Option<&str>| {
            let found = good_for.over(Ms(now), price.map(|price| price.parse().unwrap()));
            assert_eq!(found.as_deref(), expected);
        };
        check(100, Some("100"), None);
        check(101, Some("100"), Some("its time was over 1 ms ago"));
        check(50, Some("100.20"), None);
        check(50, Some("99.80"), None);
        check(
            50,
            Some("100.21"),
            Some("the price has moved 21 bps since; at most 20"),
        );
        check(
            50,
            Some("99.79"),
            Some("the price has moved 21 bps since; at most 20"),
        );
        check(50, None, Some("there is no price to hold it to"));
    }
}
