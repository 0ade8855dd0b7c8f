//! The kill switch's last resort: a file in the state directory, found by a running daemon within a second and by the next
//! one at its start. It works when nothing else does: `touch HALT` is enough; a first word `flatten` asks for flat.

use std::path::{Path, PathBuf};

/// What the file asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub flatten: bool,
    pub why: String,
}

/// Where it lies.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("HALT")
}

/// Leaves it.
///
/// # Errors
/// When it cannot be written.
pub fn leave(dir: &Path, flatten: bool, why: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    std::fs::write(path(dir), format!("{} {why}\n", if flatten { "flatten" } else { "halt" }))
}

/// What it asks for, if it is there. One that is there and cannot be read halts, too.
pub fn asked(dir: &Path) -> Option<Asked> {
    let file = path(dir);
    if !file.exists() {
        return None;
    }
    let bytes = std::fs::read(&file).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(1000)]).trim().to_owned();
    let first = text.split_whitespace().next().unwrap_or("");
    let (flatten, word) = (first == "flatten", first == "flatten" || first == "halt");
    let why = if word { text[first.len()..].trim().to_owned() } else { text };
    let why = if why.is_empty() { "the file HALT is in the state directory".to_owned() } else { why };
    Some(Asked { flatten, why })
}

/// Takes it away. `true`: it was there.
pub fn remove(dir: &Path) -> bool {
    std::fs::remove_file(path(dir)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content: &[u8], flatten: bool, why: &str) {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(asked(dir.path()), None);
        std::fs::write(path(dir.path()), content).unwrap();
        assert_eq!(asked(dir.path()), Some(Asked { flatten, why: why.into() }));
        assert!(remove(dir.path()) && !remove(dir.path()));
    }

    #[test]
    fn a_reason_is_no_wish() {
        let dir = tempfile::tempdir().unwrap();
        leave(dir.path(), false, "flatten not needed").unwrap();
        assert_eq!(asked(dir.path()), Some(Asked { flatten: false, why: "flatten not needed".into() }));
        leave(dir.path(), true, "now").unwrap();
        assert_eq!(asked(dir.path()), Some(Asked { flatten: true, why: "now".into() }));
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
}
