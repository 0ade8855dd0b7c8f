//! What most strategies come to: in on a side, or out; counted in bars until it may speak.

use super::{ParamSpec, Params};
use crate::domain::Bps;

/// The parameter every strategy has.
pub(super) const STOP: ParamSpec =
    ParamSpec { name: "stop_pct", default: 0.0, min: 0.0, max: 50.0, about: "stop distance in percent; 0 for none" };

/// A side held, and for how long it has been silent.
#[derive(Clone, Debug)]
pub(super) struct Stance {
    warmup: usize,
    seen: usize,
    stop: f64,
    long_only: bool,
    /// -1, 0 or 1.
    side: i32,
}

impl Stance {
    /// Out, and silent for `warmup` bars.
    pub(super) fn new(params: &Params, warmup: usize, long_only: bool) -> Self {
        Self { warmup, seen: 0, stop: params["stop_pct"] / 100.0, long_only, side: 0 }
    }
    /// Bars needed before it speaks.
    pub(super) const fn warmup(&self) -> usize {
        self.warmup
    }
    /// A bar has come.
    pub(super) fn tick(&mut self) {
        self.seen += 1;
    }
    /// The side it is on.
    pub(super) const fn side(&self) -> i32 {
        self.side
    }
    /// Takes a side; where there are no shorts, out instead.
    pub(super) fn take(&mut self, side: i32) {
        self.side = if self.long_only { side.max(0) } else { side };
    }
    /// In above one line, in below another, out (of a long below, of a short above) where it lets go.
    pub(super) fn break_out(&mut self, price: f64, (lower, middle, upper): (f64, f64, f64)) {
        if price > upper {
            self.take(1);
        } else if price < lower {
            self.take(-1);
        } else if (self.side > 0 && price < middle) || (self.side < 0 && price > middle) {
            self.take(0);
        }
    }
    /// The opposite: bought below, sold above, let go where the middle is reached.
    pub(super) fn revert(&mut self, price: f64, (lower, middle, upper): (f64, f64, f64)) {
        if price < lower {
            self.take(1);
        } else if price > upper {
            self.take(-1);
        } else if (self.side > 0 && price >= middle) || (self.side < 0 && price <= middle) {
            self.take(0);
        }
    }
    /// All of the slot on its side, once it may speak.
    pub(super) fn target(&self) -> Option<Bps> {
        (self.seen >= self.warmup).then_some(Bps(10_000 * self.side))
    }
    /// Of an entry.
    pub(super) const fn stop(&self) -> f64 {
        self.stop
    }
}

/// Bars after which an exponential mean of `n` has all but forgotten what it began with: e^-10 of it is left.
pub(super) const fn settled(n: usize) -> usize {
    5 * (n + 1)
}

/// The same of one of Wilder's, whose memory is twice as long.
pub(super) const fn settled_wilder(n: usize) -> usize {
    10 * n + 1
}

/// What a strategy with a stance says of it.
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
    fn sides(prices: &[f64], long_only: bool, step: impl Fn(&mut Stance, f64)) -> Vec<i32> {
        let params = [("stop_pct".to_owned(), 2.0)].into();
        let mut stance = Stance::new(&params, 0, long_only);
        let mut side = |price: &f64| {
            step(&mut stance, *price);
            stance.side()
        };
        prices.iter().map(&mut side).collect()
    }

    #[test]
    fn a_breakout_is_held_until_the_middle_is_lost() {
        let lines = (90.0, 100.0, 110.0);
        let prices = [100.0, 111.0, 105.0, 100.0, 99.0, 89.0, 95.0, 101.0];
        assert_eq!(sides(&prices, false, |s, p| s.break_out(p, lines)), [0, 1, 1, 1, 0, -1, -1, 0]);
        assert_eq!(sides(&prices, true, |s, p| s.break_out(p, lines)), [0, 1, 1, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn a_reversion_is_held_until_the_middle_is_reached() {
        let lines = (90.0, 100.0, 110.0);
        let prices = [100.0, 89.0, 95.0, 100.0, 111.0, 105.0, 99.0];
        assert_eq!(sides(&prices, false, |s, p| s.revert(p, lines)), [0, 1, 1, 0, -1, -1, 0]);
        assert_eq!(sides(&prices, true, |s, p| s.revert(p, lines)), [0, 1, 1, 0, 0, 0, 0]);
    }
}
