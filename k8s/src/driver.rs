//! The driver inside its pod: what it is told by the operator, and what it tells back.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use faisca_driver::platform::Platform;
use faisca_driver::progress::{Progress, Snapshot};
use faisca_driver::{Error, Result, SessionBuilder};
use faisca_planner::manifest::{Positions, with_parameters};
use faisca_planner::names::parse_bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde::Serialize;
use serde_json::json;

use crate::application::{Application, executors};
use crate::fleet::PodLauncher;
use crate::history::History;
use crate::pods::{DRIVER_CONTAINER, PROGRESS, RESULT, XCOM_FILE, env};
use crate::resource::{ApplicationProgress, ApplicationResult};

/// Where the kubelet takes a container's last words from.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// It takes so many bytes.
const TERMINATION_BYTES_MAX: usize = 4096;
/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// The application that this process is the driver of, its parameters filled in; `None` in any other process.
///
/// # Errors
/// A variable that is missing or cannot be read, by name.
pub fn application() -> Result<Option<Application>> {
    if std::env::var_os(env::JOB).is_none() {
        return Ok(None);
    }
    let owner: OwnerReference =
        serde_json::from_str(&variable(env::OWNER)?).map_err(|e| unread(env::OWNER, &e))?;
    let manifest = serde_json::from_str(&variable(env::JOB)?).map_err(|e| unread(env::JOB, &e))?;
    let manifest = with_parameters(
        &owner.name,
        manifest,
        &Positions::default(),
        &Default::default(),
    )
    .map_err(|e| Error::Plan(e.to_string()))?;
    Ok(Some(Application {
        name: owner.name.clone(),
        namespace: variable(env::POD_NAMESPACE)?,
        owner,
        manifest,
    }))
}

/// Finds the driver's pod that this process runs in.
#[must_use]
pub fn find() -> BoxFuture<'static, Result<Option<Arc<dyn Platform>>>> {
    async {
        let Some(application) = application()? else {
            return Ok(None);
        };
        Ok(Some(
            Arc::new(DriverPod::new(application).await?) as Arc<dyn Platform>
        ))
    }
    .boxed()
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| Error::Fleet(format!("{name} is not set")))
}

fn unread(name: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Fleet(format!("{name}: {error}"))
}

/// A driver's own pod.
struct DriverPod {
    client: Client,
    name: String,
    application: Application,
    attempt: u32,
    address: IpAddr,
    token: String,
    history: Option<History>,
}

impl DriverPod {
    async fn new(application: Application) -> Result<Self> {
        let client = Client::try_default()
            .await
            .map_err(|e| Error::Fleet(format!("Kubernetes' API: {e}")))?;
        let attempt = variable(env::ATTEMPT)?
            .parse()
            .map_err(|e| unread(env::ATTEMPT, &e))?;
        Ok(Self {
            history: History::of(&application, attempt, &client)?,
            client,
            name: variable(env::POD_NAME)?,
            application,
            attempt,
            address: variable(env::POD_IP)?
                .parse()
                .map_err(|e| unread(env::POD_IP, &e))?,
            token: variable(faisca_executor::control::env::TOKEN)?,
        })
    }

    async fn annotate<T: Serialize>(&self, name: &str, value: &T) {
        let pods = Api::<Pod>::namespaced(self.client.clone(), &self.application.namespace);
        let text = serde_json::to_string(value).unwrap_or_default();
        let patch = Patch::Merge(json!({"metadata": {"annotations": {name: text}}}));
        if let Err(error) = pods
            .patch_metadata(&self.name, &PatchParams::default(), &patch)
            .await
        {
            tracing::warn!(
                "{name} of {}: {}",
                self.name,
                crate::operator::explained(&error)
            );
        }
    }
}

#[async_trait]
impl Platform for DriverPod {
    fn settle(&self, builder: SessionBuilder) -> Result<SessionBuilder> {
        let spec = self.application.spec();
        let count = executors(spec).map_err(|error| Error::Plan(error.to_string()))?;
        let (client, application) = (self.client.clone(), self.application.clone());
        let launcher = PodLauncher::new(
            client,
            application,
            self.attempt,
            self.address,
            self.token.clone(),
            self.history.clone(),
        );
        let mut builder = builder.executors(count.max).launcher(Arc::new(launcher));
        if !spec.stores.is_empty() {
            builder = builder.stores(spec.stores.clone());
        }
        // Embedded tasks run on the driver's own cores and memory.
        let (cores, memory) = if count.max > 0 {
            (spec.executor.cores, &spec.executor.memory)
        } else {
            (spec.driver.cores, &spec.driver.memory)
        };
        if let Some(cores) = cores {
            builder = builder.executor_cores(cores.ceil() as u32);
        }
        if let Some(bytes) = memory.as_deref().and_then(parse_bytes) {
            builder = builder.memory_bytes(bytes);
        }
        Ok(spec.conf.iter().fold(builder, |builder, (key, value)| {
            builder.default_config(key, value)
        }))
    }

    /// Never fails the job: progress is told to be seen, not to be needed.
    async fn follow(&self, progress: Arc<Progress>) {
        let mut told = ApplicationProgress::default();
        let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
        loop {
            ticks.tick().await;
            let now = progress_of(&progress.snapshot());
            if now != told {
                self.annotate(PROGRESS, &now).await;
                told = now;
            }
        }
    }

    async fn ended(&self, snapshot: &Snapshot) {
        let result = result_of(snapshot);
        offer_to_airflow(&result);
        self.annotate(PROGRESS, &progress_of(snapshot)).await;
        self.annotate(RESULT, &result).await;
        if let Some(history) = &self.history {
            history.keep(&self.name, DRIVER_CONTAINER).await;
        }
    }
}

/// Leaves what a task of Airflow pushes, where there is a place for it.
fn offer_to_airflow(value: &impl Serialize) {
    let file = std::path::Path::new(XCOM_FILE);
    if file.parent().is_some_and(std::path::Path::is_dir)
        && let Err(error) = std::fs::write(file, serde_json::to_string(value).unwrap_or_default())
    {
        tracing::warn!("{XCOM_FILE}: {error}");
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
    offer_to_airflow(&json!({"error": text}));
}

/// How far a job is, from what the engine knows.
fn progress_of(snapshot: &Snapshot) -> ApplicationProgress {
    let stages = || snapshot.queries.values().flat_map(|query| &query.stages);
    let totals = || snapshot.executors.values();
    let running: Vec<&str> = snapshot
        .queries
        .values()
        .map(|query| query.label.as_str())
        .collect();
    let done = stages()
        .filter(|stage| stage.tasks > 0 && stage.done == stage.tasks)
        .count();
    let left: u64 = stages()
        .map(|stage| u64::from(stage.tasks.saturating_sub(stage.done)))
        .sum();
    let tasks_done: u64 = totals().map(|executor| u64::from(executor.tasks)).sum();
    ApplicationProgress {
        step: (!running.is_empty()).then(|| running.join(", ")),
        stage: (stages().count() > 0).then(|| format!("{done}/{}", stages().count())),
        tasks_done,
        tasks_total: tasks_done + left,
        rows: totals().map(|executor| executor.rows).sum(),
        bytes: totals().map(|executor| executor.bytes).sum(),
        percent: snapshot
            .steps
            .map(|(done, all)| format!("{}%", done * 100 / all.max(1))),
    }
}

fn result_of(snapshot: &Snapshot) -> ApplicationResult {
    let written = || snapshot.written.iter();
    ApplicationResult {
        tables: written()
            .map(|(name, written)| (name.clone(), written.path.clone()))
            .collect(),
        rows: written().map(|(_, written)| written.rows).sum(),
        bytes: written().map(|(_, written)| written.bytes).sum(),
    }
}
