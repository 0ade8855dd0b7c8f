//! One order, or one stop, against one bar.

use super::{CostTerms, Number};
use crate::domain::Side;

/// A bar in whole ticks and lots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LotSteps {
    pub open: i64,
    pub high: i64,
    pub low: i64,
    pub close: i64,
    pub volume: i64,
}

/// Behaviour of an order. Limits in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Works until it is filled.
    Market,
    /// Fills what it can within its first bar, no worse than its limit.
    Ioc(i64),
    /// Rests; takes if it can when it arrives.
    Limit(i64),
    /// Rests; refused if it would take when it arrives.
    PostOnly(i64),
}

/// A part of an order that is filled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PartFill<N> {
    pub lots: i64,
    /// Price.
    pub ticks: i64,
    /// Of it, in the quote currency.
    pub value: N,
    /// In the quote currency, positive is paid. With it what slippage takes beyond the bar's range.
    pub fee: N,
    pub maker: bool,
}

/// Effect of a bar on an order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Matched<N> {
    pub fill: Option<PartFill<N>>,
    /// True if the rest of the order is cancelled, or all of it rejected.
    pub over: bool,
}

/// Returns the number of lots that a bar may fill, all orders together.
pub fn room<N: Number>(bar: &LotSteps, terms: &CostTerms<N>) -> i64 {
    (terms.participation * N::whole(bar.volume)).floor().max(0)
}

/// Takes so many lots from a price on: worse by half the spread and by impact, on the next tick,
/// inside the bar.
///
/// The bar must have volume.
pub fn taker<N: Number>(
    bar: &LotSteps,
    side: Side,
    base: i64,
    lots: i64,
    terms: &CostTerms<N>,
) -> PartFill<N> {
    debug_assert!(lots > 0 && bar.volume > 0, "nothing is taken of nothing");
    let (lots_n, base_n) = (N::whole(lots), N::whole(base));
    let slip = terms.half_spread + terms.impact * (lots_n / N::whole(bar.volume)).root();
    let meant = match side {
        Side::Buy => (base_n * (N::ONE + slip)).ceil(),
        Side::Sell => (base_n * (N::ONE - slip)).floor().max(1),
    };
    let ticks = meant.clamp(bar.low, bar.high);
    let value = N::whole(ticks) * lots_n * terms.unit;
    // Nobody traded there: it is paid all the same.
    let beyond = N::whole((meant - ticks).abs()) * lots_n * terms.unit;
    PartFill {
        lots,
        ticks,
        value,
        fee: terms.taker * value + beyond,
        maker: false,
    }
}

fn maker<N: Number>(bar: &LotSteps, limit: i64, lots: i64, terms: &CostTerms<N>) -> PartFill<N> {
    let ticks = limit.clamp(bar.low, bar.high);
    let value = N::whole(ticks) * N::whole(lots) * terms.unit;
    PartFill {
        lots,
        ticks,
        value,
        fee: terms.maker * value,
        maker: true,
    }
}

/// An order that is there while a bar trades; `fresh`: it is its first. `room` is what is left of
/// the bar for it.
pub fn through<N: Number>(
    bar: &LotSteps,
    (side, kind): (Side, Kind),
    lots: i64,
    fresh: bool,
    room: i64,
    terms: &CostTerms<N>,
) -> Matched<N> {
    let size = lots.min(room);
    let take = || (size > 0).then(|| taker(bar, side, bar.open, size, terms));
    let rest = |limit: i64| {
        // A touch is not enough: others were there before.
        let beyond = match side {
            Side::Buy => bar.low < limit,
            Side::Sell => bar.high > limit,
        };
        (size > 0 && beyond).then(|| maker(bar, limit, size, terms))
    };
    let within = |limit: i64, ticks: i64| match side {
        Side::Buy => ticks <= limit,
        Side::Sell => ticks >= limit,
    };
    let (fill, over) = match kind {
        Kind::Market => (take(), false),
        Kind::Ioc(limit) => (take().filter(|fill| within(limit, fill.ticks)), true),
        Kind::PostOnly(limit) if fresh && touches(bar.open, side, limit, terms) => (None, true),
        Kind::Limit(limit) if fresh && touches(bar.open, side, limit, terms) => (
            take()
                .filter(|fill| within(limit, fill.ticks))
                .or_else(|| rest(limit)),
            false,
        ),
        Kind::PostOnly(limit) | Kind::Limit(limit) => (rest(limit), false),
    };
    Matched { fill, over }
}

/// True if a limit would take at this price, with the other side half a spread away.
fn touches<N: Number>(price: i64, side: Side, limit: i64, terms: &CostTerms<N>) -> bool {
    let price = N::whole(price);
    match side {
        Side::Buy => limit >= (price * (N::ONE + terms.half_spread)).ceil(),
        Side::Sell => limit <= (price * (N::ONE - terms.half_spread)).floor(),
    }
}

/// A position's stop and target. Prices in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarded {
    pub long: bool,
    pub stop: Option<i64>,
    pub target: Option<i64>,
}

/// Which of them went off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    Stop,
    Target,
}

/// Returns the trigger that fires in a bar, and the price its market order starts from. At the open
/// the price is known, so whichever it reaches fires; inside the bar the path is unknown, so of two
/// the stop fires. `at_open`: the stop and target were in place when the bar began; only then can
/// the bar open beyond them.
pub fn triggered(bar: &LotSteps, guarded: &Guarded, at_open: bool) -> Option<(Trigger, i64)> {
    let lost = |price: i64, stop: i64| {
        if guarded.long {
            price <= stop
        } else {
            price >= stop
        }
    };
    let won = |price: i64, target: i64| {
        if guarded.long {
            price >= target
        } else {
            price <= target
        }
    };
    let (worst, best) = if guarded.long {
        (bar.low, bar.high)
    } else {
        (bar.high, bar.low)
    };
    let stop = guarded.stop.filter(|stop| lost(worst, *stop));
    let target = guarded
        .target
        .filter(|target| won(best, *target) && best != *target);
    let opens = |hit: bool, what: Trigger| (at_open && hit).then_some((what, bar.open));
    opens(stop.is_some_and(|stop| lost(bar.open, stop)), Trigger::Stop)
        .or_else(|| {
            opens(
                target.is_some_and(|target| won(bar.open, target)),
                Trigger::Target,
            )
        })
        .or_else(|| stop.map(|stop| (Trigger::Stop, stop.clamp(bar.low, bar.high))))
        .or_else(|| target.map(|target| (Trigger::Target, target.clamp(bar.low, bar.high))))
}
