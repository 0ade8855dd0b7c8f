//! `research.db`: closed candles as whole ticks and lots, and funding rates.
//!
//! Any number of processes may write; each transaction is short, and a writer that finds another at
//! work waits its turn. Nothing here is in the way of trading.

mod coverage;
mod funding;

pub use coverage::{Range, SeriesRow};

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use rust_decimal::Decimal;
use tokio::sync::mpsc;

use super::migrate::open_research;
use super::{StateDir, StoreError};
use crate::data::Series;
use crate::domain::{Bar, Candle, InstId, Instrument, Ms, Price, Qty};

/// Rows written by one statement: fewer steps per row than one at a time.
const ROWS_PER_STATEMENT: usize = 64;

/// A connection to `research.db`. Any number of processes may hold one; transactions are short.
#[derive(Debug)]
pub struct Research {
    db: Connection,
}

/// A series of candles and the steps its numbers are counted in.
#[derive(Clone, Debug)]
pub struct SeriesKey {
    id: i64,
    pub bar: Bar,
    pub tick: Decimal,
    pub lot: Decimal,
}

impl Research {
    /// Opens or makes the file in `dir`.
    pub fn open(dir: &Path, now_ms: i64) -> Result<Self, StoreError> {
        Ok(Self { db: open_research(&StateDir::research_db(dir), now_ms)? })
    }

    /// The series of this instrument and bar, made if new.
    pub fn series(&self, inst: &Instrument, bar: Bar) -> Result<SeriesKey, StoreError> {
        self.make_series(&inst.id, bar, inst.tick.0, inst.lot.0)
    }

    /// The series of this name, made with these steps if new; an old one keeps its own.
    pub fn make_series(&self, inst: &InstId, bar: Bar, tick: Decimal, lot: Decimal) -> Result<SeriesKey, StoreError> {
        self.db
            .execute(
                "INSERT OR IGNORE INTO series (inst_id, bar, bar_s, tick, lot) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![inst.as_str(), bar.okx(), bar.span().0 / 1000, tick.to_string(), lot.to_string()],
            )
            .map_err(StoreError::sql("making a series"))?;
        let made = self.find_series(inst, bar)?;
        made.ok_or_else(|| StoreError::Value(format!("series {inst} {bar} vanished")))
    }

    /// The series of this name, if there is one.
    pub fn find_series(&self, inst: &InstId, bar: Bar) -> Result<Option<SeriesKey>, StoreError> {
        let row: Option<(i64, String, String)> = self
            .db
            .query_row(
                "SELECT series_id, tick, lot FROM series WHERE inst_id = ?1 AND bar = ?2",
                params![inst.as_str(), bar.okx()],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()
            .map_err(StoreError::sql("reading a series"))?;
        let parse = |text: String| text.parse().map_err(|_| StoreError::Value(text));
        row.map(|(id, tick, lot)| Ok(SeriesKey { id, bar, tick: parse(tick)?, lot: parse(lot)? })).transpose()
    }

    /// Writes closed candles; one that is there already is replaced. One transaction.
    ///
    /// # Errors
    /// A price or volume that is not a whole number of steps of its series, or a failing disk.
    pub fn put(&mut self, series: &SeriesKey, candles: &[Candle]) -> Result<(), StoreError> {
        let mut rows = Vec::with_capacity(candles.len() * 6);
        for candle in candles {
            let steps = |value, step| {
                whole_steps(value, step)
                    .ok_or_else(|| StoreError::Value(format!("{value} is not a whole number of {step}")))
            };
            rows.push((series.id << 34) | (candle.ts.0 / 1000));
            for price in [candle.open, candle.high, candle.low, candle.close] {
                rows.push(steps(price.0, series.tick)?);
            }
            rows.push(steps(candle.volume.0, series.lot)?);
        }
        self.put_raw(&rows)
    }

    /// Writes rows of (key, open, high, low, close, volume), flattened, in whole steps.
    fn put_raw(&mut self, rows: &[i64]) -> Result<(), StoreError> {
        let failed = StoreError::sql("writing candles");
        let tx = self.db.transaction().map_err(StoreError::sql("writing candles"))?;
        let write = || -> rusqlite::Result<()> {
            let full = rows.chunks_exact(6 * ROWS_PER_STATEMENT);
            let rest = full.remainder();
            let mut many = tx.prepare_cached(&statement(ROWS_PER_STATEMENT))?;
            for chunk in full {
                many.execute(rusqlite::params_from_iter(chunk))?;
            }
            let mut one = tx.prepare_cached(&statement(1))?;
            for row in rest.chunks_exact(6) {
                one.execute(rusqlite::params_from_iter(row))?;
            }
            Ok(())
        };
        write().map_err(failed)?;
        tx.commit().map_err(StoreError::sql("writing candles"))
    }

    /// Candles of a series with `from <= ts < to`, oldest first.
    pub fn read(&self, series: &SeriesKey, from: Ms, to: Ms) -> Result<Vec<Candle>, StoreError> {
        let mut query = self
            .db
            .prepare_cached(
                "SELECT key & 17179869183, open, high, low, close, volume FROM candle_rows
                 WHERE key >= ?1 AND key < ?2 ORDER BY key",
            )
            .map_err(StoreError::sql("reading candles"))?;
        let base = series.id << 34;
        let rows = query
            .query_map(params![base | (from.0.max(0) / 1000), base | (to.0.max(0) / 1000)], |row| {
                let price = |i| Ok::<_, rusqlite::Error>(Price(Decimal::from(row.get::<_, i64>(i)?) * series.tick));
                Ok(Candle {
                    ts: Ms::secs(row.get(0)?),
                    open: price(1)?,
                    high: price(2)?,
                    low: price(3)?,
                    close: price(4)?,
                    volume: Qty(Decimal::from(row.get::<_, i64>(5)?) * series.lot),
                })
            })
            .map_err(StoreError::sql("reading candles"))?;
        rows.collect::<Result<_, _>>().map_err(StoreError::sql("reading candles"))
    }

    /// History of an instrument in `[from, to)`: stored bars of this size, else made of the longest
    /// stored ones that divide it. `None` if neither is stored.
    pub fn history(&self, inst: &InstId, bar: Bar, from: Ms, to: Ms) -> Result<Option<Series>, StoreError> {
        for shorter in Bar::ALL.into_iter().rev().filter(|short| bar.span().0 % short.span().0 == 0) {
            if let Some(series) = self.find_series(inst, shorter)? {
                let candles = self.read(&series, from, to)?;
                if !candles.is_empty() {
                    return Ok(Series::new(shorter, candles).in_bars_of(bar));
                }
            }
        }
        Ok(None)
    }

    /// How many candles of this instrument and bar there are.
    pub fn count(&self, inst: &InstId, bar: Bar) -> Result<i64, StoreError> {
        self.db
            .query_row(
                "SELECT COUNT(*) FROM candle_rows c JOIN series s ON c.key >> 34 = s.series_id
                 WHERE s.inst_id = ?1 AND s.bar = ?2",
                params![inst.as_str(), bar.okx()],
                |row| row.get(0),
            )
            .map_err(StoreError::sql("counting candles"))
    }
}

/// Starts a thread that writes closed candles as they come. It ends with its last sender.
/// A failure is logged and the candles dropped: they can be downloaded again.
pub fn keep_candles(
    mut research: Research,
    instruments: &[Arc<Instrument>],
    bars: &[Bar],
) -> Result<mpsc::Sender<(InstId, Bar, Vec<Candle>)>, StoreError> {
    let mut series = BTreeMap::new();
    for inst in instruments {
        for bar in bars {
            series.insert((inst.id.clone(), *bar), research.series(inst, *bar)?);
        }
    }
    let (tx, mut inbox) = mpsc::channel::<(InstId, Bar, Vec<Candle>)>(256);
    std::thread::Builder::new()
        .name("research-writer".into())
        .spawn(move || {
            while let Some((inst, bar, candles)) = inbox.blocking_recv() {
                if let Some(key) = series.get(&(inst.clone(), bar))
                    && let Err(error) = research.put(key, &candles)
                {
                    tracing::warn!(event = "research_failed", %inst, %error, "candles were not kept");
                }
            }
        })
        .map_err(|source| StoreError::Io { path: "research writer".into(), source })?;
    Ok(tx)
}

/// `value / step`, if that is a whole number. Integers all the way: dividing decimals costs ten times as much.
fn whole_steps(value: Decimal, step: Decimal) -> Option<i64> {
    let scale = value.scale().max(step.scale());
    let units = |d: Decimal| d.mantissa().checked_mul(10i128.checked_pow(scale - d.scale())?);
    let (value, step) = (units(value)?, units(step)?);
    match (i64::try_from(value), i64::try_from(step)) {
        (Ok(value), Ok(step)) if step > 0 => (value % step == 0).then(|| value / step),
        _ if step > 0 && value % step == 0 => i64::try_from(value / step).ok(),
        _ => None,
    }
}

fn statement(rows: usize) -> String {
    let values = vec!["(?,?,?,?,?,?)"; rows].join(",");
    format!("INSERT OR REPLACE INTO candle_rows VALUES {values}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::instrument::tests::swap;

    fn candle(ts: i64, close: &str) -> Candle {
        let p: Price = close.parse().unwrap();
        Candle { ts: Ms(ts), open: p, high: p, low: p, close: p, volume: "1.5".parse().unwrap() }
    }

    #[test]
    fn candles_come_back_as_they_went_in_and_a_second_write_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let mut research = Research::open(dir.path(), 0).unwrap();
        let series = research.series(&swap(), Bar::M1).unwrap();
        let candles: Vec<Candle> = (0..200).map(|i| candle(i * 60_000, "100.05")).collect();
        research.put(&series, &candles).unwrap();
        research.put(&series, &[candle(60_000, "101.10")]).unwrap();
        let read = research.read(&series, Ms(0), Ms(200 * 60_000)).unwrap();
        assert_eq!(read.len(), 200);
        assert_eq!(read[1], candle(60_000, "101.10"));
        assert_eq!(read[2], candles[2]);
    }

    #[test]
    fn a_price_off_the_tick_is_refused_and_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut research = Research::open(dir.path(), 0).unwrap();
        let series = research.series(&swap(), Bar::M1).unwrap();
        let result = research.put(&series, &[candle(0, "100.05"), candle(60_000, "100.06")]);
        assert!(matches!(result, Err(StoreError::Value(_))));
        assert_eq!(research.count(&swap().id, Bar::M1).unwrap(), 0);
    }
}
