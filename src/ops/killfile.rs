//! The kill switch's last resorts: a file in the state directory, found by a running daemon within
//! a second and by the next one at its start, and SIGUSR1, whose mark outlives the process. They
//! work when nothing else does: `touch HALT` is enough; a first word `flatten` asks for flat.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::SIGUSR1;

/// A halt that a file or a signal asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaltRequest {
    pub flatten: bool,
    pub why: String,
    /// Signals that have come so far.
    pub signals: u64,
}

impl HaltRequest {
    /// A SIGUSR1 asks for a halt and no more.
    pub fn by_signal() -> Self {
        Self {
            flatten: false,
            why: "SIGUSR1".to_owned(),
            signals: 0,
        }
    }
}

/// Returns the path of the halt file.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("HALT")
}

/// Returns the path of the file where each SIGUSR1 leaves a byte.
fn mark(dir: &Path) -> PathBuf {
    dir.join("halt.signals")
}

/// SIGUSR1 has come before there was a state directory to leave a mark in.
static EARLY: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Remembers a SIGUSR1 that comes before [`arm`]; without it the signal would end the process and
/// be forgotten.
pub fn catch_early() {
    let flag = EARLY.get_or_init(Arc::default);
    // A signal that cannot be caught is caught by nobody later, which `arm` tells.
    drop(signal_hook::flag::register(SIGUSR1, Arc::clone(flag)));
}

/// True if a SIGUSR1 has already come.
pub fn came_early() -> bool {
    EARLY.get().is_some_and(|flag| flag.load(Ordering::SeqCst))
}

/// From now on each SIGUSR1 leaves a byte in the state directory, written by the signal's handler
/// itself: it needs no thread, no new descriptor and no memory, and is there for the next start
/// even if this process ends with its next instruction.
///
/// # Errors
/// When the file cannot be made or the signal not be caught.
pub fn arm(dir: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(mark(dir))?;
    let mut early = file.try_clone()?;
    signal_hook::low_level::pipe::register(SIGUSR1, file)?;
    match came_early() {
        true => early.write_all(b"E").and_then(|()| early.sync_all()),
        false => Ok(()),
    }
}

/// Leaves the file, durable on return.
///
/// # Errors
/// When it cannot be written.
pub fn leave(dir: &Path, flatten: bool, why: &str) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    // Whatever lies there halts already.
    if std::fs::symlink_metadata(path(dir)).is_ok_and(|meta| !meta.is_file()) {
        return Ok(());
    }
    // A halt takes nothing back that was asked for before it.
    if !flatten && asked(dir).is_some_and(|asked| asked.flatten) {
        return Ok(());
    }
    std::fs::write(
        path(dir),
        format!("{} {why}\n", if flatten { "flatten" } else { "halt" }),
    )?;
    File::open(path(dir))?.sync_all()?;
    File::open(dir)?.sync_all()
}

/// Returns the halt request, if there is one. A halt file that cannot be read halts, too; so does
/// anything else of that name: a directory, a dangling link.
pub fn asked(dir: &Path) -> Option<HaltRequest> {
    let signals = std::fs::metadata(mark(dir)).map_or(0, |meta| meta.len());
    let file = path(dir);
    let Ok(meta) = std::fs::symlink_metadata(&file) else {
        return (signals > 0).then(|| HaltRequest {
            flatten: false,
            why: "SIGUSR1".to_owned(),
            signals,
        });
    };
    // Nothing but a regular file is opened: a pipe would make us wait for ever.
    let regular = meta.is_file() || std::fs::metadata(&file).is_ok_and(|meta| meta.is_file());
    let mut bytes = Vec::new();
    if regular && let Ok(open) = File::open(&file) {
        drop(open.take(1000).read_to_end(&mut bytes)); // what could be read of it
    }
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    let first = text.split_whitespace().next().unwrap_or("");
    let (flatten, word) = (first == "flatten", first == "flatten" || first == "halt");
    let why = if word {
        text[first.len()..].trim().to_owned()
    } else {
        text
    };
    let why = if why.is_empty() {
        "the file HALT is in the state directory".to_owned()
    } else {
        why
    };
    Some(HaltRequest {
        flatten,
        why,
        signals,
    })
}

/// Takes both away. `true`: something was there.
///
/// # Errors
/// When something is there and cannot be taken away: the next start would be halted again.
pub fn remove(dir: &Path) -> io::Result<bool> {
    let was = asked(dir).is_some();
    if std::fs::metadata(mark(dir)).is_ok_and(|meta| meta.len() > 0) {
        OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(mark(dir))?
            .sync_all()?;
    }
    let file = path(dir);
    match std::fs::symlink_metadata(&file) {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir(&file)?,
        Ok(_) => std::fs::remove_file(&file)?,
        Err(_) => {}
    }
    Ok(was)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content: &[u8], flatten: bool, why: &str) {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(asked(dir.path()), None);
        std::fs::write(path(dir.path()), content).unwrap();
        assert_eq!(
            asked(dir.path()),
            Some(HaltRequest {
                flatten,
                why: why.into(),
                signals: 0
            })
        );
        assert!(remove(dir.path()).unwrap() && !remove(dir.path()).unwrap());
    }

    #[test]
    fn a_reason_is_no_wish() {
        let dir = tempfile::tempdir().unwrap();
        leave(dir.path(), false, "flatten not needed").unwrap();
        assert_eq!(
            asked(dir.path()),
            Some(HaltRequest {
                flatten: false,
                why: "flatten not needed".into(),
                signals: 0
            })
        );
        leave(dir.path(), true, "now").unwrap();
        assert_eq!(
            asked(dir.path()),
            Some(HaltRequest {
                flatten: true,
                why: "now".into(),
                signals: 0
            })
        );
    }

    #[test]
    fn whatever_is_in_it_halts() {
        check(b"", false, "the file HALT is in the state directory");
        check(b"odd fills\n", false, "odd fills");
        check(b"flatten odd fills\n", true, "odd fills");
        check(b"flatten", true, "the file HALT is in the state directory");
        check(b"flattened", false, "flattened");
        check(&[0xff, 0xfe], false, "\u{fffd}\u{fffd}");
    }

    /// A directory or a dangling symlink halts as a file does; what cannot be removed keeps
    /// halting.
    #[test]
    fn anything_at_the_kill_path_halts() {
        let dir = tempfile::tempdir().unwrap();
        let halts = || asked(dir.path()).is_some_and(|asked| !asked.flatten);
        std::fs::create_dir(path(dir.path())).unwrap();
        assert!(halts() && remove(dir.path()).unwrap() && !halts());
        std::os::unix::fs::symlink("/nowhere/at/all", path(dir.path())).unwrap();
        assert!(halts());
        leave(dir.path(), false, "again").unwrap();
        assert!(halts() && remove(dir.path()).unwrap() && !halts());
        std::fs::create_dir(path(dir.path())).unwrap();
        std::fs::write(path(dir.path()).join("x"), "").unwrap();
        assert!(
            remove(dir.path()).is_err() && halts(),
            "what cannot be taken away goes on halting"
        );
    }

    /// SIGUSR1 leaves its mark from the handler itself; each signal is counted.
    #[test]
    fn signal_handler_records_the_halt() {
        let dir = tempfile::tempdir().unwrap();
        arm(dir.path()).unwrap();
        assert_eq!(asked(dir.path()), None);
        signal_hook::low_level::raise(SIGUSR1).unwrap();
        assert_eq!(
            asked(dir.path()).map(|asked| (asked.signals, asked.why)),
            Some((1, "SIGUSR1".to_owned()))
        );
        signal_hook::low_level::raise(SIGUSR1).unwrap();
        assert_eq!(asked(dir.path()).map(|asked| asked.signals), Some(2));
        assert!(remove(dir.path()).unwrap() && asked(dir.path()).is_none());
    }
}
