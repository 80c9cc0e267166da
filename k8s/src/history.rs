//! Logs of pods, kept where the end of a pod does not reach.
//!
//! At the end of the session the driver fetches the logs of its executors, and its own, from the API server. A pod that
//! is deleted takes its log with it, so the driver reads along as well: what it has read by then is kept.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use faisca_driver::{Error, Result};
use faisca_executor::stores::Stores;
use futures::{AsyncReadExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, Client};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::warn;
use url::Url;

use crate::application::Application;
use crate::operator::explained;

/// The setting that names the folder.
pub(crate) const SETTING: &str = "faisca.history.path";
/// Logs fetched side by side.
const AT_ONCE: usize = 16;
/// Of a longer log the beginning is kept: the API server has no other way.
const LOG_BYTES_MAX: i64 = 64 << 20;
/// Reading along holds the log in memory, one for each executor.
const FOLLOWED_BYTES_MAX: i64 = 8 << 20;
/// Last lines of a pod that has ended are waited for so long: the stream of a deleted one may never end.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Where the logs of one attempt go: `<folder>/<namespace>/<application>/<identity>/<attempt>/<pod>.log`.
#[derive(Clone)]
pub(crate) struct History {
    pods: Api<Pod>,
    objects: Arc<dyn ObjectStore>,
    folder: Path,
    followers: Arc<Mutex<JoinSet<()>>>,
}

impl History {
    /// `None` where nobody asked for it.
    ///
    /// # Errors
    /// If the folder is none of an object store.
    pub(crate) fn of(
        application: &Application,
        attempt: u32,
        client: &Client,
    ) -> Result<Option<Self>> {
        let Some(folder) = application.spec().conf.get(SETTING) else {
            return Ok(None);
        };
        let wrong = |why: &dyn std::fmt::Display| {
            Error::Plan(format!(
                "spec.conf.{SETTING}: {folder}: {why}; give a folder as in s3://bucket/history"
            ))
        };
        let url = Url::parse(folder).map_err(|e| wrong(&e))?;
        let store = Stores::new(application.spec().stores.clone())
            .get(&url)
            .map_err(|e| wrong(&e))?;
        let base = Path::from_url_path(url.path()).map_err(|e| wrong(&e))?;
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
        }))
    }

    /// Keeps the log of a pod's container as it is now. A job never fails for want of its log.
    pub(crate) async fn keep(&self, pod: &str, container: &str) {
        match self.pods.logs(pod, &params(container, LOG_BYTES_MAX)).await {
            Ok(log) => self.put(pod, log.into()).await,
            Err(error) => warn!("the log of {pod} is not kept: {}", explained(&error)),
        }
    }

    /// Reads along from now on. What was read is kept once the sender says that the pod has ended; nothing if it is
    /// dropped before: who stops fetches the logs of pods that are there.
    pub(crate) fn follow(&self, pod: String, container: &'static str) -> oneshot::Sender<()> {
        let (sender, mut ended) = oneshot::channel();
        let history = self.clone();
        let mut followers = self
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        followers.spawn(async move {
            let mut log = vec![];
            let told = {
                let mut read = pin!(history.read_along(&pod, container, &mut log));
                tokio::select! {
                    () = &mut read => ended.await,
                    told = &mut ended => {
                        let _ = tokio::time::timeout(LAST_LINES, read).await;
                        told
                    }
                }
            };
            if told.is_err() {
                return;
            }
            history.put(&pod, log.into()).await;
        });
        sender
    }

    async fn read_along(&self, pod: &str, container: &str, log: &mut Vec<u8>) {
        let followed = LogParams {
            follow: true,
            ..params(container, FOLLOWED_BYTES_MAX)
        };
        let mut stream = match self.pods.log_stream(pod, &followed).await {
            Ok(stream) => pin!(stream),
            Err(error) => return warn!("the log of {pod} is not kept: {}", explained(&error)),
        };
        let mut chunk = vec![0; 16 << 10];
        // What came before a broken connection is worth keeping.
        while let Ok(count @ 1..) = stream.read(&mut chunk).await {
            log.extend_from_slice(&chunk[..count]);
        }
    }

    /// Waits for the logs of pods that have ended.
    pub(crate) async fn followed(&self) {
        let mut followers = std::mem::take(
            &mut *self
                .followers
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        while followers.join_next().await.is_some() {}
    }

    async fn put(&self, pod: &str, log: PutPayload) {
        let file = self.folder.clone().join(format!("{pod}.log"));
        if let Err(error) = self.objects.put(&file, log).await {
            warn!("the log of {pod} is not kept: {error}");
        }
    }

    /// Keeps the logs of many.
    pub(crate) async fn keep_all(&self, pods: impl IntoIterator<Item = String>, container: &str) {
        futures::stream::iter(pods)
            .for_each_concurrent(AT_ONCE, async |pod| self.keep(&pod, container).await)
            .await;
    }
}

fn params(container: &str, bytes_max: i64) -> LogParams {
    LogParams {
        container: Some(container.to_owned()),
        limit_bytes: Some(bytes_max),
        timestamps: true,
        ..LogParams::default()
    }
}
