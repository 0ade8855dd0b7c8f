//! The state directory and its lock: one daemon per directory, or one verb that must write.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::StoreError;

/// A state directory we hold. The kernel lets go of the lock when the process ends, however it
/// ends.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
    /// The lock that counts: the file can be removed and made anew by anybody, the directory they
    /// would look for it in not.
    _dir: File,
}

impl StateDir {
    /// Makes the directory (mode 0700) if need be and takes its lock.
    pub fn hold(path: &Path) -> Result<Self, StoreError> {
        let io = |source| StoreError::Io {
            path: path.display().to_string(),
            source,
        };
        Self::make(path)?;
        let file = Self::lock_file(path);
        let dir = File::open(path).map_err(io)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&file)
            .map_err(io)?;
        match lock.try_lock().and_then(|()| dir.try_lock()) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                drop(lock.read_to_string(&mut pid));
                let holder = if pid.trim().is_empty() {
                    String::new()
                } else {
                    format!(" (pid {})", pid.trim())
                };
                return Err(StoreError::Locked {
                    path: path.display().to_string(),
                    holder,
                });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        lock.set_len(0).and_then(|()| lock.rewind()).map_err(io)?;
        writeln!(lock, "{}", std::process::id()).map_err(io)?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
            _dir: dir,
        })
    }

    /// Returns the path of the file in which SIGUSR1 leaves its marks.
    pub fn signals(dir: &Path) -> PathBuf {
        dir.join("halt.signals")
    }

    /// The lock's file: who holds the directory is written there.
    pub fn lock_file(dir: &Path) -> PathBuf {
        dir.join("lock")
    }

    /// Makes the directory, mode 0700, if need be; nobody holds it by that.
    pub fn make(path: &Path) -> Result<(), StoreError> {
        let io = |source| StoreError::Io {
            path: path.display().to_string(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(io)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// Returns the path of this file in `dir`, whether or not the directory is held.
    pub fn trading_db(dir: &Path) -> PathBuf {
        dir.join("trading.db")
    }
    /// Market history and backtests.
    pub fn research_db(dir: &Path) -> PathBuf {
        dir.join("research.db")
    }
    /// The control socket.
    pub fn socket(dir: &Path) -> PathBuf {
        dir.join("control.sock")
    }
    /// Messages of the venue, by day.
    pub fn tape(dir: &Path) -> PathBuf {
        dir.join("tape")
    }
    /// The embedded exchange's ledger.
    pub fn exchange_log(dir: &Path) -> PathBuf {
        dir.join("exchange.log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error names the holder's pid; deleting the lock file makes no difference.
    #[test]
    fn second_lock_holder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let held = StateDir::hold(dir.path()).unwrap();
        let refused = StateDir::hold(dir.path()).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains(&format!("pid {}", std::process::id())),
            "{refused}"
        );
        // Whoever removes the file makes no room for himself.
        std::fs::remove_file(StateDir::lock_file(dir.path())).unwrap();
        assert!(matches!(
            StateDir::hold(dir.path()),
            Err(StoreError::Locked { .. })
        ));
        drop(held);
        StateDir::hold(dir.path()).unwrap();
    }
}
