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
//! The next version is on the disk before the exchange, and the exchange before the old version is
//! removed: a power cut leaves one of the two.
//!
//! **Invariant.** A reader sees the old version until the exchange, and the new version after it. A
//! file system without the exchange has a short gap between two renames, in which neither exists.
//!
//! - `disk`: the single changes, which tests interrupt
//! - `version`: the next version, and what it keeps of the present one
//! - `attributes`: permissions, owner and extended attributes
//! - `lock`: one writer at a time
//! - `remembered`, `resume`: which writes of a run the folder holds

mod attributes;
#[cfg(test)]
mod crashes;
mod disk;
mod lock;
mod remembered;
mod resume;
#[cfg(test)]
mod tests;
mod version;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use faisca_executor::protocol::PendingFile;
use faisca_planner::manifest::{PartitionOverwrite, SaveMode, Write};
use tracing::{debug, warn};
use url::Url;

use self::disk::{Access, Change, Disk, LocalDisk, is_unsupported};
use self::lock::WriteLock;
use self::remembered::Remembered;
use self::version::{NextVersion, adopt_late_files};
use super::begun::Begun;
use super::replaced::partition_folder;
use crate::catalog::Registration;
use crate::error::{Error, Result, cannot};
use crate::output::save_mode::{SaveDecision, decide};
use crate::random::random_hex;
use crate::write_identity::{CommittedWrite, WriteId};

pub(super) use resume::find_committed;

/// Random bytes in the tag of a write.
const TAG_BYTES: usize = 6;
/// Where the old version waits in the staging folder, on a file system without the exchange.
const OLD: &str = "old";

/// A write in progress. If it is dropped before its commit, the output is unchanged and no
/// temporary files remain.
#[derive(Debug)]
pub(crate) struct LocalWrite {
    /// Absolute path of the output, with symbolic links resolved if it exists.
    target: PathBuf,
    mode: SaveMode,
    /// What an overwrite replaces.
    partition_overwrite: PartitionOverwrite,
    /// Whether the commit adds an empty `_SUCCESS` file.
    success_file: bool,
    tag: String,
    /// What the write is for later attempts of its run, if it has an identity.
    identity: Option<WriteId>,
    /// What the present version remembers.
    remembered: Remembered,
    /// In the parent folder of the output: an exchange works within one file system only.
    staging: PathBuf,
    /// Held until the drop: two jobs must not write to the same folder.
    lock: Option<WriteLock>,
    /// Folders that were created for this write, outermost first.
    created: Vec<PathBuf>,
    /// Whether the exchange has happened.
    is_committed: bool,
    disk: Arc<dyn Disk>,
}

impl LocalWrite {
    /// Checks the target, locks it and creates the staging folder, unless there is nothing to do.
    ///
    /// # Errors
    /// If the save mode forbids the write, if another job writes to the folder, if the target is
    /// not a folder that a write may replace, or if the file system fails.
    pub(crate) fn begin(write: &Write, identity: Option<WriteId>) -> Result<Begun<Self>> {
        Self::begin_on(write, identity, Arc::new(LocalDisk))
    }

    fn begin_on(
        write: &Write,
        identity: Option<WriteId>,
        disk: Arc<dyn Disk>,
    ) -> Result<Begun<Self>> {
        let (path, mode) = (write.path.as_str(), write.mode);
        let target = absolute(path)?;
        let name = folder_name(&target)?;
        let parent = target
            .parent()
            .ok_or_else(|| Error::Write(format!("{path} is not a folder that can be written")))?
            .to_path_buf();
        if is_mount_point(&target, &parent) {
            return Err(mount_point(&target));
        }
        let remembered = Remembered::read(&target)?;
        if let Some(committed) = identity.as_ref().and_then(|id| remembered.find(id)) {
            return Ok(Begun::Committed(committed.clone()));
        }
        let existing = format!("{} already exists", target.display());
        if decide(mode, exists_with_content(&target)?, existing)? == SaveDecision::Skip {
            return Ok(Begun::Exists);
        }
        let tag = random_hex(TAG_BYTES)?;
        let mut begun = Self {
            mode,
            partition_overwrite: write.partition_overwrite,
            success_file: write.success_file,
            staging: parent.join(format!(".{name}.faisca-{tag}")),
            tag,
            identity,
            remembered,
            lock: None,
            created: vec![],
            is_committed: false,
            disk,
            target,
        };
        begun.make_folders(&parent)?;
        let lock = parent.join(format!(".{name}.faisca-lock"));
        begun.lock = Some(WriteLock::take(&lock, &begun.target, &begun.disk)?);
        begun.restore(&parent, &name)?;
        // Another attempt of the run may have committed before the lock was free.
        begun.remembered = Remembered::read(&begun.target)?;
        if let Some(committed) = begun.find_identity() {
            return Ok(Begun::Committed(committed));
        }
        let existing = format!("{} already exists", begun.target.display());
        if decide(mode, exists_with_content(&begun.target)?, existing)? == SaveDecision::Skip {
            return Ok(Begun::Exists);
        }
        begun.remove_stale(&parent, &name);
        begun.make_staging()?;
        Ok(Begun::Write(begun))
    }

    /// Returns what the present version remembers of this write.
    fn find_identity(&self) -> Option<CommittedWrite> {
        let id = self.identity.as_ref()?;
        self.remembered.find(id).cloned()
    }

    /// Creates the parent of the target and its missing ancestors.
    fn make_folders(&mut self, parent: &Path) -> Result<()> {
        let missing: Vec<&Path> = parent.ancestors().take_while(|a| !a.exists()).collect();
        for folder in missing.into_iter().rev() {
            match self
                .disk
                .apply(Change::CreateFolder(folder, Access::Common))
            {
                Ok(()) => self.created.push(folder.to_path_buf()),
                // Another job has created it since.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(cannot("create", folder, error)),
            }
        }
        Ok(())
    }

    /// Creates the folders that tasks write to. Files inherit from them what they would inherit in
    /// the present version.
    fn make_staging(&self) -> Result<()> {
        let (staging, attempts) = (&self.staging, self.attempts());
        self.disk
            .apply(Change::CreateFolder(staging, Access::Private))
            // Tasks never create this folder, so a task that is late cannot bring it back after its
            // removal.
            .and_then(|()| {
                self.disk
                    .apply(Change::CreateFolder(&attempts, Access::Common))
            })
            .map_err(|e| cannot("create", staging, e))?;
        if self.target.is_dir() {
            let copied = self
                .disk
                .apply(Change::CopyAttributes(&self.target, &attempts));
            copied.map_err(|e| cannot("keep the permissions of", &self.target, e))?;
        }
        Ok(())
    }

    fn attempts(&self) -> PathBuf {
        self.staging.join("attempts")
    }

    /// URL of the folder that tasks write to.
    pub(crate) fn staging_url(&self) -> String {
        let attempts = self.attempts();
        Url::from_directory_path(&attempts)
            .map_or_else(|()| attempts.display().to_string(), |url| url.to_string())
    }

    /// A short text that is unique to this write, for file names.
    pub(crate) fn tag(&self) -> String {
        self.tag.clone()
    }

    /// Absolute path of the output.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Makes `files` visible, and no other file of this write. `registration` is the table that the
    /// caller registers next.
    ///
    /// # Errors
    /// If the file system fails. The output is then unchanged, unless the file system has no
    /// exchange and also fails to restore the old folder.
    pub(crate) fn commit(
        &mut self,
        files: &[PendingFile],
        registration: Option<Registration>,
    ) -> Result<()> {
        let (path, attempts) = (self.staging.join("next"), self.attempts());
        let keeps_old = self.mode == SaveMode::Append
            || (self.mode == SaveMode::Overwrite
                && self.partition_overwrite == PartitionOverwrite::Dynamic);
        let keeps_old = keeps_old && self.target.is_dir();
        let written: BTreeSet<&str> = files
            .iter()
            .map(|file| partition_folder(&file.path))
            .collect();
        let is_replaced = |relative: &Path| {
            // The folder of a partition, in an overwrite that keeps the other partitions.
            let is_partition = self.mode == SaveMode::Overwrite
                && relative
                    .to_str()
                    .is_some_and(|folder| written.contains(folder));
            is_partition || relative == Path::new(remembered::FILE)
        };
        let mut next = NextVersion::create(self.disk.as_ref(), &self.target, &path)?;
        if keeps_old {
            next.keep_present(&is_replaced)?;
        }
        for file in files {
            next.add_file(&attempts, Path::new(&file.path))?;
        }
        if self.success_file {
            next.add_marker("_SUCCESS")?;
        }
        let write = self.identity.clone();
        let write = write.map(|id| CommittedWrite::now(id, files));
        let remembered = self.remembered.clone().next(write, registration);
        let remembered = remembered.map_err(|e| cannot("write", &path, e.into()))?;
        if let Some(json) = remembered {
            next.write_file(remembered::FILE, &json)?;
        }
        next.sync()?;
        let old = self.swap(&path)?;
        if keeps_old {
            adopt_late_files(self.disk.as_ref(), &old, &self.target, &is_replaced);
        }
        self.is_committed = true;
        self.sync_exchange();
        debug!(target = %self.target.display(), files = files.len(), "committed");
        Ok(())
    }

    /// Puts the folder `next` in the place of the target. Returns where the old version is now, in
    /// the staging folder.
    ///
    /// # Errors
    /// If the file system fails.
    fn swap(&self, next: &Path) -> Result<PathBuf> {
        let (disk, target) = (&self.disk, self.target.as_path());
        if !target.exists() {
            return match disk.apply(Change::Rename(next, target)) {
                Ok(()) => Ok(next.to_path_buf()),
                Err(error) => Err(cannot("create", target, error)),
            };
        }
        match disk.apply(Change::Exchange(next, target)) {
            Ok(()) => Ok(next.to_path_buf()),
            // A file system without the exchange. The gap between the two renames is as short as
            // possible.
            Err(error) if is_unsupported(&error) => {
                let old = self.staging.join(OLD);
                disk.apply(Change::Rename(target, &old))
                    .map_err(|e| cannot("replace", target, e))?;
                disk.apply(Change::Rename(next, target)).or_else(|error| {
                    disk.apply(Change::Rename(&old, target))
                        .map_err(|e| cannot("restore", target, e))?;
                    Err(cannot("replace", target, error))
                })?;
                Ok(old)
            }
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                Err(mount_point(target))
            }
            Err(error) => Err(cannot("replace", target, error)),
        }
    }

    /// Waits until the exchange is on the disk, before the old version is removed. It has happened,
    /// so a failure is logged only.
    fn sync_exchange(&self) {
        for folder in [self.target.parent(), Some(self.staging.as_path())] {
            if let Some(folder) = folder
                && let Err(error) = self.disk.apply(Change::Sync(folder))
            {
                warn!(
                    "{} may be lost by a power cut: {error}",
                    self.target.display()
                );
            }
        }
    }

    /// Puts the old version back that a job was about to replace when it was killed, on a file
    /// system without the exchange.
    ///
    /// # Errors
    /// If the file system fails.
    fn restore(&self, parent: &Path, name: &str) -> Result<()> {
        if self.target.exists() {
            return Ok(());
        }
        let stale = stale_folders(parent, name).map(|folder| folder.join(OLD));
        let Some(old) = stale.into_iter().find(|old| old.is_dir()) else {
            return Ok(());
        };
        let restored = self.disk.apply(Change::Rename(&old, &self.target));
        restored.map_err(|e| cannot("restore", &self.target, e))?;
        warn!(
            "{}: a job was killed while it replaced it; restored",
            self.target.display()
        );
        Ok(())
    }

    /// Removes the staging folders of jobs that were killed. The caller holds the lock, so no
    /// running job has one. Errors are ignored: the next write tries again.
    fn remove_stale(&self, parent: &Path, name: &str) {
        for folder in stale_folders(parent, name) {
            let _ = self.disk.apply(Change::RemoveTree(&folder));
        }
    }
}

/// Returns the staging folders beside an output.
fn stale_folders(parent: &Path, name: &str) -> impl Iterator<Item = PathBuf> {
    let prefix = format!(".{name}.faisca-");
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .filter(move |entry| {
            let name = entry.file_name();
            // The lock file has the same prefix.
            name.to_str().is_some_and(|name| name.starts_with(&prefix))
                && entry.file_type().is_ok_and(|kind| kind.is_dir())
        })
        .map(|entry| entry.path())
}

impl Drop for LocalWrite {
    fn drop(&mut self) {
        let disk = Arc::clone(&self.disk);
        // Cancelled tasks may write for another moment. Under a new name the folder is out of their
        // reach, so no new file appears while it is deleted. The name keeps its prefix: if this
        // process dies meanwhile, `remove_stale` of the next write finds the folder.
        let mut discarded = self.staging.as_os_str().to_owned();
        discarded.push(".discarded");
        let discarded = PathBuf::from(discarded);
        let _ = disk
            .apply(Change::Rename(&self.staging, &discarded))
            .and_then(|()| disk.apply(Change::RemoveTree(&discarded)));
        // Before the folders: the one with the lock file would not be empty.
        self.lock = None;
        if !self.is_committed {
            // Removes the folders that this write created, if they are empty: it fails for others.
            for folder in self.created.iter().rev() {
                let _ = disk.apply(Change::RemoveFolder(folder));
            }
        }
    }
}

/// Returns whether another file system is mounted at the target. It cannot be exchanged.
fn is_mount_point(target: &Path, parent: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    match (device(target), device(parent)) {
        (Some(own), Some(above)) => own != above,
        // It does not exist yet.
        _ => false,
    }
}

fn mount_point(target: &Path) -> Error {
    Error::Write(format!(
        "{0} is a mount point, which cannot be replaced as a whole; write to a folder in it, such as {0}/out",
        target.display()
    ))
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

/// Whether the target exists and is not empty. What it remembers of its writes is no content.
///
/// # Errors
/// If it is a file, or cannot be read.
fn exists_with_content(target: &Path) -> Result<bool> {
    let is_content = |entry: io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name() != remembered::FILE)
    };
    match fs::read_dir(target) {
        Ok(mut entries) => Ok(entries.any(is_content)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Err(Error::Write(
            format!("{} is a file; an output is a folder", target.display()),
        )),
        Err(error) => Err(cannot("read", target, error)),
    }
}
