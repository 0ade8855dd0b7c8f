//! Plan of a model for what it opened: the prices and conditions that end it, watched by the daemon
//! on each bar. Pure.
//!
//! What a model risks is counted by what is held, from the price it was bought at to the stop in
//! force; what was planned may not have been done.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::answer::{Field, Op, Predicate};
use super::series::latest;
use crate::domain::{Bar, Candle, ContenderId, InstId, MarketView, Ms, OrdersView, Price, RunId};

/// One open idea.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TradePlan {
    pub contender: ContenderId,
    pub inst: InstId,
    /// The run that opened it.
    pub run_id: RunId,
    pub long: bool,
    /// Mark price when it was accepted.
    pub entry: Price,
    pub stop: Price,
    /// Stop price when the plan was accepted: the basis of its R multiples.
    pub first_stop: Price,
    pub target: Option<Price>,
    pub horizon_min: Option<u32>,
    pub p_target_first: Option<Decimal>,
    pub invalidation: Option<Predicate>,
    /// The model's words.
    pub thesis: String,
    pub opened: Ms,
    /// Dollars that are lost at the stop.
    pub risk_usd: Decimal,
    /// Dollars in the position, as sized.
    pub worth_usd: Decimal,
    /// Sum of the account's funding in the instrument when it was accepted, negative is paid;
    /// `None`: not noted.
    #[serde(default)]
    pub funding_before: Option<Decimal>,
    /// Why the daemon takes it out, once it does: from then on nothing else is done with it.
    #[serde(default)]
    pub leaving: Option<String>,
}

/// Longest thesis that is shown again, characters.
pub const THESIS: usize = 200;

impl TradePlan {
    /// Returns the target as text, if this bar of the base size has reached it. The stop is left to
    /// the venue.
    pub fn reached(&self, bar: &Candle) -> Option<String> {
        let target = self.target?;
        let reached = if self.long {
            bar.high >= target
        } else {
            bar.low <= target
        };
        reached.then(|| format!("target {target} reached"))
    }

    /// Returns the condition as text, if it holds at the end of this history.
    pub fn invalidated(&self, history: &[Candle]) -> Option<String> {
        let condition = self.invalidation.as_ref()?;
        holds(condition, history).then(|| {
            let op = if condition.op == Op::Lt { '<' } else { '>' };
            let field = match condition.field {
                Field::Close => "close",
                Field::Rsi14 => "rsi14",
                Field::Ema20DistBps => "ema20_dist_bps",
            };
            format!(
                "invalidated: {} {field} {op} {}",
                condition.tf, condition.value.0
            )
        })
    }

    /// Profit at a price in units of what was risked: the distance from entry to the first stop.
    pub fn r_at(&self, price: Price) -> Option<Decimal> {
        let risked = (self.entry.0 - self.first_stop.0).abs();
        let made = if self.long {
            price.0 - self.entry.0
        } else {
            self.entry.0 - price.0
        };
        made.checked_div(risked).map(|r| r.round_dp(2).normalize())
    }
}

/// Returns the quantity of an instrument that an profile holds; less than the smallest order counts as
/// zero, because it cannot be sold.
pub fn held(
    orders: &OrdersView,
    market: &MarketView,
    profile: &ContenderId,
    inst: &InstId,
) -> Decimal {
    let qty = orders
        .holdings
        .get(&(profile.clone(), inst.clone()))
        .map_or(Decimal::ZERO, |held| held.qty.0);
    let least = market
        .insts
        .get(inst)
        .map_or(Decimal::ZERO, |shown| shown.instrument.min_size.0);
    if qty.abs() < least {
        Decimal::ZERO
    } else {
        qty
    }
}

/// An order of the profile's in an instrument that may still fill.
pub fn works(orders: &OrdersView, profile: &ContenderId, inst: &InstId) -> bool {
    orders
        .open
        .values()
        .any(|order| order.contender == *profile && order.inst == *inst)
}

/// True if a condition holds on the last bar of a history. A condition that cannot be evaluated yet
/// does not hold.
pub fn holds(condition: &Predicate, history: &[Candle]) -> bool {
    let Some((close, rsi, distance)) = latest(history) else {
        return false;
    };
    let value = match condition.field {
        Field::Close => Some(close.0),
        Field::Rsi14 => rsi,
        Field::Ema20DistBps => distance,
    };
    value.is_some_and(|value| match condition.op {
        Op::Lt => value < condition.value.0,
        Op::Gt => value > condition.value.0,
    })
}

/// The size that a timeframe names, if it is one of these.
pub fn timeframe(name: &str, bars: impl IntoIterator<Item = Bar>) -> Option<Bar> {
    bars.into_iter().find(|bar| bar.okx() == name)
}
