//! Checks for look-ahead (a strategy sees the future) and for opinions that depend on where history
//! begins. Pure.

use serde::Serialize;

use crate::data::Columns;
use crate::strategy::{NO_OPINION, Params, StrategySpec};

/// Findings of a look-ahead check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lookahead {
    /// Histories that were cut off, and opinions compared.
    pub cuts: usize,
    pub compared: usize,
    /// Indices of bars after which it said something else when nothing came after them.
    pub differ: Vec<usize>,
}

/// Findings of a warm-up check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drift {
    pub declared: usize,
    /// Later beginnings, and opinions compared after the declared warm-up.
    pub starts: usize,
    pub compared: usize,
    /// Of those, such that the run from the beginning says something else.
    pub differ: usize,
    /// Bars after a beginning until the last difference; `None`: there was none.
    pub longest: Option<usize>,
    /// Bars on which the later run had no opinion yet although its warm-up was over: a stance it
    /// cannot know of.
    pub silent: usize,
}

/// A strategy, maker of strategies: fresh ones are compared.
pub struct Subject<'a> {
    pub spec: &'a StrategySpec,
    pub params: &'a Params,
    pub long_only: bool,
}

impl Subject<'_> {
    /// Returns the strategy's opinion after each bar of these columns.
    fn says(&self, columns: &Columns) -> Vec<i32> {
        let mut out = vec![NO_OPINION; columns.len()];
        (self.spec.build)(self.params, self.long_only).sweep(columns, 0, &mut out);
        out
    }

    /// Runs on the whole history and on so many that are cut off: whatever it says must not depend
    /// on what came later. (Truncate and compare.)
    pub fn lookahead(&self, columns: &Columns, cuts: usize) -> Lookahead {
        let whole = self.says(columns);
        let mut found = Lookahead {
            cuts: 0,
            compared: 0,
            differ: Vec::new(),
        };
        let tail = 500.min(columns.len());
        for cut in 1..=cuts {
            let end = (columns.len() * cut / (cuts + 1)).max(1);
            let part = self.says(&columns.part(0..end));
            found.cuts += 1;
            // What came long before the end was compared at an earlier cut.
            for index in end.saturating_sub(tail)..end {
                // Where neither has an opinion there is nothing to compare.
                found.compared +=
                    usize::from((part[index], whole[index]) != (NO_OPINION, NO_OPINION));
                if part[index] != whole[index] {
                    found.differ.push(index);
                }
            }
        }
        found.differ.sort_unstable();
        found.differ.dedup();
        found
    }

    /// Runs from the beginning and from later ones: after its declared warm-up it must say the
    /// same.
    pub fn warmup(&self, columns: &Columns, starts: usize) -> Drift {
        let whole = self.says(columns);
        let declared = (self.spec.build)(self.params, self.long_only).warmup();
        let mut found = Drift {
            declared,
            starts: 0,
            compared: 0,
            differ: 0,
            longest: None,
            silent: 0,
        };
        // Both must be warm, and there must be something left to compare.
        let room = columns.len().saturating_sub(2 * declared);
        for start in 1..=starts {
            let begin = declared + room * start / (starts + 1);
            if begin + declared >= columns.len() {
                break;
            }
            let part = self.says(&columns.part(begin..columns.len()));
            found.starts += 1;
            for (offset, told) in part.iter().enumerate().skip(declared) {
                if *told == NO_OPINION {
                    found.silent += 1;
                    continue;
                }
                found.compared += 1;
                if *told != whole[begin + offset] {
                    found.differ += 1;
                    found.longest = found.longest.max(Some(offset));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Bar, Bps};
    use crate::strategy::{Ohlcv, Strategy};
    use rust_decimal::Decimal;

    /// Waves of many lengths with noise, and volume.
    fn columns(bars: usize) -> Columns {
        let mut columns = Columns::empty(Bar::M1, Decimal::ONE, Decimal::ONE, bars);
        let noise = |i: usize| ((i * i * 7919 + i * 104_729) % 1013) as f64 - 506.0;
        let price = |i: usize| {
            let waves: f64 = [(37.0, 90.0), (311.0, 400.0), (2_903.0, 2_500.0)]
                .iter()
                .map(|(n, a)| a * (i as f64 / n).sin())
                .sum();
            (50_000.0 + waves + noise(i) / 8.0).round()
        };
        for i in 0..bars {
            columns.ts.push(i as i64 * 60_000);
            columns.open.push(price(i));
            columns
                .high
                .push(price(i).max(price(i + 1)) + (i % 17) as f64);
            columns
                .low
                .push(price(i).min(price(i + 1)) - (i % 13) as f64);
            columns.close.push(price(i + 1));
            columns.volume.push((i % 29) as f64 + 1.0);
        }
        columns
    }

    /// Every strategy with its defaults: no decision depends on future bars or on where history
    /// begins.
    #[test]
    fn no_strategy_looks_ahead_or_drifts() {
        let columns = columns(20_000);
        for spec in crate::strategy::all() {
            let subject = Subject {
                spec,
                params: &spec.defaults(),
                long_only: false,
            };
            let ahead = subject.lookahead(&columns, 12);
            assert!(
                ahead.differ.is_empty() && ahead.compared > 4_000,
                "{}: {ahead:?}",
                spec.name
            );
            let drift = subject.warmup(&columns, 7);
            assert!(
                drift.differ == 0 && drift.compared > 10_000,
                "{}: {drift:?}",
                spec.name
            );
        }
    }

    /// Knows the whole history: wants what the next bar will do.
    struct Cheat(usize);
    impl Strategy for Cheat {
        fn warmup(&self) -> usize {
            0
        }
        fn on_bar(&mut self, _: &Ohlcv) {
            self.0 += 1;
        }
        fn target(&self) -> Option<Bps> {
            Some(Bps(0))
        }
        fn reason(&self, _: f64) -> String {
            String::new()
        }
        fn stop_distance(&self) -> f64 {
            0.0
        }
        fn sweep(&mut self, columns: &Columns, from: usize, out: &mut [i32]) {
            for (offset, wanted) in out.iter_mut().enumerate() {
                let now = from + offset;
                let next = columns.close.get(now + 1).unwrap_or(&columns.close[now]);
                *wanted = if *next > columns.close[now] {
                    10_000
                } else {
                    0
                };
            }
        }
    }

    /// Counts from its own first bar.
    struct Counter(i64);
    impl Strategy for Counter {
        fn warmup(&self) -> usize {
            10
        }
        fn on_bar(&mut self, _: &Ohlcv) {
            self.0 += 1;
        }
        fn target(&self) -> Option<Bps> {
            (self.0 >= 10).then_some(Bps(if self.0 % 7 < 3 { 10_000 } else { 0 }))
        }
        fn reason(&self, _: f64) -> String {
            String::new()
        }
        fn stop_distance(&self) -> f64 {
            0.0
        }
    }

    /// One strategy that reads the future and one that depends on where history begins are both
    /// found by the checks.
    #[test]
    fn lookahead_and_drift_are_detected() {
        static CHEAT: StrategySpec = StrategySpec {
            name: "cheat",
            about: "",
            params: &[],
            validate: |_| Ok(()),
            build: |_, _| Box::new(Cheat(0)),
        };
        static COUNTER: StrategySpec = StrategySpec {
            name: "counter",
            about: "",
            params: &[],
            validate: |_| Ok(()),
            build: |_, _| Box::new(Counter(0)),
        };
        let columns = columns(3_000);
        let params = Params::new();
        let of = |spec| Subject {
            spec,
            params: &params,
            long_only: false,
        };
        assert!(!of(&CHEAT).lookahead(&columns, 20).differ.is_empty());
        assert!(of(&COUNTER).lookahead(&columns, 20).differ.is_empty());
        assert!(of(&COUNTER).warmup(&columns, 5).differ > 100);
    }
}
