//! Finds out whether an earlier attempt of a run has committed a write to a folder of this machine.

use std::sync::Arc;

use faisca_planner::manifest::Write;

use super::disk::{Change, Disk, LocalDisk};
use super::lock::WriteLock;
use super::remembered::Remembered;
use super::{absolute, folder_name, stale_folders};
use crate::catalog::Registration;
use crate::commit_record::is_below;
use crate::error::Result;
use crate::write_identity::{CommittedWrite, WriteId};

/// A committed write, and its table, which its driver may not have registered before it died.
pub(in crate::output::commit) struct CommittedLocally {
    pub(in crate::output::commit) write: CommittedWrite,
    pub(in crate::output::commit) registration: Option<Registration>,
}

/// Returns the write with this identity, if it is committed, and removes what its driver left
/// beside the output.
///
/// # Errors
/// If the folder, or what it remembers, cannot be read.
pub(in crate::output::commit) fn find_committed(
    write: &Write,
    id: &WriteId,
) -> Result<Option<CommittedLocally>> {
    find_on(write, id, &(Arc::new(LocalDisk) as _))
}

pub(super) fn find_on(
    write: &Write,
    id: &WriteId,
    disk: &Arc<dyn Disk>,
) -> Result<Option<CommittedLocally>> {
    let target = absolute(&write.path)?;
    let remembered = Remembered::read(&target)?;
    let Some(committed) = remembered.find(id).cloned() else {
        return Ok(None);
    };
    let name = folder_name(&target)?;
    if let Some(parent) = target.parent() {
        let lock = parent.join(format!(".{name}.faisca-lock"));
        // A job that writes to the folder has removed the remains itself.
        if let Ok(_lock) = WriteLock::take(&lock, &target, disk) {
            for folder in stale_folders(parent, &name) {
                let _ = disk.apply(Change::RemoveTree(&folder));
            }
        }
    }
    let location = format!("{}/", target.display());
    Ok(Some(CommittedLocally {
        write: committed,
        // The file is data, not an order: it may only name a table in its own folder.
        registration: remembered
            .registration
            .filter(|registration| is_below(&location, &registration.table.location)),
    }))
}
