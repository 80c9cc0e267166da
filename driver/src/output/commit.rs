//! Output commit: the files of a write become visible once and completely, or not at all.
//!
//! The protocol depends on where the files are. A [folder of this machine](local) is exchanged by
//! one rename. On an [object store](object), the driver completes the uploads of the tasks after it
//! has created a record of them.

mod begun;
mod clean;
mod folder;
mod local;
mod object;
mod replaced;
#[cfg(test)]
mod write_kinds;

use std::sync::Arc;
use std::time::Duration;

use faisca_executor::protocol::PendingFile;
use faisca_executor::storage::ObjectStores;
use faisca_planner::manifest::Write;

use crate::catalog::{Catalogs, Registration};
use crate::error::{Error, Result};
use crate::write_identity::{CommittedWrite, WriteId};
use folder::Folder;
use local::LocalWrite;
use object::{ObjectWrite, names_table};

pub(crate) use begun::Begun;
pub use clean::{CleanMode, Leftover, LeftoverKind, clean};
pub(crate) use replaced::partition_folder;

/// A write in progress. If it is dropped or aborted before its commit, the output is unchanged.
pub(crate) enum OutputWrite {
    /// To a folder of this machine.
    Local(Box<LocalOutput>),
    /// To a folder of an object store.
    Object(Box<ObjectWrite>),
}

/// A write to a folder of this machine, and the table that it registers.
pub(crate) struct LocalOutput {
    /// `None` once the commit has begun.
    write: Option<LocalWrite>,
    staging_url: String,
    tag: String,
    location: String,
    catalogs: Arc<Catalogs>,
    registration: Option<Box<Registration>>,
}

impl LocalOutput {
    fn new(write: LocalWrite, catalogs: Arc<Catalogs>) -> Self {
        Self {
            staging_url: write.staging_url(),
            tag: write.tag(),
            location: format!("{}/", write.target().display()),
            write: Some(write),
            catalogs,
            registration: None,
        }
    }

    async fn commit(&mut self, files: &[PendingFile]) -> Result<()> {
        if let Some(mut write) = self.write.take() {
            let files = files.to_vec();
            let registration = self.registration.as_deref().cloned();
            // A cancellation cannot stop it halfway. The old version is removed there as well.
            on_blocking_thread(move || write.commit(&files, registration)).await?;
        }
        match &self.registration {
            Some(registration) => self.catalogs.register(registration).await,
            None => Ok(()),
        }
    }
}

/// Runs work on the file system, which may take long, where it delays no connection.
async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime shuts down.
            Err(_) => Err(Error::Cancelled),
        },
    }
}

impl OutputWrite {
    /// Checks what exists at the target and begins the write, unless there is nothing to do. `tag`
    /// becomes part of the file names on an object store. `identity` is what the write is for later
    /// attempts of its run. `table` is the table that the write will register, if any.
    ///
    /// On an object store, it first finishes the commit of an earlier job that died, if it finds
    /// one.
    ///
    /// # Errors
    /// If the save mode forbids the write, if another job writes to the same local folder, or if
    /// the file system or the store fails.
    pub(crate) async fn begin(
        write: &Write,
        tag: String,
        identity: Option<WriteId>,
        stores: &ObjectStores,
        catalogs: &Arc<Catalogs>,
        table: Option<&Registration>,
    ) -> Result<Begun<Self>> {
        if is_local(&write.path) {
            let write = write.clone();
            let begun = on_blocking_thread(move || LocalWrite::begin(&write, identity)).await?;
            return Ok(begun.map(|begun| {
                Self::Local(Box::new(LocalOutput::new(begun, Arc::clone(catalogs))))
            }));
        }
        let folder = Folder::new(&write.path, stores, Arc::clone(catalogs))?;
        let begun = ObjectWrite::begin(folder, write, tag, identity, table).await?;
        Ok(begun.map(|write| Self::Object(Box::new(write))))
    }

    /// Returns the write with this identity, if an earlier attempt of the run has committed it.
    /// Finishes that commit first, if its driver died in it. `step` is the name of the step.
    ///
    /// # Errors
    /// If the file system, the store or the catalog fails, or what they hold cannot be read.
    pub(crate) async fn find_committed(
        write: &Write,
        step: &str,
        id: &WriteId,
        stores: &ObjectStores,
        catalogs: &Arc<Catalogs>,
    ) -> Result<Option<CommittedWrite>> {
        let table = write.catalog.as_ref();
        let table = table.map(|target| (target, target.table_of(step)));
        if !is_local(&write.path) {
            let folder = Folder::new(&write.path, stores, Arc::clone(catalogs))?;
            return folder.find_committed(id, table).await;
        }
        let (write, id) = (write.clone(), id.clone());
        let local = on_blocking_thread(move || local::find_committed(&write, &id)).await?;
        let Some(local) = local else { return Ok(None) };
        if let (Some(registration), Some((target, name))) = (&local.registration, table)
            && names_table(registration, target, name)
        {
            catalogs.register(registration).await?;
        }
        Ok(Some(local.write))
    }

    /// Sends the store each kind of request that a write will need, and leaves the output
    /// unchanged. A missing permission then appears before the query runs.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub(crate) async fn probe(
        write: &Write,
        stores: &ObjectStores,
        catalogs: &Arc<Catalogs>,
    ) -> Result<()> {
        if is_local(&write.path) {
            // Begins a write and drops it at once.
            let write = write.clone();
            return on_blocking_thread(move || LocalWrite::begin(&write, None).map(drop)).await;
        }
        Folder::new(&write.path, stores, Arc::clone(catalogs))?
            .probe(write.mode)
            .await
    }

    /// URL of the folder that tasks write to. It is not always the folder of the output.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Local(local) => local.staging_url.clone(),
            Self::Object(write) => write.escaped_url().to_owned(),
        }
    }

    /// A short text that is unique to this write, for file names.
    pub(crate) fn tag(&self) -> String {
        match self {
            Self::Local(local) => local.tag.clone(),
            Self::Object(write) => write.tag().to_owned(),
        }
    }

    /// Location of the output for users and catalogs, not escaped, with a slash at the end.
    pub(crate) fn location(&self) -> String {
        match self {
            Self::Local(local) => local.location.clone(),
            Self::Object(write) => write.location().to_owned(),
        }
    }

    /// Sets the table that the commit registers. Nothing is registered before [`Self::commit`].
    ///
    /// On an object store, files that the commit replaces stay for `retention`.
    pub(crate) fn register(&mut self, table: Registration, retention: Duration) {
        match self {
            Self::Local(local) => local.registration = Some(Box::new(table)),
            Self::Object(write) => write.register(table, retention),
        }
    }

    /// Makes `files` visible, and no other file of this write; then registers the table, if one was
    /// set.
    ///
    /// # Errors
    /// If the file system or store, another writer, or the catalog fails this commit. If only the
    /// catalog fails, the files of a local write stay visible without a registration; a write to an
    /// object store stays unfinished, and the next write or `faisca clean` finishes it.
    pub(crate) async fn commit(&mut self, files: &[PendingFile]) -> Result<()> {
        match self {
            Self::Local(local) => local.commit(files).await,
            Self::Object(write) => write.commit(files).await,
        }
    }

    /// Removes what the tasks wrote. Does nothing on an object store once the commit record may
    /// exist: that commit is then finished, not undone.
    pub(crate) async fn abort(self) {
        match self {
            Self::Local(local) => {
                let write = local.write;
                // Removes the staging folder. Nothing can be reported of a failure.
                let _ = on_blocking_thread(move || {
                    drop(write);
                    Ok(())
                })
                .await;
            }
            Self::Object(write) => write.abort().await,
        }
    }
}

/// Whether a path or URL is on this machine: a path without a scheme, or a `file://` URL.
pub(crate) fn is_local(path: &str) -> bool {
    path.split_once("://")
        .is_none_or(|(scheme, _)| scheme == "file")
}
