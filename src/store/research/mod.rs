//! `research.db`: closed candles as whole ticks and lots, and funding rates.
//!
//! Any number of processes may write; each transaction is short, and a writer that finds another at
//! work waits its turn. Nothing here is in the way of trading.
//!
//! Candles are rows of whole ticks and lots under one integer key per series and second, with a
//! view for people. That is fast enough (see the benches) without packing columns into blobs.

mod batches;
mod columns;
mod coverage;
mod funding;
mod replies;

pub use batches::{BatchRow, PeriodRow, RunRow};
pub use coverage::{Range, SeriesRow};
pub use replies::StoredReply;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use rust_decimal::Decimal;
use tokio::sync::mpsc;

use super::migrate::open_research;
use super::{StateDir, StoreError};
use crate::data::in_bars_of;
use crate::domain::{Bar, Candle, InstId, Instrument, Ms, Price, Qty, Series};

/// Rows written by one statement: fewer steps per row than one at a time.
const ROWS_PER_STATEMENT: usize = 64;

/// A connection to `research.db`. Any number of processes may hold one; transactions are short.
#[derive(Debug)]
pub struct Research {
    db: Connection,
}

/// A series of candles. Its steps are read where they are needed: they may become finer at any
/// time.
#[derive(Clone, Copy, Debug)]
pub struct SeriesKey {
    id: i64,
    pub bar: Bar,
}

/// Steps that the numbers of a series are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Steps {
    tick: Decimal,
    lot: Decimal,
}

/// Handling of a bar that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// The new one is the truth: the venue says so.
    Replace,
    /// The old one stays.
    Keep,
}

impl Research {
    /// Opens or makes the file in `dir`.
    pub fn open(dir: &Path, now_ms: i64) -> Result<Self, StoreError> {
        Ok(Self {
            db: open_research(&StateDir::research_db(dir), now_ms)?,
        })
    }

    /// Opens a file that others own, to read it: nothing of it is changed, so it may lie where
    /// nobody can write.
    pub fn open_read_only(dir: &Path) -> Result<Self, StoreError> {
        let path = StateDir::research_db(dir);
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY
            | rusqlite::OpenFlags::SQLITE_OPEN_URI
            | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags)
            .map_err(StoreError::sql("opening the history"))?;
        Ok(Self { db })
    }

    /// The series of this instrument and bar, made if new.
    pub fn series(&self, inst: &Instrument, bar: Bar) -> Result<SeriesKey, StoreError> {
        self.make_series(&inst.id, bar, inst.tick.0, inst.lot.0)
    }

    /// The series of this name, made with these steps if new; an old one keeps its own.
    pub fn make_series(
        &self,
        inst: &InstId,
        bar: Bar,
        tick: Decimal,
        lot: Decimal,
    ) -> Result<SeriesKey, StoreError> {
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
        self.db
            .query_row(
                "SELECT series_id FROM series WHERE inst_id = ?1 AND bar = ?2",
                params![inst.as_str(), bar.okx()],
                |row| {
                    Ok(SeriesKey {
                        id: row.get(0)?,
                        bar,
                    })
                },
            )
            .optional()
            .map_err(StoreError::sql("reading a series"))
    }

    /// Writes closed candles, each in place of one that is there already. One transaction.
    ///
    /// # Errors
    /// A number too large to be counted in steps, or a failing disk; then nothing is written.
    pub fn put(&mut self, series: &SeriesKey, candles: &[Candle]) -> Result<(), StoreError> {
        self.put_with(series, candles, OnConflict::Replace)
            .map(drop)
    }

    /// Writes closed candles in one transaction and says how many were written. A price or volume
    /// finer than the series' steps makes the steps finer first, for all of it.
    ///
    /// # Errors
    /// As [`Research::put`].
    pub fn put_with(
        &mut self,
        series: &SeriesKey,
        candles: &[Candle],
        conflict: OnConflict,
    ) -> Result<usize, StoreError> {
        let failed = || StoreError::sql("writing candles");
        let tx = self
            .db
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(failed())?;
        let steps = fitting(&tx, series, candles)?;
        let rows = in_steps(series, candles, steps)?;
        let written = put_raw(&tx, &rows, conflict).map_err(failed())?;
        tx.commit().map_err(failed())?;
        Ok(written)
    }

    /// Checks that all of these candles could be written. Writes nothing.
    ///
    /// # Errors
    /// A number too large to be counted in steps as fine as the finest of them.
    pub fn would_fit(&self, series: &SeriesKey, candles: &[Candle]) -> Result<(), StoreError> {
        let now = steps_of(&self.db, series)?;
        in_steps(series, candles, now.fitted(candles)).map(drop)
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
        let steps = steps_of(&self.db, series)?;
        let rows = query
            .query_map(series.keys(from, to), |row| {
                let price = |i| {
                    Ok::<_, rusqlite::Error>(Price(
                        Decimal::from(row.get::<_, i64>(i)?) * steps.tick,
                    ))
                };
                Ok(Candle {
                    ts: Ms::secs(row.get(0)?),
                    open: price(1)?,
                    high: price(2)?,
                    low: price(3)?,
                    close: price(4)?,
                    volume: Qty(Decimal::from(row.get::<_, i64>(5)?) * steps.lot),
                })
            })
            .map_err(StoreError::sql("reading candles"))?;
        rows.collect::<Result<_, _>>()
            .map_err(StoreError::sql("reading candles"))
    }

    /// History of an instrument in `[from, to)`: of the stored bars that this size is or can be
    /// made of, those that cover most of the time; of two that cover as much the longer ones.
    /// `None` if there are none.
    pub fn history(
        &self,
        inst: &InstId,
        bar: Bar,
        from: Ms,
        to: Ms,
    ) -> Result<Option<Series>, StoreError> {
        let Some(series) = self.best_series(inst, bar, from, to)? else {
            return Ok(None);
        };
        let stored = Series::new(series.bar, self.read(&series, from, to)?);
        Ok(in_bars_of(&stored, bar))
    }

    /// The stored series that [`Research::history`] is made of.
    pub fn best_series(
        &self,
        inst: &InstId,
        bar: Bar,
        from: Ms,
        to: Ms,
    ) -> Result<Option<SeriesKey>, StoreError> {
        let mut found = Vec::new();
        for shorter in Bar::ALL
            .into_iter()
            .filter(|short| bar.span().0 % short.span().0 == 0)
        {
            if let Some(series) = self.find_series(inst, shorter)?
                && self.has_any(&series, from, to)?
            {
                found.push(series);
            }
        }
        if found.len() < 2 {
            // Counting reads every row.
            return Ok(found.pop());
        }
        let mut best: Option<(i64, SeriesKey)> = None;
        for series in found {
            let sql = "SELECT COUNT(*) FROM candle_rows WHERE key >= ?1 AND key < ?2";
            let rows: i64 = self
                .db
                .query_row(sql, series.keys(from, to), |row| row.get(0))
                .map_err(StoreError::sql("counting candles"))?;
            let covered = rows * series.bar.span().0;
            if best.as_ref().is_none_or(|(most, _)| covered >= *most) {
                best = Some((covered, series));
            }
        }
        Ok(best.map(|(_, series)| series))
    }

    /// Returns the number of candles of this instrument and bar.
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

/// `value / step`, if that is a whole number. Integers all the way: dividing decimals costs ten
/// times as much.
fn whole_steps(value: Decimal, step: Decimal) -> Option<i64> {
    let scale = value.scale().max(step.scale());
    let units = |d: Decimal| {
        d.mantissa()
            .checked_mul(10i128.checked_pow(scale - d.scale())?)
    };
    let (value, step) = (units(value)?, units(step)?);
    match (i64::try_from(value), i64::try_from(step)) {
        (Ok(value), Ok(step)) if step > 0 => (value % step == 0).then(|| value / step),
        _ if step > 0 && value % step == 0 => i64::try_from(value / step).ok(),
        _ => None,
    }
}

impl SeriesKey {
    /// First key of `[from, to)` and the one after its last, both within this series.
    fn keys(&self, from: Ms, to: Ms) -> [i64; 2] {
        const SECONDS: i64 = (1 << 34) - 1;
        let at = |ms: Ms| (self.id << 34) + (ms.0.max(0) / 1000).min(SECONDS);
        [at(from), at(to)]
    }
}

impl Steps {
    /// Fine enough for these, and no finer than needed.
    fn fitted(self, candles: &[Candle]) -> Steps {
        let prices = candles
            .iter()
            .flat_map(|c| [c.open.0, c.high.0, c.low.0, c.close.0]);
        Steps {
            tick: finer(self.tick, prices),
            lot: finer(self.lot, candles.iter().map(|c| c.volume.0)),
        }
    }
}

fn steps_of(db: &Connection, series: &SeriesKey) -> Result<Steps, StoreError> {
    let (tick, lot): (String, String) = db
        .query_row(
            "SELECT tick, lot FROM series WHERE series_id = ?1",
            [series.id],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .map_err(StoreError::sql("reading a series"))?;
    let parse = |text: String| text.parse().map_err(|_| StoreError::Value(text));
    Ok(Steps {
        tick: parse(tick)?,
        lot: parse(lot)?,
    })
}

/// The steps of the series, made finer first if these candles need it: what is stored is
/// multiplied.
fn fitting(db: &Connection, series: &SeriesKey, candles: &[Candle]) -> Result<Steps, StoreError> {
    let now = steps_of(db, series)?;
    let fit = now.fitted(candles);
    if fit == now {
        return Ok(now);
    }
    let factor = |old: Decimal, new: Decimal| {
        i64::try_from(old / new)
            .map_err(|_| StoreError::Value(format!("steps of {old} cannot become {new}")))
    };
    let [low, high] = series.keys(Ms::ZERO, Ms(i64::MAX));
    db.execute(
        "UPDATE candle_rows SET open = open * ?1, high = high * ?1, low = low * ?1, close = close * ?1, volume = volume * ?2
         WHERE key >= ?3 AND key <= ?4",
        params![factor(now.tick, fit.tick)?, factor(now.lot, fit.lot)?, low, high],
    )
    .and_then(|_| {
        db.execute(
            "UPDATE series SET tick = ?1, lot = ?2 WHERE series_id = ?3",
            params![fit.tick.to_string(), fit.lot.to_string(), series.id],
        )
    })
    .map_err(StoreError::sql("making a series finer"))?;
    Ok(fit)
}

/// `step`, or the coarsest decimal fraction of it that all values are multiples of.
fn finer(step: Decimal, values: impl Iterator<Item = Decimal>) -> Decimal {
    let odd = values
        .filter(|value| whole_steps(*value, step).is_none())
        .map(|value| value.normalize().scale())
        .max();
    match odd {
        None => step,
        Some(scale) => Decimal::new(1, scale.max(step.normalize().scale())),
    }
}

/// Rows of (key, open, high, low, close, volume), flattened.
fn in_steps(series: &SeriesKey, candles: &[Candle], steps: Steps) -> Result<Vec<i64>, StoreError> {
    let mut rows = Vec::with_capacity(candles.len() * 6);
    for candle in candles {
        let count = |value, step| {
            whole_steps(value, step).ok_or_else(|| {
                StoreError::Value(format!(
                    "{value} at {} cannot be counted in {step}",
                    candle.ts.iso()
                ))
            })
        };
        rows.push(series.keys(candle.ts, candle.ts)[0]);
        for price in [candle.open, candle.high, candle.low, candle.close] {
            rows.push(count(price.0, steps.tick)?);
        }
        rows.push(count(candle.volume.0, steps.lot)?);
    }
    Ok(rows)
}

fn put_raw(db: &Connection, rows: &[i64], conflict: OnConflict) -> rusqlite::Result<usize> {
    let full = rows.chunks_exact(6 * ROWS_PER_STATEMENT);
    let rest = full.remainder();
    let mut written = 0;
    let mut many = db.prepare_cached(&statement(ROWS_PER_STATEMENT, conflict))?;
    for chunk in full {
        written += many.execute(rusqlite::params_from_iter(chunk))?;
    }
    let mut one = db.prepare_cached(&statement(1, conflict))?;
    for row in rest.chunks_exact(6) {
        written += one.execute(rusqlite::params_from_iter(row))?;
    }
    Ok(written)
}

fn statement(rows: usize, conflict: OnConflict) -> String {
    let values = vec!["(?,?,?,?,?,?)"; rows].join(",");
    let verb = match conflict {
        OnConflict::Replace => "REPLACE",
        OnConflict::Keep => "IGNORE",
    };
    format!("INSERT OR {verb} INTO candle_rows VALUES {values}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::instrument::tests::swap;

    fn candle(ts: i64, close: &str) -> Candle {
        let p: Price = close.parse().unwrap();
        Candle {
            ts: Ms(ts),
            open: p,
            high: p,
            low: p,
            close: p,
            volume: "1.5".parse().unwrap(),
        }
    }

    /// Candles are read as written; a second write at the same time replaces the first.
    #[test]
    fn candles_round_trip_and_overwrite() {
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

    /// A price finer than the tick leaves the candles stored before unchanged.
    #[test]
    fn finer_price_refines_the_series() {
        let dir = tempfile::tempdir().unwrap();
        let mut research = Research::open(dir.path(), 0).unwrap();
        let series = research.series(&swap(), Bar::M1).unwrap();
        let (old, new) = (candle(0, "100.05"), candle(60_000, "100.061"));
        research.put(&series, &[old]).unwrap();
        research.put(&series, &[new]).unwrap();
        assert_eq!(
            research.read(&series, Ms(0), Ms(i64::MAX)).unwrap(),
            [old, new]
        );
    }

    /// Reading stops where the next series begins; OnConflict::Keep leaves stored candles as they
    /// are.
    #[test]
    fn series_do_not_overlap() {
        let dir = tempfile::tempdir().unwrap();
        let mut research = Research::open(dir.path(), 0).unwrap();
        let one = research.series(&swap(), Bar::M1).unwrap();
        let two = research.series(&swap(), Bar::M5).unwrap();
        research.put(&one, &[candle(0, "100.05")]).unwrap();
        research
            .put(&two, &[candle(0, "200"), candle(300_000, "201")])
            .unwrap();
        assert_eq!(research.read(&one, Ms(0), Ms(i64::MAX)).unwrap().len(), 1);
        assert_eq!(research.missing(&one, Ms(0), Ms(120_000)).unwrap().len(), 1);
        let news = [candle(0, "150"), candle(60_000, "151")];
        assert_eq!(research.put_with(&one, &news, OnConflict::Keep).unwrap(), 1);
        let kept = research.read(&one, Ms(0), Ms(i64::MAX)).unwrap();
        assert_eq!(kept, [candle(0, "100.05"), candle(60_000, "151")]);
        // The better covered series is the history, whatever its bars.
        let history = research
            .history(&swap().id, Bar::M5, Ms(0), Ms(600_000))
            .unwrap()
            .unwrap();
        assert_eq!(history.candles().len(), 2);
    }
}
