//! Local output commit, by one exchange of folders.
//!
//! Tasks write to a hidden staging folder beside the output. At the end, the driver builds the next
//! version of the whole folder there, from one attempt of each task. It then exchanges this version
//! with the present one by a single `renameat2(RENAME_EXCHANGE)`. An append first links the old
//! files into the next version, so it is as atomic as an overwrite.
//!
//! ```text
//! out/           .out.faisca-x/attempts/   ─ winners ─►  .out.faisca-x/next/  ◄─ exchange ─►  out/
//! ```
//!
//! **Invariant.** A reader sees the old version until the exchange, and the new version after it. A
//! file system without the exchange has a short gap between two renames, in which neither exists.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use faisca_executor::protocol::PendingFile;
use faisca_planner::manifest::{PartitionOverwrite, SaveMode, Write};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;
use tracing::debug;
use url::Url;

use super::replaced::partition_folder;
use crate::error::{Error, Result, cannot};
use crate::output::save_mode::{SaveDecision, decide};

/// A write in progress. If it is dropped before its commit, the output is unchanged and no
/// temporary files remain.
#[derive(Debug)]
pub(crate) struct LocalWrite {
    /// Absolute path of the output, with symbolic links resolved if it exists.
    target: PathBuf,
    mode: SaveMode,
    /// Whether an overwrite replaces only the partitions that it writes.
    dynamic: bool,
    /// Whether the commit adds an empty `_SUCCESS` file.
    success_file: bool,
    /// In the parent folder of the output: an exchange works within one file system only.
    staging: TempDir,
    /// Held until the drop: two jobs must not write to the same folder.
    lock: WriteLock,
    /// Folders that were created for this write, outermost first.
    created: Vec<PathBuf>,
    /// Whether the exchange has happened.
    committed: bool,
}

impl LocalWrite {
    /// Checks the target, locks it and creates the staging folder. `None` if the save mode says
    /// that there is nothing to do.
    ///
    /// # Errors
    /// If the save mode forbids the write, if another job writes to the folder, if the target is
    /// not a folder that a write may replace, or if the file system fails.
    pub(crate) fn begin(write: &Write) -> Result<Option<Self>> {
        let (path, mode) = (write.path.as_str(), write.mode);
        let target = absolute(path)?;
        let name = folder_name(&target)?;
        let parent = target
            .parent()
            .ok_or_else(|| Error::Write(format!("{path} is not a folder that can be written")))?
            .to_path_buf();
        let existing = format!("{} already exists", target.display());
        if decide(mode, exists_with_content(&target)?, existing)? == SaveDecision::Skip {
            return Ok(None);
        }
        let created = make_folders(&parent)?;
        let lock = WriteLock::take(&parent.join(format!(".{name}.faisca-lock")), &target)?;
        remove_stale(&parent, &name);
        let staging = tempfile::Builder::new()
            .prefix(&format!(".{name}.faisca-"))
            .tempdir_in(&parent)
            .map_err(|e| cannot("write to", &parent, e))?;
        // Tasks never create this folder, so a task that is late cannot bring it back after its
        // removal.
        fs::create_dir(staging.path().join("attempts"))
            .map_err(|e| cannot("write to", &parent, e))?;
        let dynamic = write.partition_overwrite == PartitionOverwrite::Dynamic;
        let success_file = write.success_file;
        Ok(Some(Self {
            target,
            mode,
            dynamic,
            success_file,
            staging,
            lock,
            created,
            committed: false,
        }))
    }

    /// URL of the folder that tasks write to.
    pub(crate) fn staging_url(&self) -> String {
        let attempts = self.staging.path().join("attempts");
        Url::from_directory_path(&attempts)
            .map_or_else(|()| attempts.display().to_string(), |url| url.to_string())
    }

    /// A short text that is unique to this write, for file names.
    pub(crate) fn tag(&self) -> String {
        let name = self
            .staging
            .path()
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        name.rsplit('-').next().unwrap_or_default().to_lowercase()
    }

    /// Absolute path of the output.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Makes `files` visible, and no other file of this write.
    ///
    /// # Errors
    /// If the file system fails. The output is then unchanged, unless the file system has no
    /// exchange and also fails to restore the old folder.
    pub(crate) fn commit(&mut self, files: &[PendingFile]) -> Result<()> {
        let next = self.staging.path().join("next");
        let attempts = self.staging.path().join("attempts");
        fs::create_dir(&next).map_err(|e| cannot("create", &next, e))?;
        let keeps_old =
            self.mode == SaveMode::Append || (self.mode == SaveMode::Overwrite && self.dynamic);
        if keeps_old && self.target.is_dir() {
            let written: BTreeSet<&str> = files
                .iter()
                .map(|file| partition_folder(&file.path))
                .collect();
            let is_replaced = |relative: &Path| {
                // The folder of a partition, in an overwrite that keeps the other partitions.
                self.mode == SaveMode::Overwrite
                    && relative
                        .to_str()
                        .is_some_and(|folder| written.contains(folder))
            };
            link_tree(&self.target, &next, Path::new(""), &is_replaced)?;
        }
        for file in files {
            let to = next.join(&file.path);
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder).map_err(|e| cannot("create", folder, e))?;
            }
            fs::rename(attempts.join(&file.path), &to).map_err(|e| cannot("move", &to, e))?;
        }
        if self.success_file {
            let marker = next.join("_SUCCESS");
            File::create(&marker).map_err(|e| cannot("create", &marker, e))?;
        }
        self.swap(&next)?;
        self.committed = true;
        debug!(target = %self.target.display(), files = files.len(), "committed");
        Ok(())
    }

    /// Puts the folder `next` in the place of the target. The old version ends up in the staging
    /// folder.
    ///
    /// # Errors
    /// If the file system fails.
    fn swap(&self, next: &Path) -> Result<()> {
        if !self.target.exists() {
            return fs::rename(next, &self.target).map_err(|e| cannot("create", &self.target, e));
        }
        match renameat_with(CWD, next, CWD, &self.target, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(()),
            // A file system without the exchange. The gap between the two renames is as short as
            // possible.
            Err(
                rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP,
            ) => {
                let old = self.staging.path().join("old");
                fs::rename(&self.target, &old).map_err(|e| cannot("replace", &self.target, e))?;
                fs::rename(next, &self.target).or_else(|error| {
                    fs::rename(&old, &self.target)
                        .map_err(|e| cannot("restore", &self.target, e))?;
                    Err(cannot("replace", &self.target, error))
                })
            }
            Err(errno) => Err(cannot("replace", &self.target, errno.into())),
        }
    }
}

impl Drop for LocalWrite {
    fn drop(&mut self) {
        // Cancelled tasks may write for another moment. Under a new name the folder is out of their
        // reach, so no new file appears while it is deleted. The name keeps its prefix: if this
        // process dies meanwhile, `remove_stale` of the next write finds the folder.
        let mut discarded = self.staging.path().as_os_str().to_owned();
        discarded.push(".discarded");
        let _ = fs::rename(self.staging.path(), &discarded)
            .and_then(|()| fs::remove_dir_all(&discarded));
        if !self.committed {
            // Removes the folders that this write created, if they are empty: `remove_dir` fails
            // for others. The lock file is removed first, since its folder would not be empty.
            let _ = fs::remove_file(&self.lock.path);
            for folder in self.created.iter().rev() {
                let _ = fs::remove_dir(folder);
            }
        }
    }
}

/// An exclusive lock on an output folder. The operating system releases it if the process dies; the
/// file is removed on drop.
#[derive(Debug)]
struct WriteLock {
    path: PathBuf,
    /// The lock ends when this file is closed.
    _file: File,
}

impl WriteLock {
    /// Locks the file at `path`, which stands for the folder `target`. Does not wait.
    ///
    /// # Errors
    /// If another job has the lock, or the file system fails.
    fn take(path: &Path, target: &Path) -> Result<Self> {
        const TRIES: usize = 8;
        for _ in 0..TRIES {
            let file = File::create(path)
                .map_err(|e| cannot("write to", path.parent().unwrap_or(path), e))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Conflict(format!(
                        "another job is writing {}",
                        target.display()
                    )));
                }
                Err(TryLockError::Error(error)) => return Err(cannot("lock", path, error)),
            }
            // The last owner may have removed the file between our open and our lock. Our lock is
            // then on a file that no one else can open, so try again.
            let inode = file.metadata().map(|m| m.ino()).ok();
            if inode.is_some() && inode == fs::metadata(path).map(|m| m.ino()).ok() {
                return Ok(Self {
                    path: path.to_path_buf(),
                    _file: file,
                });
            }
        }
        Err(Error::Conflict(format!(
            "another job is writing {}",
            target.display()
        )))
    }
}

impl Drop for WriteLock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns the absolute path of the folder that a path or `file://` URL names.
///
/// # Errors
/// If the URL is not valid, or if the folder contains the working folder of this process.
fn absolute(path: &str) -> Result<PathBuf> {
    let path = if path.starts_with("file://") {
        Url::parse(path)
            .ok()
            .and_then(|u| u.to_file_path().ok())
            .ok_or_else(|| Error::Write(format!("{path} is not a valid URL")))?
    } else {
        PathBuf::from(path)
    };
    let path = std::path::absolute(&path).map_err(|e| cannot("use", &path, e))?;
    // Removes `.` and a slash at the end, which would hide the name of the folder.
    let path: PathBuf = path.components().collect();
    // A symbolic link would be exchanged in place of the folder. A missing folder stays as it is.
    let path = fs::canonicalize(&path).unwrap_or(path);
    let working_folder = std::env::current_dir().unwrap_or_default();
    if working_folder.starts_with(&path) {
        return Err(Error::Write(format!(
            "{} contains the working folder; write to another folder",
            path.display()
        )));
    }
    Ok(path)
}

/// Returns the name of a folder, for the names of its lock and staging folder.
fn folder_name(target: &Path) -> Result<String> {
    let name = target.file_name().and_then(|n| n.to_str());
    name.map(str::to_owned).ok_or_else(|| {
        Error::Write(format!(
            "{} is not a folder that can be written",
            target.display()
        ))
    })
}

/// Whether the target exists and is not empty.
///
/// # Errors
/// If it is a file, or cannot be read.
fn exists_with_content(target: &Path) -> Result<bool> {
    match fs::read_dir(target) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Err(Error::Write(
            format!("{} is a file; an output is a folder", target.display()),
        )),
        Err(error) => Err(cannot("read", target, error)),
    }
}

/// Creates a folder and its missing ancestors. Returns those that it created, outermost first.
fn make_folders(parent: &Path) -> Result<Vec<PathBuf>> {
    let mut missing: Vec<PathBuf> = parent
        .ancestors()
        .take_while(|a| !a.exists())
        .map(Path::to_path_buf)
        .collect();
    missing.reverse();
    fs::create_dir_all(parent).map_err(|e| cannot("create", parent, e))?;
    Ok(missing)
}

/// Removes the staging folders of jobs that were killed. The caller holds the lock, so no running
/// job has one. Errors are ignored: the next write tries again.
fn remove_stale(parent: &Path, name: &str) {
    let prefix = format!(".{name}.faisca-");
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let stale = entry
            .file_name()
            .to_str()
            .is_some_and(|n| n.starts_with(&prefix))
            // The lock file has the same prefix.
            && entry.path().is_dir();
        if stale {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Links every file below `from/relative` into the same path in `to`, except in folders for which
/// `is_replaced` is true. Paths that `is_replaced` receives are relative to `from`.
///
/// # Errors
/// If a file can neither be linked nor copied.
fn link_tree(
    from: &Path,
    to: &Path,
    relative: &Path,
    is_replaced: &impl Fn(&Path) -> bool,
) -> Result<()> {
    let folder = from.join(relative);
    for entry in fs::read_dir(&folder).map_err(|e| cannot("read", &folder, e))? {
        let entry = entry.map_err(|e| cannot("read", &folder, e))?;
        let relative_entry = relative.join(entry.file_name());
        let (source, copy) = (entry.path(), to.join(&relative_entry));
        if source.is_dir() {
            if !is_replaced(&relative_entry) {
                fs::create_dir_all(&copy).map_err(|e| cannot("create", &copy, e))?;
                link_tree(from, to, &relative_entry, is_replaced)?;
            }
        } else {
            // Some file systems have no hard links.
            let linked =
                fs::hard_link(&source, &copy).or_else(|_| fs::copy(&source, &copy).map(|_| ()));
            linked.map_err(|e| cannot("link", &copy, e))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(target: &Path, mode: SaveMode) -> Result<Option<LocalWrite>> {
        LocalWrite::begin(&Write {
            mode,
            ..Write::to(target.to_str().unwrap())
        })
    }

    fn write(base: &Path, mode: SaveMode, name: &str) -> Result<()> {
        let target = base.join("out");
        let Some(mut write) = begin(&target, mode)? else {
            return Ok(());
        };
        let attempts = Url::parse(&write.staging_url())
            .unwrap()
            .to_file_path()
            .unwrap();
        fs::write(attempts.join(name), name).unwrap();
        fs::write(attempts.join("loser"), "of another attempt").unwrap();
        write.commit(&[PendingFile {
            path: name.to_owned(),
            rows: 1,
            bytes: 1,
            upload: None,
        }])
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn each_mode_leaves_what_it_says_and_no_litter() {
        let base = tempfile::tempdir().unwrap();
        write(base.path(), SaveMode::ErrorIfExists, "a").unwrap();
        assert_eq!(names(&base.path().join("out")), ["a"]);
        write(base.path(), SaveMode::Append, "b").unwrap();
        assert_eq!(names(&base.path().join("out")), ["a", "b"]);
        write(base.path(), SaveMode::Overwrite, "c").unwrap();
        assert_eq!(names(&base.path().join("out")), ["c"]);
        write(base.path(), SaveMode::Ignore, "d").unwrap();
        assert_eq!(names(&base.path().join("out")), ["c"]);
        let error = write(base.path(), SaveMode::ErrorIfExists, "e").unwrap_err();
        assert!(error.to_string().contains("already exists"), "{error}");
        assert_eq!(names(base.path()), ["out"]);
    }

    #[test]
    fn a_dropped_write_leaves_the_old_output_and_no_new_folders() {
        let base = tempfile::tempdir().unwrap();
        write(base.path(), SaveMode::Overwrite, "a").unwrap();
        for target in ["out", "new/deep/out"] {
            let target = base.path().join(target);
            let write = begin(&target, SaveMode::Overwrite).unwrap();
            drop(write);
        }
        assert_eq!(names(base.path()), ["out"]);
        assert_eq!(names(&base.path().join("out")), ["a"]);
    }

    #[test]
    fn two_writers_of_one_folder_do_not_meet_and_the_dead_ones_litter_goes() {
        let base = tempfile::tempdir().unwrap();
        let target = base.path().join("out");
        let stale = base.path().join(".out.faisca-dead");
        fs::create_dir(&stale).unwrap();
        let first = begin(&target, SaveMode::Append).unwrap();
        assert!(!stale.exists());
        let error = begin(&target, SaveMode::Append).unwrap_err();
        assert!(error.to_string().contains("another job"), "{error}");
        assert_eq!(error.exit_code(), 3, "another try may succeed");
        drop(first);
        write(base.path(), SaveMode::Append, "a").unwrap();
    }

    #[test]
    fn the_working_folder_is_refused() {
        assert!(begin(Path::new(".."), SaveMode::Overwrite).is_err());
        assert!(begin(Path::new("/"), SaveMode::Overwrite).is_err());
    }
}
