//! The data folder: where everything lives that a server keeps on this machine, and the lock that
//! gives it to one process at a time.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// A data folder that this process holds. The kernel lets go of it when the value is dropped and
/// when the process ends, however it ends.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

const OPEN: &str = "open the data folder";

impl DataFolder {
    /// Opens the folder at `path` and locks it. Makes it, readable by nobody else, where there is
    /// none; the permissions of one that is there are left alone.
    ///
    /// # Errors
    /// Another process holds it (`Unavailable`); it cannot be made or written to.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        make_folder(path).map_err(|error| failed(path, &error))?;
        let path = path.canonicalize().map_err(|error| failed(path, &error))?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("verbatim.lock"))
            .map_err(|error| failed(&path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(&path, &mut lock)),
            Err(TryLockError::Error(error)) => return Err(failed(&path, &error)),
        }
        note_holder(&mut lock).map_err(|error| failed(&path, &error))?;
        Ok(Self { path, _lock: lock })
    }

    /// The folder itself, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The event store's file: the only one that cannot be made again.
    pub fn log(&self) -> PathBuf {
        self.path.join("log.db")
    }

    /// The read models' file. May be deleted while nobody holds the folder; it is then built anew.
    pub fn read(&self) -> PathBuf {
        self.path.join("read.db")
    }

    /// The snapshots' file. May be deleted while nobody holds the folder.
    pub fn snapshots(&self) -> PathBuf {
        self.path.join("snapshots.db")
    }

    /// The folder of mails, where no mail server is set. Made with the first mail.
    pub fn mail(&self) -> PathBuf {
        self.path.join("mail")
    }

    /// The folder of attachments, where no other place is set for them.
    pub fn attachments(&self) -> PathBuf {
        self.path.join("attachments")
    }

    /// The folder of the server's secrets. Made by whoever writes the first one.
    pub fn keys(&self) -> PathBuf {
        self.path.join("keys")
    }
}

/// Makes the folder and those above it where there are none, readable by nobody else, and sees that
/// their names survive a power cut. One that is there is left as it is.
pub(crate) fn make_folder(path: &Path) -> std::io::Result<()> {
    let path = std::path::absolute(path)?;
    let missing: Vec<_> = path.ancestors().take_while(|it| !it.is_dir()).collect();
    for folder in missing.into_iter().rev() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        if let Some(parent) = folder.parent() {
            File::open(parent)?.sync_all()?;
        }
    }
    Ok(())
}

/// Makes the file at `path` where there is none, readable by nobody else whatever the folder
/// allows. `SQLite` gives the files that it keeps beside a database the same permissions.
pub(crate) fn make_private(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map(drop)
}

/// Leaves word of who holds the folder; only the lock itself counts.
fn note_holder(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())
}

fn held(path: &Path, lock: &mut File) -> Failure {
    let mut holder = String::new();
    let holder = match lock.read_to_string(&mut holder) {
        Ok(_) if !holder.trim().is_empty() => format!(" (process {})", holder.trim()),
        Ok(_) | Err(_) => String::new(),
    };
    let problem = format!(
        "{} is in use by another Verbatim{holder}; work on that one with --server URL, stop it \
         first, or choose another folder with --data-dir",
        path.display()
    );
    Failure::unavailable(OPEN, problem)
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    let problem = format!(
        "{}: {error}; choose a folder that you may write to with --data-dir",
        path.display()
    );
    match error.kind() {
        std::io::ErrorKind::StorageFull => Failure::storage_full(OPEN, problem),
        _ => Failure::internal(OPEN, problem),
    }
}

#[cfg(test)]
mod tests {
    use super::DataFolder;
    use crate::failure::FailureSort;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_folder_is_made_private_and_serves_one_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("deep").join("data");
        let held = DataFolder::open(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);

        let refused = DataFolder::open(&path).unwrap_err();
        assert_eq!(refused.sort(), FailureSort::Unavailable);
        let message = refused.to_string();
        assert!(message.contains(path.to_str().unwrap()), "{message}");
        assert!(
            message.contains(&std::process::id().to_string()),
            "{message}"
        );
        assert!(message.contains("--data-dir"), "{message}");

        drop(held);
        DataFolder::open(&path).unwrap();
    }

    #[test]
    fn a_path_that_cannot_be_a_folder_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, "").unwrap();
        let message = DataFolder::open(&file).unwrap_err().to_string();
        assert!(message.contains(file.to_str().unwrap()), "{message}");
    }
}
