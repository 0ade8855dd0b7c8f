//! A stretch of history: the bars there are, in order, and what is missing between them. What strategies
//! are warmed up with, snapshots show and backtests run on.

use std::sync::Arc;

use crate::domain::{Bar, Candle, Ms};

/// Bars of one size, ascending. Shared, not copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    pub bar: Bar,
    candles: Arc<Vec<Candle>>,
}

impl Series {
    /// A series of `candles`.
    ///
    /// # Panics
    /// If they do not ascend: whoever reads history orders it.
    pub fn new(bar: Bar, candles: Vec<Candle>) -> Self {
        assert!(candles.windows(2).all(|w| w[0].ts < w[1].ts), "history must ascend");
        Self { bar, candles: Arc::new(candles) }
    }

    /// All bars, oldest first.
    pub fn candles(&self) -> &[Candle] {
        &self.candles
    }

    /// Stretches of missing bars, as (first missing, first present again).
    pub fn gaps(&self) -> Vec<(Ms, Ms)> {
        let span = self.bar.span();
        let hole = |w: &[Candle]| (w[1].ts > w[0].ts.plus(span)).then(|| (w[0].ts.plus(span), w[1].ts));
        self.candles.windows(2).filter_map(hole).collect()
    }

    /// The same history in longer bars; a bar of which a part is missing is left out. `None` if `bar` is
    /// not a whole multiple.
    pub fn in_bars_of(&self, bar: Bar) -> Option<Series> {
        if bar == self.bar {
            return Some(self.clone());
        }
        super::resample(&self.candles, self.bar, bar).map(|candles| Series::new(bar, candles))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Price, Qty};
    use rust_decimal::Decimal;

    #[test]
    fn gaps_are_the_holes_between_bars() {
        let p = Price(Decimal::ONE);
        let minute = |i: i64| Candle { ts: Ms(i * 60_000), open: p, high: p, low: p, close: p, volume: Qty::ZERO };
        let series = Series::new(Bar::M1, [5, 6, 9, 10, 11].map(minute).to_vec());
        assert_eq!(series.gaps(), [(Ms(7 * 60_000), Ms(9 * 60_000))]);
        assert_eq!(series.in_bars_of(Bar::M3).unwrap().candles().len(), 1);
        assert_eq!(series.in_bars_of(Bar::S1), None);
    }
}
