//! Coverage of a series: what is there and what is missing.

use rusqlite::params;

use super::{Research, SeriesKey};
use crate::domain::{Bar, Ms};
use crate::store::StoreError;

/// Bars from `from` on, before `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub from: Ms,
    pub to: Ms,
}

impl Range {
    /// Returns the number of bars of this size in the range.
    pub fn bars(&self, bar: Bar) -> i64 {
        (self.to.0 - self.from.0).max(0) / bar.span().0
    }
}

/// One series as a list shows it.
#[derive(Clone, Debug)]
pub struct SeriesRow {
    pub inst: String,
    pub bar: String,
    pub rows: i64,
    pub first: Option<Ms>,
    pub last: Option<Ms>,
    /// Bars missing between the first and the last.
    pub missing: i64,
    pub tick: String,
    pub lot: String,
}

impl Research {
    /// Returns the missing ranges of a series in `[from, to)`, oldest first. Both ends must lie on
    /// the bar's grid.
    pub fn missing(&self, series: &SeriesKey, from: Ms, to: Ms) -> Result<Vec<Range>, StoreError> {
        let failed = || StoreError::sql("looking for gaps");
        let span_s = series.bar.span().0 / 1000;
        let [low, high] = series.keys(from, to);
        let mut query = self
            .db
            .prepare_cached(
                "SELECT before & 17179869183, key & 17179869183 FROM
                 (SELECT key, LAG(key) OVER (ORDER BY key) AS before FROM candle_rows WHERE key >= ?1 AND key < ?2)
                 WHERE before IS NULL OR key - before > ?3 ORDER BY key",
            )
            .map_err(failed())?;
        let holes = query
            .query_map(params![low, high, span_s], |row| {
                Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, i64>(1)?))
            })
            .map_err(failed())?
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed())?;
        let mut out: Vec<Range> = holes
            .into_iter()
            .map(|(before, key)| Range {
                from: before.map_or(from, |before| Ms::secs(before + span_s)),
                to: Ms::secs(key),
            })
            .filter(|range| range.from < range.to)
            .collect();
        let last: Option<i64> = self
            .db
            .query_row(
                "SELECT MAX(key) & 17179869183 FROM candle_rows WHERE key >= ?1 AND key < ?2",
                params![low, high],
                |row| row.get(0),
            )
            .map_err(failed())?;
        let end = Range {
            from: last.map_or(from, |last| Ms::secs(last + span_s)),
            to,
        };
        if end.from < end.to {
            out.push(end);
        }
        Ok(out)
    }

    /// Every series, by name.
    pub fn all_series(&self) -> Result<Vec<SeriesRow>, StoreError> {
        let failed = || StoreError::sql("listing series");
        let mut query = self
            .db
            .prepare(
                "SELECT s.inst_id, s.bar, s.bar_s, s.tick, s.lot,
                        (SELECT COUNT(*) FROM candle_rows WHERE key >= s.series_id << 34 AND key < (s.series_id + 1) << 34),
                        (SELECT MIN(key) & 17179869183 FROM candle_rows WHERE key >= s.series_id << 34 AND key < (s.series_id + 1) << 34),
                        (SELECT MAX(key) & 17179869183 FROM candle_rows WHERE key >= s.series_id << 34 AND key < (s.series_id + 1) << 34)
                 FROM series s ORDER BY s.inst_id, s.bar_s",
            )
            .map_err(failed())?;
        let rows = query
            .query_map([], |row| {
                let (bar_s, count): (i64, i64) = (row.get(2)?, row.get(5)?);
                let (first, last): (Option<i64>, Option<i64>) = (row.get(6)?, row.get(7)?);
                let spanned = first
                    .zip(last)
                    .map_or(0, |(first, last)| (last - first) / bar_s + 1);
                Ok(SeriesRow {
                    inst: row.get(0)?,
                    bar: row.get(1)?,
                    tick: row.get(3)?,
                    lot: row.get(4)?,
                    rows: count,
                    first: first.map(Ms::secs),
                    last: last.map(Ms::secs),
                    missing: spanned - count,
                })
            })
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::instrument::tests::swap;
    use crate::domain::{Candle, Price};

    fn minute(i: i64) -> Candle {
        let p: Price = "100.05".parse().unwrap();
        Candle {
            ts: Ms(i * 60_000),
            open: p,
            high: p,
            low: p,
            close: p,
            volume: "1".parse().unwrap(),
        }
    }

    /// Minutes that are there, and what is missing of 10..20.
    #[track_caller]
    fn check(there: &[i64], expected: &[(i64, i64)]) {
        let dir = tempfile::tempdir().unwrap();
        let mut research = Research::open(dir.path(), 0).unwrap();
        let series = research.series(&swap(), Bar::M1).unwrap();
        research
            .put(
                &series,
                &there.iter().map(|i| minute(*i)).collect::<Vec<_>>(),
            )
            .unwrap();
        let missing = research
            .missing(&series, Ms(10 * 60_000), Ms(20 * 60_000))
            .unwrap();
        let minutes: Vec<(i64, i64)> = missing
            .iter()
            .map(|r| (r.from.0 / 60_000, r.to.0 / 60_000))
            .collect();
        assert_eq!(minutes, expected);
    }

    #[test]
    fn gaps_found_at_ends_and_between() {
        check(&[], &[(10, 20)]);
        check(&[10, 11, 12, 13, 14, 15, 16, 17, 18, 19], &[]);
        check(&[12, 13, 16], &[(10, 12), (14, 16), (17, 20)]);
        check(&[9, 10, 19, 20], &[(11, 19)]);
        check(&[1, 2, 30], &[(10, 20)]);
    }

    #[test]
    fn a_list_counts_rows_and_holes() {
        let dir = tempfile::tempdir().unwrap();
        let mut research = Research::open(dir.path(), 0).unwrap();
        let series = research.series(&swap(), Bar::M1).unwrap();
        research
            .put(&series, &[minute(1), minute(2), minute(5)])
            .unwrap();
        let all = research.all_series().unwrap();
        assert_eq!(
            (all[0].rows, all[0].missing, all[0].last),
            (3, 2, Some(Ms(300_000)))
        );
    }
}
