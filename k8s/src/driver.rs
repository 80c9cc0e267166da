//! The driver inside its pod: what it is told by the operator, and what it tells back.

use std::net::IpAddr;
use std::time::Duration;

use faisca_driver::progress::Snapshot;
use faisca_driver::{Error, Result};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde::Serialize;
use serde_json::json;

use crate::application::Application;
use crate::fleet::PodLauncher;
use crate::pods::{PROGRESS, RESULT, env};
use crate::resource::{ApplicationProgress, ApplicationResult};

/// Where the kubelet takes a container's last words from.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// It takes so many bytes.
const TERMINATION_BYTES_MAX: usize = 4096;
/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// A driver's own pod, and its application.
pub struct DriverPod {
    client: Client,
    name: String,
    /// The application, as the operator read it.
    pub application: Application,
    attempt: u32,
    address: IpAddr,
    token: String,
}

impl DriverPod {
    /// Reads the environment that the operator made; `None` in any other process.
    ///
    /// # Errors
    /// A variable that is missing or cannot be read, by name.
    pub async fn from_env() -> Result<Option<Self>> {
        if std::env::var_os(env::JOB).is_none() {
            return Ok(None);
        }
        let text = |name: &str| std::env::var(name).map_err(|_| Error::Fleet(format!("{name} is not set")));
        let unread = |name: &str, error: &dyn std::fmt::Display| Error::Fleet(format!("{name}: {error}"));
        let owner: OwnerReference = serde_json::from_str(&text(env::OWNER)?).map_err(|e| unread(env::OWNER, &e))?;
        let manifest = serde_json::from_str(&text(env::JOB)?).map_err(|e| unread(env::JOB, &e))?;
        let application = Application { name: owner.name.clone(), namespace: text(env::POD_NAMESPACE)?, owner, manifest };
        let client = Client::try_default().await.map_err(|e| Error::Fleet(format!("Kubernetes' API: {e}")))?;
        Ok(Some(Self {
            client,
            name: text(env::POD_NAME)?,
            application,
            attempt: text(env::ATTEMPT)?.parse().map_err(|e| unread(env::ATTEMPT, &e))?,
            address: text(env::POD_IP)?.parse().map_err(|e| unread(env::POD_IP, &e))?,
            token: text(faisca_executor::control::env::TOKEN)?,
        }))
    }

    /// Starts executors as pods.
    #[must_use]
    pub fn launcher(&self) -> PodLauncher {
        PodLauncher::new(self.client.clone(), self.application.clone(), self.attempt, self.address, self.token.clone())
    }

    /// Tells how far the job is, until dropped. Never fails the job: it is told to be seen, not to be needed.
    pub async fn tell_progress(&self, look: impl Fn() -> ApplicationProgress) {
        let mut told = ApplicationProgress::default();
        let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
        loop {
            ticks.tick().await;
            let now = look();
            if now != told {
                self.annotate(PROGRESS, &now).await;
                told = now;
            }
        }
    }

    /// Tells what the job wrote.
    pub async fn tell_result(&self, progress: &ApplicationProgress, result: &ApplicationResult) {
        self.annotate(PROGRESS, progress).await;
        self.annotate(RESULT, result).await;
    }

    async fn annotate<T: Serialize>(&self, name: &str, value: &T) {
        let pods = Api::<Pod>::namespaced(self.client.clone(), &self.application.namespace);
        let text = serde_json::to_string(value).unwrap_or_default();
        let patch = Patch::Merge(json!({"metadata": {"annotations": {name: text}}}));
        if let Err(error) = pods.patch_metadata(&self.name, &PatchParams::default(), &patch).await {
            tracing::warn!("{name} of {}: {}", self.name, crate::operator::explained(&error));
        }
    }
}

/// Leaves a container's last words, where there is a place for them.
pub fn last_words(text: &str) {
    let mut end = text.len().min(TERMINATION_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    if std::path::Path::new(TERMINATION_LOG).exists()
        && let Err(error) = std::fs::write(TERMINATION_LOG, &text[..end])
    {
        tracing::warn!("{TERMINATION_LOG}: {error}");
    }
}

/// How far a job is, from what the engine knows.
#[must_use]
pub fn progress_of(snapshot: &Snapshot, steps_done: usize, steps: usize) -> ApplicationProgress {
    let stages = || snapshot.queries.values().flat_map(|query| &query.stages);
    let totals = || snapshot.executors.values();
    let running: Vec<&str> = snapshot.queries.values().map(|query| query.label.as_str()).collect();
    let done = stages().filter(|stage| stage.tasks > 0 && stage.done == stage.tasks).count();
    let left: u64 = stages().map(|stage| u64::from(stage.tasks.saturating_sub(stage.done))).sum();
    let tasks_done: u64 = totals().map(|executor| u64::from(executor.tasks)).sum();
    ApplicationProgress {
        step: (!running.is_empty()).then(|| running.join(", ")),
        stage: (stages().count() > 0).then(|| format!("{done}/{}", stages().count())),
        tasks_done,
        tasks_total: tasks_done + left,
        rows: totals().map(|executor| executor.rows).sum(),
        bytes: totals().map(|executor| executor.bytes).sum(),
        percent: (steps > 0).then(|| format!("{}%", steps_done * 100 / steps)),
    }
}
