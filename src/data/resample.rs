//! Longer bars from shorter ones.

use crate::domain::{Bar, Candle, Series};

/// Folds `candles` of `from` into bars of `to`, oldest first. A long bar of which any part is
/// missing is left out: half a bar is not a bar.
///
/// Returns `None` if `to` is not a whole multiple of `from`.
pub fn resample(candles: &[Candle], from: Bar, to: Bar) -> Option<Vec<Candle>> {
    let (short, long) = (from.span(), to.span());
    if long.0 % short.0 != 0 {
        return None;
    }
    let parts = (long.0 / short.0) as usize;
    let of_bar = |c: &Candle| c.ts.floor(long);
    let whole = |group: &&[Candle]| {
        group.len() == parts
            && group[0].ts == of_bar(&group[0])
            && group.windows(2).all(|w| w[1].ts == w[0].ts.plus(short))
    };
    let groups = candles.chunk_by(|a, b| of_bar(a) == of_bar(b));
    let fold = |group: &[Candle]| Candle {
        ts: group[0].ts,
        open: group[0].open,
        high: group.iter().map(|c| c.high).max().unwrap_or(group[0].high),
        low: group.iter().map(|c| c.low).min().unwrap_or(group[0].low),
        close: group[group.len() - 1].close,
        volume: crate::domain::Qty(group.iter().map(|c| c.volume.0).sum()),
    };
    Some(groups.filter(whole).map(fold).collect())
}

/// The same history in longer bars; a bar of which a part is missing is left out. `None` if `bar`
/// is not a whole multiple.
pub fn in_bars_of(series: &Series, bar: Bar) -> Option<Series> {
    if bar == series.bar {
        return Some(series.clone());
    }
    resample(series.candles(), series.bar, bar).map(|candles| Series::new(bar, candles))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Ms, Price, Qty};
    use rust_decimal::Decimal;

    fn minute(i: i64) -> Candle {
        let p = |v: i64| Price(Decimal::from(v));
        Candle {
            ts: Ms(i * 60_000),
            open: p(i),
            high: p(i + 5),
            low: p(i - 5),
            close: p(i + 1),
            volume: Qty(Decimal::ONE),
        }
    }

    /// First open, highest high, lowest low, last close and the sum of volumes.
    #[test]
    fn resampled_bar_aggregates_its_minutes() {
        let minutes: Vec<Candle> = (100..110).map(minute).collect();
        let bars = resample(&minutes, Bar::M1, Bar::M5).unwrap();
        assert_eq!(bars.len(), 2);
        let p = |v: i64| Price(Decimal::from(v));
        assert_eq!(
            (bars[0].ts, bars[0].open, bars[0].high),
            (Ms(100 * 60_000), p(100), p(109))
        );
        assert_eq!(
            (bars[0].low, bars[0].close, bars[0].volume.0),
            (p(95), p(105), Decimal::from(5))
        );
    }

    #[test]
    fn incomplete_bars_are_left_out() {
        let mut minutes: Vec<Candle> = (99..111).map(minute).collect();
        assert_eq!(resample(&minutes, Bar::M1, Bar::M5).unwrap().len(), 2);
        minutes.remove(4);
        assert_eq!(resample(&minutes, Bar::M1, Bar::M5).unwrap().len(), 1);
        assert_eq!(resample(&minutes, Bar::M5, Bar::M1), None);
    }
}
