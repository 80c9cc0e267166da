//! The changes that a local commit makes to the file system, one at a time.
//!
//! All of them go through [`Disk`], so that a test can let the process die before each.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::attributes;

/// Permissions of a folder that only this user can use.
const PRIVATE: u32 = 0o700;
/// Permissions of a folder, as far as the user's mask allows them.
const COMMON: u32 = 0o777;

/// Who may use a new folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Only this user.
    Private,
    /// Those whom the user's mask allows.
    Common,
}

/// One change. It happens as a whole or not at all, except [`Change::RemoveTree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change<'a> {
    CreateFolder(&'a Path, Access),
    /// Creates an empty file.
    CreateFile(&'a Path),
    /// Creates a file with this content, which is then on the disk.
    WriteFile(&'a Path, &'a [u8]),
    /// Gives a file a second name; a copy where the file system has no links.
    Link(&'a Path, &'a Path),
    /// Creates a symbolic link that leads where another one does.
    CopySymlink(&'a Path, &'a Path),
    /// Gives a folder the permissions, the owner and the extended attributes of another one.
    CopyAttributes(&'a Path, &'a Path),
    Rename(&'a Path, &'a Path),
    /// Exchanges two folders.
    Exchange(&'a Path, &'a Path),
    /// Waits until the names in a folder are on the disk.
    Sync(&'a Path),
    RemoveFile(&'a Path),
    /// Removes an empty folder.
    RemoveFolder(&'a Path),
    /// Removes a folder with everything in it.
    RemoveTree(&'a Path),
}

/// Makes changes.
pub(super) trait Disk: fmt::Debug + Send + Sync {
    /// Makes one change. It is not on the disk before a [`Change::Sync`] of its folder.
    ///
    /// # Errors
    /// If the file system refuses it. [`Change::RemoveTree`] may then be done in part.
    fn apply(&self, change: Change<'_>) -> io::Result<()>;
}

/// The file system of this machine.
#[derive(Debug)]
pub(super) struct LocalDisk;

impl Disk for LocalDisk {
    fn apply(&self, change: Change<'_>) -> io::Result<()> {
        match change {
            Change::CreateFolder(path, access) => {
                let mode = match access {
                    Access::Private => PRIVATE,
                    Access::Common => COMMON,
                };
                DirBuilder::new().mode(mode).create(path)
            }
            Change::CreateFile(path) => File::create_new(path).map(drop),
            Change::WriteFile(path, content) => {
                let mut file = File::create_new(path)?;
                file.write_all(content)?;
                file.sync_all()
            }
            Change::Link(from, to) => link(from, to),
            Change::CopySymlink(from, to) => symlink(fs::read_link(from)?, to),
            Change::CopyAttributes(from, to) => attributes::copy(from, to),
            Change::Rename(from, to) => fs::rename(from, to),
            Change::Exchange(a, b) => Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?),
            Change::Sync(folder) => sync(folder),
            Change::RemoveFile(path) => fs::remove_file(path),
            Change::RemoveFolder(path) => fs::remove_dir(path),
            Change::RemoveTree(path) => fs::remove_dir_all(path),
        }
    }
}

/// Links a file, or copies it. A copy is on the disk when this returns, as the file is.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            fs::copy(from, to)?;
            File::open(to)?.sync_all()
        }
        linked => linked,
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // A file system that cannot do it for folders, such as some of those in user space.
        Err(error) if is_unsupported(&error) => Ok(()),
        synced => synced,
    }
}

/// Returns whether the file system lacks the operation.
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}
