//! Local output commit, by one exchange of folders.
//!
//! Tasks write below a hidden staging folder beside the output. At the end the driver assembles
//! the next version of the whole folder there, from one attempt of each task, and swaps it with
//! the present one in a single `renameat2(RENAME_EXCHANGE)`. Append links the old files into the
//! next version first, so it is as atomic as overwrite.
//!
//! ```text
//! out/            .out.faisca-x/attempts/   ─ winners ─►  .out.faisca-x/next/  ◄─ exchange ─►  out/
//! ```
//!
//! **Invariant.** Until the exchange a reader sees the old version, after it the new one.

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

use super::record::partition_folder;
use crate::error::{Error, Result, cannot};
use crate::output::save_mode::{SaveDecision, decide};

/// A write under way. Dropping it uncommitted leaves the output as it was, and no litter.
#[derive(Debug)]
pub(crate) struct LocalWrite {
    target: PathBuf,
    mode: SaveMode,
    dynamic: bool,
    success_file: bool,
    staging: TempDir,
    /// Held until the end: two jobs must not write the same folder.
    lock: WriteLock,
    /// Folders made for this write, outermost first.
    made: Vec<PathBuf>,
    committed: bool,
}

impl LocalWrite {
    /// Looks at the target, locks it and makes the staging folder; `None` if there is nothing to do.
    ///
    /// # Errors
    /// If the mode forbids to write, another job writes there, or permissions do not allow it.
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
        let made = make_folders(&parent)?;
        let lock = WriteLock::take(&parent.join(format!(".{name}.faisca-lock")), &target)?;
        remove_stale(&parent, &name);
        let staging = tempfile::Builder::new()
            .prefix(&format!(".{name}.faisca-"))
            .tempdir_in(&parent)
            .map_err(|e| cannot("write to", &parent, e))?;
        // Tasks do not create it: after its removal, no late task can create it again.
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
            made,
            committed: false,
        }))
    }

    /// URL that tasks write below.
    pub(crate) fn staging_url(&self) -> String {
        let attempts = self.staging.path().join("attempts");
        Url::from_directory_path(&attempts)
            .map_or_else(|()| attempts.display().to_string(), |url| url.to_string())
    }

    /// A short text that no other write shares, for file names.
    pub(crate) fn tag(&self) -> String {
        let name = self
            .staging
            .path()
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        name.rsplit('-').next().unwrap_or_default().to_lowercase()
    }

    /// Where the output is.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Makes `files`, and nothing else, visible.
    ///
    /// # Errors
    /// If the file system fails; the output then is as it was.
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
            let replaced = |below: &Path| {
                self.mode == SaveMode::Overwrite
                    && below.to_str().is_some_and(|below| written.contains(below))
            };
            link_tree(&self.target, &next, Path::new(""), &replaced)?;
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

    fn swap(&self, next: &Path) -> Result<()> {
        if !self.target.exists() {
            return fs::rename(next, &self.target).map_err(|e| cannot("create", &self.target, e));
        }
        match renameat_with(CWD, next, CWD, &self.target, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(()),
            // A file system without exchange: the gap between the two renames is as short as can be.
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
        // Cancelled tasks may still write for a moment: under another name the folder is out of
        // their reach, and deleting it cannot meet a new file.
        // The suffix is appended, so that `remove_stale` knows the folder if we die while deleting it.
        let mut gone = self.staging.path().as_os_str().to_owned();
        gone.push(".gone");
        let _ = fs::rename(self.staging.path(), &gone).and_then(|()| fs::remove_dir_all(&gone));
        if !self.committed {
            // Only what this write made, and only while it is empty but for the lock.
            let _ = fs::remove_file(&self.lock.path);
            for folder in self.made.iter().rev() {
                let _ = fs::remove_dir(folder);
            }
        }
    }
}

#[derive(Debug)]
struct WriteLock {
    path: PathBuf,
    _file: File,
}

impl WriteLock {
    fn take(path: &Path, target: &Path) -> Result<Self> {
        const TRIES: usize = 8;
        for _ in 0..TRIES {
            let file = File::create(path)
                .map_err(|e| cannot("write to", path.parent().unwrap_or(path), e))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Write(format!(
                        "another job is writing {}",
                        target.display()
                    )));
                }
                Err(TryLockError::Error(error)) => return Err(cannot("lock", path, error)),
            }
            // Its last owner may have deleted the file that we locked.
            let ours = file.metadata().map(|m| m.ino()).ok();
            if ours.is_some() && ours == fs::metadata(path).map(|m| m.ino()).ok() {
                return Ok(Self {
                    path: path.to_path_buf(),
                    _file: file,
                });
            }
        }
        Err(Error::Write(format!(
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

/// The folder that a path or `file://` URL names.
///
/// # Errors
/// For folders that a write must not replace.
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
    let path: PathBuf = path.components().collect();
    let path = fs::canonicalize(&path).unwrap_or(path);
    let here = std::env::current_dir().unwrap_or_default();
    if here.starts_with(&path) {
        return Err(Error::Write(format!(
            "{} holds the working folder; write to a folder of its own",
            path.display()
        )));
    }
    Ok(path)
}

fn folder_name(target: &Path) -> Result<String> {
    let name = target.file_name().and_then(|n| n.to_str());
    name.map(str::to_owned).ok_or_else(|| {
        Error::Write(format!(
            "{} is not a folder that can be written",
            target.display()
        ))
    })
}

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

/// Removes the staging folders of killed jobs: with the lock held, no other job runs here.
fn remove_stale(parent: &Path, name: &str) {
    let prefix = format!(".{name}.faisca-");
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let stale = entry
            .file_name()
            .to_str()
            .is_some_and(|n| n.starts_with(&prefix))
            && entry.path().is_dir();
        if stale {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Links every file below `from/below` into `to`, but for those of the folders to be replaced.
fn link_tree(
    from: &Path,
    to: &Path,
    below: &Path,
    replaced: &impl Fn(&Path) -> bool,
) -> Result<()> {
    let folder = from.join(below);
    for entry in fs::read_dir(&folder).map_err(|e| cannot("read", &folder, e))? {
        let entry = entry.map_err(|e| cannot("read", &folder, e))?;
        let below_entry = below.join(entry.file_name());
        let (source, copy) = (entry.path(), to.join(&below_entry));
        if source.is_dir() {
            if !replaced(&below_entry) {
                fs::create_dir_all(&copy).map_err(|e| cannot("create", &copy, e))?;
                link_tree(from, to, &below_entry, replaced)?;
            }
        } else {
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
        drop(first);
        write(base.path(), SaveMode::Append, "a").unwrap();
    }

    #[test]
    fn the_working_folder_is_refused() {
        assert!(begin(Path::new(".."), SaveMode::Overwrite).is_err());
        assert!(begin(Path::new("/"), SaveMode::Overwrite).is_err());
    }
}
