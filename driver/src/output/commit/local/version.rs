//! The next version of an output folder, built beside the present one.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use super::disk::{Access, Change, Disk};
use crate::error::{Error, Result, cannot};

/// The next version of an output folder. It has the attributes of the present one, folder by
/// folder.
pub(super) struct NextVersion<'a> {
    disk: &'a dyn Disk,
    /// The present version, if there is one.
    present: &'a Path,
    path: &'a Path,
    /// Its folders, relative to `path`, which is among them.
    folders: BTreeSet<PathBuf>,
}

impl<'a> NextVersion<'a> {
    /// Creates the folder `path`, without files.
    ///
    /// # Errors
    /// If the file system fails.
    pub(super) fn create(disk: &'a dyn Disk, present: &'a Path, path: &'a Path) -> Result<Self> {
        let mut version = Self {
            disk,
            present,
            path,
            folders: BTreeSet::new(),
        };
        version.add_folder(Path::new(""))?;
        Ok(version)
    }

    /// Creates a folder, unless it exists. New folders inherit from those above, as they would in
    /// the present version.
    fn add_folder(&mut self, relative: &Path) -> Result<()> {
        if self.folders.contains(relative) {
            return Ok(());
        }
        if let Some(parent) = relative.parent() {
            self.add_folder(parent)?;
        }
        let (present, next) = (self.present.join(relative), self.path.join(relative));
        let created = self.disk.apply(Change::CreateFolder(&next, Access::Common));
        created.map_err(|e| cannot("create", &next, e))?;
        // The attributes of what a link leads to are not those of a folder here.
        if fs::symlink_metadata(&present).is_ok_and(|metadata| metadata.is_dir()) {
            let copied = self.disk.apply(Change::CopyAttributes(&present, &next));
            copied.map_err(|e| cannot("keep the permissions of", &present, e))?;
        }
        self.folders.insert(relative.to_path_buf());
        Ok(())
    }

    /// Links every file of the present version, except in folders for which `is_replaced` is true.
    /// Symbolic links stay links. Paths that `is_replaced` receives are relative.
    ///
    /// # Errors
    /// If a file can neither be linked nor copied.
    pub(super) fn keep_present(&mut self, is_replaced: &impl Fn(&Path) -> bool) -> Result<()> {
        let mut kept = vec![];
        walk(self.present, Path::new(""), is_replaced, &mut kept)
            .map_err(|e| cannot("read", self.present, e))?;
        for Entry { relative, kind } in kept {
            let (from, to) = (self.present.join(&relative), self.path.join(&relative));
            let linked = match kind {
                EntryKind::Folder => {
                    self.add_folder(&relative)?;
                    Ok(())
                }
                EntryKind::Symlink => self.disk.apply(Change::CopySymlink(&from, &to)),
                EntryKind::File => self.disk.apply(Change::Link(&from, &to)),
            };
            linked.map_err(|e| cannot("link", &to, e))?;
        }
        Ok(())
    }

    /// Moves a file from the folder `attempts` here.
    ///
    /// # Errors
    /// If a folder of its path is a symbolic link in the present version, or the file system fails.
    pub(super) fn add_file(&mut self, attempts: &Path, relative: &Path) -> Result<()> {
        let to = self.path.join(relative);
        if let Some(folder) = relative.parent() {
            let is_link = |path: &Path| fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink());
            if let Some(link) = folder
                .ancestors()
                .find(|folder| is_link(&self.path.join(folder)))
            {
                return Err(Error::Write(format!(
                    "{} is a symbolic link, and no files can be added there with the others at once; \
                     replace it by a folder",
                    self.present.join(link).display()
                )));
            }
            self.add_folder(folder)?;
        }
        let moved = self
            .disk
            .apply(Change::Rename(&attempts.join(relative), &to));
        moved.map_err(|e| cannot("move", &to, e))
    }

    /// Creates an empty file, unless it exists.
    ///
    /// # Errors
    /// If the file system fails.
    pub(super) fn add_marker(&self, name: &str) -> Result<()> {
        let marker = self.path.join(name);
        match self.disk.apply(Change::CreateFile(&marker)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(cannot("create", &marker, error))
            }
            _ => Ok(()),
        }
    }

    /// Creates a file with this content.
    ///
    /// # Errors
    /// If the file system fails.
    pub(super) fn write_file(&self, name: &str, content: &[u8]) -> Result<()> {
        let file = self.path.join(name);
        let written = self.disk.apply(Change::WriteFile(&file, content));
        written.map_err(|e| cannot("write", &file, e))
    }

    /// Waits until all folders are on the disk. The tasks have waited for their files.
    ///
    /// # Errors
    /// If the disk fails.
    pub(super) fn sync(&self) -> Result<()> {
        // Folders before those above them.
        for folder in self.folders.iter().rev() {
            let folder = self.path.join(folder);
            let synced = self.disk.apply(Change::Sync(&folder));
            synced.map_err(|e| cannot("write to", &folder, e))?;
        }
        Ok(())
    }
}

/// Links files of the version `old` that `present` lacks: another program has added them while the
/// commit was under way. A failure is logged only, since the commit has happened.
pub(super) fn adopt_late_files(
    disk: &dyn Disk,
    old: &Path,
    present: &Path,
    is_replaced: &impl Fn(&Path) -> bool,
) {
    let mut entries = vec![];
    if let Err(error) = walk(old, Path::new(""), is_replaced, &mut entries) {
        warn!(
            "files that other programs added to {} may be lost: {error}",
            present.display()
        );
    }
    for Entry { relative, kind } in entries {
        let (from, to) = (old.join(&relative), present.join(&relative));
        if fs::symlink_metadata(&to).is_ok() {
            continue;
        }
        let adopted = match kind {
            EntryKind::Folder => disk.apply(Change::CreateFolder(&to, Access::Common)),
            EntryKind::Symlink => disk.apply(Change::CopySymlink(&from, &to)),
            EntryKind::File => disk.apply(Change::Link(&from, &to)),
        };
        match adopted {
            Ok(()) => info!("{} was added during the commit, and is kept", to.display()),
            Err(error) => warn!(
                "{} was added during the commit, and is lost: {error}",
                to.display()
            ),
        }
    }
}

struct Entry {
    relative: PathBuf,
    kind: EntryKind,
}

enum EntryKind {
    Folder,
    Symlink,
    /// Also pipes and sockets.
    File,
}

/// Lists what is below `root/relative`, folders before what is in them. Symbolic links are not
/// followed, and what is replaced is left out.
fn walk(
    root: &Path,
    relative: &Path,
    is_replaced: &impl Fn(&Path) -> bool,
    entries: &mut Vec<Entry>,
) -> io::Result<()> {
    for entry in fs::read_dir(root.join(relative))? {
        let entry = entry?;
        let relative = relative.join(entry.file_name());
        if is_replaced(&relative) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            entries.push(Entry {
                relative: relative.clone(),
                kind: EntryKind::Folder,
            });
            walk(root, &relative, is_replaced, entries)?;
        } else {
            let kind = if kind.is_symlink() {
                EntryKind::Symlink
            } else {
                EntryKind::File
            };
            entries.push(Entry { relative, kind });
        }
    }
    Ok(())
}
