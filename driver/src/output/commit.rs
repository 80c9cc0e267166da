//! Output commit: a job's files become visible once and whole, or not at all.
//!
//! Where files are written decides how: a [folder of this machine](local) is exchanged in one
//! rename, [objects](object) are uploaded and completed once a record of it exists.

mod clean;
mod folder;
mod local;
mod object;
mod record;

use std::sync::Arc;

use faisca_executor::protocol::PendingFile;
use faisca_executor::storage::Stores;
use faisca_planner::manifest::Write;

use crate::catalog::{Catalogs, Registration};
use crate::error::Result;
use folder::Folder;
use local::LocalWrite;
use object::ObjectWrite;

pub use clean::{Leftover, LeftoverKind, clean};
pub(crate) use record::partition_folder;

/// A write under way. Dropped or aborted, it leaves the output as it was.
pub(crate) enum OutputWrite {
    Local {
        write: Box<LocalWrite>,
        catalogs: Arc<Catalogs>,
        registration: Option<Box<Registration>>,
    },
    Object(Box<ObjectWrite>),
}

impl OutputWrite {
    /// Looks at what is there; `None` if the mode says that there is nothing to do.
    ///
    /// # Errors
    /// If the mode forbids to write, another job writes there, or permissions do not allow it.
    pub(crate) async fn begin(
        write: &Write,
        tag: String,
        stores: &Stores,
        catalogs: &Arc<Catalogs>,
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
        Ok(ObjectWrite::begin(folder, write, tag)
            .await?
            .map(|write| Self::Object(Box::new(write))))
    }

    /// Asks the store for all that a write will ask it for, and leaves it as it was.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub(crate) async fn probe(
        write: &Write,
        stores: &Stores,
        catalogs: &Arc<Catalogs>,
    ) -> Result<()> {
        if is_local(&write.path) {
            return LocalWrite::begin(write).map(drop);
        }
        Folder::new(&write.path, stores, Arc::clone(catalogs))?
            .probe(write.mode)
            .await
    }

    /// URL that tasks write below.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Local { write, .. } => write.staging_url(),
            Self::Object(write) => write.escaped_url().to_owned(),
        }
    }

    /// A short text that no other write shares, for file names.
    pub(crate) fn tag(&self) -> String {
        match self {
            Self::Local { write, .. } => write.tag(),
            Self::Object(write) => write.tag().to_owned(),
        }
    }

    /// Where the output is, for people and catalogs; a slash at its end.
    pub(crate) fn location(&self) -> String {
        match self {
            Self::Local { write, .. } => format!("{}/", write.target().display()),
            Self::Object(write) => write.location().to_owned(),
        }
    }

    /// Makes a table of it when it is committed.
    pub(crate) fn register(&mut self, table: Registration) {
        match self {
            Self::Local { registration, .. } => *registration = Some(Box::new(table)),
            Self::Object(write) => write.register(table),
        }
    }

    /// Makes `files`, and nothing else, visible; then registers the table.
    ///
    /// # Errors
    /// Of the store, another writer, or the catalog.
    pub(crate) async fn commit(&mut self, files: &[PendingFile]) -> Result<()> {
        match self {
            Self::Local {
                write,
                catalogs,
                registration,
            } => {
                // Renames and links of a few files; cancelling in the middle of it must not be possible.
                write.commit(files)?;
                match registration {
                    Some(registration) => catalogs.register(registration).await,
                    None => Ok(()),
                }
            }
            Self::Object(write) => write.commit(files).await,
        }
    }

    /// Gives up what tasks wrote. After a commit's record exists that is only what it did not take.
    pub(crate) async fn abort(self) {
        match self {
            Self::Local { write, .. } => drop(write),
            Self::Object(write) => write.abort().await,
        }
    }
}

/// Whether a path or URL is of this machine.
pub(crate) fn is_local(path: &str) -> bool {
    path.split_once("://")
        .is_none_or(|(scheme, _)| scheme == "file")
}
