//! Observes one application, and executes the decision about it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::controller;
use kube::{Api, ResourceExt};

use super::Context;
use super::decide::{Action, Observed, PendingEvent, decide};
use super::view::{PodsView, driver_view, is_driver_of};
use crate::application::Application;
use crate::error::{
    InvalidSpec, OperatorError, explain_api_error, is_already_exists, is_quota_exceeded,
};
use crate::pods::{driver_name, driver_pod, executor_selector, token_secret};
use crate::resource::{ApplicationState, ApplicationStatus, SparkApplication};

/// Delay after which a driver that a quota refused is requested again.
const QUOTA_RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Random bytes of an application's token.
const TOKEN_BYTES: usize = 16;

/// Brings one application a step further: observes, decides, executes, and writes the status.
pub(super) async fn reconcile(
    resource: Arc<SparkApplication>,
    context: Arc<Context>,
) -> Result<controller::Action, OperatorError> {
    let uid = resource.uid().unwrap_or_default();
    if resource.metadata.deletion_timestamp.is_some() {
        context.statuses.remove(&uid);
        return Ok(controller::Action::await_change());
    }
    let started = Instant::now();
    let name = resource.name_any();
    let status = context.statuses.latest(&resource);
    let application = parse_with_defaults(&resource, &context);
    let pods = observe_pods(&resource, &status, &context).await?;
    let observed = Observed {
        application: application.as_ref(),
        name: &name,
        status: &status,
        pods: &pods,
        startup_timeouts: context.config.startup_timeouts,
        now: Timestamp::now(),
    };
    let mut decision = decide(&observed);
    for action in &decision.actions {
        let outcome = context
            .execute(*action, &resource, application.as_ref().ok())
            .await;
        match outcome {
            Ok(()) => {}
            // The cluster rejects what the spec requests. A retry would be rejected again, so the
            // application fails, as with any other invalid spec.
            Err(OperatorError::InvalidSpec(invalid)) => {
                decision = decide(&Observed {
                    application: Err(&invalid),
                    pods: &PodsView::default(),
                    ..observed
                });
                break;
            }
            Err(error @ OperatorError::QuotaExceeded(_)) => {
                context.publish(&resource, &quota_event(&error)).await;
                return Ok(controller::Action::requeue(QUOTA_RETRY_INTERVAL));
            }
            Err(error) => return Err(error),
        }
    }
    context.write_outcome(&resource, &status, &decision).await?;
    context.metrics.record_reconciliation(started.elapsed());
    Ok(decision.requeue_after.map_or_else(
        controller::Action::await_change,
        controller::Action::requeue,
    ))
}

/// Returns the Event of an application that waits until the quota of its namespace admits it.
fn quota_event(error: &OperatorError) -> PendingEvent {
    PendingEvent {
        reason: "SparkApplicationWaitsForQuota",
        message: error.to_string(),
        is_warning: true,
    }
}

/// Parses an application, and fills in the operator's defaults where it has no value of its own.
fn parse_with_defaults(
    resource: &SparkApplication,
    context: &Context,
) -> Result<Application, InvalidSpec> {
    let mut application = Application::parse(resource)?;
    let spec = &mut application.manifest.spec;
    spec.image = spec.image.take().or_else(|| context.config.image.clone());
    spec.service_account = spec
        .service_account
        .take()
        .or_else(|| context.config.service_account.clone());
    spec.time_to_live_seconds = spec
        .time_to_live_seconds
        .or(context.config.time_to_live_seconds);
    Ok(application)
}

/// Returns the pods of an application. A driver that the watch does not show is looked up.
async fn observe_pods(
    resource: &SparkApplication,
    status: &ApplicationStatus,
    context: &Context,
) -> Result<PodsView, OperatorError> {
    let namespace = resource.namespace().unwrap_or_default();
    let uid = resource.uid().unwrap_or_default();
    let mut pods = context.pods.pods_of(&namespace, &uid);
    let should_have_driver = matches!(
        status.application_state.state,
        ApplicationState::Submitted | ApplicationState::Running
    );
    if pods.driver.is_none() && should_have_driver {
        // Only a request can distinguish a deleted driver from one that the watch does not show
        // yet.
        let driver = Api::<Pod>::namespaced(context.client.clone(), &namespace)
            .get_opt(&driver_name(&resource.name_any()))
            .await?;
        let own = driver.filter(|pod| is_driver_of(pod, &namespace, &uid));
        pods.driver = own.map(|pod| driver_view(&pod));
    }
    Ok(pods)
}

impl Context {
    /// Executes one action. Every action may be repeated.
    ///
    /// # Errors
    /// [`OperatorError::InvalidSpec`] is final; all other errors are worth a retry.
    async fn execute(
        &self,
        action: Action,
        resource: &SparkApplication,
        application: Option<&Application>,
    ) -> Result<(), OperatorError> {
        let name = resource.name_any();
        let namespace = resource.namespace().unwrap_or_default();
        let pods = Api::<Pod>::namespaced(self.client.clone(), &namespace);
        match action {
            Action::CreateDriver(attempt) => match application {
                Some(application) => {
                    let status = resource.status.as_ref();
                    let completions = status.map_or(0, |status| status.completions);
                    let pod = driver_pod(application, attempt, completions)?;
                    self.create_driver(&pods, application, &pod).await
                }
                // Decided only for a valid spec.
                None => Ok(()),
            },
            Action::DeleteDriver => ignore_not_found(
                pods.delete(&driver_name(&name), &DeleteParams::default())
                    .await,
            ),
            Action::DeleteExecutors => {
                let uid = resource.uid().unwrap_or_default();
                let executors = ListParams::default().labels(&executor_selector(&uid, None));
                ignore_not_found(
                    pods.delete_collection(&DeleteParams::default(), &executors)
                        .await,
                )
            }
            Action::DeleteResource => ignore_not_found(
                Api::<SparkApplication>::namespaced(self.client.clone(), &namespace)
                    .delete(&name, &DeleteParams::background())
                    .await,
            ),
        }
    }

    /// Creates the secret and the driver's pod of an attempt.
    async fn create_driver(
        &self,
        pods: &Api<Pod>,
        application: &Application,
        pod: &Pod,
    ) -> Result<(), OperatorError> {
        let token = faisca_driver::random_hex(TOKEN_BYTES).map_err(OperatorError::Random)?;
        let secret = token_secret(application, &token);
        let secrets = Api::<Secret>::namespaced(self.client.clone(), &application.namespace);
        match secrets.create(&PostParams::default(), &secret).await {
            // An earlier attempt has created the secret.
            Err(error) if is_already_exists(&error) => {}
            created => drop(created.map_err(classify_rejection)?),
        }
        match pods.create(&PostParams::default(), pod).await {
            Ok(_) => {
                self.metrics.driver_created();
                Ok(())
            }
            Err(error) if is_already_exists(&error) => check_existing_driver(pods, pod).await,
            Err(error) => Err(classify_rejection(error)),
        }
    }
}

/// Checks an existing pod that has the name of the new driver. Succeeds if it is that driver.
///
/// # Errors
/// [`OperatorError::InvalidSpec`] if the pod belongs to something else; an error that is retried if
/// it is the driver of an earlier attempt.
async fn check_existing_driver(pods: &Api<Pod>, expected: &Pod) -> Result<(), OperatorError> {
    let name = expected.name_any();
    let Some(existing) = pods.get_opt(&name).await? else {
        // Deleted since the request to create it: the retry finds the name free.
        return Err(OperatorError::PodNotDeleted { pod: name });
    };
    let is_deleting = existing.metadata.deletion_timestamp.is_some();
    if existing.labels() == expected.labels() && !is_deleting {
        // This attempt's pod: created by this operator, or by one that died before it wrote the
        // status.
        return Ok(());
    }
    if is_deleting || existing.owner_references() == expected.owner_references() {
        return Err(OperatorError::PodNotDeleted { pod: name });
    }
    Err(InvalidSpec(format!(
        "pod {name} exists and does not belong to this application: delete it, or rename the application"
    ))
    .into())
}

/// Treats an object that does not exist as deleted.
pub(super) fn ignore_not_found<T>(outcome: Result<T, kube::Error>) -> Result<(), OperatorError> {
    match outcome {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Classifies a failure to create an object. The user must fix invalid content or missing
/// permissions, so the application fails with that text; all other failures are retried.
fn classify_rejection(error: kube::Error) -> OperatorError {
    match &error {
        _ if is_quota_exceeded(&error) => OperatorError::QuotaExceeded(Box::new(error)),
        kube::Error::Api(status) if [400, 403, 422].contains(&status.code) => {
            InvalidSpec(explain_api_error(&error)).into()
        }
        _ => error.into(),
    }
}
