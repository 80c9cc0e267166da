//! Interprets the status that Kubernetes reports for a pod.
//!
//! Pure functions of a [`Pod`], shared by the operator (for drivers) and by the driver (for its
//! executors), so that both judge a pod by the same rules.
//!
//! # Layout
//! - this file: the pod's phase
//! - `startup`: why a pod has not started, and how long that may last
//! - `loss`: why a pod ended early

mod loss;
mod startup;

use k8s_openapi::api::core::v1::Pod;

pub(crate) use loss::{Loss, loss};
pub use startup::StartupTimeouts;
pub(crate) use startup::{StartupProblem, startup_problem};

/// Phase of a pod.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not started; also a pod without a status, or with a phase that this version does not know.
    #[default]
    Pending,
    /// At least one container runs.
    Running,
    /// All containers exited with 0.
    Succeeded,
    /// All containers ended, at least one of them with a failure.
    Failed,
}

/// Returns the phase of a pod.
pub(crate) fn phase(pod: &Pod) -> Phase {
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
