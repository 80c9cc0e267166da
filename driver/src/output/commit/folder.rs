//! A folder of an object store: what is there, and how a commit's record is brought to its end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use datafusion::datasource::listing::ListingTableUrl;
use faisca_executor::protocol::PendingFile;
use faisca_executor::storage::{StaleUpload, Stores, Uploads, known_scheme};
use faisca_planner::manifest::SaveMode;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tracing::{debug, warn};

use super::record::{CommitRecord, FOLDER, State, is_data, key, version};
use crate::catalog::Catalogs;
use crate::error::{Error, Result};
use crate::output::save_mode::{SaveDecision, decide};

/// Uploads completed at once.
const COMPLETIONS_MAX: usize = 16;
/// Records of older versions are kept so long: no job that still runs has read an older one.
const RECORDS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Random bytes in the name of a probe.
const PROBE_BYTES: usize = 6;

/// A folder of an object store.
#[derive(Clone)]
pub(crate) struct Folder {
    pub(super) objects: Arc<dyn ObjectStore>,
    uploads: Arc<dyn Uploads>,
    pub(super) target: Path,
    /// As its user knows it, and catalogs do: nothing is escaped, a slash at its end.
    pub(super) url: String,
    /// The same as a URL.
    pub(super) escaped: String,
    catalogs: Arc<Catalogs>,
}

/// What a folder held at one moment.
pub(super) struct Listing {
    pub(super) data: Vec<ObjectMeta>,
    pub(super) records: Vec<(u64, ObjectMeta)>,
}

impl Listing {
    /// Records before `base` that no job needs any more.
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
    pub(crate) fn new(path: &str, stores: &Stores, catalogs: Arc<Catalogs>) -> Result<Self> {
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

    pub(super) async fn list(&self) -> Result<Listing> {
        let all: Vec<ObjectMeta> = self
            .objects
            .list(Some(&self.target))
            .try_collect()
            .await
            .map_err(|e| self.failed("list", e))?;
        let mut listing = Listing {
            data: vec![],
            records: vec![],
        };
        for meta in all {
            match version(&self.target, &meta.location) {
                Some(version) => listing.records.push((version, meta)),
                None if is_data(&self.target, &meta.location) => listing.data.push(meta),
                None => {}
            }
        }
        listing.records.sort_by_key(|(version, _)| *version);
        Ok(listing)
    }

    /// Lists, writes, reads, deletes, begins an upload and aborts it.
    pub(super) async fn probe(&self, mode: SaveMode) -> Result<()> {
        let listing = self.list().await?;
        self.check_mode(mode, &listing)?;
        let probe = self
            .target
            .clone()
            .join(FOLDER)
            .join(format!("probe-{}", crate::random::random_hex(PROBE_BYTES)?));
        self.objects
            .put(&probe, PutPayload::from_static(b"faisca plan"))
            .await
            .map_err(|e| self.failed("write to", e))?;
        let read = self
            .objects
            .get(&probe)
            .await
            .map_err(|e| self.failed("read from", e));
        self.objects
            .delete(&probe)
            .await
            .map_err(|e| self.failed("delete from", e))?;
        read?;
        let id = self
            .uploads
            .create_multipart(&probe)
            .await
            .map_err(|e| self.failed("begin an upload in", e))?;
        self.uploads
            .abort_multipart(&probe, &id)
            .await
            .map_err(|e| self.failed("abort an upload in", e))?;
        self.unfinished().await.map(drop)
    }

    /// Decides by the save mode whether a write runs.
    ///
    /// # Errors
    /// If the mode does not allow the files that exist.
    pub(super) fn check_mode(&self, mode: SaveMode, listing: &Listing) -> Result<SaveDecision> {
        let existing = format!("{} already exists", self.url);
        decide(mode, !listing.data.is_empty(), existing)
    }

    pub(super) async fn read(&self, version: u64) -> Result<CommitRecord> {
        let at = key(&self.target, version);
        let json = async { self.objects.get(&at).await?.bytes().await }
            .await
            .map_err(|e| self.failed("read the commit record of", e))?;
        CommitRecord::parse(&json).map_err(|e| {
            Error::Write(format!(
                "{}: the commit record {at} cannot be read: {e}",
                self.url
            ))
        })
    }

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

    /// Brings the newest record to its end, and removes old files whose time has come.
    pub(super) async fn recover(&self, records: &[(u64, ObjectMeta)]) -> Result<u64> {
        let Some((newest, _)) = records.last() else {
            return Ok(0);
        };
        let mut record = self.read(*newest).await?;
        if record.state != State::Done {
            warn!(
                "{}: finishing the commit of a job that was interrupted",
                self.url
            );
            if let Err(error) = self.finish(*newest, record.clone()).await {
                if !self.has_lost_files(&record).await? {
                    return Err(error);
                }
                self.undo(*newest, &record).await?;
                return Ok(newest - 1);
            }
        } else if !record.remove.is_empty() && record.remove_at <= now() {
            self.remove(&record.remove).await?;
            record.remove.clear();
            self.put(*newest, &record, PutMode::Overwrite)
                .await
                .map_err(|e| self.failed("write to", e))?;
        }
        Ok(*newest)
    }

    pub(super) async fn unfinished(&self) -> Result<Vec<StaleUpload>> {
        self.uploads
            .unfinished(&self.target)
            .await
            .map_err(|e| self.failed("list open uploads of", e))
    }

    pub(super) async fn abort_upload(&self, upload: &StaleUpload) -> Result<()> {
        self.uploads
            .abort_multipart(&upload.path, &upload.id)
            .await
            .map_err(|e| self.failed("abort an upload of", e))
    }

    /// All that follows a record. May be taken again, and by two at once.
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
                // A later writer may have finished this commit for us, and replaced its files since.
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
            if !record.remove.is_empty() {
                self.put(version, &record, PutMode::Overwrite)
                    .await
                    .map_err(|e| self.failed("write to", e))?;
            }
        }
        if record.remove_at <= now() {
            self.remove(&record.remove).await?;
            record.remove.clear();
        }
        if record.success_file {
            let marker = self.target.clone().join("_SUCCESS");
            self.objects
                .put(&marker, PutPayload::new())
                .await
                .map_err(|e| self.failed("write to", e))?;
        }
        let winners: BTreeSet<String> = record
            .files
            .iter()
            .filter_map(|f| f.upload.as_ref().map(|u| u.id.clone()))
            .collect();
        self.sweep(&record.tag, &winners).await;
        self.put(version, &record.ended(), PutMode::Overwrite)
            .await
            .map_err(|e| self.failed("write to", e))
    }

    /// Whether a file can be completed no more: somebody aborted its upload.
    async fn has_lost_files(&self, record: &CommitRecord) -> Result<bool> {
        if record.state != State::Completing {
            return Ok(false);
        }
        let open = self.unfinished().await?;
        for file in record.files.iter().filter(|f| {
            f.upload
                .as_ref()
                .is_some_and(|upload| !open.iter().any(|o| o.id == upload.id))
        }) {
            if let Err(object_store::Error::NotFound { .. }) =
                self.objects.head(&self.path(&file.path)?).await
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes a commit back that can never be finished.
    async fn undo(&self, version: u64, record: &CommitRecord) -> Result<()> {
        warn!(
            "{}: its uploads were aborted by somebody: undoing that commit",
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

    async fn complete(&self, file: &PendingFile) -> Result<()> {
        let Some(upload) = &file.upload else {
            return Ok(());
        };
        let at = self.path(&file.path)?;
        let parts = upload
            .parts
            .iter()
            .map(|id| PartId {
                content_id: id.clone(),
            })
            .collect();
        match self
            .uploads
            .complete_multipart(&at, &upload.id, parts)
            .await
        {
            Ok(_) => Ok(()),
            // Another may have completed it, or we ourselves before an answer was lost.
            Err(error) => match self.objects.head(&at).await {
                Ok(meta) if meta.size == file.bytes => Ok(()),
                _ => Err(self.failed("complete a file of", error)),
            },
        }
    }

    fn path(&self, below: &str) -> Result<Path> {
        Path::parse(format!("{}/{below}", self.target)).map_err(|e| Error::Write(e.to_string()))
    }

    pub(super) async fn remove(&self, keys: &[String]) -> Result<()> {
        let paths: Vec<Path> = keys
            .iter()
            .map(|key| Path::parse(key).map_err(|e| Error::Write(e.to_string())))
            .collect::<Result<_>>()?;
        let mut removed = self
            .objects
            .delete_stream(futures::stream::iter(paths).map(Ok).boxed());
        while let Some(outcome) = removed.next().await {
            match outcome {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.failed("remove replaced files of", error)),
            }
        }
        Ok(())
    }

    /// Aborts the uploads of a write but for some: those of attempts that lost, or were killed.
    pub(super) async fn sweep(&self, tag: &str, but: &BTreeSet<String>) {
        let open = match self.uploads.unfinished(&self.target).await {
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
            .filter(|u| u.path.as_ref().contains(tag) && !but.contains(&u.id))
        {
            if let Err(error) = self.uploads.abort_multipart(&upload.path, &upload.id).await {
                debug!("{}: {error}", upload.path);
            }
        }
    }

    pub(super) fn failed(&self, action: &'static str, source: object_store::Error) -> Error {
        Error::Store {
            action,
            url: self.url.clone(),
            source,
        }
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
