//! Files that are held open and must stay the ones that their names lead to: what is written to a
//! file that was deleted or replaced is written where no start will ever look.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A file as it was when it was opened.
#[derive(Clone, Debug)]
pub struct HeldFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl HeldFile {
    /// The file that `path` leads to now.
    ///
    /// # Errors
    /// When there is none.
    pub fn at(path: &Path) -> io::Result<Self> {
        let meta = std::fs::metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: meta.dev(),
            inode: meta.ino(),
        })
    }

    /// Checks that the file is still there, under its name.
    ///
    /// # Errors
    /// What has become of it.
    pub fn check(&self) -> io::Result<()> {
        let gone = |what: &str| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("{} {what}", self.path.display()),
            )
        };
        let meta = match std::fs::metadata(&self.path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(gone("was deleted while it was in use"));
            }
            Err(error) => return Err(error),
        };
        if (meta.dev(), meta.ino()) != (self.device, self.inode) {
            return Err(gone("was replaced by another file while it was in use"));
        }
        // A directory has links of its own; a file that somebody has linked elsewhere is still
        // ours.
        if meta.nlink() == 0 {
            Err(gone("was deleted while it was in use"))
        } else {
            Ok(())
        }
    }
}

/// The files that a process writes to, by what they are for; whoever opens one puts it here, and
/// the writer of the database looks at them all with each commit.
#[derive(Clone, Debug, Default)]
pub struct HeldFiles(Arc<Mutex<BTreeMap<&'static str, HeldFile>>>);

impl HeldFiles {
    /// From now on this is the file of this role.
    pub fn hold(&self, role: &'static str, file: HeldFile) {
        self.0
            .lock()
            .expect("no holder of this lock can panic")
            .insert(role, file);
    }

    /// The file of this role is written no more.
    pub fn release(&self, role: &'static str) {
        self.0
            .lock()
            .expect("no holder of this lock can panic")
            .remove(role);
    }

    /// Checks that all of the files are still there, under their names.
    ///
    /// # Errors
    /// What has become of the first that is not.
    pub fn check(&self) -> io::Result<()> {
        let files = self.0.lock().expect("no holder of this lock can panic");
        files.values().try_for_each(HeldFile::check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deleted_or_replaced_file_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let open = std::fs::File::create(&path).unwrap();
        let held = HeldFile::at(&path).unwrap();
        assert!(held.check().is_ok());
        let other = dir.path().join("b");
        std::fs::write(&other, "b").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(held.check().unwrap_err().to_string().contains("replaced"));
        std::fs::remove_file(&path).unwrap();
        assert!(held.check().unwrap_err().to_string().contains("deleted"));
        drop(open);
        assert!(HeldFile::at(&path).is_err());
    }
}
