//! The pods as the operator's decisions see them.
//!
//! Only the needed fields are stored, because the operator holds the pods of thousands of
//! applications in memory.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::watcher::Event;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use crate::pod_state::{Loss, Phase, StartupProblem, loss, phase, startup_problem};
use crate::pods::{
    ATTEMPT_LABEL, DRIVER_CONTAINER, PROGRESS_ANNOTATION, RESULT_ANNOTATION, ROLE_LABEL,
    SELECTOR_LABEL,
};
use crate::resource::{ApplicationProgress, ApplicationResult};

/// The driver's pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct DriverView {
    pub(super) attempt: u32,
    /// Phase of the driver's container, where it differs from the pod's.
    pub(super) phase: Phase,
    pub(super) created: Option<Timestamp>,
    pub(super) is_deleting: bool,
    pub(super) startup_problem: Option<StartupProblem>,
    /// Exit code of the driver's container.
    pub(super) exit_code: Option<i32>,
    /// Termination message of the driver's container: cause of a failure, and how to fix it.
    pub(super) termination_message: Option<String>,
    /// Why the pod ended early.
    pub(super) loss: Option<Loss>,
    pub(super) progress: Option<ApplicationProgress>,
    pub(super) result: Option<ApplicationResult>,
}

/// The pods of one application.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct PodsView {
    pub(super) driver: Option<DriverView>,
    /// State of each executor, by pod name.
    pub(super) executors: BTreeMap<String, &'static str>,
}

/// State of an executor whose pod is being deleted.
const TERMINATING: &str = "TERMINATING";

impl PodsView {
    /// Whether there are executors that are not being deleted.
    pub(super) fn has_executors(&self) -> bool {
        self.executors.values().any(|state| *state != TERMINATING)
    }
}

/// The pods of all applications, by the UID of the application.
#[derive(Debug, Default)]
pub(super) struct PodIndex(
    /// Locked for single updates and copies only, never across an await.
    Mutex<HashMap<String, PodsView>>,
);

impl PodIndex {
    /// Returns a copy of the pods of an application.
    pub(super) fn pods_of(&self, uid: &str) -> PodsView {
        self.0.lock().get(uid).cloned().unwrap_or_default()
    }

    /// Updates the index by an event of the watch.
    pub(super) fn apply(&self, event: &Event<Pod>) {
        let mut applications = self.0.lock();
        match event {
            // A new list follows.
            Event::Init => applications.clear(),
            Event::InitDone => {}
            Event::InitApply(pod) | Event::Apply(pod) => {
                let Some(uid) = pod.labels().get(SELECTOR_LABEL) else {
                    return;
                };
                let pods = applications.entry(uid.clone()).or_default();
                match pod.labels().get(ROLE_LABEL).map(String::as_str) {
                    Some("driver") => pods.driver = Some(driver_view(pod)),
                    Some("executor") => {
                        pods.executors.insert(pod.name_any(), executor_state(pod));
                    }
                    _ => {}
                }
            }
            Event::Delete(pod) => {
                let Some(uid) = pod.labels().get(SELECTOR_LABEL) else {
                    return;
                };
                let Some(pods) = applications.get_mut(uid) else {
                    return;
                };
                if pod
                    .labels()
                    .get(ROLE_LABEL)
                    .is_some_and(|role| role == "driver")
                {
                    pods.driver = None;
                } else {
                    pods.executors.remove(&pod.name_any());
                }
                if pods.driver.is_none() && pods.executors.is_empty() {
                    applications.remove(uid);
                }
            }
        }
    }
}

/// Parses an annotation that the driver writes as JSON. An invalid one counts as absent.
fn annotation<T: DeserializeOwned>(pod: &Pod, name: &str) -> Option<T> {
    serde_json::from_str(pod.annotations().get(name)?).ok()
}

/// Extracts what decisions need from the driver's pod.
pub(super) fn driver_view(pod: &Pod) -> DriverView {
    let status = pod.status.as_ref();
    let containers = status
        .and_then(|s| s.container_statuses.as_deref())
        .unwrap_or_default();
    let main = containers
        .iter()
        .find(|container| container.name == DRIVER_CONTAINER);
    let state = main.and_then(|container| container.state.as_ref());
    let terminated = state.and_then(|state| state.terminated.as_ref());
    let other_containers_run = containers.iter().any(|c| {
        c.name != DRIVER_CONTAINER
            && c.state
                .as_ref()
                .is_some_and(|state| state.running.is_some())
    });
    DriverView {
        attempt: pod
            .labels()
            .get(ATTEMPT_LABEL)
            .and_then(|text| text.parse().ok())
            .unwrap_or_default(),
        // Other containers may keep the pod running after the driver has ended: Airflow's on
        // purpose, an injected one (of a service mesh, say) by accident.
        phase: match terminated
            .filter(|_| other_containers_run)
            .map(|terminated| terminated.exit_code)
        {
            Some(0) => Phase::Succeeded,
            Some(_) => Phase::Failed,
            None => phase(pod),
        },
        created: pod.creation_timestamp().map(|time| time.0),
        is_deleting: pod.metadata.deletion_timestamp.is_some(),
        startup_problem: startup_problem(pod),
        exit_code: terminated.map(|terminated| terminated.exit_code),
        termination_message: terminated
            .and_then(|terminated| terminated.message.clone())
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty()),
        loss: loss(pod),
        progress: annotation(pod, PROGRESS_ANNOTATION),
        result: annotation(pod, RESULT_ANNOTATION),
    }
}

/// Returns the state of an executor, with the names of Spark Operator.
fn executor_state(pod: &Pod) -> &'static str {
    match phase(pod) {
        _ if pod.metadata.deletion_timestamp.is_some() => TERMINATING,
        Phase::Pending => "PENDING",
        Phase::Running => "RUNNING",
        Phase::Succeeded => "COMPLETED",
        Phase::Failed => "FAILED",
    }
}
