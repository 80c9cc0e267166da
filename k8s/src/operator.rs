//! The operator: creates driver pods for applications, and reports their outcome.
//!
//! It is one process without webhooks, and a submission starts no further process. It watches
//! applications and their pods, decides without IO (`decide`), and executes the decision. It stores
//! nothing of its own: after a restart it reads everything again from the API server.
//!
//! ```text
//! applications ─┐                                    ┌─► create and delete pods
//!               ├─► Observed ─► decide() ─► Decision ├─► status of the application
//! pods ─────────┘      ▲        (pure)               ├─► Events
//!                    clock                           └─► when to reconcile again
//! ```
//!
//! # Owner references instead of finalizers
//! Pods and secrets carry an owner reference to their application. Kubernetes' garbage collector
//! deletes them with it, even while no operator runs. A finalizer would add nothing, because there
//! is no state outside of the cluster that must be removed first (a later write, or `faisca clean`,
//! removes what an interrupted commit has left in an object store). It would cost something:
//! `kubectl delete` would hang while the operator is down.
//!
//! # Layout
//! - this file: configuration, start and end of the operator
//! - `decide`: the decisions; `view`: the pods as the decisions see them; `cost`: reserved
//!   resources
//! - `reconcile`: observes an application and executes a decision; `status`: writes the outcome
//! - `schedule`: `ScheduledSparkApplication`
//! - `leader`: election among several operators; `metrics`: metrics and health

mod cost;
mod decide;
mod leader;
mod metrics;
mod reconcile;
mod schedule;
mod status;
mod view;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::runtime::controller::{Action, Config as ControllerConfig, Controller};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use tracing::{info, warn};

pub use crate::error::OperatorError;
pub use crate::pod_state::StartupTimeouts;
use crate::pods::APP_LABEL;
use crate::resource::SparkApplication;
use metrics::Metrics;
use status::StatusCache;
use view::PodIndex;

/// Name of the operator's lease, and of the reporter of its Events.
const NAME: &str = "faisca-operator";
/// Number of applications reconciled concurrently.
const CONCURRENCY: u16 = 64;
/// Delay after which a failed reconciliation is repeated.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Configuration of an operator.
#[derive(Debug, Clone)]
pub struct OperatorConfig {
    /// The namespaces to watch; the operator needs a Role in each. An empty list watches all
    /// namespaces, for which it needs a ClusterRole.
    pub namespaces: Vec<String>,
    /// Default image of applications.
    pub image: Option<String>,
    /// Default service account of applications.
    pub service_account: Option<String>,
    /// Address of metrics and health.
    pub listen: SocketAddr,
    /// Namespace of the lease by which one of several operators is elected. `None` means no
    /// election.
    pub lease_namespace: Option<String>,
    /// How long a driver may wait for its image or a node.
    pub startup_timeouts: StartupTimeouts,
    /// Seconds after its end at which an application is deleted, unless its spec sets another time.
    pub time_to_live_seconds: Option<u64>,
}

/// State that the reconciliations in one watched scope share.
struct Context {
    client: Client,
    config: Arc<OperatorConfig>,
    /// The watched namespace; `None` for all namespaces.
    namespace: Option<String>,
    pods: PodIndex,
    recorder: Recorder,
    metrics: Metrics,
    statuses: StatusCache,
}

impl Context {
    fn new(
        client: Client,
        config: Arc<OperatorConfig>,
        namespace: Option<String>,
        metrics: Metrics,
    ) -> Self {
        let reporter = Reporter {
            controller: NAME.to_owned(),
            instance: std::env::var("POD_NAME").ok(),
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            config,
            namespace,
            pods: PodIndex::default(),
            metrics,
            statuses: StatusCache::default(),
        }
    }

    /// Returns the API of a kind, in the watched scope.
    fn watched_api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }
}

/// Runs the operator until `end` completes, or until another operator takes over its lease.
///
/// # Errors
/// If the address is in use, the API server cannot be reached, the definitions are not installed,
/// or the lease is lost.
pub async fn run(
    client: Client,
    config: OperatorConfig,
    end: impl Future<Output = ()>,
) -> Result<(), OperatorError> {
    let metrics = Metrics::default();
    // Before the election: an operator that waits for the lease is healthy, too.
    let metrics_server = metrics::serve(config.listen, metrics.clone()).await?;
    let mut end = pin!(end);
    let mut leadership = match &config.lease_namespace {
        Some(namespace) => tokio::select! {
            leadership = leader::lead(client.clone(), namespace) => Some(leadership?),
            () = &mut end => return Ok(()),
        },
        None => None,
    };
    let contexts = watched_contexts(&client, config, &metrics).await?;
    metrics.set_leading();
    let lease_lost = async {
        match &mut leadership {
            Some(leadership) => drop((&mut leadership.renewal).await),
            None => std::future::pending().await,
        }
    };
    let outcome = tokio::select! {
        () = control(contexts) => Ok(()),
        () = end => Ok(()),
        () = lease_lost => Err(OperatorError::LeaseLost),
        stopped = metrics_server => Err(OperatorError::MetricsServer(stopped.err())),
    };
    if let Some(leadership) = leadership {
        leadership.release().await;
    }
    outcome
}

/// Creates the context of each watched namespace, and checks that it can be watched.
///
/// # Errors
/// Returns an error if the definitions or permissions are missing; the watches would only retry.
async fn watched_contexts(
    client: &Client,
    config: OperatorConfig,
    metrics: &Metrics,
) -> Result<Vec<Arc<Context>>, OperatorError> {
    let config = Arc::new(config);
    let scopes: Vec<Option<String>> = match config.namespaces.as_slice() {
        [] => vec![None],
        namespaces => namespaces.iter().cloned().map(Some).collect(),
    };
    let mut contexts = vec![];
    for scope in scopes {
        let namespace = scope.as_deref().unwrap_or("all").to_owned();
        let context = Context::new(client.clone(), Arc::clone(&config), scope, metrics.clone());
        context
            .watched_api::<SparkApplication>()
            .list(&ListParams::default().limit(1))
            .await?;
        info!(namespace, "operator starts");
        contexts.push(Arc::new(context));
    }
    Ok(contexts)
}

/// Runs the controllers of all watched namespaces. They end only when they are dropped.
async fn control(contexts: Vec<Arc<Context>>) {
    futures::future::join_all(contexts.into_iter().map(|context| async move {
        tokio::join!(
            control_applications(Arc::clone(&context)),
            schedule::control_schedules(context),
        )
    }))
    .await;
}

/// Reconciles applications whenever they or their pods change.
async fn control_applications(context: Arc<Context>) {
    let applications = context.watched_api::<SparkApplication>();
    Controller::new(applications, watcher::Config::default())
        .with_config(ControllerConfig::default().concurrency(CONCURRENCY))
        .reconcile_on(applications_of_changed_pods(Arc::clone(&context)))
        .run(
            reconcile::reconcile,
            |_, error, context| retry(error, &context),
            context,
        )
        .for_each(|_| std::future::ready(()))
        .await;
}

/// Returns the applications whose pods change. The index contains the change before its application
/// is reconciled.
fn applications_of_changed_pods(
    context: Arc<Context>,
) -> impl Stream<Item = ObjectRef<SparkApplication>> + Send + 'static {
    let pods = watcher(
        context.watched_api::<Pod>(),
        watcher::Config::default().labels(APP_LABEL),
    )
    .default_backoff();
    pods.filter_map(move |event| {
        let application = match &event {
            Ok(event) => {
                context.pods.apply(event);
                application_of_pod(event)
            }
            Err(error) => {
                warn!("watching pods: {error}");
                None
            }
        };
        std::future::ready(application)
    })
}

/// Returns the application that the pod of an event belongs to.
fn application_of_pod(event: &watcher::Event<Pod>) -> Option<ObjectRef<SparkApplication>> {
    match event {
        watcher::Event::InitApply(pod)
        | watcher::Event::Apply(pod)
        | watcher::Event::Delete(pod) => {
            let name = pod.labels().get(APP_LABEL)?;
            Some(ObjectRef::new(name).within(&pod.namespace()?))
        }
        watcher::Event::Init | watcher::Event::InitDone => None,
    }
}

fn retry(error: &OperatorError, context: &Context) -> Action {
    warn!("reconciliation failed: {error}");
    context.metrics.reconcile_failed();
    Action::requeue(RETRY_INTERVAL)
}
