//! Rule strategies: one candle at a time, the same object live and in a backtest.
//!
//! A strategy sees closed candles of one instrument, oldest first, and says what share of its slot
//! it wants to hold. It knows nothing of money, orders or the clock. Indicators are `f64`: they are
//! opinions, not amounts.

mod atr_trail;
mod bollinger_breakout;
mod bollinger_reversion;
mod buy_and_hold;
mod donchian;
mod ema_cross;
mod ensemble;
pub(crate) mod indicators;
mod keltner;
mod macd;
mod momentum;
mod opening_range;
mod position_state;
mod random;
mod rsi_reversion;
mod sma_cross;
mod supertrend;
mod vwap_reversion;
mod zscore_reversion;

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::data::Columns;
use crate::domain::{Bps, Candle, Instrument, Ms};

/// Parameter values by name, all within their declared bounds.
pub type Params = BTreeMap<String, f64>;

/// A closed bar as a strategy sees it: prices in ticks, volume in lots. Both are whole numbers as
/// long as the market keeps its own steps, so sums of them are exact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ohlcv {
    /// When it opened.
    pub ts: Ms,
    pub open: f64,
    pub high: f64,
    pub low: f64,
    pub close: f64,
    pub volume: f64,
}

impl Ohlcv {
    /// A bar of columns.
    #[inline]
    pub fn at(columns: &Columns, index: usize) -> Self {
        Self {
            ts: Ms(columns.ts[index]),
            open: columns.open[index],
            high: columns.high[index],
            low: columns.low[index],
            close: columns.close[index],
            volume: columns.volume[index],
        }
    }
    /// A candle in an instrument's steps.
    pub fn of(candle: &Candle, inst: &Instrument) -> Self {
        let steps =
            |value: Decimal, step: Decimal| feature(value.checked_div(step).unwrap_or_default());
        let price = |price: crate::domain::Price| steps(price.0, inst.tick.0);
        Self {
            ts: candle.ts,
            open: price(candle.open),
            high: price(candle.high),
            low: price(candle.low),
            close: price(candle.close),
            volume: steps(candle.volume.0, inst.lot.0),
        }
    }
}

/// Value that a sweep gives where a strategy gives none.
pub const NO_OPINION: i32 = i32::MIN;

/// A decimal as a feature.
pub fn feature(value: Decimal) -> f64 {
    value.to_f64().expect("a decimal has a nearest float")
}

/// Target that a strategy wants now, with its stop and reason.
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
    fn on_bar(&mut self, bar: &Ohlcv);
    /// Share of its slot that it wants after the last bar, signed; `None` while warming up.
    fn target(&self) -> Option<Bps>;
    /// Why, in words a person can check; a tick is worth this much.
    fn reason(&self, tick: f64) -> String;
    /// Distance of an entry's stop as a share of the price, the same for all of its life; zero:
    /// none of its own.
    fn stop_distance(&self) -> f64;
    /// The next bars of a history, from an index on: what it wants after each, in hundredths of a
    /// percent, or [`NO_OPINION`]. The same as one bar at a time; strategies that can do it faster
    /// do.
    fn sweep(&mut self, columns: &Columns, from: usize, out: &mut [i32]) {
        for (offset, wanted) in out.iter_mut().enumerate() {
            self.on_bar(&Ohlcv::at(columns, from + offset));
            *wanted = self.target().map_or(NO_OPINION, |target| target.0);
        }
    }
    /// All of it.
    fn signal(&self, tick: f64) -> Option<Signal> {
        Some(Signal {
            target: self.target()?,
            stop_distance: self.stop_distance(),
            reason: self.reason(tick),
        })
    }
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
pub struct StrategySpec {
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
pub fn all() -> &'static [&'static StrategySpec] {
    static ALL: [&StrategySpec; 17] = [
        &buy_and_hold::SPEC,
        &random::SPEC,
        &sma_cross::SPEC,
        &ema_cross::SPEC,
        &macd::SPEC,
        &rsi_reversion::SPEC,
        &bollinger_breakout::SPEC,
        &bollinger_reversion::SPEC,
        &donchian::SPEC,
        &supertrend::SPEC,
        &keltner::SPEC,
        &atr_trail::SPEC,
        &momentum::SPEC,
        &zscore_reversion::SPEC,
        &vwap_reversion::SPEC,
        &opening_range::SPEC,
        &ensemble::SPEC,
    ];
    &ALL
}

impl StrategySpec {
    /// Every parameter at its default.
    pub fn defaults(&self) -> Params {
        self.params
            .iter()
            .map(|p| (p.name.to_owned(), p.default))
            .collect()
    }
}

/// The one of this name.
pub fn find(name: &str) -> Option<&'static StrategySpec> {
    all().iter().copied().find(|spec| spec.name == name)
}

fn whole(params: &Params, name: &str) -> usize {
    params[name].round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(i: i64, close: i64) -> Ohlcv {
        let p = close as f64;
        Ohlcv {
            ts: Ms::secs(i),
            open: p,
            high: p,
            low: p,
            close: p,
            volume: 1.0,
        }
    }

    /// Each default also lies within its bounds.
    #[test]
    fn every_default_is_valid() {
        for spec in all() {
            for p in spec.params {
                assert!(
                    (p.min..=p.max).contains(&p.default),
                    "{} {}",
                    spec.name,
                    p.name
                );
            }
            (spec.validate)(&spec.defaults()).unwrap();
        }
    }

    /// No strategy has a target before its warm-up ends, and each has one afterwards.
    #[test]
    fn targets_start_after_warmup() {
        for spec in all() {
            let mut strategy = (spec.build)(&spec.defaults(), false);
            let warmup = strategy.warmup();
            // Waves of many lengths: every line is crossed from both sides.
            let price = |i: i64| {
                1000 + [(7, 3.0), (60, 11.0), (300, 37.0)]
                    .map(|(n, a)| (a * (i as f64 / n as f64).sin()) as i64)
                    .iter()
                    .sum::<i64>()
            };
            for i in 0..warmup as i64 {
                assert!(
                    strategy.target().is_none(),
                    "{} spoke after {i} of {warmup} bars",
                    spec.name
                );
                strategy.on_bar(&bar(60 * i, price(i)));
            }
            (0..2000)
                .map(|i| i + warmup as i64)
                .for_each(|i| strategy.on_bar(&bar(60 * i, price(i))));
            assert!(
                strategy.target().is_some(),
                "{} is silent long after its warm-up",
                spec.name
            );
        }
    }

    /// Returns the target of a strategy with default parameters, after minutes that close at these
    /// prices, a fifth of a percent high and low.
    fn wants(name: &str, closes: impl Iterator<Item = f64>) -> i32 {
        let spec = find(name).unwrap();
        let mut strategy = (spec.build)(&spec.defaults(), false);
        for (i, close) in closes.enumerate() {
            let (high, low) = (close * 1.002, close * 0.998);
            strategy.on_bar(&Ohlcv {
                ts: Ms::secs(60 * i as i64),
                open: close,
                high,
                low,
                close,
                volume: 1.0,
            });
        }
        strategy.target().expect("warmed up").0
    }

    /// A thousand minutes of nothing but a swing of half a percent, then so many that each move by
    /// this share.
    fn after_calm(bars: i32, step: f64) -> impl Iterator<Item = f64> {
        let calm = (0..1000).map(|i| 1000.0 * (1.0 + 0.005 * (f64::from(i) / 9.0).sin()));
        calm.chain((1..=bars).map(move |i| 1000.0 * (1.0 + step).powi(i)))
    }

    #[test]
    fn trend_follows_reversion_opposes_a_move() {
        let follow = [
            "sma_cross",
            "ema_cross",
            "bollinger_breakout",
            "donchian",
            "supertrend",
            "keltner",
            "atr_trail",
            "opening_range",
        ];
        for name in follow {
            assert_eq!(wants(name, after_calm(60, 0.01)), 10_000, "{name}, up");
            assert_eq!(wants(name, after_calm(60, -0.01)), -10_000, "{name}, down");
        }
        for name in [
            "rsi_reversion",
            "bollinger_reversion",
            "zscore_reversion",
            "vwap_reversion",
        ] {
            assert_eq!(wants(name, after_calm(12, 0.01)), -10_000, "{name}, up");
            assert_eq!(wants(name, after_calm(12, -0.01)), 10_000, "{name}, down");
        }
        // MACD looks at the pace, which a fall in percent loses; and the ensemble has it and a
        // reverter among its six.
        for name in ["macd", "ensemble"] {
            assert_eq!(wants(name, after_calm(20, 0.01)), 10_000, "{name}, up");
            assert_eq!(wants(name, after_calm(20, -0.01)), -10_000, "{name}, down");
        }
        assert_eq!(
            wants("buy_and_hold", after_calm(60, -0.01)),
            10_000,
            "whatever happens"
        );
    }

    #[test]
    fn momentum_shrinks_in_volatile_markets() {
        let (calm, wild) = (
            wants("momentum", after_calm(300, 0.0001)),
            wants("momentum", after_calm(300, 0.01)),
        );
        assert_eq!(calm, 10_000, "a steady climb has no volatility to speak of");
        let shaken = after_calm(300, 0.001)
            .enumerate()
            .map(|(i, p)| if i % 2 == 0 { p } else { p * 1.02 });
        let shaken = wants("momentum", shaken);
        assert!(shaken > 0 && shaken < 1000, "{shaken}");
        assert_eq!(wild, 10_000);
    }

    /// Same draws from whichever bar it starts, other draws for another seed.
    #[test]
    fn random_strategy_depends_on_seed_alone() {
        let spec = find("random").unwrap();
        let sides = |seed: f64, from: i64| -> Vec<i32> {
            let params = spec
                .defaults()
                .into_iter()
                .map(|(k, v)| if k == "seed" { (k, seed) } else { (k, v) })
                .collect();
            let mut strategy = (spec.build)(&params, false);
            let step = |i: i64| {
                strategy.on_bar(&bar(60 * i, 100));
                strategy.target().map_or(9, |t| t.0)
            };
            (from..2000).map(step).collect()
        };
        let (all, late) = (sides(1.0, 0), sides(1.0, 1000));
        assert_eq!(all[1001..], late[1..]);
        assert_ne!(all, sides(2.0, 0));
        let counts = [-10_000, 0, 10_000].map(|side| all.iter().filter(|s| **s == side).count());
        assert!(counts.iter().all(|n| *n > 400), "{counts:?}");
    }

    /// Nothing is held over midnight or on a day joined late.
    #[test]
    fn opening_range_is_flat_overnight() {
        let spec = find("opening_range").unwrap();
        let mut strategy = (spec.build)(&spec.defaults(), false);
        let mut at = |minute: i64, close: i64| {
            strategy.on_bar(&bar(60 * minute, close));
            strategy.target().map_or(9, |t| t.0)
        };
        // Joined at noon: no range, whatever happens.
        assert_eq!((at(720, 100), at(721, 150)), (9, 9));
        (1440..1500).for_each(|minute| {
            assert_eq!(at(minute, 100 + minute % 5), 0, "the range is being made")
        });
        assert_eq!(
            (at(1500, 104), at(1501, 105), at(1502, 103), at(1503, 99)),
            (0, 10_000, 10_000, -10_000)
        );
        assert_eq!(
            (at(2878, 90), at(2879, 90)),
            (-10_000, 0),
            "the bar that closes at midnight"
        );
    }

    #[test]
    fn sweep_matches_bar_by_bar() {
        let mut columns = Columns::empty(crate::domain::Bar::M1, Decimal::ONE, Decimal::ONE, 0);
        let wave = |i: i64| {
            5_000.0 + (200.0 * (i as f64 / 50.0).sin()).round() + ((i * i * 31) % 97) as f64
        };
        for i in 0..5000i64 {
            columns.ts.push(i * 60_000);
            columns.open.push(wave(i - 1));
            columns.high.push(wave(i).max(wave(i - 1)) + (i % 7) as f64);
            columns.low.push(wave(i).min(wave(i - 1)) - (i % 5) as f64);
            columns.close.push(wave(i));
            columns.volume.push((i % 11) as f64);
        }
        for (spec, long_only) in all().iter().flat_map(|spec| [(spec, false), (spec, true)]) {
            let (mut one, mut other) = (
                (spec.build)(&spec.defaults(), long_only),
                (spec.build)(&spec.defaults(), long_only),
            );
            let mut swept = vec![0; columns.len()];
            for (block, out) in swept.chunks_mut(777).enumerate() {
                one.sweep(&columns, block * 777, out);
            }
            for (index, wanted) in swept.into_iter().enumerate() {
                other.on_bar(&Ohlcv::at(&columns, index));
                let told = other.target().map_or(NO_OPINION, |target| target.0);
                assert_eq!(wanted, told, "{} at {index}", spec.name);
            }
        }
    }

    #[test]
    fn means_that_tie_do_tie() {
        // Of 0.1, 0.2 and 0.3 the float means differ in their last bits; of one, two and three
        // ticks they do not.
        let spec = find("sma_cross").unwrap();
        let params = [("fast", 2.0), ("slow", 3.0), ("stop_pct", 0.0)]
            .map(|(k, v)| (k.to_owned(), v))
            .into();
        let mut strategy = (spec.build)(&params, false);
        [2, 1, 3, 2, 1, 3]
            .into_iter()
            .enumerate()
            .for_each(|(i, close)| strategy.on_bar(&bar(i as i64, close)));
        assert_eq!(
            strategy.target(),
            Some(Bps(0)),
            "(1 + 3) / 2 = (2 + 1 + 3) / 3"
        );
    }

    #[test]
    fn long_only_never_goes_short() {
        for spec in all() {
            let mut strategy = (spec.build)(&spec.defaults(), true);
            for i in 0..2000i64 {
                strategy.on_bar(&bar(i, 1000 + (i * i * 31) % 97 - i / 8));
                assert!(
                    strategy.target().is_none_or(|target| target >= Bps(0)),
                    "{}",
                    spec.name
                );
            }
        }
    }
}
