//! The one writer: a blocking thread that owns the write connection. It takes everything that
//! waits, writes it in one transaction, commits at synchronous=FULL, and only then answers.
//!
//! On any failure of the disk or the database it answers `Failed`, stops, and the process exits: a
//! failed COMMIT may still be durable, so nothing is retried here; the next start finds out. The
//! same when a file that it writes is not the one that is there any more: what would be
//! acknowledged, nobody would ever find.
//!
//! What is latched is in the manifest before it is acknowledged; how far the record has come
//! follows within a second, written by a thread of its own, so that no intent waits for it.
//!
//! SQLite's own checkpoint of its log into the database swallows errors of the disk. Ours (a hook
//! after each commit) does not, and the process ends as after any other disk error.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info};

use super::chain::Chains;
use super::examine::{Found, examine, latched, of_writer};
use super::journal::{Ack, Entry};
use super::manifest::{Manifest, Sheet};
use super::migrate::{Stamp, open_trading};
use super::{Journal, StateDir, StoreError, sql};
use crate::domain::record::Record;
use crate::runtime::{Beat, HeldFile, HeldFiles, faults};

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
    manifest: Arc<Manifest>,
    /// Files that must stay the ones that they are.
    held: Vec<HeldFile>,
    /// The same of files that others write.
    others: HeldFiles,
}

/// Interval at which the manifest is brought up to date.
const MANIFEST_EVERY: Duration = Duration::from_millis(500);

/// Tells when the writer's thread has ended, and how.
#[derive(Debug)]
pub struct WriterGuard {
    ended: oneshot::Receiver<Result<(), String>>,
}

impl WriterGuard {
    /// Resolves when the thread has ended: `Ok` after all journals were dropped and all was
    /// written.
    pub async fn ended(&mut self) -> Result<(), String> {
        (&mut self.ended)
            .await
            .unwrap_or_else(|_| Err("the writer panicked".to_owned()))
    }
}

impl Writer {
    /// Opens `trading.db` in `dir` for writing. The caller holds the directory's lock.
    pub fn open(
        dir: &Path,
        stamp: &Stamp,
        install_epoch: &str,
        now_ms: i64,
    ) -> Result<(Self, Journal), StoreError> {
        let found = examine(dir)?;
        let db = open_trading(&StateDir::trading_db(dir), stamp, install_epoch, now_ms)?;
        let chains = Chains::load(&db)?;
        let manifest = Arc::new(keep_manifest(dir, found, &db, &chains)?);
        let held = held(dir)?;
        let (tx, inbox) = mpsc::channel(QUEUE);
        let others = HeldFiles::default();
        let journal = Journal {
            tx,
            held: others.clone(),
        };
        Ok((
            Self {
                db,
                chains,
                inbox,
                manifest,
                held,
                others,
            },
            journal,
        ))
    }

    /// Starts the thread.
    pub fn start(self, beat: Beat) -> WriterGuard {
        let (tell, ended) = oneshot::channel();
        let manifest = Arc::downgrade(&self.manifest);
        std::thread::Builder::new()
            .name("store-manifest".into())
            .spawn(move || {
                // Ends with the writer, which writes the last word itself.
                while let Some(manifest) = manifest.upgrade() {
                    manifest.flush();
                    drop(manifest);
                    std::thread::sleep(MANIFEST_EVERY);
                }
            })
            .expect("the system can start one more thread");
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
            let written = write_batch(&mut self.db, &mut self.chains, &batch)
                .map_err(|error| error.to_string());
            let whole = written.and_then(|written| {
                self.account_for(&batch, written.heads)
                    .map(|()| written.duplicates)
            });
            match whole {
                Ok(duplicates) => {
                    for (index, entry) in batch.drain(..).enumerate() {
                        let ack = if duplicates.contains(&index) {
                            Ack::Duplicate
                        } else {
                            Ack::Durable
                        };
                        // Whoever asked may have gone; the fact is on disk all the same.
                        drop(entry.ack.map(|tx| tx.send(ack)));
                    }
                }
                Err(why) => {
                    for entry in batch.drain(..) {
                        drop(entry.ack.map(|tx| tx.send(Ack::Failed(why.clone()))));
                    }
                    return Err(why);
                }
            }
            beat.tick();
            if checkpoint.elapsed() > Duration::from_secs(60) && self.inbox.is_empty() {
                // Idle: fold the log back so that it stays short. Busy readers make it a partial
                // one.
                let folded = self
                    .db
                    .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
                super::migrate::unless_busy(folded).map_err(|error| error.to_string())?;
                checkpoint = Instant::now();
            }
        }
        self.manifest.flush();
        self.db
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(|e| e.to_string())
    }

    /// After a commit, and before anybody hears of it: are our files the ones that are there, and
    /// is what was latched in the manifest?
    fn account_for(
        &mut self,
        batch: &[Entry],
        heads: Vec<(&'static str, String)>,
    ) -> Result<(), String> {
        self.held
            .iter()
            .try_for_each(HeldFile::check)
            .map_err(|error| error.to_string())?;
        self.others.check().map_err(|error| error.to_string())?;
        self.manifest
            .note(self.chains.commits(), self.chains.take_run(), heads);
        if batch.iter().any(|entry| is_latch(&entry.record)) {
            let latches = latched(&self.db).map_err(|error| error.to_string())?;
            self.manifest
                .latch(latches)
                .map_err(|error| format!("the manifest: {error}"))?;
        }
        self.manifest.failed().map_or(Ok(()), Err)
    }
}

/// True if the record changes what is latched.
fn is_latch(record: &Record) -> bool {
    match record {
        Record::Restricted { .. }
        | Record::Released { .. }
        | Record::Halted { .. }
        | Record::HaltEnded { .. } => true,
        Record::Together(rows) => rows.iter().any(is_latch),
        _ => false,
    }
}

/// Everything that is written under a name somebody could take away.
fn held(dir: &Path) -> Result<Vec<HeldFile>, StoreError> {
    let db = StateDir::trading_db(dir);
    let beside = |suffix: &str| dir.join(format!("trading.db{suffix}"));
    let must = [db, beside("-wal"), beside("-shm"), Manifest::path(dir)];
    let at = |path: &Path| {
        HeldFile::at(path).map_err(|source| StoreError::Io {
            path: path.display().to_string(),
            source,
        })
    };
    let mut held: Vec<HeldFile> = must.iter().map(|path| at(path)).collect::<Result<_, _>>()?;
    // The directory itself, by the name it was given; and the lock, if its holder wants one.
    held.push(at(dir)?);
    held.extend(HeldFile::at(&StateDir::lock_file(dir)).ok());
    // Where signals leave their marks.
    held.extend(HeldFile::at(&StateDir::signals(dir)).ok());
    Ok(held)
}

/// The manifest of a database that has just been opened: the one that is there, or a new one.
fn keep_manifest(
    dir: &Path,
    found: Found,
    db: &Connection,
    chains: &Chains,
) -> Result<Manifest, StoreError> {
    let io = |source| StoreError::Io {
        path: Manifest::path(dir).display().to_string(),
        source,
    };
    let (itself, older) = (of_writer(db)?, matches!(found, Found::Older));
    let latches = latched(db).map_err(StoreError::sql("reading what is latched"))?;
    let state = |before: Sheet| Sheet {
        database: Some(itself.epoch.clone()),
        mode: itself.mode.clone(),
        uid: itself.uid.clone(),
        commits: chains.commits(),
        heads: chains
            .heads()
            .into_iter()
            .map(|(table, head)| (table.to_owned(), head))
            .collect(),
        latches: latches.clone(),
        adopted: false,
        ..before
    };
    let manifest = match found {
        Found::Known(_) => Manifest::open(dir)?,
        Found::Adopted(sheet) => {
            let manifest = Manifest::open(dir)?;
            if let Some(manifest) = &manifest {
                manifest.change(|now| *now = state(sheet)).map_err(io)?;
                info!(
                    event = "record_adopted",
                    "what is here is the record from now on, as a person has said"
                );
            }
            manifest
        }
        Found::Fresh | Found::Older => None,
    };
    let manifest = match manifest {
        Some(manifest) => manifest,
        None => {
            let made = Manifest::create(dir, state(Sheet::default()))?;
            if older {
                info!(event = "manifest_made", path = %Manifest::path(dir).display(),
                    "this state directory is from before there were manifests; it has one now, and will not do without it");
            }
            made
        }
    };
    sql::note_manifest(db).map_err(StoreError::sql("noting that there is a manifest"))?;
    Ok(manifest)
}

/// Result of one transaction.
pub(super) struct Written {
    /// Entries that are intents which were there before.
    pub duplicates: Vec<usize>,
    /// Heads of the chains that moved, as (table, hex).
    pub heads: Vec<(&'static str, String)>,
}

/// One transaction.
pub(super) fn write_batch(
    db: &mut Connection,
    chains: &mut Chains,
    batch: &[Entry],
) -> Result<Written, rusqlite::Error> {
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
    let heads = sql::keep_heads(&tx, chains)?;
    faults::point_blocking("before_commit");
    tx.commit()?;
    faults::point_blocking("after_commit");
    Ok(Written { duplicates, heads })
}

fn is_duplicate(error: &rusqlite::Error) -> bool {
    error.sqlite_extended_error_code().is_some_and(|code| {
        code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE
            || code == rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY
    })
}
