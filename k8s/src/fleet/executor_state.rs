//! Derives the state of an executor from its pod.

use faisca_driver::fleet::cause_of_code;
use faisca_driver::scheduler::LossCause;
use faisca_executor::control::ServeError;
use k8s_openapi::api::core::v1::Pod;

use crate::pod_state::{Loss, Phase, StartupProblem, loss, phase, startup_problem};

/// State of an executor's pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ExecutorState {
    /// Not running yet, perhaps because of a problem.
    Starting(Option<StartupProblem>),
    Running,
    /// Being deleted; the executor hands over its blocks.
    Terminating,
    Ended {
        /// Cause, for logs and messages.
        reason: String,
        /// Cause, for the scheduler.
        cause: LossCause,
        replacement: Replacement,
    },
}

/// What another executor in place of one that ended could do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replacement {
    /// Its tasks.
    Useful,
    /// Nothing: it would end in the same way, so none is created.
    Futile,
}

impl ExecutorState {
    pub(super) fn is_starting_or_running(&self) -> bool {
        matches!(self, Self::Starting(_) | Self::Running)
    }
}

/// Returns the state of an executor's pod.
pub(super) fn executor_state(pod: &Pod) -> ExecutorState {
    let phase = phase(pod);
    if matches!(phase, Phase::Succeeded | Phase::Failed) {
        return describe_end(pod, phase);
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return ExecutorState::Terminating;
    }
    if phase == Phase::Running {
        return ExecutorState::Running;
    }
    ExecutorState::Starting(startup_problem(pod))
}

fn describe_end(pod: &Pod, phase: Phase) -> ExecutorState {
    let containers = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_deref())
        .unwrap_or_default();
    let exit_code = containers
        .iter()
        .find_map(|c| Some(c.state.as_ref()?.terminated.as_ref()?.exit_code));
    // A cause outside of the process explains more than its exit code.
    let (reason, cause) = match (loss(pod), exit_code) {
        (Some(loss), _) if loss != Loss::Failed => (loss.to_string(), loss.cause()),
        (_, Some(code)) => (format!("exit code {code}"), cause_of_code(code)),
        _ => (format!("phase {phase:?}"), LossCause::Unknown),
    };
    ExecutorState::Ended {
        reason,
        cause,
        replacement: match exit_code {
            Some(ServeError::UNUSABLE) => Replacement::Futile,
            _ => Replacement::Useful,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn state_of(pod: Value) -> ExecutorState {
        executor_state(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn the_state_of_an_executor_is_read_from_its_pod() {
        assert_eq!(state_of(json!({})), ExecutorState::Starting(None));
        assert_eq!(
            state_of(json!({"status": {"phase": "Running"}})),
            ExecutorState::Running
        );
        let deleting = json!({"metadata": {"deletionTimestamp": "2026-11-23T00:00:00Z"}, "status": {"phase": "Running"}});
        assert_eq!(state_of(deleting), ExecutorState::Terminating);
        let ended_with = |code: i32, reason: &str| {
            let state = json!({"terminated": {"exitCode": code, "reason": reason}});
            state_of(
                json!({"status": {"phase": "Failed", "containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]}}),
            )
        };
        assert_eq!(
            ended_with(1, "Error"),
            ExecutorState::Ended {
                reason: "exit code 1".to_owned(),
                cause: LossCause::Unknown,
                replacement: Replacement::Useful
            }
        );
        assert_eq!(
            ended_with(78, "Error"),
            ExecutorState::Ended {
                reason: "exit code 78".to_owned(),
                cause: LossCause::Killed,
                replacement: Replacement::Futile
            }
        );
        let killed = "killed for exceeding its memory limit".to_owned();
        assert_eq!(
            ended_with(137, "OOMKilled"),
            ExecutorState::Ended {
                reason: killed,
                cause: LossCause::OutOfMemory,
                replacement: Replacement::Useful
            }
        );
        assert_eq!(
            ended_with(134, "Error"),
            ExecutorState::Ended {
                reason: "exit code 134".to_owned(),
                cause: LossCause::Crashed,
                replacement: Replacement::Useful
            }
        );
    }
}
