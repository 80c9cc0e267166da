//! Output commit: the files of a write become visible once and completely, or not at all.
//!
//! The protocol depends on where the files are. A [folder of this machine](local) is exchanged by
//! one rename. On an [object store](object), the driver completes the uploads of the tasks after it
//! has created a record of them.

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
use faisca_executor::storage::Stores;
use faisca_planner::manifest::Write;

use crate::catalog::{Catalogs, Registration};
use crate::error::Result;
use folder::Folder;
use local::LocalWrite;
use object::ObjectWrite;

pub use clean::{Leftover, LeftoverKind, clean};
pub(crate) use replaced::partition_folder;

/// A write in progress. If it is dropped or aborted before its commit, the output is unchanged.
pub(crate) enum OutputWrite {
    /// To a folder of this machine.
    Local {
        write: Box<LocalWrite>,
        catalogs: Arc<Catalogs>,
        registration: Option<Box<Registration>>,
    },
    /// To a folder of an object store.
    Object(Box<ObjectWrite>),
}

impl OutputWrite {
    /// Checks what exists at the target and begins the write. `None` if the save mode says that
    /// there is nothing to do. `tag` becomes part of the file names on an object store. `table` is the
    /// table that the write will register, if any.
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
        stores: &Stores,
        catalogs: &Arc<Catalogs>,
        table: Option<&Registration>,
    ) -> Result<Option<Self>> {
        if is_local(&write.path) {
            let begun = LocalWrite::begin(write)?;
            return Ok(begun.map(|write| Self::Local {
                write: Box::new(write),
                catalogs: Arc::clone(catalogs),
                registration: None,
            }));
        }
        let folder = Folder::new(&write.path, stores, Arc::clone(catalogs))?;
        Ok(ObjectWrite::begin(folder, write, tag, table)
            .await?
            .map(|write| Self::Object(Box::new(write))))
    }

    /// Sends the store each kind of request that a write will need, and leaves the output
    /// unchanged. A missing permission then appears before the query runs.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub(crate) async fn probe(
        write: &Write,
        stores: &Stores,
        catalogs: &Arc<Catalogs>,
    ) -> Result<()> {
        if is_local(&write.path) {
            // Begins a write and drops it at once.
            return LocalWrite::begin(write).map(drop);
        }
        Folder::new(&write.path, stores, Arc::clone(catalogs))?
            .probe(write.mode)
            .await
    }

    /// URL of the folder that tasks write to. It is not always the folder of the output.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Local { write, .. } => write.staging_url(),
            Self::Object(write) => write.escaped_url().to_owned(),
        }
    }

    /// A short text that is unique to this write, for file names.
    pub(crate) fn tag(&self) -> String {
        match self {
            Self::Local { write, .. } => write.tag(),
            Self::Object(write) => write.tag().to_owned(),
        }
    }

    /// Location of the output for users and catalogs, not escaped, with a slash at the end.
    pub(crate) fn location(&self) -> String {
        match self {
            Self::Local { write, .. } => format!("{}/", write.target().display()),
            Self::Object(write) => write.location().to_owned(),
        }
    }

    /// Sets the table that the commit registers. Nothing is registered before [`Self::commit`].
    ///
    /// On an object store, files that the commit replaces stay for `retention`.
    pub(crate) fn register(&mut self, table: Registration, retention: Duration) {
        match self {
            Self::Local { registration, .. } => *registration = Some(Box::new(table)),
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
            Self::Local {
                write,
                catalogs,
                registration,
            } => {
                // Synchronous on purpose: a few renames and links, and no `await` at which a
                // cancellation could stop them halfway.
                write.commit(files)?;
                match registration {
                    Some(registration) => catalogs.register(registration).await,
                    None => Ok(()),
                }
            }
            Self::Object(write) => write.commit(files).await,
        }
    }

    /// Removes what the tasks wrote. Does nothing on an object store once the commit record may
    /// exist: that commit is then finished, not undone.
    pub(crate) async fn abort(self) {
        match self {
            Self::Local { write, .. } => drop(write),
            Self::Object(write) => write.abort().await,
        }
    }
}

/// Whether a path or URL is on this machine: a path without a scheme, or a `file://` URL.
pub(crate) fn is_local(path: &str) -> bool {
    path.split_once("://")
        .is_none_or(|(scheme, _)| scheme == "file")
}
