//! Why a pod ended before its time: who is to blame decides whether it counts against the job.

use k8s_openapi::api::core::v1::Pod;

/// Causes of a pod's early end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// A pod of higher priority needed its place.
    Preempted,
    /// Its node ran out of something, was drained, or is going away, as spot nodes do.
    Evicted,
    /// It took more memory than its limit.
    OutOfMemory,
    /// Its own failure.
    Failed,
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Preempted => "preempted by a pod of higher priority",
            Self::Evicted => "evicted from its node",
            Self::OutOfMemory => "killed for taking more memory than its limit",
            Self::Failed => "failed",
        })
    }
}

/// Why a pod ended, or will; `None` while nothing is known against it.
#[must_use]
pub fn loss(pod: &Pod) -> Option<Loss> {
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
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
    match status.reason.as_deref() {
        Some("Preempting" | "Preempted") => return Some(Loss::Preempted),
        Some("Evicted" | "NodeShutdown" | "NodeLost" | "Terminated" | "Shutdown") => {
            return Some(Loss::Evicted);
        }
        _ => {}
    }
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    let ended = containers
        .iter()
        .filter_map(|c| c.state.as_ref()?.terminated.as_ref());
    if ended
        .clone()
        .any(|ended| ended.reason.as_deref() == Some("OOMKilled"))
    {
        return Some(Loss::OutOfMemory);
    }
    (status.phase.as_deref() == Some("Failed")).then_some(Loss::Failed)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(status: &Value) -> Option<Loss> {
        loss(&serde_json::from_value(json!({"status": status})).unwrap())
    }

    #[test]
    fn pods_end_for_reasons_of_their_own_or_of_others() {
        assert_eq!(of(&json!({"phase": "Running"})), None);
        assert_eq!(of(&json!({"phase": "Succeeded"})), None);
        assert_eq!(of(&json!({"phase": "Failed"})), Some(Loss::Failed));
        assert_eq!(
            of(&json!({"phase": "Failed", "reason": "Evicted"})),
            Some(Loss::Evicted)
        );
        let disrupted = |reason: &str| json!({"phase": "Running", "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": reason}]});
        assert_eq!(
            of(&disrupted("PreemptionByScheduler")),
            Some(Loss::Preempted)
        );
        assert_eq!(of(&disrupted("EvictionByEvictionAPI")), Some(Loss::Evicted));
        assert_eq!(of(&disrupted("TerminationByKubelet")), Some(Loss::Evicted));
        let killed = json!({"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}});
        assert_eq!(
            of(&json!({"phase": "Failed", "containerStatuses": [killed]})),
            Some(Loss::OutOfMemory)
        );
    }
}
