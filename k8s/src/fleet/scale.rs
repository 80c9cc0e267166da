//! Decides how many executors an application should have: enough for its running and waiting tasks,
//! within the bounds of its spec.
//!
//! Like Spark's dynamic allocation: the fleet grows at once and shrinks after a delay, because a
//! job between two stages has no tasks for a moment.

use std::time::Duration;

use crate::application::ExecutorCount;

/// Delay after which surplus executors are removed; Spark's default.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Change of the number of executors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScaleChange {
    None,
    /// Create this many more.
    Grow(u32),
    /// Remove this many.
    Shrink(u32),
}

/// Returns the change that brings the fleet to its size.
///
/// `slots_wanted` is the number of running and waiting tasks, `slots` the task slots of one
/// executor, `present` the number of executors that start or run, and `idle` how long there have
/// been more than needed.
pub(super) fn scale_change(
    count: ExecutorCount,
    slots_wanted: usize,
    slots: u32,
    present: u32,
    idle: Duration,
) -> ScaleChange {
    let executors_wanted = u32::try_from(slots_wanted.div_ceil(slots.max(1) as usize))
        .unwrap_or(u32::MAX)
        .clamp(count.min, count.max);
    if executors_wanted > present {
        ScaleChange::Grow(executors_wanted - present)
    } else if executors_wanted < present && idle >= IDLE_TIMEOUT {
        ScaleChange::Shrink(present - executors_wanted)
    } else {
        ScaleChange::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fleet_grows_at_once_and_shrinks_after_a_delay() {
        let count = ExecutorCount {
            initial: 0,
            min: 0,
            max: 8,
        };
        let (just_idle, long_idle) = (Duration::ZERO, IDLE_TIMEOUT);
        assert_eq!(scale_change(count, 0, 2, 0, long_idle), ScaleChange::None);
        assert_eq!(
            scale_change(count, 5, 2, 0, just_idle),
            ScaleChange::Grow(3)
        );
        assert_eq!(
            scale_change(count, 500, 2, 3, just_idle),
            ScaleChange::Grow(5)
        );
        assert_eq!(scale_change(count, 3, 2, 8, just_idle), ScaleChange::None);
        assert_eq!(
            scale_change(count, 3, 2, 8, long_idle),
            ScaleChange::Shrink(6)
        );
        assert_eq!(
            scale_change(ExecutorCount { min: 2, ..count }, 0, 2, 8, long_idle),
            ScaleChange::Shrink(6)
        );
    }
}
