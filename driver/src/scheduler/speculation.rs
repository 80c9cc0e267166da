//! Twins for stragglers: a task that takes far longer than its stage's others, at the stage's end,
//! runs a second time elsewhere. The first of the two to finish is committed, the other cancelled.
//!
//! The rule is Spark's (`spark.speculation`): enough of the stage is done, and the attempt has run for
//! a multiple of the median.

use std::time::Duration;

use super::stage::StageState;

/// Part of a stage's tasks that must be committed before any of the others gets a twin.
const DONE_MIN: f64 = 0.75;
/// An attempt is slow once it takes so many times the median.
const MEDIANS: f64 = 1.5;
/// Shorter attempts are not worth a twin.
const ELAPSED_MIN: Duration = Duration::from_secs(1);

/// How long an attempt of this stage may take before it gets a twin; `None` while none may.
pub(super) fn patience(stage: &StageState) -> Option<Duration> {
    let tail =
        stage.tasks.len() > 1 && stage.committed as f64 >= stage.tasks.len() as f64 * DONE_MIN;
    tail.then(|| stage.durations.median().mul_f64(MEDIANS).max(ELAPSED_MIN))
}
