//! Manifest of a state directory, kept outside the database: whose it is, how far its record has
//! come, and what is latched. By it a database that is missing, empty, older or another one is
//! detected before anything is sent; a missing record is not taken for a first start.
//!
//! The file is made once at its full size and held open. It has two sheets that are written in
//! turn, in place, each with its own checksum: a torn write leaves the other one, and a latch needs
//! no descriptor, no space and no new file.
//!
//! The manifest is written in place, two sheets in turn, and made once at its full size: on a full
//! disk a halt can still be recorded.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::StoreError;

/// Bytes of a sheet.
const SHEET: usize = 32 * 1024;
/// Latches that are written out; beyond that only the first count, and any one is enough to refuse.
const LATCHES: usize = 60;
/// Characters of a reason.
const WHY: usize = 200;

/// A latched restriction or halt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latched {
    /// As `resume` and `reconcile` name it.
    pub name: String,
    pub why: String,
    /// Venue time.
    pub since_ms: i64,
}

/// One state of the record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sheet {
    /// Which write this is.
    pub seq: u64,
    /// The database's own name: its install epoch. `None`: the next start may make a new one.
    pub database: Option<String>,
    pub mode: String,
    pub uid: String,
    /// Transactions that the database had committed.
    pub commits: u64,
    /// The newest run.
    pub run: Option<String>,
    /// The newest hash of each chain, by table.
    pub heads: BTreeMap<String, String>,
    pub latches: Vec<Latched>,
    /// A halt that the next start has to latch: the database was not there to take it.
    pub halt: Option<String>,
    /// A person has said that the next database that is found here is the record: see `db adopt`.
    pub adopted: bool,
}

/// The open file.
#[derive(Debug)]
pub struct Manifest {
    path: PathBuf,
    file: File,
    state: Mutex<ManifestState>,
    /// One writer at a time, and its buffer.
    out: Mutex<Vec<u8>>,
}

#[derive(Debug)]
struct ManifestState {
    sheet: Sheet,
    written: Sheet,
    failed: Option<String>,
}

impl Manifest {
    /// Returns the path of the manifest in a state directory.
    pub fn path(dir: &Path) -> PathBuf {
        dir.join("manifest")
    }

    /// Opens it. `None`: the directory has none.
    ///
    /// # Errors
    /// When it cannot be read, or neither sheet is whole.
    pub fn open(dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = Self::path(dir);
        let io = |source| StoreError::Io {
            path: path.display().to_string(),
            source,
        };
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        let sheet = read(&file).map_err(io)?.ok_or_else(|| StoreError::Lost {
            path: path.display().to_string(),
            what: "neither of its two sheets is whole".to_owned(),
        })?;
        Ok(Some(Self::over(path, file, sheet)))
    }

    /// Reads the manifest without holding it. `None`: there is none, or nothing in it is whole.
    pub fn peek(dir: &Path) -> Option<Sheet> {
        read(&File::open(Self::path(dir)).ok()?).ok()?
    }

    /// Makes it, durable on return.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(dir: &Path, sheet: Sheet) -> Result<Self, StoreError> {
        let path = Self::path(dir);
        let io = |source| StoreError::Io {
            path: path.display().to_string(),
            source,
        };
        let fresh = path.with_extension("new");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)
            .map_err(io)?;
        file.write_all_at(&vec![b'\n'; 2 * SHEET], 0).map_err(io)?;
        let made = Self::over(path.clone(), file, sheet);
        made.write().map_err(io)?;
        made.file.sync_all().map_err(io)?;
        std::fs::rename(&fresh, &path).map_err(io)?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)?;
        Ok(made)
    }

    fn over(path: PathBuf, file: File, sheet: Sheet) -> Self {
        let state = ManifestState {
            written: sheet.clone(),
            sheet,
            failed: None,
        };
        Self {
            path,
            file,
            state: Mutex::new(state),
            out: Mutex::new(Vec::with_capacity(SHEET)),
        }
    }

    /// Returns the manifest's present sheet.
    pub fn sheet(&self) -> Sheet {
        self.state().sheet.clone()
    }

    /// Notes how far the record has come; written with the next flush.
    pub fn note(&self, commits: u64, run: Option<String>, heads: Vec<(&'static str, String)>) {
        let mut state = self.state();
        state.sheet.commits = commits;
        state.sheet.run = run.or_else(|| state.sheet.run.take());
        state.sheet.heads.extend(
            heads
                .into_iter()
                .map(|(table, head)| (table.to_owned(), head)),
        );
    }

    /// Writes what is latched, durable on return.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn latch(&self, mut latches: Vec<Latched>) -> io::Result<()> {
        latches.truncate(LATCHES);
        for latch in &mut latches {
            latch.why = latch.why.chars().take(WHY).collect();
        }
        {
            let mut state = self.state();
            // The database has it now, whoever took it before.
            if latches.iter().any(|latch| latch.name == KILLED) {
                state.sheet.halt = None;
            }
            state.sheet.latches = latches;
        }
        self.write()
    }

    /// Changes what it says, durable on return.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn change(&self, change: impl FnOnce(&mut Sheet)) -> io::Result<()> {
        change(&mut self.state().sheet);
        self.write()
    }

    /// Writes what has been noted since the last write, if anything was. A failure is remembered.
    pub fn flush(&self) {
        let due = {
            let state = self.state();
            state.sheet != state.written
        };
        if due && let Err(error) = self.write() {
            self.state().failed = Some(format!("{}: {error}", self.path.display()));
        }
    }

    /// Why a flush has failed, if one has.
    pub fn failed(&self) -> Option<String> {
        self.state().failed.clone()
    }

    fn write(&self) -> io::Result<()> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let sheet = {
            let mut state = self.state();
            state.sheet.seq = state.written.seq + 1;
            state.written = state.sheet.clone();
            state.written.clone()
        };
        out.clear();
        serde_json::to_writer(&mut *out, &sheet).map_err(io::Error::other)?;
        let head = format!(
            "{} {:08}\n",
            data_encoding::HEXLOWER.encode(&Sha256::digest(&*out)),
            out.len()
        );
        if head.len() + out.len() > SHEET {
            return Err(io::Error::other("the manifest's sheet is full"));
        }
        out.splice(0..0, head.bytes());
        out.resize(SHEET, b'\n');
        self.file
            .write_all_at(&out, SHEET as u64 * (sheet.seq % 2))?;
        self.file.sync_data()
    }

    fn state(&self) -> MutexGuard<'_, ManifestState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of the kill switch among what is latched.
const KILLED: &str = "system/kill";

/// The newest whole sheet.
fn read(file: &File) -> io::Result<Option<Sheet>> {
    let mut newest: Option<Sheet> = None;
    for slot in 0..2u64 {
        let mut bytes = vec![0; SHEET];
        match file.read_exact_at(&mut bytes, SHEET as u64 * slot) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
            Err(error) => return Err(error),
        }
        if let Some(sheet) =
            whole(&bytes).filter(|sheet| newest.as_ref().is_none_or(|n| sheet.seq > n.seq))
        {
            newest = Some(sheet);
        }
    }
    Ok(newest)
}

/// A sheet whose checksum is right.
fn whole(bytes: &[u8]) -> Option<Sheet> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    let (sum, length) = std::str::from_utf8(&bytes[..end]).ok()?.split_once(' ')?;
    let body = bytes.get(end + 1..)?.get(..length.parse().ok()?)?;
    let right = data_encoding::HEXLOWER.encode(&Sha256::digest(body)) == sum;
    right.then(|| serde_json::from_slice(body).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        Sheet {
            database: Some("e".into()),
            mode: "sim".into(),
            uid: "1".into(),
            ..Sheet::default()
        }
    }

    #[test]
    fn the_newest_whole_sheet_counts() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Manifest::open(dir.path()).unwrap().is_none());
        let manifest = Manifest::create(dir.path(), sheet()).unwrap();
        manifest.note(7, Some("run".into()), vec![("fills", "ab".into())]);
        assert_eq!(
            Manifest::peek(dir.path()).unwrap().commits,
            0,
            "noted, and not written"
        );
        manifest.flush();
        let latch = Latched {
            name: "instrument:A/x".into(),
            why: "w".repeat(500),
            since_ms: 5,
        };
        manifest.latch(vec![latch; 100]).unwrap();
        drop(manifest);
        let again = Manifest::open(dir.path()).unwrap().unwrap().sheet();
        assert_eq!(
            (again.seq, again.commits, again.run.as_deref()),
            (3, 7, Some("run"))
        );
        assert_eq!(
            (again.latches.len(), again.latches[0].why.len()),
            (LATCHES, WHY)
        );
        assert_eq!(again.heads["fills"], "ab");
    }

    /// With both copies torn the manifest is reported lost.
    #[test]
    fn torn_write_leaves_previous_manifest() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = Manifest::create(dir.path(), sheet()).unwrap();
        for commits in 1..4 {
            manifest.note(commits, None, Vec::new());
            manifest.flush();
        }
        let newest = Manifest::peek(dir.path()).unwrap();
        let file = OpenOptions::new()
            .write(true)
            .open(Manifest::path(dir.path()))
            .unwrap();
        file.write_all_at(b"torn", SHEET as u64 * (newest.seq % 2) + 80)
            .unwrap();
        let left = Manifest::peek(dir.path()).unwrap();
        assert_eq!((left.seq, left.commits), (newest.seq - 1, 2));
        file.write_all_at(b"torn", SHEET as u64 * (left.seq % 2) + 80)
            .unwrap();
        assert!(matches!(
            Manifest::open(dir.path()),
            Err(StoreError::Lost { .. })
        ));
    }

    /// Any other latched cause leaves the pending halt in place.
    #[test]
    fn latched_kill_replaces_pending_halt() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = Manifest::create(dir.path(), sheet()).unwrap();
        manifest
            .change(|sheet| sheet.halt = Some("why".into()))
            .unwrap();
        let other = Latched {
            name: "system/drawdown".into(),
            why: String::new(),
            since_ms: 0,
        };
        manifest.latch(vec![other]).unwrap();
        assert_eq!(
            Manifest::peek(dir.path()).unwrap().halt.as_deref(),
            Some("why")
        );
        manifest
            .latch(vec![Latched {
                name: KILLED.into(),
                why: String::new(),
                since_ms: 0,
            }])
            .unwrap();
        assert_eq!(Manifest::peek(dir.path()).unwrap().halt, None);
    }
}
