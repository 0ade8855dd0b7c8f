//! The one writer: a blocking thread that owns the write connection. It takes everything that waits,
//! writes it in one transaction, commits at synchronous=FULL, and only then answers.
//!
//! On any failure of the disk or the database it answers `Failed`, stops, and the process exits: a
//! failed COMMIT may still be durable, so nothing is retried here; the next start finds out.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::chain::Chains;
use super::journal::{Ack, Entry};
use super::migrate::{Stamp, open_trading};
use super::{Journal, StoreError, sql};
use crate::domain::record::Record;
use crate::runtime::{Beat, faults};

/// Facts that may wait. Sized for a burst of a few cycles; senders wait when it is full.
const QUEUE: usize = 2048;
/// Facts in one transaction at most, so that an ack is never far away.
const BATCH: usize = 512;

/// A writer that has opened its database but not begun.
#[derive(Debug)]
pub struct Writer {
    db: Connection,
    chains: Chains,
    inbox: mpsc::Receiver<Entry>,
}

/// Tells when the writer's thread has ended, and how.
#[derive(Debug)]
pub struct WriterGuard {
    ended: oneshot::Receiver<Result<(), String>>,
}

impl WriterGuard {
    /// Resolves when the thread has ended: `Ok` after all journals were dropped and all was written.
    pub async fn ended(&mut self) -> Result<(), String> {
        (&mut self.ended).await.unwrap_or_else(|_| Err("the writer panicked".to_owned()))
    }
}

impl Writer {
    /// Opens `trading.db` in `dir` for writing. The caller holds the directory's lock.
    pub fn open(dir: &Path, stamp: &Stamp, install_epoch: &str, now_ms: i64) -> Result<(Self, Journal), StoreError> {
        let db = open_trading(&super::StateDir::trading_db(dir), stamp, install_epoch, now_ms)?;
        let chains = Chains::load(&db)?;
        let (tx, inbox) = mpsc::channel(QUEUE);
        Ok((Self { db, chains, inbox }, Journal { tx }))
    }

    /// Starts the thread.
    pub fn start(self, beat: Beat) -> WriterGuard {
        let (tell, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                let result = self.run(&beat);
                if let Err(why) = &result {
                    error!(event = "store_failed", %why, "the database cannot be written; the process must stop");
                }
                drop(tell.send(result));
            })
            .expect("the system can start one more thread");
        WriterGuard { ended }
    }

    fn run(mut self, beat: &Beat) -> Result<(), String> {
        let mut batch: Vec<Entry> = Vec::with_capacity(BATCH);
        let mut checkpoint = Instant::now();
        while let Some(first) = self.inbox.blocking_recv() {
            faults::point_blocking("writer");
            batch.push(first);
            while batch.len() < BATCH {
                match self.inbox.try_recv() {
                    Ok(entry) => batch.push(entry),
                    Err(_) => break,
                }
            }
            match write_batch(&mut self.db, &mut self.chains, &batch) {
                Ok(duplicates) => {
                    for (index, entry) in batch.drain(..).enumerate() {
                        let ack = if duplicates.contains(&index) { Ack::Duplicate } else { Ack::Durable };
                        // Whoever asked may have gone; the fact is on disk all the same.
                        drop(entry.ack.map(|tx| tx.send(ack)));
                    }
                }
                Err(source) => {
                    let why = source.to_string();
                    for entry in batch.drain(..) {
                        drop(entry.ack.map(|tx| tx.send(Ack::Failed(why.clone()))));
                    }
                    return Err(why);
                }
            }
            beat.tick();
            if checkpoint.elapsed() > Duration::from_secs(60) && self.inbox.is_empty() {
                // Idle: fold the log back so that it stays short. Busy readers make it a partial one.
                let folded = self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
                super::migrate::unless_busy(folded).map_err(|error| error.to_string())?;
                checkpoint = Instant::now();
            }
        }
        self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(|e| e.to_string())
    }
}

/// One transaction. Returns which entries are intents that were there before.
pub(super) fn write_batch(
    db: &mut Connection,
    chains: &mut Chains,
    batch: &[Entry],
) -> Result<Vec<usize>, rusqlite::Error> {
    let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut duplicates = Vec::new();
    for (index, entry) in batch.iter().enumerate() {
        match sql::write(&tx, chains, &entry.record) {
            Ok(()) => {}
            Err(error) if matches!(entry.record, Record::Intent { .. }) && is_duplicate(&error) => {
                duplicates.push(index);
            }
            Err(error) => return Err(error),
        }
    }
    sql::keep_heads(&tx, chains)?;
    faults::point_blocking("before_commit");
    tx.commit()?;
    faults::point_blocking("after_commit");
    Ok(duplicates)
}

fn is_duplicate(error: &rusqlite::Error) -> bool {
    error.sqlite_extended_error_code().is_some_and(|code| {
        code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE || code == rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY
    })
}
