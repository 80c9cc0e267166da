//! The driver's side of its pod: reads what the operator has set, and reports back.
//!
//! ```text
//! operator ── environment variables ──► driver
//!     ▲                                   │ progress and result: annotations of its own pod
//!     └── status, exit code ◄── pod ◄─────┘ failure: termination message
//! ```

use std::collections::BTreeMap;
use std::net::{AddrParseError, IpAddr, Ipv4Addr, SocketAddr};
use std::num::ParseIntError;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use faisca_driver::engine::progress::{Progress, Snapshot};
use faisca_driver::fleet::platform::{Platform, PlatformSettings};
use faisca_driver::page::{DEFAULT_PORT, LivePage, PageAddress, PageOptions};
use faisca_driver::{BoxedError, Error, Result};
use faisca_planner::manifest::CheckedManifest;
use faisca_planner::names::parse_bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;

use crate::application::{Application, executor_count, without_positions};
use crate::error::{InvalidSpec, PlatformError, explain_api_error};
use crate::fleet::PodLauncher;
use crate::history::{self, History, journal_file};
use crate::pods::{DRIVER_CONTAINER, PROGRESS_ANNOTATION, RESULT_ANNOTATION, XCOM_FILE, env};
use crate::resource::{ApplicationProgress, ApplicationResult};

/// File from which the kubelet reads a container's termination message.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// Limit of the kubelet for a termination message.
const TERMINATION_BYTES_MAX: usize = 4096;
/// Interval at which progress is reported.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// A driver that is killed loses at most this much of its journal.
const JOURNAL_INTERVAL: Duration = Duration::from_secs(10);

/// Returns the manifest of the application that this process drives, or `None` in other processes.
///
/// # Errors
/// If a variable is missing or cannot be read, with its name; or every mistake of the manifest.
pub fn job_from_env() -> Result<Option<CheckedManifest>> {
    if std::env::var_os(env::JOB).is_none() {
        return Ok(None);
    }
    let name = owner()?.name;
    CheckedManifest::load_resource(&name, &variable(env::JOB)?)
        .map(Some)
        .map_err(|error| InvalidSpec(format!("{name}: {}", without_positions(&error))).into())
}

/// Returns the resource that the operator created this process for.
fn owner() -> Result<OwnerReference> {
    let text = variable(env::OWNER)?;
    serde_json::from_str(&text).map_err(|e| invalid_variable(env::OWNER, e))
}

fn application_from_env() -> Result<Option<Application>> {
    let Some(job) = job_from_env()? else {
        return Ok(None);
    };
    let owner = owner()?;
    Ok(Some(Application {
        name: owner.name.clone(),
        namespace: variable(env::POD_NAMESPACE)?,
        owner,
        manifest: job.manifest().clone(),
    }))
}

/// Returns the driver's pod as a [`Platform`], if this process runs in one.
#[must_use]
pub fn find_platform() -> BoxFuture<'static, Result<Option<Arc<dyn Platform>>>> {
    async {
        let Some(application) = application_from_env()? else {
            return Ok(None);
        };
        Ok(Some(
            Arc::new(DriverPod::new(application).await?) as Arc<dyn Platform>
        ))
    }
    .boxed()
}

/// Returns the value of a variable that the operator sets.
fn variable(name: &'static str) -> Result<String> {
    std::env::var(name).map_err(|e| invalid_variable(name, e))
}

/// Returns the number of times the job completed before. An operator of an earlier version does not
/// count them.
fn completions() -> Result<u32> {
    match std::env::var(env::COMPLETIONS) {
        Ok(count) => count
            .parse()
            .map_err(|e: ParseIntError| invalid_variable(env::COMPLETIONS, e)),
        Err(_) => Ok(0),
    }
}

/// Returns the identity of a run of an application, which all of its attempts share.
fn run_id(uid: &str, completions: u32) -> String {
    match completions {
        0 => uid.to_owned(),
        count => format!("{uid}-{count}"),
    }
}

fn invalid_variable(name: &'static str, source: impl Into<BoxedError>) -> Error {
    let source = source.into();
    PlatformError::Variable { name, source }.into()
}

/// The pod that this driver runs in.
struct DriverPod {
    client: Client,
    /// Name of the pod.
    name: String,
    application: Application,
    attempt: u32,
    /// Number of times the job completed before, under `restartPolicy: Always`.
    completions: u32,
    address: IpAddr,
    /// Token by which driver and executors authenticate each other.
    token: String,
    history: Option<History>,
    /// The page of the run, while it goes on.
    page: Mutex<Option<LivePage>>,
}

impl DriverPod {
    async fn new(application: Application) -> Result<Self> {
        let client = Client::try_default()
            .await
            .map_err(|source| PlatformError::NoCluster {
                source: Box::new(source),
            })?;
        let attempt = variable(env::ATTEMPT)?
            .parse()
            .map_err(|e: ParseIntError| invalid_variable(env::ATTEMPT, e))?;
        Ok(Self {
            history: History::new(&application, attempt, &client)?,
            client,
            name: variable(env::POD_NAME)?,
            application,
            attempt,
            completions: completions()?,
            address: variable(env::POD_IP)?
                .parse()
                .map_err(|e: AddrParseError| invalid_variable(env::POD_IP, e))?,
            token: variable(faisca_executor::protocol::env::TOKEN)?,
            page: Mutex::default(),
        })
    }

    /// Serves the page of the run on the pod's loopback, where Kubernetes forwards a port for
    /// users who may do that. A failure is only logged: nothing depends on the page.
    fn serve_page(&self) {
        let name = &self.application.name;
        let mut logs = format!(
            "`faisca logs {name}` prints the driver's log, and `kubectl logs POD` that of an executor."
        );
        if let Some(folder) = self.application.spec().conf.get(history::SETTING) {
            logs.push_str(&format!(
                " Those of pods that have ended are in `{folder}`."
            ));
        }
        let page = LivePage::start(PageOptions {
            journal: journal_file(),
            address: PageAddress::Exact(SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT))),
            token: None,
            logs,
        });
        match page {
            Ok(page) => *self.page.lock() = Some(page),
            Err(error) => tracing::warn!("the page of the run: {error}"),
        }
    }

    /// Writes a value to an annotation of the pod, as JSON. A failure is only logged.
    async fn annotate<T: Serialize>(&self, name: &str, value: &T) {
        let pods = Api::<Pod>::namespaced(self.client.clone(), &self.application.namespace);
        let text = serde_json::to_string(value).unwrap_or_default();
        let patch = Patch::Merge(json!({"metadata": {"annotations": {name: text}}}));
        if let Err(error) = pods
            .patch_metadata(&self.name, &PatchParams::default(), &patch)
            .await
        {
            tracing::warn!("{name} of {}: {}", self.name, explain_api_error(&error));
        }
    }
}

#[async_trait]
impl Platform for DriverPod {
    fn settings(&self) -> Result<PlatformSettings> {
        let spec = self.application.spec();
        let count = executor_count(spec)?;
        let launcher = PodLauncher {
            client: self.client.clone(),
            application: self.application.clone(),
            attempt: self.attempt,
            address: self.address,
            token: self.token.clone(),
            history: self.history.clone(),
        };
        // Without executors, tasks run in the driver, on its own cores and memory.
        let (cores, memory) = if count.max > 0 {
            (spec.executor.cores, &spec.executor.memory)
        } else {
            (spec.driver.cores, &spec.driver.memory)
        };
        let mut default_settings: BTreeMap<_, _> = spec.conf.clone().into_iter().collect();
        // Every attempt of the application is one of the same run.
        let run = run_id(&self.application.owner.uid, self.completions);
        default_settings
            .entry("faisca.run.id".to_owned())
            .or_insert(run);
        let file = journal_file().display().to_string();
        default_settings.insert("faisca.journal.path".to_owned(), file);
        self.serve_page();
        Ok(PlatformSettings {
            executors: count.max,
            launcher: Arc::new(launcher),
            executor_cores: cores.map(|cores| cores.ceil() as u32),
            memory_bytes: memory.as_deref().and_then(parse_bytes),
            stores: spec.stores.clone(),
            default_settings,
        })
    }

    /// Writes progress to the pod whenever it changes, and stores the journal now and then: a
    /// driver that is killed leaves it. Never fails the job: nothing depends on it.
    async fn follow(&self, progress: Arc<Progress>) {
        let mut reported = ApplicationProgress::default();
        let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
        let (mut journal_stored, mut journal_bytes) = (Instant::now(), 0);
        loop {
            ticks.tick().await;
            if let Some(history) = &self.history
                && journal_stored.elapsed() >= JOURNAL_INTERVAL
            {
                journal_bytes = history.store_journal(journal_bytes).await.len();
                journal_stored = Instant::now();
            }
            let current = application_progress(&progress.snapshot());
            if current != reported {
                self.annotate(PROGRESS_ANNOTATION, &current).await;
                reported = current;
            }
        }
    }

    async fn report_end(&self, snapshot: &Snapshot) {
        let result = application_result(snapshot);
        offer_to_airflow(&result);
        let progress = application_progress(snapshot);
        self.annotate(PROGRESS_ANNOTATION, &progress).await;
        self.annotate(RESULT_ANNOTATION, &result).await;
        let page = self.page.lock().take();
        if let Some(page) = page {
            page.finish().await;
        }
        if let Some(history) = &self.history {
            history.store_report().await;
            history.store(&self.name, DRIVER_CONTAINER).await;
        }
    }
}

/// Writes the value that an Airflow task pushes to XCom, if the pod has a container for it.
fn offer_to_airflow(value: &impl Serialize) {
    let file = std::path::Path::new(XCOM_FILE);
    if file.parent().is_some_and(std::path::Path::is_dir)
        && let Err(error) = std::fs::write(file, serde_json::to_string(value).unwrap_or_default())
    {
        tracing::warn!("{XCOM_FILE}: {error}");
    }
}

/// Writes the error that ends this process as the container's termination message, if it runs in a
/// container. The operator copies it to the status of the application.
pub fn write_termination_message(text: &str) {
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

/// Converts the engine's progress to the form of the application's status.
fn application_progress(snapshot: &Snapshot) -> ApplicationProgress {
    let stages = || snapshot.queries.values().flat_map(|query| &query.stages);
    let executors = || snapshot.executors.values();
    let running: Vec<&str> = snapshot
        .queries
        .values()
        .map(|query| query.label.as_str())
        .collect();
    let stages_done = stages()
        .filter(|stage| stage.tasks > 0 && stage.finished == stage.tasks)
        .count();
    let tasks_left: u64 = stages()
        .map(|stage| u64::from(stage.tasks.saturating_sub(stage.finished)))
        .sum();
    let tasks_done: u64 = executors().map(|executor| u64::from(executor.tasks)).sum();
    ApplicationProgress {
        step: (!running.is_empty()).then(|| running.join(", ")),
        stage: (stages().count() > 0).then(|| format!("{stages_done}/{}", stages().count())),
        tasks_done,
        tasks_total: tasks_done + tasks_left,
        rows: executors().map(|executor| executor.rows).sum(),
        bytes: executors().map(|executor| executor.bytes).sum(),
        percent: snapshot
            .steps
            .map(|(done, total)| format!("{}%", done * 100 / total.max(1))),
    }
}

/// Sums up what the job wrote.
fn application_result(snapshot: &Snapshot) -> ApplicationResult {
    let written = || snapshot.written.iter();
    ApplicationResult {
        tables: written()
            .map(|(name, written)| (name.clone(), written.path.clone()))
            .collect(),
        rows: written().map(|(_, written)| written.rows).sum(),
        bytes: written().map(|(_, written)| written.bytes).sum(),
    }
}
