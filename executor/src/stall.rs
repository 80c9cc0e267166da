//! Notices attempts that make no progress, and warns of them.
//!
//! A heartbeat says that the process lives, not that a task moves on. A service that never replies,
//! or a loop that never ends, would otherwise look like a long task for hours.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use datafusion::physical_plan::{ExecutionPlan, displayable};
use faisca_planner::ids::{Attempt, TaskId};
use tracing::warn;

/// Interval between two looks at the metrics of an attempt.
const INTERVAL: Duration = Duration::from_secs(60);
/// Looks at the same metrics in a row after which an attempt counts as stalled.
const LOOKS_MAX: u32 = 5;

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
            let minutes = (INTERVAL * LOOKS_MAX).as_secs() / 60;
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
    looks: u32,
}

impl Stall {
    /// Returns whether a warning is due: once every [`LOOKS_MAX`] looks without a change.
    fn is_due(&mut self, fingerprint: u64) -> bool {
        if self.fingerprint.replace(fingerprint) != Some(fingerprint) {
            self.looks = 0;
            return false;
        }
        self.looks += 1;
        self.looks.is_multiple_of(LOOKS_MAX)
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
        let looks = [1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3];
        let due: Vec<usize> = (0..looks.len())
            .filter(|look| stall.is_due(looks[*look]))
            .collect();
        // Metrics 2 were seen first in look 4, and for the fifth time since in look 9.
        assert_eq!(due, [9, 14]);
    }
}
