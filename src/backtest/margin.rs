//! Funding and liquidation. Pure.

use rust_decimal::Decimal;

use crate::domain::{Ms, Side};
use crate::fills::{LotSteps, Number, PartFill};

/// Funding rates of an instrument: those of its history, and one for the instants it does not have.
#[derive(Clone, Debug, Default)]
pub struct Funding {
    /// (instant in ms, rate), ascending.
    pub history: Vec<(i64, Decimal)>,
    /// Each eight hours of UTC that the history does not cover; zero for none.
    pub otherwise: Decimal,
}

/// Between two payments where no history says otherwise: OKX pays at 00, 08 and 16 UTC.
const EVERY: i64 = 8 * 3_600_000;

impl Funding {
    /// Rates due in `(after, until]`, together: what is held pays the sum once.
    pub fn due(&self, after: Ms, until: Ms) -> Option<Decimal> {
        let from = self.history.partition_point(|(at, _)| *at <= after.0);
        let known: Decimal = self.history[from..]
            .iter()
            .take_while(|(at, _)| *at <= until.0)
            .map(|(_, rate)| *rate)
            .sum();
        // A record speaks for the instant it is nearest to.
        let spoken_for = |at: i64| {
            let next = self
                .history
                .partition_point(|(known, _)| *known < at - EVERY / 2);
            self.history
                .get(next)
                .is_some_and(|(known, _)| *known <= at + EVERY / 2)
        };
        let first = after.0.div_euclid(EVERY) + 1;
        let last = until.0.div_euclid(EVERY);
        let unknown = (first..=last)
            .map(|n| n * EVERY)
            .filter(|at| !spoken_for(*at))
            .count();
        let sum = known + self.otherwise * Decimal::from(unknown as u64);
        (!sum.is_zero()).then_some(sum)
    }

    /// The rate that was due last, if one has been.
    pub fn last(&self, now: Ms) -> Option<Decimal> {
        let past = self.history.partition_point(|(at, _)| *at <= now.0);
        let known = past
            .checked_sub(1)
            .and_then(|last| self.history.get(last))
            .filter(|(at, _)| now.0 - at <= EVERY);
        known
            .map(|(_, rate)| *rate)
            .or_else(|| (!self.otherwise.is_zero()).then_some(self.otherwise))
    }

    /// The next instant after `now` at which something may be due.
    pub fn next(&self, now: Ms) -> Ms {
        let listed = self.history.partition_point(|(at, _)| *at <= now.0);
        let regular = (now.0.div_euclid(EVERY) + 1) * EVERY;
        Ms(self
            .history
            .get(listed)
            .map_or(regular, |(at, _)| (*at).min(regular)))
    }
}

/// One position that may have to be liquidated.
#[derive(Clone, Copy, Debug)]
pub struct Exposed<N> {
    /// Signed.
    pub held: i64,
    pub bar: LotSteps,
    pub unit: N,
    pub maintenance: N,
}

/// Returns how far on the way from the open of every bar to its worst price equity falls to what
/// positions need; `None`: it does not. All positions are assumed to be at their worst together:
/// anything unknown about the bar counts against us. Cash is everything besides the positions,
/// which are valued in full.
pub fn liquidated_at<N: Number>(cash: N, positions: &[Exposed<N>]) -> Option<N> {
    let (mut open, mut worst) = (cash, cash);
    let mut held = false;
    for p in positions.iter().filter(|p| p.held != 0) {
        held = true;
        let extreme = if p.held > 0 { p.bar.low } else { p.bar.high };
        let left = |price: i64| {
            let value = N::whole(p.held) * N::whole(price) * p.unit;
            let size = if value < N::ZERO { -value } else { value };
            value - p.maintenance * size
        };
        open += left(p.bar.open);
        worst += left(extreme);
    }
    if !held || worst >= N::ZERO {
        return None;
    }
    if open <= N::ZERO {
        Some(N::ZERO)
    } else {
        Some(open / (open - worst))
    }
}

/// The fill of a position that is liquidated so far on the way to its worst price; `fee`: a share
/// of its value.
pub fn liquidation<N: Number>(p: &Exposed<N>, way: N, fee: N) -> PartFill<N> {
    let (side, extreme) = if p.held > 0 {
        (Side::Sell, p.bar.low)
    } else {
        (Side::Buy, p.bar.high)
    };
    let meant = N::whole(p.bar.open) + way * (N::whole(extreme) - N::whole(p.bar.open));
    let ticks = match side {
        Side::Sell => meant.floor(),
        Side::Buy => meant.ceil(),
    }
    .clamp(p.bar.low, p.bar.high);
    let value = N::whole(ticks) * N::whole(p.held.abs()) * p.unit;
    PartFill {
        lots: p.held.abs(),
        ticks,
        value,
        fee: fee * value,
        maker: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the history has no rate, also in a gap in its middle, the default rate is due.
    #[test]
    fn funding_uses_history_then_default_rate() {
        let rate = |bps: i64| Decimal::new(bps, 4);
        let funding = Funding {
            history: vec![(2 * EVERY, rate(5)), (3 * EVERY, rate(-3))],
            otherwise: rate(1),
        };
        let due = |after: i64, until: i64| funding.due(Ms(after * EVERY), Ms(until * EVERY));
        assert_eq!(due(0, 1), Some(rate(1)));
        assert_eq!(due(1, 2), Some(rate(5)));
        assert_eq!(due(1, 3), Some(rate(2)));
        assert_eq!(due(2, 5), Some(rate(-1)), "one of history, two usual");
        assert_eq!(funding.due(Ms(1), Ms(EVERY - 1)), None);
        // Of a hole in the middle the usual rate is paid.
        let holes = Funding {
            history: vec![(2 * EVERY, rate(5)), (9 * EVERY, rate(-3))],
            otherwise: rate(1),
        };
        assert_eq!(holes.due(Ms(2 * EVERY), Ms(8 * EVERY)), Some(rate(6)));
        assert_eq!(funding.next(Ms(2 * EVERY)), Ms(3 * EVERY));
        assert_eq!(funding.next(Ms(5)), Ms(EVERY));
    }
}
