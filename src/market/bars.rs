//! One instrument's closed bars: contiguous, or the gap is named.

use std::sync::Arc;

use crate::domain::{Bar, Candle, Ms, Series};

/// Relation of a bar to the ones we have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The next one.
    Next,
    /// We had it, or it is older than what we keep.
    Known,
    /// Bars are missing between: from the first missing one to this one, exclusive. Not taken.
    Gap { from: Ms, to: Ms },
    /// Not on the bar's grid. Not taken.
    Misplaced,
}

/// The last closed bars, oldest first.
#[derive(Clone, Debug)]
pub struct Bars {
    bar: Bar,
    keep: usize,
    closed: Arc<Vec<Candle>>,
}

impl Bars {
    /// Starts empty; keeps at most `keep` bars.
    pub fn new(bar: Bar, keep: usize) -> Self {
        Self {
            bar,
            keep,
            closed: Arc::default(),
        }
    }

    /// The bars we have, shared.
    pub fn history(&self) -> Series {
        Series::ascending(self.bar, Arc::clone(&self.closed))
    }

    /// Open time of the newest bar.
    pub fn last(&self) -> Option<Ms> {
        self.closed.last().map(|c| c.ts)
    }

    /// Takes one closed bar, if it is the next one.
    pub fn push(&mut self, candle: Candle) -> Pushed {
        let span = self.bar.span();
        if candle.ts.floor(span) != candle.ts {
            return Pushed::Misplaced;
        }
        match self.last() {
            Some(last) if candle.ts <= last => return Pushed::Known,
            Some(last) if candle.ts > last.plus(span) => {
                return Pushed::Gap {
                    from: last.plus(span),
                    to: candle.ts,
                };
            }
            _ => {}
        }
        let closed = Arc::make_mut(&mut self.closed);
        if closed.len() >= self.keep + self.keep / 4 {
            // Cut in strides: moving the whole history for each bar would cost more than keeping
            // it.
            closed.drain(..closed.len() - self.keep);
        }
        closed.push(candle);
        Pushed::Next
    }

    /// Forgets everything: the past is to be read afresh.
    pub fn clear(&mut self) {
        self.closed = Arc::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Price, Qty};
    use rust_decimal::Decimal;

    fn bar(ts: i64) -> Candle {
        let p = Price(Decimal::ONE);
        Candle {
            ts: Ms::secs(ts),
            open: p,
            high: p,
            low: p,
            close: p,
            volume: Qty::ZERO,
        }
    }

    #[track_caller]
    fn check(seconds: &[i64], expected: &[Pushed], kept: &[i64]) {
        let mut bars = Bars::new(Bar::S1, 4);
        let got: Vec<Pushed> = seconds.iter().map(|s| bars.push(bar(*s))).collect();
        assert_eq!(got, expected);
        assert_eq!(
            bars.history()
                .candles()
                .iter()
                .map(|c| c.ts.0 / 1000)
                .collect::<Vec<_>>(),
            kept
        );
    }

    /// The next bar joins, a known bar is ignored, and missing bars are reported as a gap.
    #[test]
    fn row_49_repeated_bars_and_gaps() {
        use Pushed::*;
        check(
            &[1, 2, 2, 1, 3],
            &[Next, Next, Known, Known, Next],
            &[1, 2, 3],
        );
        check(
            &[1, 4],
            &[
                Next,
                Gap {
                    from: Ms::secs(2),
                    to: Ms::secs(4),
                },
            ],
            &[1],
        );
        check(&[1, 2, 3, 4, 5, 6, 7], &[Next; 7], &[3, 4, 5, 6, 7]);
    }

    #[test]
    fn misaligned_bar_is_refused() {
        let mut bars = Bars::new(Bar::M1, 4);
        assert_eq!(bars.push(bar(61)), Pushed::Misplaced);
        assert_eq!(bars.push(bar(60)), Pushed::Next);
    }
}
