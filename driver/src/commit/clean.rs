//! What a crash leaves on an object store: unfinished commits, and uploads that nobody will complete.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use faisca_executor::stores::Stores;

use super::folder::Folder;
use crate::catalog::Catalogs;
use crate::error::Result;

/// What was found below a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Key of the object that it would have become.
    pub path: String,
    /// Since when.
    pub age: Option<Duration>,
}

/// Looks for uploads below `path` that were begun more than `older_than` ago and never completed.
/// With `apply`, finishes an interrupted commit of that folder, and aborts them.
///
/// # Errors
/// Of the store.
pub async fn clean(path: &str, older_than: Duration, apply: bool, stores: &Stores, catalogs: &Arc<Catalogs>) -> Result<Vec<Leftover>> {
    let folder = Folder::new(path, stores, Arc::clone(catalogs))?;
    // What a record names will be completed: it is no leftover.
    let named = if apply {
        folder.recover_now().await?;
        BTreeSet::new()
    } else {
        folder.named_uploads().await?
    };
    let now = SystemTime::now();
    let mut found = vec![];
    for upload in folder.unfinished().await? {
        let age = upload.begun.and_then(|begun| now.duration_since(begun).ok());
        if named.contains(&upload.id) || age.is_some_and(|age| age < older_than) {
            continue;
        }
        if apply {
            folder.abort_upload(&upload).await?;
        }
        found.push(Leftover { path: upload.path.to_string(), age });
    }
    Ok(found)
}
