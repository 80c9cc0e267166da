//! Exactly-once output on object stores, by deferred multipart uploads.
//!
//! Tasks upload parts to where their files will be and complete nothing, so nothing is visible.
//! The driver picks one attempt of each task, creates the [record](super::record) if no other
//! writer was faster, completes the uploads, registers the table, removes what is replaced.
//! Killed between any two of these, it left a record that the next write, or `faisca clean`,
//! completes; killed before the record, it left uploads that readers do not see and `clean` aborts.
//!
//! **Limits.** Readers of a bare path may see new files beside old ones while an overwrite is in
//! its last step, never neither of them. Readers by a catalog see either.

use std::collections::BTreeSet;
use std::time::Duration;

use faisca_executor::protocol::PendingFile;
use faisca_planner::manifest::{PartitionOverwrite, SaveMode, Write};
use object_store::PutMode;
use object_store::path::Path;
use tracing::debug;

use super::folder::{Folder, now};
use super::record::{CommitRecord, name, replaced};
use crate::catalog::Registration;
use crate::error::{Error, Result};
use crate::output::save_mode::SaveDecision;

/// Appends that give way to faster writers try again so often.
const APPEND_TRIES: u32 = 20;

/// A write under way.
pub(crate) struct ObjectWrite {
    folder: Folder,
    mode: SaveMode,
    dynamic: bool,
    success_file: bool,
    keep_old: Duration,
    tag: String,
    /// The newest version when this write began.
    base: u64,
    /// Records that no writer needs any more.
    old_records: Vec<String>,
    registration: Option<Registration>,
    /// The record may exist: from here on there is no way back.
    recorded: bool,
}

impl ObjectWrite {
    /// Looks at the folder; `None` if there is nothing to do.
    ///
    /// # Errors
    /// If the mode forbids to write, or the store does.
    pub(crate) async fn begin(folder: Folder, write: &Write, tag: String) -> Result<Option<Self>> {
        let listing = folder.list().await?;
        let base = folder.recover(&listing.records).await?;
        let old_records = listing.old_records(base);
        if folder.check_mode(write.mode, &listing)? == SaveDecision::Skip {
            return Ok(None);
        }
        let keep_old = write
            .catalog
            .as_ref()
            .map_or(0, |catalog| catalog.keep_old_seconds);
        Ok(Some(Self {
            folder,
            mode: write.mode,
            dynamic: write.partition_overwrite == PartitionOverwrite::Dynamic,
            success_file: write.success_file,
            keep_old: Duration::from_secs(keep_old),
            tag,
            base,
            old_records,
            registration: None,
            recorded: false,
        }))
    }

    /// URL that tasks write below, with a slash at its end.
    pub(crate) fn escaped_url(&self) -> &str {
        &self.folder.escaped
    }

    /// The folder as catalogs know it, with a slash at its end.
    pub(crate) fn location(&self) -> &str {
        &self.folder.url
    }

    /// Part of the name of every file.
    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }

    /// Registers a table between the completion and the removal of what is replaced.
    pub(crate) fn register(&mut self, registration: Registration) {
        self.registration = Some(registration);
    }

    /// Makes `files`, and nothing else of this write, visible.
    ///
    /// # Errors
    /// If another writer was faster, or the store fails. Before the record the folder is as it
    /// was; after it, the next write or `faisca clean` goes on.
    pub(crate) async fn commit(&mut self, files: &[PendingFile]) -> Result<()> {
        for _ in 0..APPEND_TRIES {
            let record = self.record(files).await?;
            let version = self.base + 1;
            match self.folder.put(version, &record, PutMode::Create).await {
                Ok(()) => {
                    self.recorded = true;
                    self.folder.finish(version, record).await?;
                    if let Err(error) = self.folder.remove(&self.old_records).await {
                        debug!("{error}");
                    }
                    return Ok(());
                }
                Err(
                    object_store::Error::AlreadyExists { .. }
                    | object_store::Error::Precondition { .. },
                ) => {
                    // A lost answer to our own request looks the same as another's success.
                    let there = self.folder.read(version).await?;
                    if there.tag == self.tag {
                        self.recorded = true;
                        return self.folder.finish(version, there).await;
                    }
                    if self.mode != SaveMode::Append {
                        let what = format!(
                            "another job wrote {} while this one ran; its output is kept, run this one again",
                            self.folder.url
                        );
                        return Err(Error::Write(what));
                    }
                    let listing = self.folder.list().await?;
                    self.base = self.folder.recover(&listing.records).await?;
                    self.check_place(version).await?;
                }
                // It may be there all the same, so the uploads stay: the next write finds out.
                Err(error) => {
                    self.recorded = true;
                    return Err(self.folder.failed("write the commit record of", error));
                }
            }
        }
        let what = format!(
            "{}: other jobs were faster {APPEND_TRIES} times in a row; run this one again",
            self.folder.url
        );
        Err(Error::Write(what))
    }

    /// Whether the files of an append still lie where its table looks for them.
    ///
    /// # Errors
    /// If a commit since `version` moved the table.
    async fn check_place(&self, version: u64) -> Result<()> {
        if self.registration.is_none() {
            return Ok(());
        }
        for version in version..=self.base {
            if self.folder.read(version).await?.replaces {
                let what = format!(
                    "another job overwrote {} while this one appended; its output is kept, run this one again",
                    self.folder.url
                );
                return Err(Error::Write(what));
            }
        }
        Ok(())
    }

    async fn record(&self, files: &[PendingFile]) -> Result<CommitRecord> {
        let mut record = CommitRecord::new(self.tag.clone(), files.to_vec());
        record.replaces = self.mode == SaveMode::Overwrite;
        if record.replaces {
            let keys: Vec<Path> = self
                .folder
                .list()
                .await?
                .data
                .into_iter()
                .map(|meta| meta.location)
                .collect();
            record.remove = replaced(&self.folder.target, &keys, &self.tag, files, self.dynamic);
        }
        record.remove_at = if self.keep_old.is_zero() {
            0
        } else {
            now() + self.keep_old.as_secs()
        };
        let commit = format!("{}{}", self.folder.url, name(self.base + 1));
        record.registration = self
            .registration
            .clone()
            .map(|registration| registration.of_commit(commit, record.replaces));
        record.success_file = self.success_file;
        Ok(record)
    }

    /// Gives up what was uploaded, unless the record may name it already. The folder is as it was.
    pub(crate) async fn abort(&self) {
        if self.recorded {
            return;
        }
        self.folder.sweep(&self.tag, &BTreeSet::new()).await;
    }
}
