//! Extracts from pods what the operator's decisions need.
//!
//! Labels alone prove nothing, since anyone who may create a pod chooses them. **A pod belongs to
//! the application that owns it, in its namespace**, and the driver has the driver's name.
//!
//! Only the needed fields are stored, because the operator holds the pods of thousands of
//! applications in memory.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use crate::pod_state::{Loss, Phase, StartupProblem, loss, phase, startup_problem};
use crate::pods::{
    ATTEMPT_LABEL, DRIVER_CONTAINER, PROGRESS_ANNOTATION, RESULT_ANNOTATION, ROLE_LABEL,
    SELECTOR_LABEL, driver_name,
};
use crate::resource::{ApplicationProgress, ApplicationResult, SparkApplication};

/// Returns whether a pod is the driver of this application.
pub(super) fn is_driver_of(pod: &Pod, namespace: &str, uid: &str) -> bool {
    let key = (namespace.to_owned(), uid.to_owned());
    role(pod) == Some((key, PodRole::Driver))
}

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
    /// Returns true if there are executors that are not being deleted.
    pub(super) fn has_executors(&self) -> bool {
        self.executors.values().any(|state| *state != TERMINATING)
    }
}

/// An application: its namespace and its UID.
type ApplicationKey = (String, String);

/// The pods of all applications.
#[derive(Debug, Default)]
pub(super) struct PodIndex(
    /// Locked for single updates and copies only, never across an await.
    Mutex<HashMap<ApplicationKey, PodsView>>,
);

/// Role of a pod in its application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PodRole {
    Driver,
    Executor,
}

/// Returns the application of a pod, and the pod's role in it. `None` if the labels, the owner and
/// the name do not agree.
fn role(pod: &Pod) -> Option<(ApplicationKey, PodRole)> {
    let labels = pod.labels();
    let kind = SparkApplication::kind(&());
    let owners = pod.owner_references().iter();
    let owner = owners
        .filter(|owner| owner.controller == Some(true) && owner.kind == kind)
        .find(|owner| labels.get(SELECTOR_LABEL) == Some(&owner.uid))?;
    let role = match labels.get(ROLE_LABEL)?.as_str() {
        "driver" if pod.name_any() == driver_name(&owner.name) => PodRole::Driver,
        "executor" => PodRole::Executor,
        _ => return None,
    };
    Some(((pod.namespace()?, owner.uid.clone()), role))
}

impl PodIndex {
    /// Returns a copy of the pods of an application.
    pub(super) fn pods_of(&self, namespace: &str, uid: &str) -> PodsView {
        let key = (namespace.to_owned(), uid.to_owned());
        self.0.lock().get(&key).cloned().unwrap_or_default()
    }

    /// Updates the index by an event of the watch.
    pub(super) fn apply(&self, event: &Event<Pod>) {
        let mut applications = self.0.lock();
        match event {
            // A new list follows.
            Event::Init => applications.clear(),
            Event::InitDone => {}
            Event::InitApply(pod) | Event::Apply(pod) => {
                let Some((application, role)) = role(pod) else {
                    return;
                };
                let pods = applications.entry(application).or_default();
                match role {
                    PodRole::Driver => pods.driver = Some(driver_view(pod)),
                    PodRole::Executor => {
                        pods.executors
                            .insert(pod.name_any(), executor_status_name(pod));
                    }
                }
            }
            Event::Delete(pod) => {
                let Some((application, role)) = role(pod) else {
                    return;
                };
                let Some(pods) = applications.get_mut(&application) else {
                    return;
                };
                match role {
                    PodRole::Driver => pods.driver = None,
                    PodRole::Executor => drop(pods.executors.remove(&pod.name_any())),
                }
                if pods.driver.is_none() && pods.executors.is_empty() {
                    applications.remove(&application);
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
fn executor_status_name(pod: &Pod) -> &'static str {
    match phase(pod) {
        _ if pod.metadata.deletion_timestamp.is_some() => TERMINATING,
        Phase::Pending => "PENDING",
        Phase::Running => "RUNNING",
        Phase::Succeeded => "COMPLETED",
        Phase::Failed => "FAILED",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A pod of the application `etl` in the namespace `team`, with these changes.
    fn pod(changes: &Value) -> Pod {
        let mut metadata = json!({
            "name": driver_name("etl"), "namespace": "team",
            "labels": {SELECTOR_LABEL: "u-1", ROLE_LABEL: "driver"},
            "ownerReferences": [{
                "apiVersion": "faisca.dev/v1alpha1", "kind": "SparkApplication", "name": "etl",
                "uid": "u-1", "controller": true,
            }],
        });
        for (name, value) in changes.as_object().unwrap() {
            metadata[name] = value.clone();
        }
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    #[test]
    fn a_pod_with_the_labels_of_an_application_is_its_driver_only_by_owner_namespace_and_name() {
        let index = PodIndex::default();
        let other_owner = json!([{
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "etl", "uid": "u-1", "controller": true,
        }]);
        for foreign in [
            json!({"namespace": "elsewhere"}),
            json!({"name": "forged"}),
            json!({"ownerReferences": []}),
            json!({"ownerReferences": other_owner}),
        ] {
            index.apply(&Event::Apply(pod(&foreign)));
            assert_eq!(
                index.pods_of("team", "u-1"),
                PodsView::default(),
                "{foreign}"
            );
        }
        let own = pod(&json!({}));
        index.apply(&Event::Apply(own.clone()));
        assert!(index.pods_of("team", "u-1").driver.is_some());
        // Nor does the deletion of a forged one remove it.
        index.apply(&Event::Delete(pod(&json!({"name": "forged"}))));
        assert!(index.pods_of("team", "u-1").driver.is_some());
        index.apply(&Event::Delete(own));
        assert_eq!(index.pods_of("team", "u-1"), PodsView::default());
    }
}
