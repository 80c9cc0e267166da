//! A folder of an object store: what it holds, and the steps that follow a commit record.
//!
//! Every step can be repeated, and several processes may run the same step at once: the job that
//! commits, the next job, and `faisca clean`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use datafusion::datasource::listing::ListingTableUrl;
use faisca_executor::protocol::PendingFile;
use faisca_executor::storage::{ObjectStores, StaleUpload, Uploads, known_scheme};
use faisca_planner::manifest::SaveMode;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tracing::{debug, warn};

use crate::catalog::{Catalogs, Registration};
use crate::commit_record::{
    CommitRecord, FOLDER, KeptObjects, ReadError, State, is_below, key, version,
};
use crate::error::{Error, Result};
use crate::output::save_mode::{SaveDecision, decide};
use crate::visibility::is_visible;
use crate::write_identity::now;

/// Uploads of one commit that are completed concurrently.
const COMPLETIONS_MAX: usize = 16;
/// Age up to which older records are kept. No running job is expected to read an older one.
const RECORDS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Random bytes in the name of a probe, so that concurrent probes do not meet.
const PROBE_BYTES: usize = 6;

/// A folder of an object store that can be written.
#[derive(Clone)]
pub(crate) struct Folder {
    /// The store of the folder.
    pub(super) objects: Arc<dyn ObjectStore>,
    /// The same store, with its multipart uploads.
    uploads: Arc<dyn Uploads>,
    /// Key prefix of the folder, without a slash at the end.
    pub(super) target: Path,
    /// URL as users and catalogs write it: nothing is escaped, with a slash at the end.
    pub(super) url: String,
    /// The same URL with special characters escaped, for tasks to parse.
    pub(super) escaped: String,
    catalogs: Arc<Catalogs>,
}

/// The objects of a folder, as one listing returned them.
pub(super) struct Listing {
    /// Files that readers see.
    pub(super) data: Vec<ObjectMeta>,
    /// Commit records by version, oldest first.
    pub(super) records: Vec<(u64, ObjectMeta)>,
}

impl Listing {
    /// Keys of the records before version `base` that no job needs any more.
    pub(super) fn old_records(&self, base: u64) -> Vec<String> {
        let is_old = |meta: &ObjectMeta| {
            SystemTime::now()
                .duration_since(meta.last_modified.into())
                .is_ok_and(|age| age > RECORDS_KEPT)
        };
        let old = self
            .records
            .iter()
            .filter(|(version, meta)| *version < base && is_old(meta));
        old.map(|(_, meta)| meta.location.to_string()).collect()
    }
}

impl Folder {
    /// Resolves a URL to a folder. Sends no request.
    ///
    /// # Errors
    /// If the store is unknown or can only be read, or if the URL names a whole bucket.
    pub(crate) fn new(path: &str, stores: &ObjectStores, catalogs: Arc<Catalogs>) -> Result<Self> {
        let path = known_scheme(path);
        let url = ListingTableUrl::parse(format!("{}/", path.trim_end_matches('/')))?;
        let store = stores.get(url.get_url())?;
        let uploads = store.uploads.ok_or_else(|| {
            Error::Write(format!(
                "{path}: `{}://` can be read, but not written",
                url.scheme()
            ))
        })?;
        let target = url.prefix().clone();
        if target.as_ref().is_empty() {
            return Err(Error::Write(format!(
                "{path} is a whole bucket; write to a folder in it"
            )));
        }
        let bucket = url.get_url().host_str().unwrap_or_default();
        let raw = format!("{}://{bucket}/{target}/", url.scheme());
        Ok(Self {
            objects: store.objects,
            uploads,
            target,
            url: raw,
            escaped: url.to_string(),
            catalogs,
        })
    }

    /// A folder of the bucket `lake`, on the test's own store.
    #[cfg(test)]
    pub(super) fn of_test(
        objects: Arc<dyn ObjectStore>,
        uploads: Arc<dyn Uploads>,
        target: &str,
        catalogs: Arc<Catalogs>,
    ) -> Self {
        let url = format!("s3://lake/{target}/");
        Self {
            objects,
            uploads,
            target: Path::from(target),
            escaped: url.clone(),
            url,
            catalogs,
        }
    }

    /// Lists the folder and all folders below it.
    pub(super) async fn list(&self) -> Result<Listing> {
        let all: Vec<ObjectMeta> = self
            .objects
            .list(Some(&self.target))
            .try_collect()
            .await
            .map_err(|e| self.store_error("list", e))?;
        let mut listing = Listing {
            data: vec![],
            records: vec![],
        };
        for meta in all {
            match version(&self.target, &meta.location) {
                Some(version) => listing.records.push((version, meta)),
                None if is_visible(&self.target, &meta.location) => listing.data.push(meta),
                // Markers such as `_SUCCESS` and other hidden objects count as neither.
                None => {}
            }
        }
        listing.records.sort_by_key(|(version, _)| *version);
        Ok(listing)
    }

    /// Sends each kind of request that a write needs: list, write, read, delete, begin an upload,
    /// abort it, and list open uploads. Nothing remains in the folder.
    ///
    /// # Errors
    /// If the save mode forbids the write, or the store rejects a request.
    pub(super) async fn probe(&self, mode: SaveMode) -> Result<()> {
        let listing = self.list().await?;
        self.check_mode(mode, &listing).await?;
        let probe = self
            .target
            .clone()
            .join(FOLDER)
            .join(format!("probe-{}", crate::random::random_hex(PROBE_BYTES)?));
        self.objects
            .put(&probe, PutPayload::from_static(b"faisca plan"))
            .await
            .map_err(|e| self.store_error("write to", e))?;
        let read = self
            .objects
            .get(&probe)
            .await
            .map_err(|e| self.store_error("read from", e));
        // The probe is deleted before an error of the read is returned.
        self.objects
            .delete(&probe)
            .await
            .map_err(|e| self.store_error("delete from", e))?;
        read?;
        let id = self
            .uploads
            .create_multipart(&probe)
            .await
            .map_err(|e| self.store_error("begin an upload in", e))?;
        self.uploads
            .abort_multipart(&probe, &id)
            .await
            .map_err(|e| self.store_error("abort an upload in", e))?;
        self.list_unfinished().await.map(drop)
    }

    /// Decides by the save mode whether a write runs. Replaced files that are still kept are no
    /// reason against one.
    ///
    /// # Errors
    /// If the mode does not allow the files that exist, or the newest record cannot be read.
    pub(super) async fn check_mode(
        &self,
        mode: SaveMode,
        listing: &Listing,
    ) -> Result<SaveDecision> {
        // Only these modes depend on the files.
        let has_files = match (mode, listing.records.last()) {
            (SaveMode::Overwrite | SaveMode::Append, _) => false,
            (SaveMode::ErrorIfExists | SaveMode::Ignore, None) => !listing.data.is_empty(),
            (SaveMode::ErrorIfExists | SaveMode::Ignore, Some((newest, _))) => {
                let kept = self.kept_objects(*newest).await?;
                let kept: BTreeSet<&str> = kept
                    .iter()
                    .flat_map(|kept| kept.keys.iter().map(String::as_str))
                    .collect();
                let mut data = listing.data.iter();
                data.any(|meta| !kept.contains(meta.location.as_ref()))
            }
        };
        decide(mode, has_files, format!("{} already exists", self.url))
    }

    /// Reads the record of a version, and checks it.
    ///
    /// # Errors
    /// If it does not exist, cannot be parsed, or names anything outside of the folder, or if the
    /// store fails.
    pub(super) async fn read(&self, version: u64) -> Result<CommitRecord> {
        let read = CommitRecord::read(&self.objects, &self.target, version).await;
        let checked = read.and_then(|record| {
            record.check_table(&self.url, version)?;
            Ok(record)
        });
        checked.map_err(|e| match e {
            ReadError::Store(error) => self.store_error("read the commit record of", error),
            ReadError::Record(error) => Error::CommitRecord {
                url: self.url.clone(),
                key: key(&self.target, version).to_string(),
                source: error.into(),
            },
        })
    }

    /// Refuses to move a table of another folder to this one because a record says so.
    ///
    /// `own` is the table that this process writes to the folder, if any: the user has named it.
    ///
    /// # Errors
    /// If the table is at another location and is not `own`, or the catalog fails.
    async fn check_table(&self, record: &CommitRecord, own: Option<&Registration>) -> Result<()> {
        let Some(registration) = &record.registration else {
            return Ok(());
        };
        if own.is_some_and(|own| own.names_same_table(registration)) {
            return Ok(());
        }
        match self.catalogs.present_location(registration).await? {
            Some(location) if !is_below(&self.url, &location) => Err(Error::Write(format!(
                "{}: an interrupted commit would move the table {}.{} from {location}; run its job again \
                 to finish it, or remove its record in {FOLDER}/",
                self.url, registration.database, registration.table.name
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// Writes the record of a version. [`PutMode::Create`] fails if the record exists already.
    ///
    /// Returns the error of the store unchanged, since the caller needs its kind.
    pub(super) async fn put(
        &self,
        version: u64,
        record: &CommitRecord,
        mode: PutMode,
    ) -> object_store::Result<()> {
        let json = serde_json::to_vec(record).map_err(|e| object_store::Error::Generic {
            store: "commit record",
            source: e.into(),
        })?;
        self.objects
            .put_opts(
                &key(&self.target, version),
                json.into(),
                PutOptions::from(mode),
            )
            .await
            .map(drop)
    }

    /// Completes the newest record if its job died, and returns the version that the next commit
    /// follows. Zero if there is no record.
    ///
    /// Also removes replaced files whose retention has ended. Only the newest record can be
    /// unfinished: a writer completes it before it creates the next one. `own` is the table that
    /// this process writes to the folder, if any.
    ///
    /// # Errors
    /// If the record cannot be read or completed, or would move a table of another folder.
    pub(super) async fn recover(
        &self,
        records: &[(u64, ObjectMeta)],
        own: Option<&Registration>,
    ) -> Result<u64> {
        let Some((newest, _)) = records.last() else {
            return Ok(0);
        };
        let mut record = self.read(*newest).await?;
        if record.state != State::Done {
            self.check_table(&record, own).await?;
            warn!(
                "{}: finishing the commit of a job that was interrupted",
                self.url
            );
            if let Err(error) = self.finish(*newest, record.clone()).await {
                // An error alone proves nothing: the store or the catalog may be unavailable for a
                // moment.
                if !self.has_lost_files(&record).await? {
                    return Err(error);
                }
                self.undo(*newest, &record).await?;
                return Ok(newest - 1);
            }
            return Ok(*newest);
        }
        let due = record.take_due(now());
        if !due.is_empty() {
            self.remove(&due).await?;
            self.put(*newest, &record, PutMode::Overwrite)
                .await
                .map_err(|e| self.store_error("write to", e))?;
        }
        Ok(*newest)
    }

    /// Returns the objects that the commits up to version `base` replaced and that are still kept.
    ///
    /// # Errors
    /// If the record of `base` cannot be read.
    async fn kept_objects(&self, base: u64) -> Result<Vec<KeptObjects>> {
        let record = self.base_record(base).await?;
        Ok(record.map_or_else(Vec::new, |record| record.all_kept()))
    }

    /// Reads the record of the version that a commit follows, if there is one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) async fn base_record(&self, base: u64) -> Result<Option<CommitRecord>> {
        if base == 0 {
            return Ok(None);
        }
        match self.read(base).await {
            Ok(record) => Ok(Some(record)),
            // An undone commit may follow a record that was old enough to be removed.
            Err(Error::Store {
                source: object_store::Error::NotFound { .. },
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists the uploads below the folder that are neither completed nor aborted.
    pub(super) async fn list_unfinished(&self) -> Result<Vec<StaleUpload>> {
        self.uploads
            .list_unfinished(&self.target)
            .await
            .map_err(|e| self.store_error("list open uploads of", e))
    }

    /// Aborts an upload, which removes its parts from the store.
    pub(super) async fn abort_upload(&self, upload: &StaleUpload) -> Result<()> {
        self.uploads
            .abort_multipart(&upload.path, &upload.id)
            .await
            .map_err(|e| self.store_error("abort an upload of", e))
    }

    /// Runs all steps that follow the creation of a record. Can be repeated, also by two processes
    /// at once.
    ///
    /// Replaced files are removed only after the new ones are complete and registered, so a reader
    /// always finds at least one of the two.
    ///
    /// # Errors
    /// If an upload cannot be completed, or the store or the catalog fails. The record then says
    /// which step is next.
    pub(super) async fn finish(&self, version: u64, mut record: CommitRecord) -> Result<()> {
        if record.state == State::Completing {
            let completions: Vec<BoxFuture<'_, Result<()>>> = record
                .files
                .iter()
                .map(|file| self.complete(file).boxed())
                .collect();
            if let Err(error) = futures::stream::iter(completions)
                .buffer_unordered(COMPLETIONS_MAX)
                .try_collect::<()>()
                .await
            {
                // A later writer may have finished this commit for us and replaced its files since.
                // Then its uploads are unknown, and its files do not exist any more.
                return if self.read(version).await?.state == State::Done {
                    Ok(())
                } else {
                    Err(error)
                };
            }
            if let Some(registration) = &record.registration {
                self.catalogs.register(registration).await?;
            }
            record.state = State::Removing;
            // Without files to remove, the write of the final state below is enough.
            if !record.remove.is_empty() {
                self.put(version, &record, PutMode::Overwrite)
                    .await
                    .map_err(|e| self.store_error("write to", e))?;
            }
        }
        // The record keeps the list of the others, and a later writer removes them.
        self.remove(&record.take_due(now())).await?;
        if record.success_file {
            let marker = self.target.clone().join("_SUCCESS");
            self.objects
                .put(&marker, PutPayload::new())
                .await
                .map_err(|e| self.store_error("write to", e))?;
        }
        let winners: BTreeSet<String> = record
            .files
            .iter()
            .filter_map(|f| f.upload.as_ref().map(|u| u.id.clone()))
            .collect();
        self.sweep(&record.tag, &winners).await;
        self.put(version, &record.into_ended(), PutMode::Overwrite)
            .await
            .map_err(|e| self.store_error("write to", e))
    }

    /// Whether a file can never be completed: it does not exist, and its upload was aborted. Stores
    /// can be configured to abort old uploads.
    async fn has_lost_files(&self, record: &CommitRecord) -> Result<bool> {
        // In later states all files were completed once; replaced files may be removed already.
        if record.state != State::Completing {
            return Ok(false);
        }
        let open = self.list_unfinished().await?;
        for file in record.files.iter().filter(|f| {
            f.upload
                .as_ref()
                .is_some_and(|upload| !open.iter().any(|o| o.id == upload.id))
        }) {
            // Only "not found" proves that the file is missing. Other errors may be temporary.
            if let Err(object_store::Error::NotFound { .. }) =
                self.objects.head(&self.path(&file.path)?).await
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Undoes a commit that can never be finished: removes its files, its uploads and its record.
    /// Old files are still there, since they are removed only after all new ones are complete.
    ///
    /// The record is removed last, so that an interrupted undo is repeated.
    ///
    /// # Errors
    /// If a file or the record cannot be removed.
    async fn undo(&self, version: u64, record: &CommitRecord) -> Result<()> {
        warn!(
            "{}: another program aborted the uploads of the last commit; undoing that commit",
            self.url
        );
        let files: Vec<String> = record
            .files
            .iter()
            .map(|f| self.path(&f.path).map(|p| p.to_string()))
            .collect::<Result<_>>()?;
        self.remove(&files).await?;
        self.sweep(&record.tag, &BTreeSet::new()).await;
        self.remove(&[key(&self.target, version).to_string()]).await
    }

    /// Completes the upload of a file, which makes it visible. Does nothing for a file without an
    /// upload.
    ///
    /// # Errors
    /// If the upload cannot be completed, and the file does not exist in full.
    async fn complete(&self, file: &PendingFile) -> Result<()> {
        let Some(upload) = &file.upload else {
            return Ok(());
        };
        let key = self.path(&file.path)?;
        let parts = upload
            .parts
            .iter()
            .map(|id| PartId {
                content_id: id.clone(),
            })
            .collect();
        match self
            .uploads
            .complete_multipart(&key, &upload.id, parts)
            .await
        {
            Ok(_) => Ok(()),
            // Another process may have completed it. So may this one, if the response was lost.
            Err(error) => match self.objects.head(&key).await {
                Ok(meta) if meta.size == file.bytes => Ok(()),
                _ => Err(self.store_error("complete a file of", error)),
            },
        }
    }

    /// Returns the key of a path below the folder.
    fn path(&self, relative: &str) -> Result<Path> {
        self.parse_key(&format!("{}/{relative}", self.target))
    }

    fn parse_key(&self, key: &str) -> Result<Path> {
        Path::parse(key).map_err(|e| self.store_error("use a key of", e.into()))
    }

    /// Removes objects by their keys. Ignores those that do not exist, so that it can be repeated.
    ///
    /// # Errors
    /// If the store refuses to remove one. Others may be removed already.
    pub(super) async fn remove(&self, keys: &[String]) -> Result<()> {
        let paths: Vec<Path> = keys
            .iter()
            .map(|key| self.parse_key(key))
            .collect::<Result<_>>()?;
        let mut removed = self
            .objects
            .delete_stream(futures::stream::iter(paths).map(Ok).boxed());
        while let Some(outcome) = removed.next().await {
            match outcome {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.store_error("remove replaced files of", error)),
            }
        }
        Ok(())
    }

    /// Aborts the open uploads of the write with this tag, except those with an id in `kept`: they
    /// belong to attempts that lost or were killed.
    ///
    /// Errors are only logged. Readers do not see the uploads, and `faisca clean` finds them later.
    pub(super) async fn sweep(&self, tag: &str, kept: &BTreeSet<String>) {
        let open = match self.uploads.list_unfinished(&self.target).await {
            Ok(open) => open,
            Err(error) => {
                return warn!(
                    "{}: aborted uploads cannot be listed; `faisca clean` finds them later: {error}",
                    self.url
                );
            }
        };
        for upload in open
            .into_iter()
            .filter(|u| u.path.as_ref().contains(tag) && !kept.contains(&u.id))
        {
            if let Err(error) = self.uploads.abort_multipart(&upload.path, &upload.id).await {
                debug!("{}: {error}", upload.path);
            }
        }
    }

    /// Adds the action and the folder to an error of the store.
    pub(super) fn store_error(&self, action: &'static str, source: object_store::Error) -> Error {
        Error::Store {
            action,
            url: self.url.clone(),
            source,
        }
    }
}
