//! What a crash leaves on an object store: unfinished commits, and uploads that no process completes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use faisca_executor::storage::Stores;

use super::folder::Folder;
use super::record::State;
use crate::catalog::Catalogs;
use crate::error::Result;

/// What was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftoverKind {
    /// A commit whose job died in the middle of it. It is finished, not undone, wherever that can be.
    UnfinishedCommit,
    /// An upload that no process will complete.
    Upload,
    /// A record that no job needs any more.
    OldRecord,
}

/// What was found below a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// What.
    pub kind: LeftoverKind,
    /// Key of the record, or of the object that an upload would have become.
    pub path: String,
    /// Since when.
    pub age: Option<Duration>,
}

/// Looks below `path` for commits that were interrupted, for uploads that were begun more than
/// `older_than` ago and never completed, and for records that are long done with. With `apply`,
/// finishes the first, aborts the second, and removes the third.
///
/// # Errors
/// Of the store.
pub async fn clean(
    path: &str,
    older_than: Duration,
    apply: bool,
    stores: &Stores,
    catalogs: &Arc<Catalogs>,
) -> Result<Vec<Leftover>> {
    let folder = Folder::new(path, stores, Arc::clone(catalogs))?;
    let listing = folder.list().await?;
    let now = SystemTime::now();
    let age = |since: SystemTime| now.duration_since(since).ok();
    let (mut found, mut named) = (vec![], BTreeSet::new());
    if let Some((version, meta)) = listing.records.last() {
        let record = folder.read(*version).await?;
        if record.state != State::Done {
            let path = meta.location.to_string();
            found.push(Leftover {
                kind: LeftoverKind::UnfinishedCommit,
                path,
                age: age(meta.last_modified.into()),
            });
        }
        if apply {
            folder.recover(&listing.records).await?;
        } else {
            // What a record names will be completed: it is no leftover.
            named = record
                .files
                .into_iter()
                .filter_map(|file| file.upload.map(|upload| upload.id))
                .collect();
        }
        let old = listing.old_records(*version);
        found.extend(old.iter().map(|path| Leftover {
            kind: LeftoverKind::OldRecord,
            path: path.clone(),
            age: None,
        }));
        if apply {
            folder.remove(&old).await?;
        }
    }
    for upload in folder.unfinished().await? {
        let age = upload.begun.and_then(age);
        if named.contains(&upload.id) || age.is_some_and(|age| age < older_than) {
            continue;
        }
        if apply {
            folder.abort_upload(&upload).await?;
        }
        found.push(Leftover {
            kind: LeftoverKind::Upload,
            path: upload.path.to_string(),
            age,
        });
    }
    Ok(found)
}
