//! Logs of pods, kept where the end of a pod does not reach.
//!
//! At the end of the session the driver fetches the logs of its executors, and its own, from the API server. Before that
//! it reads along, for executors that end earlier; a pod that is deleted may take its log with it all the same.

use std::pin::pin;
use std::sync::Arc;

use faisca_driver::{Error, Result};
use faisca_executor::stores::Stores;
use futures::{AsyncReadExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, Client};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
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

/// Where the logs of one attempt go: `<folder>/<namespace>/<application>/<identity>/<attempt>/<pod>.log`.
#[derive(Clone)]
pub(crate) struct History {
    pods: Api<Pod>,
    objects: Arc<dyn ObjectStore>,
    folder: Path,
}

impl History {
    /// `None` where nobody asked for it.
    ///
    /// # Errors
    /// If the folder is none of an object store.
    pub(crate) fn of(application: &Application, attempt: u32, client: &Client) -> Result<Option<Self>> {
        let Some(folder) = application.spec().conf.get(SETTING) else { return Ok(None) };
        let wrong =
            |why: &dyn std::fmt::Display| Error::Plan(format!("spec.conf.{SETTING}: {folder}: {why}; give a folder as in s3://bucket/history"));
        let url = Url::parse(folder).map_err(|e| wrong(&e))?;
        let store = Stores::new(application.spec().stores.clone()).get(&url).map_err(|e| wrong(&e))?;
        let base = Path::from_url_path(url.path()).map_err(|e| wrong(&e))?;
        let parts = [&application.namespace, &application.name, &application.owner.uid, &attempt.to_string()];
        let folder = parts.into_iter().fold(base, |path, part| path.join(part.as_str()));
        Ok(Some(Self { pods: Api::namespaced(client.clone(), &application.namespace), objects: store.objects, folder }))
    }

    /// Keeps the log of a pod's container as it is now. A job never fails for want of its log.
    pub(crate) async fn keep(&self, pod: &str, container: &str) {
        match self.pods.logs(pod, &params(container)).await {
            Ok(log) => self.put(pod, log.into()).await,
            Err(error) => warn!("the log of {pod} is not kept: {}", explained(&error)),
        }
    }

    /// Reads along until the container's end, however it ends, and keeps what it wrote.
    pub(crate) async fn follow(&self, pod: &str, container: &str) {
        let mut log = vec![];
        let read = async {
            let stream = self.pods.log_stream(pod, &LogParams { follow: true, ..params(container) }).await?;
            // What came before a broken connection is worth keeping.
            let _ = pin!(stream).read_to_end(&mut log).await;
            Ok::<_, kube::Error>(())
        };
        match read.await {
            Ok(()) => self.put(pod, log.into()).await,
            Err(error) => warn!("the log of {pod} is not kept: {}", explained(&error)),
        }
    }

    async fn put(&self, pod: &str, log: PutPayload) {
        let file = self.folder.clone().join(format!("{pod}.log"));
        if let Err(error) = self.objects.put(&file, log).await {
            warn!("the log of {pod} is not kept: {error}");
        }
    }

    /// Keeps the logs of many.
    pub(crate) async fn keep_all(&self, pods: impl IntoIterator<Item = String>, container: &str) {
        futures::stream::iter(pods).for_each_concurrent(AT_ONCE, async |pod| self.keep(&pod, container).await).await;
    }
}

fn params(container: &str) -> LogParams {
    LogParams { container: Some(container.to_owned()), limit_bytes: Some(LOG_BYTES_MAX), timestamps: true, ..LogParams::default() }
}
