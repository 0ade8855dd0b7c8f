//! Persistence. The only place that spells SQL, the only user of rusqlite and r2d2.
//!
//! One writer on a blocking thread owns the one write connection of `trading.db`; everybody else
//! holds a [`Journal`] and hears back when a fact is on disk. Readers use a read-only pool.
//! `research.db` is apart: short transactions, several writers, never in the way of trading.
//!
//! The journal's handle lives here and not in `runtime/`: the receipt's constructor must be private
//! to the writer, and a type's privacy reaches only its ancestors. Stages may name `Journal`,
//! `IntentReceipt` and `Opened`, nothing else of the store.

mod chain;
mod examine;
mod journal;
mod lock;
mod manifest;
#[cfg(feature = "sabotage")]
mod memory;
mod migrate;
mod pack;
mod read;
mod repeats;
mod research;
mod sql;
mod writer;

pub use examine::{Adoption, Found, adopt, examine};
pub use journal::{IntentReceipt, Journal};
pub use lock::StateDir;
pub use manifest::{Latched, Manifest, Sheet};
#[cfg(feature = "sabotage")]
pub use memory::{MemoryStore, MemoryWriter};
pub use migrate::Stamp;
pub use read::{
    KeptCall, KeptInputs, KeptOrder, KeptQuestion, KeptRefusal, KeptRun, Opened, OrderStory,
    Reader, RunStory, Table, remembered,
};
pub use research::{
    BatchRow, OnConflict, PeriodRow, Range, Research, RunRow, SeriesKey, SeriesRow, StoredReply,
    keep_candles,
};
pub use writer::{Writer, WriterGuard};

use crate::exit::Exit;

/// Why the store cannot be opened or used, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path}: {source}")]
    Io {
        path: String,
        source: std::io::Error,
    },
    #[error(
        "{path} is held by another instance{holder}; stop it first, or use another --state-dir"
    )]
    Locked { path: String, holder: String },
    #[error("SQLite {found} is too old: 3.51.3 is the first without the WAL-reset bug")]
    OldSqlite { found: String },
    #[error(
        "{path} was written by a newer version of this program (schema {found}, this build knows {known}); run that version, or restore an older backup"
    )]
    Future {
        path: String,
        found: i64,
        known: i64,
    },
    #[error(
        "{path}: migration {version} was changed after it was applied; this build and this database do not belong together"
    )]
    Checksum { path: String, version: i64 },
    #[error("{path} belongs to {what} '{theirs}', this run is '{ours}'; use another --state-dir")]
    Stranger {
        path: String,
        what: &'static str,
        theirs: String,
        ours: String,
    },
    #[error("{path} is damaged ({detail}); restore a backup: nothing was changed")]
    Damaged { path: String, detail: String },
    #[error(
        "{path}: {what}. The record of this state directory is not what was seen here before, and nothing was sent or changed. Put \
         the files back as they were (`trading.db` with its neighbours and `manifest`, of one moment), or, if they are lost, take what is here \
         as the record from now on: `alpha-arena db adopt --reason TEXT`; trading stays halted until `resume`"
    )]
    Lost { path: String, what: String },
    #[error("{what}: {source}")]
    Sql {
        what: &'static str,
        source: rusqlite::Error,
    },
    #[error("no read connection: {0}")]
    Pool(String),
    #[error("a stored value cannot be read: {0}")]
    Value(String),
}

impl StoreError {
    /// Returns the exit code of a process that this error ends.
    pub fn exit(&self) -> Exit {
        match self {
            StoreError::Locked { .. } => Exit::Busy,
            StoreError::Future { .. }
            | StoreError::Checksum { .. }
            | StoreError::Stranger { .. } => Exit::Config,
            StoreError::Damaged { .. } | StoreError::Lost { .. } => Exit::Data,
            StoreError::OldSqlite { .. } => Exit::Software,
            StoreError::Io { .. }
            | StoreError::Sql { .. }
            | StoreError::Pool(_)
            | StoreError::Value(_) => Exit::Io,
        }
    }

    fn sql(what: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
        move |source| StoreError::Sql { what, source }
    }
}
