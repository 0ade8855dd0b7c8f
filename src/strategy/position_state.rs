//! State that most strategies reduce to: in on a side, or out; counted in bars until it may signal.
//!
//! A position state of a strategy that may have been taken before the first bar it saw is not
//! known, and it says nothing until it is: so a run that begins later says the same as one that
//! began earlier, or nothing yet.

use super::{ParamSpec, Params};
use crate::domain::Bps;

/// The parameter every strategy has.
pub(super) const STOP: ParamSpec = ParamSpec {
    name: "stop_pct",
    default: 0.0,
    min: 0.0,
    max: 50.0,
    about: "stop distance in percent; 0 for none",
};

/// A side held, and for how long it has been silent.
///
/// What is let go only at a line was perhaps taken before the first bar that was seen. So a stance
/// begins as any side, and speaks once only one is left: a run that begins later says the same from
/// then on, or nothing yet.
#[derive(Clone, Debug)]
pub(super) struct PositionState {
    warmup: usize,
    seen: usize,
    stop: f64,
    long_only: bool,
    /// Sides it may be on, a bit each.
    possible: u8,
}

const SHORT: u8 = 1;
const OUT: u8 = 2;
const LONG: u8 = 4;

impl PositionState {
    /// On a side that is not known, and silent for `warmup` bars at least.
    pub(super) fn new(params: &Params, warmup: usize, long_only: bool) -> Self {
        let possible = if long_only {
            OUT | LONG
        } else {
            SHORT | OUT | LONG
        };
        Self {
            warmup,
            seen: 0,
            stop: params["stop_pct"] / 100.0,
            long_only,
            possible,
        }
    }
    /// Bars needed before it speaks.
    pub(super) const fn warmup(&self) -> usize {
        self.warmup
    }
    /// A bar has come.
    pub(super) fn tick(&mut self) {
        self.seen += 1;
    }
    /// The side it is on: -1, 0 or 1; out while that is not known.
    pub(super) const fn side(&self) -> i32 {
        match self.possible {
            LONG => 1,
            SHORT => -1,
            _ => 0,
        }
    }
    /// Takes a side; where there are no shorts, out instead.
    pub(super) fn take(&mut self, side: i32) {
        self.possible = match side {
            1.. => LONG,
            0 => OUT,
            _ if self.long_only => OUT,
            _ => SHORT,
        };
    }
    /// Out, if it is long, or if it is short.
    pub(super) fn let_go(&mut self, of_long: bool, of_short: bool) {
        for (side, goes) in [(LONG, of_long), (SHORT, of_short)] {
            if goes && self.possible & side != 0 {
                self.possible = (self.possible & !side) | OUT;
            }
        }
    }
    /// In above one line, in below another, out (of a long below, of a short above) where it lets
    /// go.
    pub(super) fn break_out(&mut self, price: f64, (lower, middle, upper): (f64, f64, f64)) {
        if price > upper {
            self.take(1);
        } else if price < lower {
            self.take(-1);
        } else {
            self.let_go(price < middle, price > middle);
        }
    }
    /// The opposite: bought below, sold above, let go where the middle is reached.
    pub(super) fn revert(&mut self, price: f64, (lower, middle, upper): (f64, f64, f64)) {
        if price < lower {
            self.take(1);
        } else if price > upper {
            self.take(-1);
        } else {
            self.let_go(price >= middle, price <= middle);
        }
    }
    /// All of the slot on its side, once it may speak and knows.
    pub(super) fn target(&self) -> Option<Bps> {
        let known = self.possible.is_power_of_two();
        (known && self.seen >= self.warmup).then(|| Bps(10_000 * self.side()))
    }
    /// Of an entry.
    pub(super) const fn stop(&self) -> f64 {
        self.stop
    }
}

/// Bars after which an exponential mean of `n` has all but forgotten what it began with: e^-10 of
/// it is left.
pub(super) const fn settled(n: usize) -> usize {
    5 * (n + 1)
}

/// The same of one of Wilder's, whose memory is twice as long.
pub(super) const fn settled_wilder(n: usize) -> usize {
    10 * n + 1
}

/// Methods of a strategy that its stance answers.
macro_rules! by_stance {
    () => {
        fn warmup(&self) -> usize {
            self.stance.warmup()
        }
        fn target(&self) -> Option<crate::domain::Bps> {
            self.stance.target()
        }
        fn stop_distance(&self) -> f64 {
            self.stance.stop()
        }
    };
}
pub(super) use by_stance;

#[cfg(test)]
mod tests {
    use super::*;

    /// The sides taken as the price goes, between 90, 100 and 110.
    fn sides(prices: &[f64], long_only: bool, step: impl Fn(&mut PositionState, f64)) -> Vec<i32> {
        let params = [("stop_pct".to_owned(), 2.0)].into();
        let mut stance = PositionState::new(&params, 0, long_only);
        let mut side = |price: &f64| {
            step(&mut stance, *price);
            stance.side()
        };
        prices.iter().map(&mut side).collect()
    }

    /// It is held until the price falls back through the middle line.
    #[test]
    fn breakout_ends_behind_the_middle() {
        let lines = (90.0, 100.0, 110.0);
        let prices = [100.0, 111.0, 105.0, 100.0, 99.0, 89.0, 95.0, 101.0];
        assert_eq!(
            sides(&prices, false, |s, p| s.break_out(p, lines)),
            [0, 1, 1, 1, 0, -1, -1, 0]
        );
        assert_eq!(
            sides(&prices, true, |s, p| s.break_out(p, lines)),
            [0, 1, 1, 1, 0, 0, 0, 0]
        );
    }

    /// Nothing is said until only one stance is possible.
    #[test]
    fn no_target_while_side_is_ambiguous() {
        let params = [("stop_pct".to_owned(), 0.0)].into();
        let known = |prices: &[f64], long_only: bool| {
            let mut stance = PositionState::new(&params, 0, long_only);
            prices
                .iter()
                .for_each(|price| stance.break_out(*price, (90.0, 100.0, 110.0)));
            stance.target().map(|target| target.0)
        };
        assert_eq!(known(&[], false), None);
        assert_eq!(known(&[101.0], false), None, "perhaps long, perhaps out");
        assert_eq!(
            known(&[101.0, 99.0], false),
            Some(0),
            "neither long nor short"
        );
        assert_eq!(known(&[101.0], true), None);
        assert_eq!(known(&[99.0], true), Some(0));
        assert_eq!(known(&[111.0], true), Some(10_000));
    }

    /// It is held until the price reaches the middle line.
    #[test]
    fn reversion_ends_at_the_middle() {
        let lines = (90.0, 100.0, 110.0);
        let prices = [100.0, 89.0, 95.0, 100.0, 111.0, 105.0, 99.0];
        assert_eq!(
            sides(&prices, false, |s, p| s.revert(p, lines)),
            [0, 1, 1, 0, -1, -1, 0]
        );
        assert_eq!(
            sides(&prices, true, |s, p| s.revert(p, lines)),
            [0, 1, 1, 0, 0, 0, 0]
        );
    }
}
