//! Detects pods that cannot start: missing image, secret or node.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

/// How long a pod may stay blocked before its job fails.
#[derive(Debug, Clone, Copy)]
pub struct StartupTimeouts {
    /// While a container cannot start: an image that cannot be pulled, a missing secret.
    pub start: Duration,
    /// While no node accepts the pod.
    pub schedule: Duration,
}

impl Default for StartupTimeouts {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(60),
            schedule: Duration::from_secs(300),
        }
    }
}

/// What keeps a pod from starting, with the message that Kubernetes reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StartupProblem {
    /// Waiting cannot help: the image name is malformed.
    InvalidImageName(String),
    /// A container cannot start: an image, a secret or a mount is missing.
    ContainerBlocked(String),
    /// No node accepts the pod.
    Unschedulable(String),
}

impl StartupProblem {
    /// Returns how long to wait for the problem to disappear.
    pub(crate) fn timeout(&self, timeouts: StartupTimeouts) -> Duration {
        match self {
            Self::InvalidImageName(_) => Duration::ZERO,
            Self::ContainerBlocked(_) => timeouts.start,
            Self::Unschedulable(_) => timeouts.schedule,
        }
    }
}

impl std::fmt::Display for StartupProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InvalidImageName(text)
            | Self::ContainerBlocked(text)
            | Self::Unschedulable(text) => f.write_str(text),
        }
    }
}

/// Returns what keeps a pod from starting. `None` if nothing does, or nothing is known yet.
pub(crate) fn startup_problem(pod: &Pod) -> Option<StartupProblem> {
    let status = pod.status.as_ref()?;
    let containers = [&status.init_container_statuses, &status.container_statuses];
    let container_problem = containers
        .into_iter()
        .flatten()
        .flatten()
        .find_map(container_problem);
    if container_problem.is_some() {
        return container_problem;
    }
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "PodScheduled" && c.status == "False");
    unscheduled.map(|c| {
        StartupProblem::Unschedulable(format!(
            "Unschedulable: {}",
            c.message.as_deref().unwrap_or("no node accepts the pod")
        ))
    })
}

/// Returns what keeps a container from starting. Normal progress is not a problem.
fn container_problem(container: &ContainerStatus) -> Option<StartupProblem> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    let text = format!(
        "{reason}: {}",
        waiting.message.as_deref().unwrap_or("no message")
    );
    match reason {
        "ContainerCreating" | "PodInitializing" => None,
        "InvalidImageName" => Some(StartupProblem::InvalidImageName(text)),
        _ => Some(StartupProblem::ContainerBlocked(text)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn problem_of_status(status: &Value) -> Option<StartupProblem> {
        startup_problem(&serde_json::from_value(json!({"status": status})).unwrap())
    }

    #[test]
    fn missing_images_and_nodes_are_startup_problems() {
        let waiting = |reason: &str| {
            let state = json!({"waiting": {"reason": reason, "message": "the kubelet's message"}});
            json!({"containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]})
        };
        assert_eq!(problem_of_status(&json!({})), None);
        assert_eq!(problem_of_status(&waiting("ContainerCreating")), None);
        assert_eq!(
            problem_of_status(&waiting("ImagePullBackOff")),
            Some(StartupProblem::ContainerBlocked(
                "ImagePullBackOff: the kubelet's message".to_owned()
            ))
        );
        assert_eq!(
            problem_of_status(&waiting("InvalidImageName")),
            Some(StartupProblem::InvalidImageName(
                "InvalidImageName: the kubelet's message".to_owned()
            ))
        );
        let unscheduled = json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]});
        assert_eq!(
            problem_of_status(&unscheduled),
            Some(StartupProblem::Unschedulable(
                "Unschedulable: 0/1 nodes".to_owned()
            ))
        );
    }
}
