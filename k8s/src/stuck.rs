//! Pods that do not start: for want of an image, a secret, a node.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

/// How long drivers and executors wait for what others must bring, before a job is given up.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For an image, or whatever else keeps a container from starting.
    pub start: Duration,
    /// For a node.
    pub schedule: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(60),
            schedule: Duration::from_secs(300),
        }
    }
}

/// What a pod waits for, with the cluster's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// Something that no wait will bring: an image whose name is none.
    Invalid(String),
    /// An image, a secret, a mount.
    Start(String),
    /// A node.
    Node(String),
}

impl Stuck {
    /// How long that is waited for.
    pub(crate) fn limit(&self, patience: Patience) -> Duration {
        match self {
            Self::Invalid(_) => Duration::ZERO,
            Self::Start(_) => patience.start,
            Self::Node(_) => patience.schedule,
        }
    }
}

impl std::fmt::Display for Stuck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Invalid(text) | Self::Start(text) | Self::Node(text) => f.write_str(text),
        }
    }
}

/// What keeps a pod from starting; `None` if it starts, or nothing is known.
pub(crate) fn stuck(pod: &Pod) -> Option<Stuck> {
    let status = pod.status.as_ref()?;
    let containers = [&status.init_container_statuses, &status.container_statuses];
    let waiting = containers.into_iter().flatten().flatten().find_map(waiting);
    if waiting.is_some() {
        return waiting;
    }
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "PodScheduled" && c.status == "False");
    unscheduled.map(|c| {
        Stuck::Node(format!(
            "Unschedulable: {}",
            c.message.as_deref().unwrap_or("no node takes the pod")
        ))
    })
}

/// Why a container waits, if not for its turn.
fn waiting(container: &ContainerStatus) -> Option<Stuck> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    let told = format!(
        "{reason}: {}",
        waiting.message.as_deref().unwrap_or("no message")
    );
    match reason {
        "ContainerCreating" | "PodInitializing" => None,
        "InvalidImageName" => Some(Stuck::Invalid(told)),
        _ => Some(Stuck::Start(told)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(status: &Value) -> Option<Stuck> {
        stuck(&serde_json::from_value(json!({"status": status})).unwrap())
    }

    #[test]
    fn pods_wait_for_images_and_nodes() {
        let waiting = |reason: &str| {
            let state = json!({"waiting": {"reason": reason, "message": "as told"}});
            json!({"containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]})
        };
        assert_eq!(of(&json!({})), None);
        assert_eq!(of(&waiting("ContainerCreating")), None);
        assert_eq!(
            of(&waiting("ImagePullBackOff")),
            Some(Stuck::Start("ImagePullBackOff: as told".to_owned()))
        );
        assert_eq!(
            of(&waiting("InvalidImageName")),
            Some(Stuck::Invalid("InvalidImageName: as told".to_owned()))
        );
        let unscheduled = json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]});
        assert_eq!(
            of(&unscheduled),
            Some(Stuck::Node("Unschedulable: 0/1 nodes".to_owned()))
        );
    }
}
