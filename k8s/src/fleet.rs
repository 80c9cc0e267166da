//! Runs an application's executors as bare pods: creates, watches, replaces and deletes them.
//!
//! A watch reports the loss of a pod before a heartbeat would. Everything else reaches the engine
//! by its connection to each executor. Each pod is owned by the resource, so none outlives it.
//!
//! # Layout
//! - this file: launches the fleet, and stops it
//! - `keeper`: watches the pods, replaces lost ones, follows the work
//! - `executor_state`: the state of an executor, from its pod
//! - `scale`: decides how many executors there should be

mod executor_state;
mod keeper;
mod scale;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use faisca_driver::Result;
use faisca_driver::fleet::control::ControlServer;
use faisca_driver::fleet::{Fleet, FleetRequest, Launcher};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use tokio::task::JoinHandle;

use crate::application::{Application, executor_count};
use crate::error::{PlatformError, explain_api_error, is_already_exists};
use crate::history::History;
use crate::pods::{EXECUTOR_CONTAINER, ExecutorPods, executor_selector};
use keeper::{FleetKeeper, KeeperParameters};

/// Number of pods created concurrently.
const CREATE_CONCURRENCY: usize = 32;
/// Wait at the end of a job for the API server to accept the deletion of its executors.
const DELETE_TIMEOUT: Duration = Duration::from_secs(5);
/// Wait at the end of a job for the logs of its executors to be stored.
const HISTORY_TIMEOUT: Duration = Duration::from_secs(20);
/// Seconds between SIGTERM and SIGKILL once the job has ended: the executors hold nothing that is
/// still needed.
const STOP_GRACE_SECONDS: u32 = 5;

/// Launches executors as pods of this driver's application.
#[derive(Clone)]
pub(crate) struct PodLauncher {
    pub(crate) client: Client,
    pub(crate) application: Application,
    /// Attempt of the driver.
    pub(crate) attempt: u32,
    /// IP address of the driver's pod.
    pub(crate) address: IpAddr,
    /// Token by which driver and executors authenticate each other.
    pub(crate) token: String,
    /// Where logs are stored, if the application requests it.
    pub(crate) history: Option<History>,
}

impl std::fmt::Debug for PodLauncher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "pods of {}", self.application.name)
    }
}

#[async_trait]
impl Launcher for PodLauncher {
    fn host(&self) -> IpAddr {
        self.address
    }

    fn token(&self) -> Option<String> {
        Some(self.token.clone())
    }

    async fn launch(&self, request: FleetRequest) -> Result<Box<dyn Fleet>> {
        let variables = request
            .variables()?
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let pods = Arc::new(ExecutorPods {
            application: self.application.clone(),
            attempt: self.attempt,
            variables,
        });
        let api = Api::<Pod>::namespaced(self.client.clone(), &self.application.namespace);
        // The request's number is the upper bound that the session plans for. The spec says how
        // many start now; the keeper creates more when the work needs them.
        let count = executor_count(self.application.spec())?;
        futures::stream::iter(1..=count.initial)
            .map(|executor| {
                let (api, pods) = (api.clone(), Arc::clone(&pods));
                async move { create_executor(&api, &pods, executor).await }
            })
            .buffer_unordered(CREATE_CONCURRENCY)
            .try_collect::<()>()
            .await?;
        let FleetRequest {
            executors,
            slots,
            replacements_max,
            engine,
            control,
            ..
        } = request;
        let keeper = FleetKeeper::new(KeeperParameters {
            api: api.clone(),
            pods: Arc::clone(&pods),
            engine,
            count,
            slots,
            replacements_max,
            history: self.history.clone(),
        });
        let keeper = tokio::task::spawn(keeper.run(control.dead_executors.subscribe()));
        Ok(Box::new(PodFleet {
            slots_expected: executors * slots,
            api,
            pods,
            keeper,
            history: self.history.clone(),
            _control: control,
        }))
    }
}

/// Creates the pod of an executor. Succeeds, too, if an earlier, unacknowledged request created it.
///
/// # Errors
/// If the API server refuses the pod, or cannot be reached, or another application has a pod of
/// this name.
async fn create_executor(api: &Api<Pod>, pods: &ExecutorPods, executor: u32) -> Result<()> {
    let pod = pods.pod(executor)?;
    let Err(refusal) = api.create(&PostParams::default(), &pod).await else {
        return Ok(());
    };
    if is_already_exists(&refusal)
        && let Ok(existing) = api.get(&pods.name(executor)).await
        && existing.owner_references() == pod.owner_references()
    {
        return Ok(());
    }
    Err(PlatformError::CreateExecutor {
        pod: pods.name(executor),
        source: Box::new(refusal),
    }
    .into())
}

/// The executors of one attempt.
struct PodFleet {
    /// Task slots of the largest fleet that the spec allows.
    slots_expected: u32,
    api: Api<Pod>,
    pods: Arc<ExecutorPods>,
    /// Runs until the fleet stops.
    keeper: JoinHandle<()>,
    history: Option<History>,
    /// Held only to keep the server of the executors' connections alive.
    _control: ControlServer,
}

impl PodFleet {
    /// Stores the logs of the executors that still exist, and waits for those that ended earlier.
    async fn store_logs(&self) {
        let Some(history) = &self.history else { return };
        let selected = ListParams::default().labels(&self.selector());
        let stored = async {
            let pods = self.api.list_metadata(&selected).await?.items;
            let names = pods.into_iter().filter_map(|pod| pod.metadata.name);
            history.store_all(names, EXECUTOR_CONTAINER).await;
            history.finish_following().await;
            Ok::<_, kube::Error>(())
        };
        match tokio::time::timeout(HISTORY_TIMEOUT, stored).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(
                    "cannot store the executors' logs: {}",
                    explain_api_error(&error)
                );
            }
            Err(_) => tracing::warn!(
                "some executors' logs are not stored: they took longer than {} s",
                HISTORY_TIMEOUT.as_secs()
            ),
        }
    }

    /// Returns a future that deletes all executors. It borrows nothing, so `drop` can spawn it.
    fn delete_all(&self) -> impl Future<Output = ()> + Send + 'static {
        let (api, selector) = (self.api.clone(), self.selector());
        async move {
            let params = DeleteParams::default().grace_period(STOP_GRACE_SECONDS);
            let selected = ListParams::default().labels(&selector);
            let deleted = api.delete_collection(&params, &selected);
            // A failure is not an error: the operator deletes the rest once the driver has ended.
            match tokio::time::timeout(DELETE_TIMEOUT, deleted).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    tracing::warn!(
                        "the operator will delete the executors: {}",
                        explain_api_error(&error)
                    );
                }
                Err(_) => tracing::warn!(
                    "the operator will delete the executors: the API server does not respond"
                ),
            }
        }
    }

    fn selector(&self) -> String {
        executor_selector(&self.pods.application.owner.uid, Some(self.pods.attempt))
    }
}

#[async_trait]
impl Fleet for PodFleet {
    fn slots_expected(&self) -> u32 {
        self.slots_expected
    }

    async fn stop(&self) {
        // The keeper ends first: it would replace the executors that are deleted below.
        if !self.keeper.is_finished() {
            self.keeper.abort();
            self.store_logs().await;
        }
        self.delete_all().await;
    }
}

impl Drop for PodFleet {
    fn drop(&mut self) {
        if !self.keeper.is_finished() {
            self.keeper.abort();
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(self.delete_all());
            }
        }
    }
}
