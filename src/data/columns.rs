//! History in columns of whole steps: what strategies and the backtest's fast path run over.

use std::sync::OnceLock;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use sha2::{Digest, Sha256};

use crate::domain::{Bar, Candle, Ms};

/// Bars of one size, ascending, as columns. Prices are whole ticks, volumes whole lots (what is
/// finer is left off), all of them exact in an `f64`.
#[derive(Debug)]
pub struct Columns {
    pub bar: Bar,
    /// Values of one tick and one lot.
    pub tick: Decimal,
    pub lot: Decimal,
    /// Open times, ms.
    pub ts: Vec<i64>,
    pub open: Vec<f64>,
    pub high: Vec<f64>,
    pub low: Vec<f64>,
    pub close: Vec<f64>,
    pub volume: Vec<f64>,
    sums: OnceLock<Option<Vec<f64>>>,
}

/// History that cannot be counted in steps.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ColumnsError {
    #[error("{value} at {at} is not a whole number of steps of {step}; finer steps are needed")]
    Finer {
        value: Decimal,
        step: Decimal,
        at: String,
    },
    #[error(
        "{value} at {at} is more steps of {step} than can be counted exactly; the file has more digits than a market"
    )]
    TooMany {
        value: Decimal,
        step: Decimal,
        at: String,
    },
    #[error(
        "the bar at {0} is impossible: its prices are not positive, or its high and low are not around open and close"
    )]
    Impossible(String),
    #[error("there are no bars")]
    Empty,
}

/// The largest whole number up to which every one is an `f64`.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Columns {
    /// Candles, counted in steps.
    ///
    /// # Errors
    /// None at all, one that is impossible, or a price that is not a whole number of ticks.
    pub fn of(
        bar: Bar,
        candles: &[Candle],
        tick: Decimal,
        lot: Decimal,
    ) -> Result<Self, ColumnsError> {
        let mut columns = Self::empty(bar, tick, lot, candles.len());
        for candle in candles {
            if !candle.is_sane() {
                return Err(ColumnsError::Impossible(candle.ts.iso()));
            }
            let steps = |value: Decimal, step: Decimal| {
                let count = value
                    .checked_div(step)
                    .filter(Decimal::is_integer)
                    .and_then(|count| count.to_f64());
                let count = count.ok_or_else(|| ColumnsError::Finer {
                    value,
                    step,
                    at: candle.ts.iso(),
                })?;
                if count < EXACT {
                    Ok(count)
                } else {
                    Err(ColumnsError::TooMany {
                        value,
                        step,
                        at: candle.ts.iso(),
                    })
                }
            };
            let prices = [candle.open, candle.high, candle.low, candle.close];
            let [open, high, low, close] = prices.map(|price| steps(price.0, tick));
            let volume = steps((candle.volume.0 / lot).trunc(), Decimal::ONE)?;
            columns.push(candle.ts.0, [open?, high?, low?, close?, volume]);
        }
        columns.checked()
    }

    /// None yet, with room for so many.
    pub fn empty(bar: Bar, tick: Decimal, lot: Decimal, room: usize) -> Self {
        let column = || Vec::with_capacity(room);
        Self {
            bar,
            tick,
            lot,
            ts: Vec::with_capacity(room),
            open: column(),
            high: column(),
            low: column(),
            close: column(),
            volume: column(),
            sums: OnceLock::new(),
        }
    }

    /// Adds a row of (open time in ms, open, high, low, close, volume), in steps.
    #[inline]
    pub fn push(&mut self, ts: i64, [open, high, low, close, volume]: [f64; 5]) {
        self.ts.push(ts);
        self.open.push(open);
        self.high.push(high);
        self.low.push(low);
        self.close.push(close);
        self.volume.push(volume);
    }

    /// Adds what comes after, in the same steps.
    pub fn append(&mut self, later: &Self) {
        assert_eq!(
            (self.bar, self.tick, self.lot),
            (later.bar, later.tick, later.lot),
            "the same steps"
        );
        self.ts.extend_from_slice(&later.ts);
        self.open.extend_from_slice(&later.open);
        self.high.extend_from_slice(&later.high);
        self.low.extend_from_slice(&later.low);
        self.close.extend_from_slice(&later.close);
        self.volume.extend_from_slice(&later.volume);
    }

    /// Itself, if it is a history at all.
    ///
    /// # Errors
    /// No bars.
    ///
    /// # Panics
    /// If times do not ascend: whoever reads history orders it.
    pub fn checked(self) -> Result<Self, ColumnsError> {
        assert!(
            self.ts.windows(2).all(|w| w[0] < w[1]),
            "history must ascend"
        );
        if self.ts.is_empty() {
            Err(ColumnsError::Empty)
        } else {
            Ok(self)
        }
    }

    /// Returns the number of bars.
    pub fn len(&self) -> usize {
        self.ts.len()
    }

    /// True if there are no bars.
    pub fn is_empty(&self) -> bool {
        self.ts.is_empty()
    }

    /// When a bar closes.
    pub fn closes(&self, index: usize) -> Ms {
        Ms(self.ts[index]).plus(self.bar.span())
    }

    /// Bars in `[from, to)`, as columns of their own.
    #[must_use]
    pub fn between(&self, from: Ms, to: Ms) -> Self {
        let [low, high] = [from, to].map(|at| self.ts.partition_point(|ts| *ts < at.0));
        self.part(low..high.max(low))
    }

    /// Bars of a range of indices, as columns of their own.
    ///
    /// # Panics
    /// If there are not that many.
    #[must_use]
    pub fn part(&self, range: std::ops::Range<usize>) -> Self {
        let column = |all: &[f64]| all[range.clone()].to_vec();
        Self {
            ts: self.ts[range.clone()].to_vec(),
            open: column(&self.open),
            high: column(&self.high),
            low: column(&self.low),
            close: column(&self.close),
            volume: column(&self.volume),
            sums: OnceLock::new(),
            ..*self
        }
    }

    /// Sums of all closes before each index, and one more of all: the sum of any window is a
    /// difference of two. `None` if they would not be exact.
    pub fn sums(&self) -> Option<&[f64]> {
        let made = self.sums.get_or_init(|| {
            let mut sum = 0.0;
            let mut sums = Vec::with_capacity(self.len() + 1);
            sums.push(sum);
            sums.extend(self.close.iter().map(|close| {
                sum += close;
                sum
            }));
            (sum < EXACT && self.close.iter().all(|close| close.fract() == 0.0)).then_some(sums)
        });
        made.as_deref()
    }

    /// Stretches in which bars are missing, as how many there are and how many bars they lack.
    pub fn gaps(&self) -> (usize, i64) {
        let span = self.bar.span().0;
        let missing = self
            .ts
            .windows(2)
            .map(|w| (w[1] - w[0]) / span - 1)
            .filter(|missing| *missing > 0);
        missing.fold((0, 0), |(count, sum), missing| (count + 1, sum + missing))
    }

    /// SHA-256 of all of it, as hexadecimal digits.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.bar.okx());
        hash.update(self.tick.normalize().to_string());
        hash.update(self.lot.normalize().to_string());
        let mut bytes = Vec::with_capacity(1 << 16);
        for rows in self.ts.chunks(8192) {
            bytes.clear();
            bytes.extend(rows.iter().flat_map(|ts| ts.to_le_bytes()));
            hash.update(&bytes);
        }
        for column in [&self.open, &self.high, &self.low, &self.close, &self.volume] {
            for rows in column.chunks(8192) {
                bytes.clear();
                bytes.extend(rows.iter().flat_map(|value| value.to_le_bytes()));
                hash.update(&bytes);
            }
        }
        data_encoding::HEXLOWER.encode(&hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)] // what is exact is compared exactly
    use super::*;
    use crate::domain::{Price, Qty};

    fn candle(minute: i64, close: &str) -> Candle {
        let p: Price = close.parse().unwrap();
        Candle {
            ts: Ms(minute * 60_000),
            open: p,
            high: p,
            low: p,
            close: p,
            volume: Qty(Decimal::ONE),
        }
    }

    fn columns(rows: &[(i64, &str)]) -> Result<Columns, ColumnsError> {
        let candles: Vec<Candle> = rows
            .iter()
            .map(|(minute, close)| candle(*minute, close))
            .collect();
        Columns::of(Bar::M1, &candles, Decimal::new(5, 1), Decimal::ONE)
    }

    /// An empty file or a negative price is refused too.
    #[test]
    fn prices_are_whole_steps_or_refused() {
        assert_eq!(
            columns(&[(0, "100"), (1, "100.5")]).unwrap().close,
            [200.0, 201.0]
        );
        let refused = columns(&[(0, "100.2")]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "100.2 at 1970-01-01T00:00:00.000Z is not a whole number of steps of 0.5; finer steps are needed"
        );
        assert_eq!(columns(&[]).unwrap_err(), ColumnsError::Empty);
        assert!(matches!(
            columns(&[(0, "-1")]),
            Err(ColumnsError::Impossible(_))
        ));
    }

    /// Also counts gaps and cuts the rows between two times.
    #[test]
    fn window_sums_are_prefix_differences() {
        let columns = columns(&[(0, "1"), (1, "2"), (2, "3.5"), (5, "4")]).unwrap();
        let sums = columns.sums().unwrap();
        assert_eq!(sums[3] - sums[1], 4.0 + 7.0);
        assert_eq!(columns.gaps(), (1, 2));
        assert_eq!(columns.between(Ms(60_000), Ms(180_000)).close, [4.0, 7.0]);
    }

    #[test]
    fn any_change_changes_the_hash() {
        let one = columns(&[(0, "1"), (1, "2")]).unwrap().hash();
        assert_eq!(one, columns(&[(0, "1"), (1, "2")]).unwrap().hash());
        assert_ne!(one, columns(&[(0, "1"), (1, "2.5")]).unwrap().hash());
        assert_ne!(one, columns(&[(0, "1"), (2, "2")]).unwrap().hash());
    }
}
