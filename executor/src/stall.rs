//! Notices attempts that make no progress, and warns of them.
//!
//! A heartbeat shows that the process is alive, not that a task makes progress. A service that
//! never replies, or a loop that never ends, would otherwise look like a long task for hours.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use datafusion::physical_plan::{ExecutionPlan, displayable};
use faisca_planner::ids::{Attempt, TaskId};
use tracing::warn;

/// Interval between two checks of an attempt's metrics.
const INTERVAL: Duration = Duration::from_secs(60);
/// Number of checks in a row without a change after which an attempt counts as stalled.
const CHECKS_MAX: u32 = 5;

/// The plan of an attempt, once it is decoded. The watch ends when the attempt drops it.
pub(crate) type PlanCell = OnceLock<Arc<dyn ExecutionPlan>>;

/// Warns each time that no metric of an attempt has changed for some minutes.
pub(crate) async fn watch(task: TaskId, attempt: Attempt, plan: Weak<PlanCell>) {
    let mut stall = Stall::default();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(cell) = plan.upgrade() else {
            return;
        };
        let Some(plan) = cell.get() else { continue };
        if stall.is_due(fingerprint(plan)) {
            let minutes = (INTERVAL * CHECKS_MAX).as_secs() / 60;
            let plan = displayable(plan.as_ref()).one_line().to_string();
            warn!(
                %task,
                attempt = attempt.0,
                "the attempt has made no progress for {minutes} minutes; its plan begins with {}",
                plan.trim_end()
            );
        }
    }
}

/// How often the same metrics were seen in a row.
#[derive(Debug, Default)]
struct Stall {
    fingerprint: Option<u64>,
    checks: u32,
}

impl Stall {
    /// Returns whether a warning is due: once every [`CHECKS_MAX`] checks without a change.
    fn is_due(&mut self, fingerprint: u64) -> bool {
        if self.fingerprint.replace(fingerprint) != Some(fingerprint) {
            self.checks = 0;
            return false;
        }
        self.checks += 1;
        self.checks.is_multiple_of(CHECKS_MAX)
    }
}

/// Returns a number that changes with each metric of a plan.
fn fingerprint(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let mut hasher = DefaultHasher::new();
    add_metrics(plan, &mut hasher);
    hasher.finish()
}

fn add_metrics(plan: &Arc<dyn ExecutionPlan>, hasher: &mut DefaultHasher) {
    if let Some(metrics) = plan.metrics() {
        for metric in metrics.iter() {
            metric.value().as_usize().hash(hasher);
        }
    }
    for child in plan.children() {
        add_metrics(child, hasher);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_comes_after_minutes_without_a_change_and_not_before() {
        let mut stall = Stall::default();
        let checks = [1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3];
        let due: Vec<usize> = (0..checks.len())
            .filter(|check| stall.is_due(checks[*check]))
            .collect();
        // Metrics 2 were seen first in check 4, and for the fifth time since in check 9.
        assert_eq!(due, [9, 14]);
    }
}
