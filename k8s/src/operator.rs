//! The operator: makes driver pods from applications, and tells what becomes of them.
//!
//! One process, no webhook, nothing started per submission. It watches applications and their pods,
//! decides without IO (`decide`), and acts; all that it knows it can read again after a restart.

mod cost;
mod decide;
mod leader;
mod metrics;
mod schedule;
mod view;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action as Next, Config as ControllerConfig, Controller};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::{info, warn};

use crate::application::Application;
use crate::pods::{APP_LABEL, driver_name, driver_pod, executor_selector, token_secret};
use crate::resource::{ApplicationState, ApplicationStatus, SparkApplication};
pub use crate::stuck::Patience;
use decide::{Action, Note, Situation, decide};
use metrics::Metrics;
use view::{PodIndex, driver_view};

/// What the operator calls itself.
const NAME: &str = "faisca-operator";
/// Applications looked at side by side.
const CONCURRENCY: u16 = 64;
/// Random bytes of a job's token.
const TOKEN_BYTES: usize = 16;
/// An application whose reconciliation failed is looked at again then.
const RETRY: Duration = Duration::from_secs(2);

/// How an operator runs.
#[derive(Debug, Clone)]
pub struct OperatorConfig {
    /// The only namespace it looks at; all of them when absent.
    pub namespace: Option<String>,
    /// Image of applications that name none.
    pub image: Option<String>,
    /// Service account of applications that name none.
    pub service_account: Option<String>,
    /// Address of metrics and health.
    pub listen: SocketAddr,
    /// Namespace of the lease by which several operators elect one; no election when absent.
    pub lease_namespace: Option<String>,
    /// How long it waits for others.
    pub patience: Patience,
}

/// Why the operator, or a reconciliation, failed.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The API server refused, or was not there.
    #[error("{}", explained(.0))]
    Api(#[source] Box<kube::Error>),
    /// Something of this machine: an address in use, say.
    #[error("{0}")]
    Local(String),
    /// Another operator took over.
    #[error("the lease was lost: another operator leads now")]
    LeaseLost,
}

impl From<kube::Error> for OperatorError {
    fn from(error: kube::Error) -> Self {
        Self::Api(Box::new(error))
    }
}

/// A refusal by rights, with the rule that is missing.
pub(crate) fn explained(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 && status.message.contains(" cannot ") => {
            format!("{} (a Role or ClusterRole must allow this; the Helm chart has the rules)", status.message)
        }
        kube::Error::Api(status) if status.message.contains("looking up service account") => {
            format!("{} (create it, or name another one in spec.serviceAccount)", status.message)
        }
        kube::Error::Api(status) if status.code == 404 && status.message.contains("could not find the requested resource") => {
            "the cluster does not know SparkApplication: install the definitions with `faisca crd | kubectl apply -f -`, or the Helm chart".to_owned()
        }
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

struct Context {
    client: Client,
    config: OperatorConfig,
    pods: PodIndex,
    recorder: Recorder,
    metrics: Metrics,
    /// The newest status that this process wrote, by identity: the watch may lag behind.
    written: Mutex<HashMap<String, (u64, ApplicationStatus)>>,
}

/// Runs until `end`, or another operator takes over.
///
/// # Errors
/// If the API server cannot be reached, or the definitions are not installed.
pub async fn run(
    client: Client,
    config: OperatorConfig,
    end: impl Future<Output = ()>,
) -> Result<(), OperatorError> {
    let metrics = Metrics::default();
    let serving = metrics::serve(config.listen, metrics.clone()).await?;
    let mut end = pin!(end);
    let mut leading = match &config.lease_namespace {
        Some(namespace) => tokio::select! {
            led = leader::lead(client.clone(), namespace) => Some(led?),
            () = &mut end => return Ok(()),
        },
        None => None,
    };
    api::<SparkApplication>(&client, &config)
        .list(&ListParams::default().limit(1))
        .await?;
    metrics.ready();
    info!(
        namespace = config.namespace.as_deref().unwrap_or("all"),
        "operator starts"
    );
    let instance = std::env::var("POD_NAME").ok();
    let recorder = Recorder::new(
        client.clone(),
        Reporter {
            controller: NAME.to_owned(),
            instance,
        },
    );
    let context = Arc::new(Context {
        client: client.clone(),
        config: config.clone(),
        pods: PodIndex::default(),
        recorder,
        metrics,
        written: Mutex::default(),
    });
    let applications = Controller::new(
        api::<SparkApplication>(&client, &config),
        watcher::Config::default(),
    )
    .with_config(ControllerConfig::default().concurrency(CONCURRENCY))
    .reconcile_on(touched(Arc::clone(&context)))
    .run(
        reconcile,
        |_, error, context| retry(error, &context),
        Arc::clone(&context),
    )
    .for_each(|_| std::future::ready(()));
    let schedules = schedule::run(Arc::clone(&context));
    let lost = async {
        match &mut leading {
            Some(leading) => drop((&mut leading.renewing).await),
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        () = applications => Ok(()),
        () = schedules => Ok(()),
        () = end => Ok(()),
        () = lost => Err(OperatorError::LeaseLost),
        ended = serving => Err(OperatorError::Local(format!("metrics and health: {ended:?}"))),
    };
    if let Some(leading) = leading {
        leading.release().await;
    }
    ended
}

fn api<K>(client: &Client, config: &OperatorConfig) -> Api<K>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match &config.namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Applications whose pods changed. The index knows of a change before its application is looked at.
fn touched(
    context: Arc<Context>,
) -> impl Stream<Item = ObjectRef<SparkApplication>> + Send + 'static {
    let pods = watcher(
        api::<Pod>(&context.client, &context.config),
        watcher::Config::default().labels(APP_LABEL),
    )
    .default_backoff();
    pods.filter_map(move |event| {
        let reference = match &event {
            Ok(event) => {
                context.pods.apply(event);
                match event {
                    watcher::Event::InitApply(pod)
                    | watcher::Event::Apply(pod)
                    | watcher::Event::Delete(pod) => {
                        let name = pod.labels().get(APP_LABEL).cloned();
                        name.zip(pod.namespace())
                            .map(|(name, namespace)| ObjectRef::new(&name).within(&namespace))
                    }
                    watcher::Event::Init | watcher::Event::InitDone => None,
                }
            }
            Err(error) => {
                warn!("watching pods: {error}");
                None
            }
        };
        std::future::ready(reference)
    })
}

fn retry(error: &OperatorError, context: &Context) -> Next {
    warn!("reconciliation failed: {error}");
    context.metrics.reconcile_failed();
    Next::requeue(RETRY)
}

async fn reconcile(
    resource: Arc<SparkApplication>,
    context: Arc<Context>,
) -> Result<Next, OperatorError> {
    let (name, namespace, uid) = (
        resource.name_any(),
        resource.namespace().unwrap_or_default(),
        resource.uid().unwrap_or_default(),
    );
    if resource.metadata.deletion_timestamp.is_some() {
        context.forget(&uid);
        return Ok(Next::await_change());
    }
    let timer = context.metrics.reconcile_started();
    let status = context.newest(&resource, &uid);
    let mut application = Application::read(&resource);
    if let Ok(application) = &mut application {
        let spec = &mut application.manifest.spec;
        spec.image = spec.image.take().or_else(|| context.config.image.clone());
        spec.service_account = spec
            .service_account
            .take()
            .or_else(|| context.config.service_account.clone());
    }
    let mut pods = context.pods.of(&uid);
    let state = status.application_state.state;
    if pods.driver.is_none()
        && matches!(
            state,
            ApplicationState::Submitted | ApplicationState::Running
        )
    {
        // Whether it is gone, or not yet here, the watch cannot tell.
        let driver = Api::<Pod>::namespaced(context.client.clone(), &namespace)
            .get_opt(&driver_name(&name))
            .await?;
        pods.driver = driver.map(|pod| driver_view(&pod));
    }
    let situation = Situation {
        application: application.as_ref(),
        name: &name,
        status: &status,
        pods: &pods,
        patience: context.config.patience,
        now: Timestamp::now(),
    };
    let mut decision = decide(&situation);
    for action in &decision.actions {
        if let Err(refusal) = context
            .act(*action, &resource, application.as_ref().ok())
            .await?
        {
            // The cluster will not have it: that is an end, not a reason to ask for ever.
            decision = decide(&Situation {
                application: Err(&refusal),
                pods: &view::PodsView::default(),
                ..situation
            });
            break;
        }
    }
    context
        .tell(&resource, &status, &decision.status, &decision.notes)
        .await?;
    context.metrics.reconciled(timer);
    Ok(decision
        .again
        .map_or_else(Next::await_change, Next::requeue))
}

impl Context {
    /// The status as far as this process knows it.
    fn newest(&self, resource: &SparkApplication, uid: &str) -> ApplicationStatus {
        let seen = resource.status.clone().unwrap_or_default();
        let version = version(resource);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        match written.get(uid) {
            Some((newer, status)) if *newer > version => status.clone(),
            Some(_) => {
                written.remove(uid);
                seen
            }
            None => seen,
        }
    }

    fn forget(&self, uid: &str) {
        self.written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
    }

    /// Does one thing. The inner error is final, the outer may go away.
    async fn act(
        &self,
        action: Action,
        resource: &SparkApplication,
        application: Option<&Application>,
    ) -> Result<Result<(), crate::application::InvalidSpec>, OperatorError> {
        let (name, namespace) = (
            resource.name_any(),
            resource.namespace().unwrap_or_default(),
        );
        let pods = Api::<Pod>::namespaced(self.client.clone(), &namespace);
        match action {
            Action::CreateDriver(attempt) => {
                let Some(application) = application else {
                    return Ok(Ok(()));
                };
                let pod = match driver_pod(application, attempt) {
                    Ok(pod) => pod,
                    Err(invalid) => return Ok(Err(invalid)),
                };
                let secret = token_secret(application, &token()?);
                let secrets = Api::<Secret>::namespaced(self.client.clone(), &namespace);
                // The secret of an attempt before serves as well.
                let made = match secrets.create(&PostParams::default(), &secret).await {
                    Err(error) if is_conflict(&error) => Ok(()),
                    made => made.map(drop),
                };
                match made {
                    Ok(()) => {}
                    Err(error) => return refused(error),
                }
                match pods.create(&PostParams::default(), &pod).await {
                    Ok(_) => {
                        self.metrics.submitted();
                        Ok(Ok(()))
                    }
                    Err(error) if is_conflict(&error) => self.adopt(&pods, &pod).await,
                    Err(error) => refused(error),
                }
            }
            Action::DeleteDriver => gone(
                pods.delete(&driver_name(&name), &DeleteParams::default())
                    .await
                    .map(drop),
            )
            .map(Ok),
            Action::DeleteExecutors => {
                let selected = ListParams::default().labels(&executor_selector(
                    &resource.uid().unwrap_or_default(),
                    None,
                ));
                gone(
                    pods.delete_collection(&DeleteParams::default(), &selected)
                        .await
                        .map(drop),
                )
                .map(Ok)
            }
            Action::DeleteResource => {
                let applications =
                    Api::<SparkApplication>::namespaced(self.client.clone(), &namespace);
                gone(
                    applications
                        .delete(&name, &DeleteParams::background())
                        .await
                        .map(drop),
                )
                .map(Ok)
            }
        }
    }

    /// A pod of that name is there: it is this attempt's, made a moment ago, or in its way.
    async fn adopt(
        &self,
        pods: &Api<Pod>,
        wanted: &Pod,
    ) -> Result<Result<(), crate::application::InvalidSpec>, OperatorError> {
        let name = wanted.name_any();
        let present = pods.get_opt(&name).await?;
        match present {
            Some(present)
                if present.labels() == wanted.labels()
                    && present.metadata.deletion_timestamp.is_none() =>
            {
                Ok(Ok(()))
            }
            // It goes, or is the attempt before: the next look finds its name free.
            Some(present)
                if present.metadata.deletion_timestamp.is_some()
                    || present.owner_references() == wanted.owner_references() =>
            {
                Err(OperatorError::Local(format!(
                    "{name}: the pod before is not gone yet"
                )))
            }
            Some(_) => Ok(Err(crate::application::InvalidSpec(format!(
                "a pod {name} that is not this application's is in the way: delete it, or rename the application"
            )))),
            None => Err(OperatorError::Local(format!(
                "{name}: the pod before went this moment"
            ))),
        }
    }

    /// Writes what changed, and the Events that tell of it.
    async fn tell(
        &self,
        resource: &SparkApplication,
        before: &ApplicationStatus,
        after: &ApplicationStatus,
        notes: &[Note],
    ) -> Result<(), OperatorError> {
        if before != after {
            let applications = Api::<SparkApplication>::namespaced(
                self.client.clone(),
                &resource.namespace().unwrap_or_default(),
            );
            match put_status(&applications, &resource.name_any(), after).await? {
                Some(stored) => {
                    let uid = resource.uid().unwrap_or_default();
                    self.written
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(uid, (version(&stored), after.clone()));
                }
                None => return Ok(()),
            }
            if before.application_state.state != after.application_state.state {
                self.metrics.entered(after.application_state.state);
            }
        }
        for note in notes {
            let event = Event {
                type_: if note.warning {
                    EventType::Warning
                } else {
                    EventType::Normal
                },
                reason: note.reason.to_owned(),
                note: Some(note.text.chars().take(NOTE_CHARACTERS_MAX).collect()),
                action: note.reason.trim_start_matches("Spark").to_owned(),
                secondary: None,
            };
            // Told once more is better than a job that waits for its story.
            if let Err(error) = self
                .recorder
                .publish(&event, &resource.object_ref(&()))
                .await
            {
                warn!("{}: event {}: {error}", resource.name_any(), note.reason);
            }
        }
        Ok(())
    }
}

/// The API server takes 1 kB.
const NOTE_CHARACTERS_MAX: usize = 900;

fn version(resource: &SparkApplication) -> u64 {
    resource
        .resource_version()
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 && status.reason == "AlreadyExists")
}

/// Puts a status in the place of the one before; `None` if its resource is gone.
async fn put_status<K>(
    resources: &Api<K>,
    name: &str,
    status: &impl Serialize,
) -> Result<Option<K>, OperatorError>
where
    K: Clone + DeserializeOwned + Serialize + Debug,
{
    // Fields that are gone must go: a merge would keep them.
    let patch = json!([{"op": "add", "path": "/status", "value": status}]);
    let patch: Patch<K> = Patch::Json(
        serde_json::from_value(patch).map_err(|error| OperatorError::Local(error.to_string()))?,
    );
    match resources
        .patch_status(name, &PatchParams::default(), &patch)
        .await
    {
        Ok(stored) => Ok(Some(stored)),
        Err(error) => gone(Err(error)).map(|()| None),
    }
}

/// What is gone already need not be deleted.
fn gone(outcome: Result<(), kube::Error>) -> Result<(), OperatorError> {
    match outcome {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        outcome => outcome.map_err(OperatorError::from),
    }
}

/// A pod that the cluster refuses: by its content for ever, by quota or rights until somebody acts.
fn refused(
    error: kube::Error,
) -> Result<Result<(), crate::application::InvalidSpec>, OperatorError> {
    match &error {
        kube::Error::Api(status) if [400, 403, 422].contains(&status.code) => {
            Ok(Err(crate::application::InvalidSpec(explained(&error))))
        }
        _ => Err(error.into()),
    }
}

fn token() -> Result<String, OperatorError> {
    faisca_driver::random_hex(TOKEN_BYTES).map_err(|error| OperatorError::Local(error.to_string()))
}
