//! A store for simulations: the same schema, statements and start in memory, written by a task
//! instead of a thread. What was committed outlives a simulated crash; what waited in the queue
//! does not. Not in a release build.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::chain::Chains;
use super::journal::{Ack, Entry};
use super::migrate::{Stamp, prepare_trading};
use super::writer::write_batch;
use super::{Journal, Opened, StoreError, read};
use crate::runtime::HeldFiles;

/// A `trading.db` in memory.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    db: Arc<Mutex<Connection>>,
}

/// Writer task of a [`MemoryStore`].
#[derive(Debug)]
pub struct MemoryWriter {
    db: Arc<Mutex<Connection>>,
    chains: Chains,
    inbox: mpsc::Receiver<Entry>,
}

impl MemoryStore {
    /// A new one, with the newest schema.
    pub fn new(stamp: &Stamp, install_epoch: &str) -> Result<Self, StoreError> {
        let mut db = Connection::open_in_memory()
            .map_err(StoreError::sql("opening a database in memory"))?;
        db.execute_batch("PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;")
            .map_err(StoreError::sql("opening a database in memory"))?;
        prepare_trading(
            &mut db,
            std::path::Path::new(":memory:"),
            stamp,
            install_epoch,
            0,
        )?;
        Ok(Self {
            db: Arc::new(Mutex::new(db)),
        })
    }

    /// Returns what a start reads from the store.
    pub fn opened(&self) -> Result<Opened, StoreError> {
        read::read_all(&self.db())
    }

    /// A journal and the writer behind it, as of now.
    pub fn journal(&self) -> Result<(Journal, MemoryWriter), StoreError> {
        let (tx, inbox) = mpsc::channel(2048);
        let chains = Chains::load(&self.db())?;
        Ok((
            Journal {
                tx,
                held: HeldFiles::default(),
            },
            MemoryWriter {
                db: Arc::clone(&self.db),
                chains,
                inbox,
            },
        ))
    }

    /// The connection, to look at what was committed.
    pub fn db(&self) -> std::sync::MutexGuard<'_, Connection> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryWriter {
    /// Commits what waits, batch after batch, each taking as long as `commit` says; ends with the
    /// last journal.
    pub async fn serve(mut self, mut commit: impl FnMut() -> Duration) -> Result<(), String> {
        while let Some(first) = self.inbox.recv().await {
            let mut batch = vec![first];
            while batch.len() < 512 {
                match self.inbox.try_recv() {
                    Ok(entry) => batch.push(entry),
                    Err(_) => break,
                }
            }
            tokio::time::sleep(commit()).await;
            let written = {
                let mut db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
                write_batch(&mut db, &mut self.chains, &batch)
            };
            let duplicates = match written {
                Ok(written) => written.duplicates,
                Err(error) => {
                    let why = error.to_string();
                    for entry in batch {
                        drop(entry.ack.map(|tx| tx.send(Ack::Failed(why.clone()))));
                    }
                    return Err(why);
                }
            };
            for (index, entry) in batch.into_iter().enumerate() {
                let ack = if duplicates.contains(&index) {
                    Ack::Duplicate
                } else {
                    Ack::Durable
                };
                drop(entry.ack.map(|tx| tx.send(ack)));
            }
        }
        Ok(())
    }
}
