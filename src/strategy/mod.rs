//! Rule strategies: one candle at a time, the same object live and in a backtest.
//!
//! A strategy sees closed candles of one instrument, oldest first, and says what share of its slot it
//! wants to hold. It knows nothing of money, orders or the clock. Indicators are `f64`: they are
//! opinions, not amounts.

mod donchian;
mod indicators;
mod rsi_reversion;
mod sma_cross;

use std::collections::BTreeMap;

use crate::domain::{Bps, Candle};

/// Parameter values by name, all within their declared bounds.
pub type Params = BTreeMap<String, f64>;

/// What a strategy wants now.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// Share of its slot, signed; 10 000 = all of it long.
    pub target: Bps,
    /// Distance of the protective stop as a share of the price; zero: none of its own.
    pub stop_distance: f64,
    /// Why, in words a person can check.
    pub reason: String,
}

/// A streaming strategy on one instrument.
pub trait Strategy: Send + Sync {
    /// Closed bars needed before the first signal.
    fn warmup(&self) -> usize;
    /// The next closed bar.
    fn on_bar(&mut self, bar: &Candle);
    /// What it wants after the last bar; `None` while warming up.
    fn signal(&self) -> Option<Signal>;
}

/// A parameter with its bounds; the bounds are also the range a search may use.
#[derive(Debug)]
pub struct ParamSpec {
    pub name: &'static str,
    pub default: f64,
    pub min: f64,
    pub max: f64,
    pub about: &'static str,
}

/// A strategy that can be named in the configuration.
#[derive(Debug)]
pub struct Spec {
    pub name: &'static str,
    /// One paragraph: what it bets on.
    pub about: &'static str,
    pub params: &'static [ParamSpec],
    /// Relations between parameters that bounds cannot say.
    pub validate: fn(&Params) -> Result<(), String>,
    /// Makes one; `long_only` for instruments without a short side.
    pub build: fn(&Params, long_only: bool) -> Box<dyn Strategy>,
}

/// All of them.
pub fn all() -> &'static [&'static Spec] {
    static ALL: [&Spec; 3] = [&sma_cross::SPEC, &rsi_reversion::SPEC, &donchian::SPEC];
    &ALL
}

/// The one of this name.
pub fn find(name: &str) -> Option<&'static Spec> {
    all().iter().copied().find(|spec| spec.name == name)
}

/// A candle's price as a feature.
fn close(bar: &Candle) -> f64 {
    feature(bar.close.0)
}

fn feature(value: rust_decimal::Decimal) -> f64 {
    use rust_decimal::prelude::ToPrimitive;
    value.to_f64().expect("a decimal has a nearest float")
}

fn whole(params: &Params, name: &str) -> usize {
    params[name].round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Ms, Price, Qty};
    use rust_decimal::Decimal;

    fn bar(i: i64, close: i64) -> Candle {
        let p = Price(Decimal::from(close));
        Candle { ts: Ms::secs(i), open: p, high: p, low: p, close: p, volume: Qty(Decimal::ONE) }
    }

    fn defaults(spec: &Spec) -> Params {
        spec.params.iter().map(|p| (p.name.to_owned(), p.default)).collect()
    }

    #[test]
    fn every_default_is_within_its_bounds_and_valid() {
        for spec in all() {
            for p in spec.params {
                assert!((p.min..=p.max).contains(&p.default), "{} {}", spec.name, p.name);
            }
            (spec.validate)(&defaults(spec)).unwrap();
        }
    }

    #[test]
    fn no_strategy_speaks_before_its_warmup_and_every_one_after() {
        for spec in all() {
            let mut strategy = (spec.build)(&defaults(spec), false);
            let warmup = strategy.warmup();
            for i in 0..warmup as i64 {
                assert!(strategy.signal().is_none(), "{} spoke after {i} of {warmup} bars", spec.name);
                strategy.on_bar(&bar(i, 100 + (i * 7) % 13));
            }
            assert!(strategy.signal().is_some(), "{} is silent after its warm-up", spec.name);
        }
    }

    #[test]
    fn long_only_never_asks_for_a_short() {
        for spec in all() {
            let mut strategy = (spec.build)(&defaults(spec), true);
            for i in 0..2000i64 {
                strategy.on_bar(&bar(i, 1000 + (i * i * 31) % 97 - i / 8));
                assert!(strategy.signal().is_none_or(|s| s.target >= Bps(0)), "{}", spec.name);
            }
        }
    }
}
