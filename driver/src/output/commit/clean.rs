//! Finds and removes what a crash leaves on an object store: unfinished commits, and uploads that
//! no process completes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use faisca_executor::storage::ObjectStores;

use super::folder::Folder;
use crate::catalog::Catalogs;
use crate::commit_record::{CommitRecord, State};
use crate::error::Result;

/// What a crashed job can leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftoverKind {
    /// A commit whose job died before the last step. It is finished, or undone if its uploads are
    /// lost.
    UnfinishedCommit,
    /// An upload that no process will complete.
    Upload,
    /// A commit record that no job needs any more.
    OldRecord,
}

/// One leftover that was found below a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// What it is.
    pub kind: LeftoverKind,
    /// Key of the record, or of the object that the upload would have created.
    pub path: String,
    /// Time since it was written or begun, if known.
    pub age: Option<Duration>,
    /// What the removal does beyond the object itself, for the user to approve.
    pub effect: Option<String>,
}

/// What [`clean`] does with the leftovers that it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CleanMode {
    /// Reports them.
    List,
    /// Finishes the commit, aborts the uploads and removes the records.
    Remove,
}

/// Describes what finishing a commit does.
fn describe_effect(record: &CommitRecord) -> String {
    let removed = record.remove.len()
        + record
            .kept
            .iter()
            .map(|kept| kept.keys.len())
            .sum::<usize>();
    let mut effects = vec![format!("files to complete: {}", record.files.len())];
    if removed > 0 {
        effects.push(format!("replaced files to remove: {removed}"));
    }
    if let Some(registration) = &record.registration {
        let (database, table) = (&registration.database, &registration.table.name);
        effects.push(format!("table to register: {database}.{table}"));
    }
    effects.join(", ")
}

/// Returns what crashed jobs left below `path`: an interrupted commit, uploads that began more than
/// `older_than` ago, and commit records that no job needs any more.
///
/// An upload whose age the store does not report counts as old.
///
/// Choose `older_than` longer than any running job: the uploads of a running job look the same.
///
/// # Errors
/// If `path` is not a folder of a store that can be written, or the store or the catalog fails.
pub async fn clean(
    path: &str,
    older_than: Duration,
    mode: CleanMode,
    stores: &ObjectStores,
    catalogs: &Arc<Catalogs>,
) -> Result<Vec<Leftover>> {
    let folder = Folder::new(path, stores, Arc::clone(catalogs))?;
    clean_folder(&folder, older_than, mode).await
}

/// Does the work of [`clean`].
pub(super) async fn clean_folder(
    folder: &Folder,
    older_than: Duration,
    mode: CleanMode,
) -> Result<Vec<Leftover>> {
    let listing = folder.list().await?;
    let now = SystemTime::now();
    let age = |since: SystemTime| now.duration_since(since).ok();
    let (mut leftovers, mut named) = (vec![], BTreeSet::new());
    if let Some((version, meta)) = listing.records.last() {
        let record = folder.read(*version).await?;
        if record.state != State::Done {
            let path = meta.location.to_string();
            leftovers.push(Leftover {
                kind: LeftoverKind::UnfinishedCommit,
                path,
                age: age(meta.last_modified.into()),
                effect: Some(describe_effect(&record)),
            });
        }
        if mode == CleanMode::Remove {
            folder.recover(&listing.records, None).await?;
        } else {
            // These uploads belong to the unfinished commit, which a later run completes.
            named = record
                .files
                .into_iter()
                .filter_map(|file| file.upload.map(|upload| upload.id))
                .collect();
        }
        // Listed in both modes, so that a user sees what would be removed.
        let old = listing.old_records(*version);
        leftovers.extend(old.iter().map(|path| Leftover {
            kind: LeftoverKind::OldRecord,
            path: path.clone(),
            age: None,
            effect: None,
        }));
        if mode == CleanMode::Remove {
            folder.remove(&old).await?;
        }
    }
    for upload in folder.list_unfinished().await? {
        let age = upload.started.and_then(age);
        if named.contains(&upload.id) || age.is_some_and(|age| age < older_than) {
            continue;
        }
        if mode == CleanMode::Remove {
            folder.abort_upload(&upload).await?;
        }
        leftovers.push(Leftover {
            kind: LeftoverKind::Upload,
            path: upload.path.to_string(),
            age,
            effect: None,
        });
    }
    Ok(leftovers)
}
