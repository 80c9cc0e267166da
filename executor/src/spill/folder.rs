//! Folders of processes, each with a lock that ends with its process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;
use tracing::{debug, info};

/// Names of the folders begin so.
const PREFIX: &str = "faisca-spill-";
const LOCK: &str = "lock";
/// A folder without a lock is one whose process has just created it, unless it is older.
const CREATION_MAX: Duration = Duration::from_secs(60);
/// Folders that a process tries to create. Another process may take one for abandoned at the moment
/// between its creation and its lock.
const CREATIONS_MAX: u32 = 8;

/// Interval in which a process that ends looks for its children.
const CHILDREN_LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// Number of times that it looks.
const CHILDREN_LOOKS_MAX: u32 = 100;

/// The folder of this process.
#[derive(Debug)]
pub(super) struct ProcessFolder {
    path: PathBuf,
    _lock: File,
}

impl ProcessFolder {
    /// Creates a folder that only this user can read, and locks it.
    pub(super) fn create(root: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        for _ in 0..CREATIONS_MAX {
            let prefix = format!("{PREFIX}{}-", std::process::id());
            let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(root)?;
            let path = folder.keep();
            if let Some(lock) = take_lock(&path)? {
                return Ok(Self { path, _lock: lock });
            }
        }
        Err(io::Error::other("a spill folder was removed at once"))
    }

    pub(super) fn create_file(&self, prefix: &str) -> io::Result<NamedTempFile> {
        tempfile::Builder::new()
            .prefix(prefix)
            .tempfile_in(&self.path)
    }

    /// Removes the folder with all files in it. Those who have a file open can use it further.
    pub(super) fn remove(&self) {
        // A task may add a file meanwhile.
        let removed = std::fs::remove_dir_all(&self.path);
        if removed.is_err()
            && let Err(error) = std::fs::remove_dir_all(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            debug!("the spill folder {} stays: {error}", self.path.display());
        }
    }
}

impl Drop for ProcessFolder {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Locks a new folder; `None` if another process takes it for abandoned.
fn take_lock(folder: &Path) -> io::Result<Option<File>> {
    let path = folder.join(LOCK);
    let lock = match OpenOptions::new().create(true).append(true).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        // A file system without locks: its folders are left to its administrator.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    let inode = lock.metadata()?.ino();
    let is_linked = std::fs::metadata(&path).is_ok_and(|linked| linked.ino() == inode);
    Ok(is_linked.then_some(lock))
}

/// Removes the folders of dead processes below `root`.
pub(super) fn remove_abandoned(root: &Path) {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    for entry in entries {
        let is_spill = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if !is_spill || !is_abandoned(&entry.path()) {
            continue;
        }
        match std::fs::remove_dir_all(entry.path()) {
            Ok(()) => info!(
                "removed what a dead process spilled: {}",
                entry.path().display()
            ),
            Err(error) => debug!("{} stays: {error}", entry.path().display()),
        }
    }
}

/// Waits for a moment until the children of this process that have a folder below `root` are dead,
/// and removes their folders. Does not wait if there are none.
pub(super) fn remove_folders_of_children(root: &Path) {
    for _ in 0..CHILDREN_LOOKS_MAX {
        let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
        let mut pids = entries.filter_map(|entry| pid_of(&entry.file_name().to_string_lossy()));
        if !pids.any(is_child) {
            break;
        }
        std::thread::sleep(CHILDREN_LOOK_INTERVAL);
    }
    remove_abandoned(root);
}

/// Reads the process from the name of its folder.
fn pid_of(name: &str) -> Option<u32> {
    let (pid, _) = name.strip_prefix(PREFIX)?.split_once('-')?;
    pid.parse().ok()
}

/// Returns whether a process is a living child of this one. Without `/proc`, none is.
fn is_child(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let parent = field("PPid:").and_then(|text| text.trim().parse::<u32>().ok());
    let is_dead = field("State:").is_some_and(|state| state.trim().starts_with(['Z', 'X']));
    parent == Some(std::process::id()) && !is_dead
}

/// Returns whether the process of a folder is dead. Folders of other users count as alive.
fn is_abandoned(folder: &Path) -> bool {
    // Others may plant names in a shared folder: a link is not followed, a pipe does not block.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let lock = OpenOptions::new()
        .append(true)
        .custom_flags(flags.bits().cast_signed())
        .open(folder.join(LOCK));
    match lock {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let modified = std::fs::symlink_metadata(folder).and_then(|m| m.modified());
            let age = modified.ok().and_then(|time| time.elapsed().ok());
            age.is_some_and(|age| age > CREATION_MAX)
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(root: &Path) -> usize {
        std::fs::read_dir(root).unwrap().count()
    }

    #[test]
    fn a_folder_is_kept_while_its_process_holds_the_lock_and_removed_afterwards() {
        let root = tempfile::tempdir().unwrap();
        let folder = ProcessFolder::create(root.path()).unwrap();
        let file = folder.create_file("exchange-").unwrap();
        remove_abandoned(root.path());
        assert!(file.path().exists());
        // As if the process were killed: the lock is freed, the files stay.
        let path = folder.path.clone();
        let ProcessFolder { path: _, _lock } = &folder;
        _lock.unlock().unwrap();
        assert!(path.exists());
        remove_abandoned(root.path());
        assert_eq!(folders(root.path()), 0);
    }

    #[test]
    fn a_folder_is_removed_with_its_files_when_it_is_dropped() {
        let root = tempfile::tempdir().unwrap();
        let folder = ProcessFolder::create(root.path()).unwrap();
        let file = folder.create_file("operator-").unwrap();
        drop(folder);
        assert_eq!(folders(root.path()), 0);
        drop(file);
    }

    #[test]
    fn names_that_others_planted_are_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        std::fs::write(other.path().join("data"), "kept").unwrap();
        let planted = root.path().join("faisca-spill-1-planted");
        std::fs::create_dir(&planted).unwrap();
        std::os::unix::fs::symlink(other.path().join("data"), planted.join(LOCK)).unwrap();
        remove_abandoned(root.path());
        assert!(planted.exists() && other.path().join("data").exists());
    }
}
