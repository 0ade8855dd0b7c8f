//! Batches of backtests, their runs, and summaries of those.

use rusqlite::{OptionalExtension, params};

use super::Research;
use crate::store::StoreError;

/// A batch as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRow {
    pub id: String,
    /// JSON.
    pub spec: String,
    pub config_hash: String,
    pub data_hash: String,
    pub build: String,
    pub seed: i64,
    pub runs: i64,
    pub created_ms: i64,
    /// Number of the batch's runs that are there.
    pub done: i64,
}

/// One run of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRow {
    pub number: i64,
    pub strategy: String,
    /// JSON, keys in order.
    pub params: String,
    pub inst: String,
    pub bar: String,
    pub from_ms: i64,
    pub to_ms: i64,
    /// JSON, keys in order.
    pub result: String,
    /// (UTC day, return).
    pub returns: Vec<(i32, f64)>,
}

/// Result of a run over one period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeriodRow {
    pub start_ms: i64,
    pub number: i64,
    pub ret: f64,
    pub total: f64,
    pub place: i64,
}

impl Research {
    /// Notes a batch; one that is known stays as it is.
    pub fn begin_batch(&self, row: &BatchRow) -> Result<(), StoreError> {
        self.db
            .execute(
                "INSERT OR IGNORE INTO backtest_batches (batch_id, spec, config_hash, data_hash, build, seed, runs, created_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![row.id, row.spec, row.config_hash, row.data_hash, row.build, row.seed, row.runs, row.created_ms],
            )
            .map_err(StoreError::sql("noting a batch"))?;
        Ok(())
    }

    /// All batches, newest first.
    pub fn batches(&self) -> Result<Vec<BatchRow>, StoreError> {
        let failed = || StoreError::sql("reading batches");
        let mut query = self
            .db
            .prepare(
                "SELECT batch_id, spec, config_hash, data_hash, build, seed, runs, created_ms,
                        (SELECT COUNT(*) FROM backtest_runs r WHERE r.batch_id = b.batch_id)
                 FROM backtest_batches b ORDER BY created_ms DESC, batch_id",
            )
            .map_err(failed())?;
        let row = |row: &rusqlite::Row<'_>| {
            Ok(BatchRow {
                id: row.get(0)?,
                spec: row.get(1)?,
                config_hash: row.get(2)?,
                data_hash: row.get(3)?,
                build: row.get(4)?,
                seed: row.get(5)?,
                runs: row.get(6)?,
                created_ms: row.get(7)?,
                done: row.get(8)?,
            })
        };
        let rows = query.query_map([], row).map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// Numbers of the runs of a batch that are there, ascending.
    pub fn runs_done(&self, batch: &str) -> Result<Vec<i64>, StoreError> {
        let failed = || StoreError::sql("reading a batch");
        let mut query = self
            .db
            .prepare("SELECT number FROM backtest_runs WHERE batch_id = ?1 ORDER BY number")
            .map_err(failed())?;
        let rows = query
            .query_map([batch], |row| row.get(0))
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// Keeps runs, in one transaction; one that is there already must be the same.
    ///
    /// # Errors
    /// A failing disk; or a run that came out differently than before: then nothing is written.
    pub fn keep_runs(&mut self, batch: &str, rows: &[RunRow]) -> Result<(), StoreError> {
        let failed = || StoreError::sql("keeping runs");
        let tx = self
            .db
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(failed())?;
        for row in rows {
            let bytes = packed(&row.returns);
            let there: Option<(String, Vec<u8>)> = tx
                .query_row(
                    "SELECT result, returns FROM backtest_runs WHERE batch_id = ?1 AND number = ?2",
                    params![batch, row.number],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()
                .map_err(failed())?;
            match there {
                Some(there) if there == (row.result.clone(), bytes.clone()) => continue,
                Some(_) => {
                    let why = format!(
                        "run {} of batch {batch} came out differently than before",
                        row.number
                    );
                    return Err(StoreError::Value(why));
                }
                None => {}
            }
            tx.execute(
                "INSERT INTO backtest_runs (batch_id, number, strategy, params, inst_id, bar, from_ms, to_ms, result, returns)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                params![
                    batch, row.number, row.strategy, row.params, row.inst, row.bar, row.from_ms, row.to_ms, row.result, bytes
                ],
            )
            .map_err(failed())?;
        }
        tx.commit().map_err(failed())
    }

    /// Runs of a batch, in order.
    pub fn runs(&self, batch: &str) -> Result<Vec<RunRow>, StoreError> {
        let failed = || StoreError::sql("reading runs");
        let mut query = self
            .db
            .prepare(
                "SELECT number, strategy, params, inst_id, bar, from_ms, to_ms, result, returns
                 FROM backtest_runs WHERE batch_id = ?1 ORDER BY number",
            )
            .map_err(failed())?;
        let row = |row: &rusqlite::Row<'_>| {
            Ok(RunRow {
                number: row.get(0)?,
                strategy: row.get(1)?,
                params: row.get(2)?,
                inst: row.get(3)?,
                bar: row.get(4)?,
                from_ms: row.get(5)?,
                to_ms: row.get(6)?,
                result: row.get(7)?,
                returns: unpacked(&row.get::<_, Vec<u8>>(8)?),
            })
        };
        let rows = query.query_map([batch], row).map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// Replaces a batch's summary by day or by week.
    pub fn keep_summary(
        &mut self,
        batch: &str,
        every: &str,
        rows: &[PeriodRow],
    ) -> Result<(), StoreError> {
        let failed = || StoreError::sql("keeping a summary");
        let tx = self
            .db
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(failed())?;
        tx.execute(
            "DELETE FROM backtest_summaries WHERE batch_id = ?1 AND every = ?2",
            [batch, every],
        )
        .map_err(failed())?;
        {
            let mut insert = tx
                .prepare_cached(
                    "INSERT INTO backtest_summaries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )
                .map_err(failed())?;
            for row in rows {
                insert
                    .execute(params![
                        batch,
                        every,
                        row.start_ms,
                        row.number,
                        row.ret,
                        row.total,
                        row.place
                    ])
                    .map_err(failed())?;
            }
        }
        tx.commit().map_err(failed())
    }
}

fn packed(returns: &[(i32, f64)]) -> Vec<u8> {
    returns
        .iter()
        .flat_map(|(day, value)| day.to_le_bytes().into_iter().chain(value.to_le_bytes()))
        .collect()
}

fn unpacked(bytes: &[u8]) -> Vec<(i32, f64)> {
    let (rows, _) = bytes.as_chunks::<12>();
    rows.iter()
        .map(|row| {
            let [a, b, c, d, value @ ..] = *row;
            (i32::from_le_bytes([a, b, c, d]), f64::from_le_bytes(value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: i64, result: &str) -> RunRow {
        RunRow {
            number,
            strategy: "sma_cross".into(),
            params: "{}".into(),
            inst: "X".into(),
            bar: "1m".into(),
            from_ms: 0,
            to_ms: 1,
            result: result.into(),
            returns: vec![(1, 0.25), (2, -0.125)],
        }
    }

    /// The same run again changes nothing; one that differs is refused with all that came along.
    #[test]
    fn run_is_stored_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut research = Research::open(dir.path(), 0).unwrap();
        let batch = BatchRow {
            id: "b".into(),
            spec: "{}".into(),
            config_hash: String::new(),
            data_hash: String::new(),
            build: String::new(),
            seed: 1,
            runs: 3,
            created_ms: 5,
            done: 0,
        };
        research.begin_batch(&batch).unwrap();
        research
            .keep_runs("b", &[run(2, "x"), run(0, "y")])
            .unwrap();
        research.keep_runs("b", &[run(2, "x")]).unwrap();
        assert_eq!(research.runs_done("b").unwrap(), [0, 2]);
        assert_eq!(research.runs("b").unwrap(), [run(0, "y"), run(2, "x")]);
        let refused = research
            .keep_runs("b", &[run(1, "z"), run(2, "other")])
            .unwrap_err();
        assert!(refused.to_string().contains("differently"), "{refused}");
        assert_eq!(research.runs_done("b").unwrap(), [0, 2], "nothing of it");
        assert_eq!(research.batches().unwrap(), [BatchRow { done: 2, ..batch }]);
    }
}
