//! Stores the logs of pods and the journal of the run in an object store, where they outlive the
//! pods.
//!
//! At the end of the session the driver fetches the logs of its executors, and its own, from the
//! API server. The log of a pod that is deleted earlier is lost there, so the driver also follows
//! the log of each executor, and stores what it has read when the pod ends.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use faisca_driver::{BoxedError, Error, Result, journal, report};
use faisca_executor::storage::ObjectStores;
use futures::{AsyncReadExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, Client};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tracing::warn;
use url::Url;

use crate::application::Application;
use crate::error::explain_api_error;

/// Name of the setting for the folder.
pub(crate) const SETTING: &str = "faisca.history.path";
/// Number of logs fetched concurrently.
const CONCURRENCY: usize = 16;
/// Maximum number of bytes stored of one log. Of a longer log the beginning is stored, because
/// `limitBytes` of the API server cuts off the end.
const LOG_BYTES_MAX: i64 = 64 << 20;
/// Maximum number of bytes followed of one log. They stay in memory until its pod ends.
const FOLLOWED_BYTES_MAX: i64 = 8 << 20;
/// Maximum number of bytes followed of all logs together.
const FOLLOWED_BYTES_TOTAL: usize = 64 << 20;
/// Note at the end of a log that was not followed to its end.
const CUT_NOTE: &str =
    "\n(the driver holds no more of this log: the logs of all executors are long)\n";
/// How long to wait for the last lines of a pod that has ended: its stream may never end.
const LAST_LINES_TIMEOUT: Duration = Duration::from_secs(2);

/// Stores the logs of one attempt as
/// `<folder>/<namespace>/<application>/<uid>/<attempt>/<pod>.log`, and its journal and report
/// beside them.
#[derive(Clone)]
pub(crate) struct History {
    pods: Api<Pod>,
    objects: Arc<dyn ObjectStore>,
    folder: Path,
    followers: Arc<Mutex<JoinSet<()>>>,
    /// Bytes that the followers may still hold.
    followable: Arc<Semaphore>,
}

impl History {
    /// Creates the history of an attempt. `None` if the application does not set [`SETTING`].
    ///
    /// # Errors
    /// If the setting is not a folder of an object store.
    pub(crate) fn new(
        application: &Application,
        attempt: u32,
        client: &Client,
    ) -> Result<Option<Self>> {
        let Some(folder) = application.spec().conf.get(SETTING) else {
            return Ok(None);
        };
        let url = Url::parse(folder).map_err(|e| invalid_folder(folder, e))?;
        let store = ObjectStores::new(application.spec().stores.clone())
            .get(&url)
            .map_err(|e| invalid_folder(folder, e))?;
        let base = Path::from_url_path(url.path()).map_err(|e| invalid_folder(folder, e))?;
        let parts = [
            &application.namespace,
            &application.name,
            &application.owner.uid,
            &attempt.to_string(),
        ];
        let folder = parts
            .into_iter()
            .fold(base, |path, part| path.join(part.as_str()));
        Ok(Some(Self {
            pods: Api::namespaced(client.clone(), &application.namespace),
            objects: store.objects,
            folder,
            followers: Arc::default(),
            followable: Arc::new(Semaphore::new(FOLLOWED_BYTES_TOTAL)),
        }))
    }

    /// Stores the current log of a pod's container. A failure is logged and never fails the job.
    pub(crate) async fn store(&self, pod: &str, container: &str) {
        match self.pods.logs(pod, &params(container, LOG_BYTES_MAX)).await {
            Ok(log) => self.put(pod, log.into()).await,
            Err(error) => warn!(
                "cannot store the log of {pod}: {}",
                explain_api_error(&error)
            ),
        }
    }

    /// Follows a log from now on, and stores it once the returned sender reports the pod's end.
    ///
    /// Dropping the sender stores nothing: at the end of a session the logs of the pods that still
    /// exist are fetched by [`Self::store_all`].
    pub(crate) fn follow(&self, pod: String, container: &'static str) -> oneshot::Sender<()> {
        let (sender, mut pod_end) = oneshot::channel();
        let history = self.clone();
        let mut followers = self.followers.lock();
        followers.spawn(async move {
            let mut log = FollowedLog::new(Arc::clone(&history.followable));
            let end = {
                let mut read = pin!(history.read_to_end(&pod, container, &mut log));
                tokio::select! {
                    () = &mut read => pod_end.await,
                    end = &mut pod_end => {
                        let _ = tokio::time::timeout(LAST_LINES_TIMEOUT, read).await;
                        end
                    }
                }
            };
            if end.is_ok() {
                history.put(&pod, log.bytes.into()).await;
            }
        });
        sender
    }

    /// Appends a container's log to `log` until the stream ends or breaks.
    async fn read_to_end(&self, pod: &str, container: &str, log: &mut FollowedLog) {
        let followed = LogParams {
            follow: true,
            ..params(container, FOLLOWED_BYTES_MAX)
        };
        let mut stream = match self.pods.log_stream(pod, &followed).await {
            Ok(stream) => pin!(stream),
            Err(error) => {
                return warn!(
                    "cannot store the log of {pod}: {}",
                    explain_api_error(&error)
                );
            }
        };
        let mut chunk = vec![0; 16 << 10];
        // If the connection breaks, what was read so far is still stored.
        while let Ok(count @ 1..) = stream.read(&mut chunk).await {
            if log.push(&chunk[..count]).is_err() {
                return;
            }
        }
    }

    /// Waits until the followed logs of all pods that have ended are stored.
    pub(crate) async fn finish_following(&self) {
        let mut followers = std::mem::take(&mut *self.followers.lock());
        while followers.join_next().await.is_some() {}
    }

    /// Stores the journal as `journal.jsonl`, unless it still has the `stored` bytes of the last
    /// time. Returns the journal, which is empty before the session has one.
    pub(crate) async fn store_journal(&self, stored: usize) -> Vec<u8> {
        let journal = tokio::fs::read(journal_file()).await.unwrap_or_default();
        if journal.len() != stored {
            self.put_file("journal.jsonl", journal.clone().into()).await;
        }
        journal
    }

    /// Stores the complete journal, and the page made of it as `report.html`.
    pub(crate) async fn store_report(&self) {
        let journal = self.store_journal(0).await;
        if journal.is_empty() {
            return;
        }
        match journal::read(&String::from_utf8_lossy(&journal)) {
            Ok(run) => {
                self.put_file("report.html", report::render(&run).into())
                    .await;
            }
            Err(error) => warn!("cannot report the run: {error}"),
        }
    }

    async fn put(&self, pod: &str, log: PutPayload) {
        self.put_file(&format!("{pod}.log"), log).await;
    }

    async fn put_file(&self, name: &str, content: PutPayload) {
        let file = self.folder.clone().join(name);
        if let Err(error) = self.objects.put(&file, content).await {
            warn!("cannot store {name}: {error}");
        }
    }

    /// Stores the current logs of several pods, concurrently.
    pub(crate) async fn store_all(&self, pods: impl IntoIterator<Item = String>, container: &str) {
        futures::stream::iter(pods)
            .for_each_concurrent(CONCURRENCY, async |pod| self.store(&pod, container).await)
            .await;
    }
}

/// The part of a log that the driver holds, within the bytes that all followers share.
struct FollowedLog {
    bytes: Vec<u8>,
    followable: Arc<Semaphore>,
    /// Bytes taken from `followable`; returned when the log is dropped.
    permit: Option<OwnedSemaphorePermit>,
}

/// The followers already hold the maximum number of bytes.
#[derive(Debug)]
struct LogCut;

impl FollowedLog {
    fn new(followable: Arc<Semaphore>) -> Self {
        Self {
            bytes: vec![],
            followable,
            permit: None,
        }
    }

    /// Appends a chunk, or [`CUT_NOTE`] in its place if the followers hold too many bytes.
    fn push(&mut self, chunk: &[u8]) -> Result<(), LogCut> {
        let count = u32::try_from(chunk.len()).map_err(|_| LogCut)?;
        let Ok(chunk_permit) = Arc::clone(&self.followable).try_acquire_many_owned(count) else {
            self.bytes.extend_from_slice(CUT_NOTE.as_bytes());
            return Err(LogCut);
        };
        match &mut self.permit {
            Some(permit) => permit.merge(chunk_permit),
            None => self.permit = Some(chunk_permit),
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }
}

fn invalid_folder(folder: &str, source: impl Into<BoxedError>) -> Error {
    Error::setting(format!(
        "spec.conf.{SETTING}, a folder such as s3://bucket/history: {folder}"
    ))(source)
}

/// Returns the file of the journal in the driver's container.
pub(crate) fn journal_file() -> PathBuf {
    std::env::temp_dir().join("faisca-journal.jsonl")
}

fn params(container: &str, bytes_max: i64) -> LogParams {
    LogParams {
        container: Some(container.to_owned()),
        limit_bytes: Some(bytes_max),
        timestamps: true,
        ..LogParams::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn followed_logs_share_a_bound_and_return_it() {
        let followable = Arc::new(Semaphore::new(10));
        let mut first = FollowedLog::new(Arc::clone(&followable));
        let mut second = FollowedLog::new(Arc::clone(&followable));
        first.push(b"1234567").unwrap();
        second.push(b"abcd").unwrap_err();
        assert_eq!(second.bytes, CUT_NOTE.as_bytes());
        first.push(b"890").unwrap();
        drop(first);
        second.push(b"abcd").unwrap();
        assert!(second.bytes.ends_with(b"abcd"));
    }
}
