//! Check that the database found is the record that this directory has seen. Made before a start
//! does anything else.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::chain::CHAINED;
use super::manifest::{Latched, Manifest, Sheet};
use super::{StateDir, StoreError};

/// State of a directory as a start finds it.
#[derive(Debug)]
pub enum Found {
    /// Directory in which nothing has ever been kept.
    Fresh,
    /// A database from before there were manifests: it gets one, once.
    Older,
    /// The record that the manifest speaks of, or a newer state of it.
    Known(Sheet),
    /// A person has said that what is here, or is made next, is the record.
    Adopted(Sheet),
}

/// A database's own record of what it is.
#[derive(Debug, Default)]
pub(super) struct Itself {
    pub epoch: String,
    pub mode: String,
    pub uid: String,
    pub commits: u64,
    /// True once the database has had a manifest.
    pub manifested: bool,
}

/// Compares manifest and database. Reads only.
///
/// # Errors
/// When the record is gone, older than what was seen, or another one: nothing may be sent, and a person must look.
pub fn examine(dir: &Path) -> Result<Found, StoreError> {
    let manifest = Manifest::open(dir)?.map(|manifest| manifest.sheet());
    let path = StateDir::trading_db(dir);
    let there = open(&path)?;
    let itself = there.as_ref().map(itself).transpose()?.flatten();
    let lost = |what: String| StoreError::Lost {
        path: path.display().to_string(),
        what,
    };
    let (sheet, db, itself) = match (manifest, there, itself) {
        (None, _, None) => return Ok(Found::Fresh),
        (None, _, Some(itself)) if itself.manifested => {
            return Err(StoreError::Lost {
                path: Manifest::path(dir).display().to_string(),
                what: "it is missing; halts that only it knows of would be forgotten".to_owned(),
            });
        }
        (None, _, Some(_)) => return Ok(Found::Older),
        (Some(sheet), ..) if sheet.adopted => return Ok(Found::Adopted(sheet)),
        (Some(_), None, _) => return Err(lost("it is missing".to_owned())),
        (Some(_), Some(_), None) => return Err(lost("it is empty".to_owned())),
        (Some(sheet), Some(db), Some(itself)) => (sheet, db, itself),
    };
    if sheet.database.as_deref() != Some(itself.epoch.as_str()) {
        return Err(lost(
            "it is not the database that was in use here".to_owned(),
        ));
    }
    if itself.commits < sheet.commits {
        let behind = sheet.commits - itself.commits;
        return Err(lost(format!(
            "it is older than what was seen here, by {behind} transactions at least"
        )));
    }
    for (table, head) in &sheet.heads {
        let known = CHAINED.iter().find(|known| *known == table);
        if let Some(table) = known.filter(|table| !has_head(&db, table, head)) {
            return Err(lost(format!(
                "rows of {table} that were seen here are not in it"
            )));
        }
    }
    Ok(Found::Known(sheet))
}

/// A read-only connection; `None`: there is no such file, or it is no database yet.
fn open(path: &Path) -> Result<Option<Connection>, StoreError> {
    match std::fs::metadata(path) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(StoreError::Io {
                path: path.display().to_string(),
                source,
            });
        }
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
        .map(Some)
        .map_err(StoreError::sql("opening the database"))
}

/// Reads the database's own record of what it is; `None`: it has no tables.
fn itself(db: &Connection) -> Result<Option<Itself>, StoreError> {
    let exists =
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'meta')";
    let has_meta: bool = match db.query_row(exists, [], |row| row.get(0)) {
        Ok(has) => has,
        Err(error) => return unreadable(db, error),
    };
    if !has_meta {
        return Ok(None);
    }
    let value = |key: &str| -> Result<Option<String>, StoreError> {
        db.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
            row.get(0)
        })
        .optional()
        .map_err(StoreError::sql("reading whose database this is"))
    };
    // Made, and not stamped yet: its first start was cut off before it could do anything.
    let Some(epoch) = value("install_epoch")? else {
        return Ok(None);
    };
    Ok(Some(Itself {
        epoch,
        mode: value("mode")?.unwrap_or_default(),
        uid: value("uid")?.unwrap_or_default(),
        commits: value("commits")?
            .and_then(|text| text.parse().ok())
            .unwrap_or(0),
        manifested: value("manifest")?.is_some(),
    }))
}

/// The first read of a database failed.
fn unreadable(db: &Connection, error: rusqlite::Error) -> Result<Option<Itself>, StoreError> {
    let path = db.path().unwrap_or_default().to_owned();
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
            Err(StoreError::Damaged {
                path,
                detail: error.to_string(),
            })
        }
        // A rollback journal waits to be played back: the database died while it was being made,
        // before it had anything to remember.
        Some(rusqlite::ErrorCode::ReadOnly) => Ok(None),
        _ => Err(StoreError::Sql {
            what: "reading whose database this is",
            source: error,
        }),
    }
}

/// True if the table has a row of this hash. Newest first: a head is a second old at most.
fn has_head(db: &Connection, table: &str, head: &str) -> bool {
    let Ok(hash) = data_encoding::HEXLOWER.decode(head.as_bytes()) else {
        return false;
    };
    let kept = db.query_row(
        &format!("SELECT value FROM meta WHERE key = 'head:{table}'"),
        [],
        |row| row.get::<_, String>(0),
    );
    if kept.is_ok_and(|kept| kept == head) {
        return true;
    }
    let found = db.query_row(
        &format!("SELECT 1 FROM {table} WHERE row_hash = ?1 LIMIT 1"),
        [hash],
        |_| Ok(()),
    );
    found.is_ok()
}

/// Returns the latched restrictions and halts, as the database has them.
pub(super) fn latched(db: &Connection) -> rusqlite::Result<Vec<Latched>> {
    let mut out = Vec::new();
    let row = |name: String, why: String, since_ms: i64| Latched {
        name,
        why,
        since_ms,
    };
    let mut restrictions = db.prepare_cached(
        "SELECT scope, cause, why, since_ms FROM restrictions ORDER BY scope, cause",
    )?;
    let mut rows = restrictions.query([])?;
    while let Some(r) = rows.next()? {
        let (scope, cause): (String, String) = (r.get(0)?, r.get(1)?);
        out.push(row(format!("{scope}/{cause}"), r.get(2)?, r.get(3)?));
    }
    let mut halts = db
        .prepare_cached("SELECT kind, subject, why, opened_ms FROM halts ORDER BY kind, subject")?;
    let mut rows = halts.query([])?;
    while let Some(r) = rows.next()? {
        let (kind, subject): (String, String) = (r.get(0)?, r.get(1)?);
        let name = if subject.is_empty() {
            kind
        } else {
            format!("{kind}:{subject}")
        };
        out.push(row(name, r.get(2)?, r.get(3)?));
    }
    Ok(out)
}

/// Reads a database's own record of what it is, for its one writer.
pub(super) fn of_writer(db: &Connection) -> Result<Itself, StoreError> {
    Ok(itself(db)?.unwrap_or_default())
}

/// Result of an adoption.
#[derive(Debug)]
pub struct Adoption {
    /// There is a database; else the next start makes one.
    pub database: bool,
    /// Restrictions and halts that the lost record had latched.
    pub latched: Vec<Latched>,
}

/// A person says that what is in a held directory is its record from now on. Names of orders change
/// with it, so that none is used twice, and the next start is halted.
///
/// # Errors
/// When the database is damaged or the directory cannot be written.
pub fn adopt(dir: &Path, why: &str) -> Result<Adoption, StoreError> {
    let path = StateDir::trading_db(dir);
    let before = Manifest::peek(dir).unwrap_or_default();
    let there = open(&path)?;
    let itself = there.as_ref().map(itself).transpose()?.flatten();
    drop(there);
    if itself.is_some() {
        let epoch = uuid::Uuid::new_v4().to_string();
        let db = Connection::open_with_flags(
            &path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(StoreError::sql("opening the database"))?;
        db.execute_batch("PRAGMA synchronous = FULL;")
            .map_err(StoreError::sql("opening the database"))?;
        db.execute(
            "UPDATE meta SET value = ?1 WHERE key = 'install_epoch'",
            [epoch],
        )
        .map_err(StoreError::sql("giving the database a new name"))?;
    }
    let mut latched = before.latches.clone();
    latched.extend(before.halt.map(|why| Latched {
        name: "halt".to_owned(),
        why,
        since_ms: 0,
    }));
    let names: Vec<&str> = latched.iter().map(|latch| latch.name.as_str()).collect();
    let were = if names.is_empty() {
        String::new()
    } else {
        format!("; latched before: {}", names.join(", "))
    };
    let halt = Some(
        format!("the record was adopted: {why}{were}")
            .chars()
            .take(400)
            .collect(),
    );
    let sheet = Sheet {
        halt,
        adopted: true,
        seq: 0,
        ..before
    };
    drop(Manifest::create(dir, sheet)?);
    Ok(Adoption {
        database: itself.is_some(),
        latched,
    })
}
