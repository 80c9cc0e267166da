//! Exactly-once output on object stores, by multipart uploads that are completed late.
//!
//! Tasks upload the parts of their files to the final keys, but do not complete the uploads, so
//! nothing is visible. Then the driver commits:
//!
//! ```text
//! pick one attempt of each task ─► create the record ─► complete the uploads
//!   ─► register the table ─► remove replaced files
//! ```
//!
//! Of two writers, only one can create the [record](crate::commit_record). If the driver dies after
//! that, the next write or `faisca clean` finishes the commit. If it dies before, readers see none
//! of the uploads, and `faisca clean` aborts them.
//!
//! **Limits.** While an overwrite is in its last step, a reader of the bare path may see new files
//! beside old ones, but it always sees at least one of the two. A reader that uses the catalog sees
//! exactly one.

#[cfg(test)]
mod crashes;
mod resume;

use std::collections::BTreeSet;
use std::time::Duration;

use faisca_executor::protocol::PendingFile;
use faisca_planner::manifest::{PartitionOverwrite, SaveMode, Write};
use object_store::PutMode;
use object_store::path::Path;
use tracing::debug;

use super::begun::Begun;
use super::folder::Folder;
use super::replaced::find_replaced;
use crate::catalog::Registration;
use crate::commit_record::{CommitRecord, name};
use crate::error::{Error, Result};
use crate::output::save_mode::SaveDecision;
use crate::write_identity::{CommittedWrite, WriteId, now};

pub(super) use resume::names_table;

/// Attempts of an append to create its record while other writers create theirs.
const APPEND_TRIES: u32 = 20;

/// A write in progress to a folder of an object store.
pub(crate) struct ObjectWrite {
    folder: Folder,
    mode: SaveMode,
    /// What an overwrite replaces.
    partition_overwrite: PartitionOverwrite,
    /// Whether the commit adds an empty `_SUCCESS` object.
    success_file: bool,
    /// How long replaced files stay, for queries that still read them.
    retention: Duration,
    /// Part of the name of every file of this write, and of no other write.
    tag: String,
    /// What the write is for later attempts of its run, if it has an identity.
    identity: Option<WriteId>,
    /// The newest version when this write began. The record of this write is the next one.
    base: u64,
    /// Keys of records that no job needs any more.
    old_records: Vec<String>,
    /// The table to register, if any.
    registration: Option<Registration>,
    /// Whether the record may exist. From then on the write cannot be aborted.
    is_recorded: bool,
}

impl ObjectWrite {
    /// Finishes an interrupted commit, if there is one, and begins the write, unless there is
    /// nothing to do. `table` is the table that the write will register, if any.
    ///
    /// # Errors
    /// If the save mode forbids the write, or the store or the catalog fails.
    pub(crate) async fn begin(
        folder: Folder,
        write: &Write,
        tag: String,
        identity: Option<WriteId>,
        table: Option<&Registration>,
    ) -> Result<Begun<Self>> {
        let listing = folder.list().await?;
        let base = folder.recover(&listing.records, table).await?;
        let old_records = listing.old_records(base);
        if let Some(id) = &identity
            && let Some(record) = folder.base_record(base).await?
            && let Some(committed) = record.find_write(id)
        {
            return Ok(Begun::Committed(committed.clone()));
        }
        if folder.check_mode(write.mode, &listing).await? == SaveDecision::Skip {
            return Ok(Begun::Exists);
        }
        Ok(Begun::Write(Self {
            folder,
            mode: write.mode,
            partition_overwrite: write.partition_overwrite,
            success_file: write.success_file,
            retention: Duration::ZERO,
            tag,
            identity,
            base,
            old_records,
            registration: None,
            is_recorded: false,
        }))
    }

    /// URL that tasks write to, escaped, with a slash at the end.
    pub(crate) fn escaped_url(&self) -> &str {
        &self.folder.escaped
    }

    /// URL of the folder as catalogs write it, not escaped, with a slash at the end.
    pub(crate) fn location(&self) -> &str {
        &self.folder.url
    }

    /// A short text that is unique to this write, for file names.
    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }

    /// Sets the table to register, after the files are complete and before replaced ones are
    /// removed. Replaced files stay for `retention`.
    pub(crate) fn register(&mut self, registration: Registration, retention: Duration) {
        self.registration = Some(registration);
        self.retention = retention;
    }

    /// Makes `files` visible, and no other file of this write. If another attempt of the run has
    /// committed this write meanwhile, it aborts the uploads instead: the rows are there.
    ///
    /// If another writer created the next record first, an append tries again after that commit.
    /// Any other write fails, since it decided on a folder that has changed since.
    ///
    /// # Errors
    /// If another writer was first, or the store or the catalog fails. The folder is unchanged
    /// before the record exists; after that, the next write or `faisca clean` finishes the commit.
    pub(crate) async fn commit(&mut self, files: &[PendingFile]) -> Result<()> {
        for _ in 0..APPEND_TRIES {
            let Some(record) = self.record(files).await? else {
                self.abort().await;
                return Ok(());
            };
            let version = self.base + 1;
            match self.folder.put(version, &record, PutMode::Create).await {
                Ok(()) => {
                    self.is_recorded = true;
                    self.folder.finish(version, record).await?;
                    // The commit is complete. Old records do no harm, and a later write removes
                    // them.
                    if let Err(error) = self.folder.remove(&self.old_records).await {
                        debug!("{error}");
                    }
                    return Ok(());
                }
                Err(
                    object_store::Error::AlreadyExists { .. }
                    | object_store::Error::Precondition { .. },
                ) => {
                    // If the response to our own request was lost, its repetition fails in the same
                    // way.
                    let winner = self.folder.read(version).await?;
                    if winner.tag == self.tag {
                        self.is_recorded = true;
                        return self.folder.finish(version, winner).await;
                    }
                    let own_id = self.identity.as_ref();
                    let is_own_step = own_id.is_some_and(|id| winner.find_write(id).is_some());
                    if self.mode != SaveMode::Append && !is_own_step {
                        let action = format!(
                            "another job wrote {} while this one ran; its output is kept, run this one again",
                            self.folder.url
                        );
                        return Err(Error::Conflict(action));
                    }
                    let listing = self.folder.list().await?;
                    let own = self.registration.as_ref();
                    self.base = self.folder.recover(&listing.records, own).await?;
                    if !is_own_step {
                        self.check_location(version).await?;
                    }
                }
                // The record may exist despite the error. The uploads stay, and the next write
                // finds out.
                Err(error) => {
                    self.is_recorded = true;
                    return Err(self.folder.store_error("write the commit record of", error));
                }
            }
        }
        let action = format!(
            "{}: other jobs committed first in each of {APPEND_TRIES} attempts; run this one again",
            self.folder.url
        );
        Err(Error::Conflict(action))
    }

    /// Checks that the files of an append are still where the table will look for them. `version`
    /// is the first version that another writer committed.
    ///
    /// # Errors
    /// If one of these commits overwrote the table, which moves it to another subfolder.
    async fn check_location(&self, version: u64) -> Result<()> {
        // Readers of a bare path find the files wherever they are below it.
        if self.registration.is_none() {
            return Ok(());
        }
        for version in version..=self.base {
            if self.folder.read(version).await?.replaces {
                let action = format!(
                    "another job overwrote {} while this one appended; its output is kept, run this one again",
                    self.folder.url
                );
                return Err(Error::Conflict(action));
            }
        }
        Ok(())
    }

    /// Builds the commit record of `files` on top of version `base`. `None` if that version, or one
    /// before it, is this write, by another attempt of the run.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    async fn record(&self, files: &[PendingFile]) -> Result<Option<CommitRecord>> {
        let base = self.folder.base_record(self.base).await?;
        if let (Some(id), Some(base)) = (&self.identity, &base)
            && base.find_write(id).is_some()
        {
            return Ok(None);
        }
        let mut record = CommitRecord::new(self.tag.clone(), files.to_vec());
        record.replaces = self.mode == SaveMode::Overwrite;
        let identity = self.identity.clone();
        record.write = identity.map(|id| CommittedWrite::now(id, files));
        if let Some(base) = base {
            record.kept = base.all_kept();
            record.earlier = base.remembered_writes();
        }
        if record.replaces {
            // Lists again: `begin` may have finished a commit, and an overwrite must replace its
            // files, too.
            let keys: Vec<Path> = self
                .folder
                .list()
                .await?
                .data
                .into_iter()
                .map(|meta| meta.location)
                .collect();
            record.remove = find_replaced(
                &self.folder.target,
                &keys,
                &self.tag,
                files,
                self.partition_overwrite,
            );
            record.part_kept_and_removed(self.retention);
        }
        record.remove_at = if self.retention.is_zero() {
            0
        } else {
            now() + self.retention.as_secs()
        };
        let commit = format!("{}{}", self.folder.url, name(self.base + 1));
        record.registration = self
            .registration
            .clone()
            .map(|registration| registration.with_commit(commit, record.replaces));
        record.success_file = self.success_file;
        Ok(Some(record))
    }

    /// Aborts the uploads of this write, which leaves the folder unchanged. Does nothing if the
    /// record may exist, since it names some of these uploads.
    pub(crate) async fn abort(&self) {
        if self.is_recorded {
            return;
        }
        self.folder.sweep(&self.tag, &BTreeSet::new()).await;
    }
}
