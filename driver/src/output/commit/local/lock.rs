//! The lock of an output folder: two jobs must not write to the same folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use super::disk::{Change, Disk};
use crate::error::{Error, Result, cannot};

/// Attempts to lock a file that its last owner removes meanwhile.
const TRIES: usize = 8;

/// An exclusive lock on an output folder. The operating system releases it if the process dies. The
/// file is removed on drop: once, and while it is locked, so it is never another job's.
#[derive(Debug)]
pub(super) struct WriteLock {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    /// The lock ends when this file is closed, after [`Drop::drop`].
    _file: File,
}

impl WriteLock {
    /// Locks the file at `path`, which stands for the folder `target`. Does not wait.
    ///
    /// # Errors
    /// If another job has the lock, if `path` is no file, or the file system fails.
    pub(super) fn take(path: &Path, target: &Path, disk: &Arc<dyn Disk>) -> Result<Self> {
        let is_locked = || Error::Conflict(format!("another job is writing {}", target.display()));
        for _ in 0..TRIES {
            let file = open(path).map_err(|e| cannot("lock", path, e))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(is_locked()),
                Err(TryLockError::Error(error)) => return Err(cannot("lock", path, error)),
            }
            // The last owner may have removed the file between our open and our lock. Our lock is
            // then on a file that no one else can open, so try again.
            let inode = file.metadata().map(|m| m.ino()).ok();
            let linked = fs::symlink_metadata(path).map(|m| m.ino()).ok();
            if inode.is_some() && inode == linked {
                return Ok(Self {
                    path: path.to_path_buf(),
                    disk: Arc::clone(disk),
                    _file: file,
                });
            }
        }
        Err(is_locked())
    }
}

/// Opens or creates the file of a lock, and leaves its contents.
///
/// Others may write to the folder: a link is not followed, and a pipe not waited for.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

impl Drop for WriteLock {
    fn drop(&mut self) {
        // If it stays, the next job locks the same file.
        let _ = self.disk.apply(Change::RemoveFile(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::LocalDisk;
    use super::*;

    #[test]
    fn a_planted_link_is_neither_followed_nor_emptied() {
        let base = tempfile::tempdir().unwrap();
        let (victim, path) = (
            base.path().join("victim"),
            base.path().join(".out.faisca-lock"),
        );
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
        let error = WriteLock::take(&path, base.path(), &disk).unwrap_err();
        assert!(error.to_string().contains(".out.faisca-lock"), "{error}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        // Neither is a file that someone has put there emptied.
        fs::remove_file(&path).unwrap();
        fs::hard_link(&victim, &path).unwrap();
        drop(WriteLock::take(&path, base.path(), &disk).unwrap());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }
}
