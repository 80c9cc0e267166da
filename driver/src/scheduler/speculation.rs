//! Speculative attempts: at the end of a stage, a task that takes far longer than the stage's
//! others runs a second time on another executor. The first of the two to finish is committed, and
//! the other is cancelled.
//!
//! The rule is Spark's (`spark.speculation`): enough of the stage is done, and the attempt has run
//! for a multiple of the median duration.

use std::time::Duration;

use faisca_planner::ids::{ExecutorId, TaskId};

use super::stage::StageState;
use super::task::{Running, TaskPhase};
use super::{Placement, Scheduler};

/// Fraction of a stage's tasks that must be committed before the others get speculative attempts.
const COMMITTED_FRACTION_MIN: f64 = 0.75;
/// An attempt is slow when it takes longer than this multiple of the median duration.
const MEDIANS_MAX: f64 = 1.5;
/// An attempt that has run for less than this gets no speculative one.
const ELAPSED_MIN: Duration = Duration::from_secs(1);

/// Returns the duration after which an attempt of this stage is slow; `None` while too few tasks
/// are committed to tell.
fn slow_after(stage: &StageState) -> Option<Duration> {
    let tasks = stage.tasks.len();
    let is_at_end = tasks > 1 && stage.committed as f64 >= tasks as f64 * COMMITTED_FRACTION_MIN;
    is_at_end.then(|| {
        stage
            .durations
            .median()
            .mul_f64(MEDIANS_MAX)
            .max(ELAPSED_MIN)
    })
}

impl Scheduler {
    /// Uses slots of the fleet that would stay idle for speculative attempts.
    pub(super) fn speculate(&mut self) {
        if !self.ready[Placement::Fleet].is_empty() || !self.executors.has_free(Placement::Fleet) {
            return;
        }
        let states = (self.executors.ids()).filter_map(|id| Some((id, self.executors.get(id)?)));
        let running = states.flat_map(|(id, state)| state.running.iter().map(move |r| (id, r.0)));
        let running: Vec<(ExecutorId, TaskId)> = running.collect();
        for (executor, task) in running {
            // Only another executor: on the same one, the same cause would slow it down.
            if self.is_slow(task)
                && let Some(other) = self.executors.pick(Placement::Fleet, &[executor])
                && other != executor
            {
                self.launch(task, other);
            }
        }
    }

    /// Returns whether a task of the fleet has a single running attempt that is slow.
    fn is_slow(&self, id: TaskId) -> bool {
        let Some(query) = self.queries.get(&id.query) else {
            return false;
        };
        let Some(task) = query.task(id).filter(|task| !task.losses.is_suspect()) else {
            return false;
        };
        let TaskPhase::Running(Running {
            attempt,
            speculative: None,
        }) = &task.phase
        else {
            return false;
        };
        let slow_after = query.stage(id.stage).and_then(slow_after);
        query.is_running()
            && query.placement == Placement::Fleet
            && slow_after.is_some_and(|max| self.now.saturating_sub(attempt.since) > max)
    }
}
