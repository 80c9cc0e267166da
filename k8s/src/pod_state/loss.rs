//! Classifies why a pod ended early. The cause decides whether the end counts against the job.

use faisca_driver::scheduler::LossCause;
use k8s_openapi::api::core::v1::Pod;

use super::{Phase, phase};

/// Cause of a pod's early end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Preempted by a pod of higher priority.
    Preempted,
    /// Evicted: its node ran out of a resource, was drained, or is shutting down (spot nodes).
    Evicted,
    /// Killed for exceeding its memory limit.
    OutOfMemory,
    /// Failed by itself.
    Failed,
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Preempted => "preempted by a pod of higher priority",
            Self::Evicted => "evicted from its node",
            Self::OutOfMemory => "killed for exceeding its memory limit",
            Self::Failed => "failed",
        })
    }
}

impl Loss {
    /// Returns the cause as the scheduler knows it.
    pub(crate) fn cause(self) -> LossCause {
        match self {
            Self::Preempted | Self::Evicted => LossCause::Drained,
            Self::OutOfMemory => LossCause::OutOfMemory,
            Self::Failed => LossCause::Unknown,
        }
    }
}

/// Returns why a pod ended, or is about to end. `None` if the pod is healthy or succeeded.
pub(crate) fn loss(pod: &Pod) -> Option<Loss> {
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    // Set before the pod ends, so it is known earlier than the phase.
    let disruption = conditions
        .iter()
        .find(|c| c.type_ == "DisruptionTarget" && c.status == "True");
    if let Some(reason) = disruption.map(|c| c.reason.as_deref().unwrap_or_default()) {
        return Some(if reason == "PreemptionByScheduler" {
            Loss::Preempted
        } else {
            Loss::Evicted
        });
    }
    // Kubelets that do not set the condition report the cause as the status' reason.
    match status.reason.as_deref() {
        Some("Preempting" | "Preempted") => return Some(Loss::Preempted),
        Some("Evicted" | "NodeShutdown" | "NodeLost" | "Terminated" | "Shutdown") => {
            return Some(Loss::Evicted);
        }
        _ => {}
    }
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    let is_out_of_memory = containers
        .iter()
        .filter_map(|c| c.state.as_ref()?.terminated.as_ref())
        .any(|terminated| terminated.reason.as_deref() == Some("OOMKilled"));
    if is_out_of_memory {
        return Some(Loss::OutOfMemory);
    }
    (phase(pod) == Phase::Failed).then_some(Loss::Failed)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn loss_of_status(status: &Value) -> Option<Loss> {
        loss(&serde_json::from_value(json!({"status": status})).unwrap())
    }

    #[test]
    fn the_cause_of_a_pods_end_is_read_from_its_status() {
        assert_eq!(loss_of_status(&json!({"phase": "Running"})), None);
        assert_eq!(loss_of_status(&json!({"phase": "Succeeded"})), None);
        assert_eq!(
            loss_of_status(&json!({"phase": "Failed"})),
            Some(Loss::Failed)
        );
        assert_eq!(
            loss_of_status(&json!({"phase": "Failed", "reason": "Evicted"})),
            Some(Loss::Evicted)
        );
        let disrupted = |reason: &str| json!({"phase": "Running", "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": reason}]});
        assert_eq!(
            loss_of_status(&disrupted("PreemptionByScheduler")),
            Some(Loss::Preempted)
        );
        assert_eq!(
            loss_of_status(&disrupted("EvictionByEvictionAPI")),
            Some(Loss::Evicted)
        );
        assert_eq!(
            loss_of_status(&disrupted("TerminationByKubelet")),
            Some(Loss::Evicted)
        );
        let killed = json!({"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}});
        assert_eq!(
            loss_of_status(&json!({"phase": "Failed", "containerStatuses": [killed]})),
            Some(Loss::OutOfMemory)
        );
    }
}
