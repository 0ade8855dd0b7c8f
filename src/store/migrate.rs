//! Opens a database: version of SQLite, pragmas, integrity, numbered migrations with checksums, and
//! whose database it is.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::StoreError;
use crate::runtime::sabotage::{self, Promise};

/// Which mode and account a `trading.db` belongs to. Stamped when it is made, checked ever after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub mode: String,
    pub uid: String,
}

struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

const TRADING: &[Migration] = &[
    Migration {
        version: 1,
        name: "init",
        sql: include_str!("../../migrations/0001_init.sql"),
    },
    Migration {
        version: 2,
        name: "order_truth",
        sql: include_str!("../../migrations/0002_order_truth.sql"),
    },
    Migration {
        version: 3,
        name: "risk",
        sql: include_str!("../../migrations/0003_risk.sql"),
    },
    Migration {
        version: 4,
        name: "models",
        sql: include_str!("../../migrations/0004_models.sql"),
    },
    Migration {
        version: 5,
        name: "rules",
        sql: include_str!("../../migrations/0005_rules.sql"),
    },
    Migration {
        version: 6,
        name: "guards",
        sql: include_str!("../../migrations/0006_guards.sql"),
    },
    Migration {
        version: 7,
        name: "incident orders",
        sql: include_str!("../../migrations/0007_incident_orders.sql"),
    },
];
const RESEARCH: &[Migration] = &[
    Migration {
        version: 1,
        name: "init",
        sql: include_str!("../../migrations/research/0001_init.sql"),
    },
    Migration {
        version: 2,
        name: "batches",
        sql: include_str!("../../migrations/research/0002_batches.sql"),
    },
    Migration {
        version: 3,
        name: "replies",
        sql: include_str!("../../migrations/research/0003_replies.sql"),
    },
    Migration {
        version: 4,
        name: "reply_times",
        sql: include_str!("../../migrations/research/0004_reply_times.sql"),
    },
];

/// Pages of the log after which a commit folds it back into the database.
const FOLD_AT: i32 = 1000;

/// Ignores a failure to fold the log back because another connection folds it back or reads it: a
/// later commit does it.
pub(super) fn unless_busy(folded: rusqlite::Result<()>) -> rusqlite::Result<()> {
    let is_busy = |error: &rusqlite::Error| {
        matches!(
            error.sqlite_error_code(),
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked)
        )
    };
    folded.or_else(|error| if is_busy(&error) { Ok(()) } else { Err(error) })
}

/// Pages that a connection keeps in memory, in KiB. Both databases are written at their ends, a few
/// pages at a time; candles that are read for a backtest are read once.
const TRADING_CACHE: u32 = 1024;
const RESEARCH_CACHE: u32 = 256;
/// Milliseconds that a connection waits for another's write.
const BUSY_MS: u32 = 5000;

/// Opens (or makes) `trading.db` for its one writer.
pub(super) fn open_trading(
    path: &Path,
    stamp: &Stamp,
    install_epoch: &str,
    now_ms: i64,
) -> Result<Connection, StoreError> {
    let synchronous = if sabotage::breaks(Promise::Sync) {
        "NORMAL"
    } else {
        "FULL"
    };
    let mut db = open(path, synchronous, TRADING_CACHE)?;
    examine(&db, path)?;
    prepare_trading(&mut db, path, stamp, install_epoch, now_ms)?;
    // In place of SQLite's own, which says nothing when the log cannot be folded back: any error of
    // the disk ends us.
    db.wal_hook(Some(|wal, pages| {
        if pages < FOLD_AT {
            Ok(())
        } else {
            unless_busy(wal.checkpoint())
        }
    }));
    Ok(db)
}

/// Brings an open `trading.db` to the newest schema, and checks or writes whose it is.
pub(super) fn prepare_trading(
    db: &mut Connection,
    path: &Path,
    stamp: &Stamp,
    install_epoch: &str,
    now_ms: i64,
) -> Result<(), StoreError> {
    migrate(db, path, TRADING, now_ms)?;
    for (what, key, ours) in [
        ("mode", "mode", &stamp.mode),
        ("account", "uid", &stamp.uid),
    ] {
        let theirs: Option<String> = db
            .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
                row.get(0)
            })
            .optional()
            .map_err(StoreError::sql("reading whose database this is"))?;
        match theirs {
            Some(theirs) if theirs != *ours => {
                return Err(StoreError::Stranger {
                    path: path.display().to_string(),
                    what,
                    theirs,
                    ours: ours.clone(),
                });
            }
            Some(_) => {}
            None => {
                db.execute(
                    "INSERT INTO meta (key, value) VALUES (?1, ?2)",
                    params![key, ours],
                )
                .map_err(StoreError::sql("stamping the database"))?;
            }
        }
    }
    db.execute(
        "INSERT OR IGNORE INTO meta (key, value) VALUES ('install_epoch', ?1)",
        [install_epoch],
    )
    .map_err(StoreError::sql("stamping the database"))?;
    Ok(())
}

/// Opens (or makes) `research.db`; any number of processes may.
pub(super) fn open_research(path: &Path, now_ms: i64) -> Result<Connection, StoreError> {
    let mut db = open(path, "NORMAL", RESEARCH_CACHE)?;
    migrate(&mut db, path, RESEARCH, now_ms)?;
    Ok(db)
}

fn open(path: &Path, synchronous: &str, cache_kib: u32) -> Result<Connection, StoreError> {
    if rusqlite::version_number() < 3_051_003 {
        return Err(StoreError::OldSqlite {
            found: rusqlite::version().to_owned(),
        });
    }
    // Made by us first, so that only the owner can read it; SQLite gives its side files the same
    // mode.
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| StoreError::Io {
            path: path.display().to_string(),
            source,
        })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)
        .map_err(StoreError::sql("opening the database"))?;
    let pragmas = format!(
        "PRAGMA busy_timeout = {BUSY_MS}; PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous};
         PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA wal_autocheckpoint = 1000;
         PRAGMA cell_size_check = ON; PRAGMA cache_size = -{cache_kib};"
    );
    let damaged = |detail: String| StoreError::Damaged {
        path: path.display().to_string(),
        detail,
    };
    db.execute_batch(&pragmas)
        .map_err(|error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                damaged(error.to_string())
            }
            _ => StoreError::Sql {
                what: "opening the database",
                source: error,
            },
        })?;
    Ok(db)
}

/// Reads all of it once: a page that is damaged is found now and not in the middle of something. Of
/// what can be fetched again (research.db, which may be large) each page is only looked at when it
/// is read.
fn examine(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let verdict: String = db
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .unwrap_or_else(|error| error.to_string());
    match verdict.as_str() {
        "ok" => Ok(()),
        _ => Err(StoreError::Damaged {
            path: path.display().to_string(),
            detail: verdict,
        }),
    }
}

fn checksum(sql: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(sql))
}

fn migrate(
    db: &mut Connection,
    path: &Path,
    migrations: &[Migration],
    now_ms: i64,
) -> Result<(), StoreError> {
    db.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_migrations (
            version INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, applied_ms INTEGER NOT NULL
         ) STRICT",
    )
    .map_err(StoreError::sql("preparing migrations"))?;
    let known = migrations.last().map_or(0, |m| m.version);
    let found: i64 = db
        .query_row(
            "SELECT COALESCE(MAX(version), 0) FROM schema_migrations",
            [],
            |row| row.get(0),
        )
        .map_err(StoreError::sql("reading the schema's version"))?;
    if found > known {
        return Err(StoreError::Future {
            path: path.display().to_string(),
            found,
            known,
        });
    }
    for migration in migrations {
        let applied: Option<String> = db
            .query_row(
                "SELECT sha256 FROM schema_migrations WHERE version = ?1",
                [migration.version],
                |row| row.get(0),
            )
            .optional()
            .map_err(StoreError::sql("reading migrations"))?;
        match applied {
            Some(sum) if sum == checksum(migration.sql) => {}
            Some(_) => {
                return Err(StoreError::Checksum {
                    path: path.display().to_string(),
                    version: migration.version,
                });
            }
            None => {
                let tx = db
                    .transaction()
                    .map_err(StoreError::sql("beginning a migration"))?;
                tx.execute_batch(migration.sql)
                    .map_err(StoreError::sql("applying a migration"))?;
                tx.execute(
                    "INSERT INTO schema_migrations VALUES (?1, ?2, ?3, ?4)",
                    params![
                        migration.version,
                        migration.name,
                        checksum(migration.sql),
                        now_ms
                    ],
                )
                .map_err(StoreError::sql("recording a migration"))?;
                tx.commit()
                    .map_err(StoreError::sql("committing a migration"))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(mode: &str, uid: &str) -> Stamp {
        Stamp {
            mode: mode.into(),
            uid: uid.into(),
        }
    }

    /// Another mode, another account, a newer schema version or another migration checksum.
    #[test]
    fn foreign_or_changed_database_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trading.db");
        let open = |stamp: &Stamp| open_trading(&path, stamp, "e", 0);
        drop(open(&stamp("sim", "1")).unwrap());
        drop(open(&stamp("sim", "1")).unwrap());
        assert!(matches!(
            open(&stamp("live", "1")),
            Err(StoreError::Stranger { what: "mode", .. })
        ));
        assert!(matches!(
            open(&stamp("sim", "2")),
            Err(StoreError::Stranger {
                what: "account",
                ..
            })
        ));
        let db = Connection::open(&path).unwrap();
        db.execute(
            "INSERT INTO schema_migrations VALUES (99, 'next', '', 0)",
            [],
        )
        .unwrap();
        assert!(matches!(
            open(&stamp("sim", "1")),
            Err(StoreError::Future { found: 99, .. })
        ));
        db.execute("DELETE FROM schema_migrations WHERE version = 99", [])
            .unwrap();
        db.execute("UPDATE schema_migrations SET sha256 = 'x'", [])
            .unwrap();
        assert!(matches!(
            open(&stamp("sim", "1")),
            Err(StoreError::Checksum { version: 1, .. })
        ));
    }

    /// Its state can be read before the migration, too.
    #[test]
    fn every_older_schema_is_migrated() {
        for version in 1..=TRADING.len() {
            let dir = tempfile::tempdir().unwrap();
            let path = crate::store::StateDir::trading_db(dir.path());
            let mut db = open(&path, "FULL", TRADING_CACHE).unwrap();
            migrate(&mut db, &path, &TRADING[..version], 0).unwrap();
            drop(db);
            if let Err(error) = crate::store::remembered(dir.path()) {
                panic!("what schema {version} remembers cannot be read: {error}");
            }
            let db = open_trading(&path, &stamp("sim", "1"), "e", 0).unwrap();
            let found: i64 = db
                .query_row("SELECT MAX(version) FROM schema_migrations", [], |row| {
                    row.get(0)
                })
                .unwrap();
            assert_eq!(found, TRADING.len() as i64, "from {version}");
        }
    }

    #[test]
    fn garbage_file_is_reported_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trading.db");
        std::fs::write(&path, vec![7u8; 8192]).unwrap();
        assert!(matches!(
            open_trading(&path, &stamp("sim", "1"), "e", 0),
            Err(StoreError::Damaged { .. })
        ));
    }

    #[test]
    fn database_and_code_share_transitions() {
        use crate::domain::OrderState;
        let dir = tempfile::tempdir().unwrap();
        let db = open_trading(&dir.path().join("trading.db"), &stamp("sim", "1"), "e", 0).unwrap();
        for from in OrderState::ALL {
            for to in OrderState::ALL {
                let known: bool = db
                    .query_row(
                        "SELECT EXISTS (SELECT 1 FROM order_transitions WHERE from_state = ?1 AND to_state = ?2)",
                        [from.as_str(), to.as_str()],
                        |row| row.get(0),
                    )
                    .unwrap();
                assert_eq!(known, from.next().any(|next| next == to), "{from} -> {to}");
            }
        }
        for from in crate::domain::AlgoState::ALL {
            for to in crate::domain::AlgoState::ALL {
                let known: bool = db
                    .query_row(
                        "SELECT EXISTS (SELECT 1 FROM algo_transitions WHERE from_state = ?1 AND to_state = ?2)",
                        [from.as_str(), to.as_str()],
                        |row| row.get(0),
                    )
                    .unwrap();
                assert_eq!(known, from.may_become(to), "{from} -> {to}");
            }
        }
    }
}
