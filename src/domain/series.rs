//! A stretch of history: the bars there are, in order, and what is missing between them. What
//! strategies are warmed up with, snapshots show and backtests run on.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Bar, Candle, Ms};

/// Bars of one size, ascending. Shared, not copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        assert!(
            candles.windows(2).all(|w| w[0].ts < w[1].ts),
            "history must ascend"
        );
        Self {
            bar,
            candles: Arc::new(candles),
        }
    }

    /// The same, of bars that are known to ascend.
    pub fn ascending(bar: Bar, candles: Arc<Vec<Candle>>) -> Self {
        debug_assert!(
            candles.windows(2).all(|w| w[0].ts < w[1].ts),
            "history must ascend"
        );
        Self { bar, candles }
    }

    /// All bars, oldest first.
    pub fn candles(&self) -> &[Candle] {
        &self.candles
    }

    /// Stretches of missing bars, as (first missing, first present again).
    pub fn gaps(&self) -> Vec<(Ms, Ms)> {
        let span = self.bar.span();
        let hole =
            |w: &[Candle]| (w[1].ts > w[0].ts.plus(span)).then(|| (w[0].ts.plus(span), w[1].ts));
        self.candles.windows(2).filter_map(hole).collect()
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
        let minute = |i: i64| Candle {
            ts: Ms(i * 60_000),
            open: p,
            high: p,
            low: p,
            close: p,
            volume: Qty::ZERO,
        };
        let series = Series::new(Bar::M1, [5, 6, 9, 10, 11].map(minute).to_vec());
        assert_eq!(series.gaps(), [(Ms(7 * 60_000), Ms(9 * 60_000))]);
    }
}
