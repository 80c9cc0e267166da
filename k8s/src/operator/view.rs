//! What the operator needs to know of pods, and nothing more: it keeps thousands.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;

use crate::loss::{Loss, loss};
use crate::pods::{ATTEMPT_LABEL, DRIVER_CONTAINER, PROGRESS, RESULT, ROLE_LABEL, SELECTOR_LABEL};
use crate::resource::{ApplicationProgress, ApplicationResult};
use crate::stuck::{Stuck, stuck};

/// Phases of a pod.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Pending,
    Running,
    Succeeded,
    Failed,
}

/// A driver's pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct DriverView {
    pub(super) attempt: u32,
    pub(super) phase: Phase,
    pub(super) created: Option<Timestamp>,
    pub(super) deleting: bool,
    /// What keeps it from starting.
    pub(super) stuck: Option<Stuck>,
    /// What its container exited with.
    pub(super) exit_code: Option<i32>,
    /// What its container left as its last words.
    pub(super) last_words: Option<String>,
    /// Why it ended, if not by itself.
    pub(super) loss: Option<Loss>,
    pub(super) progress: Option<ApplicationProgress>,
    pub(super) result: Option<ApplicationResult>,
}

/// The pods of one application.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct PodsView {
    pub(super) driver: Option<DriverView>,
    /// States of executors by pod.
    pub(super) executors: BTreeMap<String, &'static str>,
}

/// State of an executor whose pod was told to end.
const TERMINATING: &str = "TERMINATING";

impl PodsView {
    /// Executors that nobody told to end.
    pub(super) fn has_executors(&self) -> bool {
        self.executors.values().any(|state| *state != TERMINATING)
    }
}

/// The pods of all applications, by the application's unique identity.
#[derive(Debug, Default)]
pub(super) struct PodIndex(
    /// Held for single updates and copies only.
    Mutex<HashMap<String, PodsView>>,
);

impl PodIndex {
    pub(super) fn of(&self, uid: &str) -> PodsView {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(uid)
            .cloned()
            .unwrap_or_default()
    }

    /// Takes a change of a pod in.
    pub(super) fn apply(&self, event: &Event<Pod>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Init => all.clear(),
            Event::InitDone => {}
            Event::InitApply(pod) | Event::Apply(pod) => {
                let Some(uid) = pod.labels().get(SELECTOR_LABEL) else {
                    return;
                };
                let pods = all.entry(uid.clone()).or_default();
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
                let Some(pods) = all.get_mut(uid) else { return };
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
                    all.remove(uid);
                }
            }
        }
    }
}

fn annotation<T: DeserializeOwned>(pod: &Pod, name: &str) -> Option<T> {
    serde_json::from_str(pod.annotations().get(name)?).ok()
}

fn phase(pod: &Pod) -> Phase {
    match pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
    {
        Some("Running") => Phase::Running,
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed") => Phase::Failed,
        _ => Phase::Pending,
    }
}

pub(super) fn driver_view(pod: &Pod) -> DriverView {
    let status = pod.status.as_ref();
    let containers = status
        .and_then(|s| s.container_statuses.as_deref())
        .unwrap_or_default();
    let main = containers
        .iter()
        .find(|container| container.name == DRIVER_CONTAINER);
    let state = main.and_then(|container| container.state.as_ref());
    let ended = state.and_then(|state| state.terminated.as_ref());
    let others_run = containers.iter().any(|c| {
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
        // Containers beside the driver's may keep the pod up, for Airflow or against anybody's wish.
        phase: match ended.filter(|_| others_run).map(|ended| ended.exit_code) {
            Some(0) => Phase::Succeeded,
            Some(_) => Phase::Failed,
            None => phase(pod),
        },
        created: pod.creation_timestamp().map(|time| time.0),
        deleting: pod.metadata.deletion_timestamp.is_some(),
        stuck: stuck(pod),
        exit_code: ended.map(|ended| ended.exit_code),
        last_words: ended
            .and_then(|ended| ended.message.clone())
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty()),
        loss: loss(pod),
        progress: annotation(pod, PROGRESS),
        result: annotation(pod, RESULT),
    }
}

fn executor_state(pod: &Pod) -> &'static str {
    match phase(pod) {
        _ if pod.metadata.deletion_timestamp.is_some() => TERMINATING,
        Phase::Pending => "PENDING",
        Phase::Running => "RUNNING",
        Phase::Succeeded => "COMPLETED",
        Phase::Failed => "FAILED",
    }
}
