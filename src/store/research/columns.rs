//! A stored series as columns, without a decimal on the way.

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::{Research, SeriesKey, steps_of};
use crate::data::{Columns, ColumnsError};
use crate::domain::Ms;
use crate::store::StoreError;

impl Research {
    /// True if the series has any candle with `from <= ts < to`.
    pub fn has_any(&self, series: &SeriesKey, from: Ms, to: Ms) -> Result<bool, StoreError> {
        Ok(ends(&self.db, series.keys(from, to))?.is_some())
    }

    /// Candles of a series with `from <= ts < to` in columns of this tick and lot; a tick that the
    /// series is finer than becomes the series' own. `None`: there are none.
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
        let lots = steps
            .lot
            .checked_div(lot)
            .and_then(|ratio| ratio.to_f64())
            .unwrap_or_default();
        let scale = Scale { times, lots };
        let Some([first, last]) = ends(&self.db, series.keys(from, to))? else {
            return Ok(None);
        };
        let span = series.bar.span().0 / 1000;
        let room = |from: i64, to: i64| ((to - from) / span).max(0).unsigned_abs() as usize + 1;
        let empty = |room| Columns::empty(series.bar, tick, lot, room);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let columns = match self
            .db
            .path()
            .filter(|_| room(first, last) > SPLIT && threads > 1)
        {
            None => read(&self.db, [first, last + 1], scale, empty(room(first, last)))?,
            Some(path) => {
                let cut = |n: usize| {
                    first + (i128::from(last + 1 - first) * n as i128 / threads as i128) as i64
                };
                let stretches: Vec<[i64; 2]> = (0..threads).map(|n| [cut(n), cut(n + 1)]).collect();
                let parts = in_parts(
                    path,
                    &stretches,
                    |keys| empty(room(keys[0], keys[1])),
                    scale,
                )?;
                let mut all = empty(room(first, last));
                parts.iter().for_each(|part| all.append(part));
                all
            }
        };
        match columns.checked() {
            Ok(columns) => Ok(Some(columns)),
            Err(ColumnsError::Empty) => Ok(None),
            Err(error) => Err(StoreError::Value(error.to_string())),
        }
    }
}

/// More rows than this are read by several threads.
const SPLIT: usize = 50_000;

/// Ticks in a stored tick, and lots in a stored lot.
#[derive(Clone, Copy)]
struct Scale {
    times: f64,
    lots: f64,
}

/// First and last key of a range that there is.
fn ends(db: &Connection, keys: [i64; 2]) -> Result<Option<[i64; 2]>, StoreError> {
    let one = |order: &str| {
        let sql = format!(
            "SELECT key FROM candle_rows WHERE key >= ?1 AND key < ?2 ORDER BY key {order} LIMIT 1"
        );
        db.query_row(&sql, keys, |row| row.get(0))
            .optional()
            .map_err(StoreError::sql("reading candles"))
    };
    Ok(one("ASC")?
        .zip(one("DESC")?)
        .map(|(first, last)| [first, last]))
}

/// Stretches of a series, each read by a thread with a connection of its own.
fn in_parts(
    path: &str,
    stretches: &[[i64; 2]],
    empty: impl Fn([i64; 2]) -> Columns,
    scale: Scale,
) -> Result<Vec<Columns>, StoreError> {
    let open = || {
        Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(StoreError::sql("opening the database"))
    };
    std::thread::scope(|scope| {
        let start = |keys: &[i64; 2]| {
            let (keys, part) = (*keys, empty(*keys));
            scope.spawn(move || read(&open()?, keys, scale, part))
        };
        let handles: Vec<_> = stretches.iter().map(start).collect();
        handles
            .into_iter()
            .map(|handle| handle.join().expect("reading does not panic"))
            .collect()
    })
}

/// Adds a stretch of rows to columns.
fn read(
    db: &Connection,
    keys: [i64; 2],
    scale: Scale,
    mut columns: Columns,
) -> Result<Columns, StoreError> {
    let failed = || StoreError::sql("reading candles");
    let mut query = db
        .prepare_cached(
            "SELECT key & 17179869183, open, high, low, close, volume FROM candle_rows
             WHERE key >= ?1 AND key < ?2 ORDER BY key",
        )
        .map_err(failed())?;
    let mut rows = query.query(keys).map_err(failed())?;
    while let Some(row) = rows.next().map_err(failed())? {
        let number = |index| {
            row.get::<_, i64>(index)
                .map(|steps| steps as f64)
                .map_err(failed())
        };
        let ts = row.get::<_, i64>(0).map_err(failed())? * 1000;
        // A product that falls short of a whole number by its last bit is one.
        let volume = (number(5)? * scale.lots + 1e-6).floor();
        let price = |index| number(index).map(|steps| steps * scale.times);
        columns.push(ts, [price(1)?, price(2)?, price(3)?, price(4)?, volume]);
    }
    Ok(columns)
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
            volume: Qty(Decimal::new(35 + i % 900, 1)),
        };
        let candles: Vec<Candle> = (0..60_000).map(candle).collect();
        research.put(&series, &candles).unwrap();
        let read = |tick: &str, lot: &str| {
            let steps = (tick.parse().unwrap(), lot.parse().unwrap());
            research
                .columns(&series, (Ms(60_000), Ms(i64::MAX)), steps)
                .unwrap()
                .unwrap()
        };
        let (fine, coarse) = (read("0.01", "0.1"), read("0.3", "1"));
        let direct = Columns::of(
            Bar::M1,
            &candles[1..],
            Decimal::new(1, 2),
            Decimal::new(1, 1),
        )
        .unwrap();
        assert_eq!(fine.hash(), direct.hash());
        assert_eq!(
            coarse.tick,
            Decimal::new(5, 2),
            "a price must stay what it is"
        );
        assert_eq!((coarse.volume[3], fine.volume[3]), (3.0, 39.0));
    }
}
