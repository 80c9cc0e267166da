//! Executors as bare pods: all asked for at once, watched, replaced when they end.
//!
//! A watch tells of a loss before a heartbeat would; the connection to each executor tells the
//! engine all else. Pods belong to the resource, so that nothing outlives it.

mod keeper;
mod scale;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use faisca_driver::control::ControlServer;
use faisca_driver::fleet::{Fleet, FleetRequest, Launcher};
use faisca_driver::{Error, Result};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use tokio::task::JoinHandle;

use crate::application::{Application, executors};
use crate::history::History;
use crate::operator::explained;
use crate::pods::{EXECUTOR_CONTAINER, ExecutorPods, executor_selector};

/// Pods asked for side by side.
const REQUESTS_AT_ONCE: usize = 32;
/// The end of a job waits so long for the API server to take the deletion of its executors.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// The end of a job waits so long for its executors' logs to be kept.
const HISTORY_TIMEOUT: Duration = Duration::from_secs(20);
/// Seconds that executors get to end once their job has: they hold nothing that anybody needs.
const STOP_GRACE_SECONDS: u32 = 5;

/// Starts executors as pods of this driver's application.
#[derive(Clone)]
pub struct PodLauncher {
    client: Client,
    application: Application,
    attempt: u32,
    address: IpAddr,
    token: String,
    history: Option<History>,
}

impl std::fmt::Debug for PodLauncher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "pods of {}", self.application.name)
    }
}

impl PodLauncher {
    /// For the driver of an application, in a pod with this address.
    #[must_use]
    pub(crate) fn new(
        client: Client,
        application: Application,
        attempt: u32,
        address: IpAddr,
        token: String,
        history: Option<History>,
    ) -> Self {
        Self {
            client,
            application,
            attempt,
            address,
            token,
            history,
        }
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
        let create = |executor| {
            let (api, pods) = (api.clone(), Arc::clone(&pods));
            async move { create(&api, &pods, executor).await }
        };
        // The session plans for as many as there may be; as many come as the manifest says, and the work asks for.
        let count =
            executors(self.application.spec()).map_err(|error| Error::Plan(error.to_string()))?;
        futures::stream::iter(1..=count.initial)
            .map(create)
            .buffer_unordered(REQUESTS_AT_ONCE)
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
        let keeper = keeper::Keeper::new(
            api.clone(),
            Arc::clone(&pods),
            engine,
            count,
            (slots, replacements_max),
            self.history.clone(),
        );
        let keeping = tokio::task::spawn(keeper.keep(control.given_up.subscribe()));
        let history = self.history.clone();
        Ok(Box::new(PodFleet {
            slots_expected: executors * slots,
            api,
            pods,
            keeping,
            history,
            _control: control,
        }))
    }
}

/// Makes the pod of an executor.
async fn create(api: &Api<Pod>, pods: &ExecutorPods, executor: u32) -> Result<()> {
    let pod = pods
        .pod(executor)
        .map_err(|error| Error::Plan(error.to_string()))?;
    match api.create(&PostParams::default(), &pod).await {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Fleet(format!(
            "executor pod {}: {}",
            pods.name(executor),
            explained(&error)
        ))),
    }
}

/// Executors of one attempt.
struct PodFleet {
    slots_expected: u32,
    api: Api<Pod>,
    pods: Arc<ExecutorPods>,
    keeping: JoinHandle<()>,
    history: Option<History>,
    _control: ControlServer,
}

impl PodFleet {
    /// Logs of executors that are there; others are kept when they end.
    async fn keep_logs(&self) {
        let Some(history) = &self.history else { return };
        let selected = ListParams::default().labels(&executor_selector(
            &self.pods.application.owner.uid,
            Some(self.pods.attempt),
        ));
        let kept = async {
            let present = self.api.list_metadata(&selected).await?.items;
            history
                .keep_all(
                    present.into_iter().filter_map(|pod| pod.metadata.name),
                    EXECUTOR_CONTAINER,
                )
                .await;
            history.followed().await;
            Ok::<_, kube::Error>(())
        };
        match tokio::time::timeout(HISTORY_TIMEOUT, kept).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("executors' logs are not kept: {}", explained(&error)),
            Err(_) => tracing::warn!(
                "some executors' logs are not kept: {} s were not enough",
                HISTORY_TIMEOUT.as_secs()
            ),
        }
    }

    fn delete_all(&self) -> impl Future<Output = ()> + Send + 'static {
        let (api, selector) = (
            self.api.clone(),
            executor_selector(&self.pods.application.owner.uid, Some(self.pods.attempt)),
        );
        async move {
            let params = DeleteParams::default().grace_period(STOP_GRACE_SECONDS);
            let selected = ListParams::default().labels(&selector);
            match tokio::time::timeout(STOP_TIMEOUT, api.delete_collection(&params, &selected))
                .await
            {
                Ok(Ok(_)) => {}
                // The operator deletes what is left once it sees the driver's end.
                Ok(Err(error)) => {
                    tracing::warn!("executors are left to the operator: {}", explained(&error))
                }
                Err(_) => tracing::warn!(
                    "executors are left to the operator: the API server does not answer"
                ),
            }
        }
    }
}

#[async_trait]
impl Fleet for PodFleet {
    fn slots_expected(&self) -> u32 {
        self.slots_expected
    }

    async fn stop(&self) {
        if !self.keeping.is_finished() {
            self.keeping.abort();
            self.keep_logs().await;
        }
        self.delete_all().await;
    }
}

impl Drop for PodFleet {
    fn drop(&mut self) {
        if !self.keeping.is_finished() {
            self.keeping.abort();
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(self.delete_all());
            }
        }
    }
}
