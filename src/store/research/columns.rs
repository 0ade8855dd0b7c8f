//! A stored series as columns, without a decimal on the way.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::{Research, SeriesKey, steps_of};
use crate::data::{Columns, ColumnsError};
use crate::domain::Ms;
use crate::store::StoreError;

impl Research {
    /// Candles of a series with `from <= ts < to` in columns of this tick and lot; a tick that the series is finer than becomes
    /// the series' own. `None`: there are none.
    pub fn columns(
        &self,
        series: &SeriesKey,
        (from, to): (Ms, Ms),
        (tick, lot): (Decimal, Decimal),
    ) -> Result<Option<Columns>, StoreError> {
        let steps = steps_of(&self.db, series)?;
        let whole = |ratio: Decimal| ratio.is_integer().then(|| ratio.to_f64()).flatten();
        let (tick, times) = match steps.tick.checked_div(tick).and_then(whole) {
            Some(times) => (tick, times),
            None => (steps.tick, 1.0),
        };
        // Volumes are rounded down to lots: no more can be filled than there was.
        let lots = steps.lot.checked_div(lot).and_then(|ratio| ratio.to_f64()).unwrap_or_default();
        let failed = || StoreError::sql("reading candles");
        let keys = series.keys(from, to);
        let rows: i64 = self
            .db
            .query_row("SELECT COUNT(*) FROM candle_rows WHERE key >= ?1 AND key < ?2", keys, |row| row.get(0))
            .map_err(failed())?;
        let mut columns = Columns::empty(series.bar, tick, lot, rows.unsigned_abs() as usize);
        let mut query = self
            .db
            .prepare_cached(
                "SELECT key & 17179869183, open, high, low, close, volume FROM candle_rows
                 WHERE key >= ?1 AND key < ?2 ORDER BY key",
            )
            .map_err(failed())?;
        let mut rows = query.query(keys).map_err(failed())?;
        while let Some(row) = rows.next().map_err(failed())? {
            let number = |index| row.get::<_, i64>(index).map(|steps| steps as f64).map_err(failed());
            columns.ts.push(row.get::<_, i64>(0).map_err(failed())? * 1000);
            columns.open.push(number(1)? * times);
            columns.high.push(number(2)? * times);
            columns.low.push(number(3)? * times);
            columns.close.push(number(4)? * times);
            // A product that falls short of a whole number by its last bit is one.
            columns.volume.push((number(5)? * lots + 1e-6).floor());
        }
        match columns.checked() {
            Ok(columns) => Ok(Some(columns)),
            Err(ColumnsError::Empty) => Ok(None),
            Err(error) => Err(StoreError::Value(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::instrument::tests::swap;
    use crate::domain::{Bar, Candle, Price, Qty};

    #[test]
    fn columns_are_what_the_candles_are() {
        let dir = tempfile::tempdir().unwrap();
        let mut research = Research::open(dir.path(), 0).unwrap();
        let series = research.series(&swap(), Bar::M1).unwrap();
        let p = |cents: i64| Price(Decimal::new(cents, 2));
        let candle = |i: i64| Candle {
            ts: Ms(i * 60_000),
            open: p(10_005 + 5 * i),
            high: p(10_100 + 5 * i),
            low: p(10_000),
            close: p(10_010 + 5 * i),
            volume: Qty(Decimal::new(35 + i, 1)),
        };
        let candles: Vec<Candle> = (0..50).map(candle).collect();
        research.put(&series, &candles).unwrap();
        let read = |tick: &str, lot: &str| {
            let steps = (tick.parse().unwrap(), lot.parse().unwrap());
            research.columns(&series, (Ms(60_000), Ms(i64::MAX)), steps).unwrap().unwrap()
        };
        let (fine, coarse) = (read("0.01", "0.1"), read("0.3", "1"));
        let direct = Columns::of(Bar::M1, &candles[1..], Decimal::new(1, 2), Decimal::new(1, 1)).unwrap();
        assert_eq!(fine.hash(), direct.hash());
        assert_eq!(coarse.tick, Decimal::new(5, 2), "a price must stay what it is");
        assert_eq!((coarse.volume[3], fine.volume[3]), (3.0, 39.0));
    }
}
