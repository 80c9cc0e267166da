//! How many executors there should be: enough for the tasks that run and wait, within bounds.
//!
//! As Spark's dynamic allocation: growth is asked for at once, and shrinking waits, since a job that
//! is between two stages wants nothing for a moment.

use std::time::Duration;

use crate::application::ExecutorCount;

/// Executors beyond need are let go after so long; Spark's default.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(60);

/// What to do about the number of executors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    None,
    /// Ask for so many more.
    Grow(u32),
    /// So many may go.
    Shrink(u32),
}

/// `slots_wanted` by tasks, `slots` of an executor, `present` executors that come or serve, idle for `idle`.
pub(super) fn change(
    count: ExecutorCount,
    slots_wanted: usize,
    slots: u32,
    present: u32,
    idle: Duration,
) -> Change {
    let wanted = u32::try_from(slots_wanted.div_ceil(slots.max(1) as usize))
        .unwrap_or(u32::MAX)
        .clamp(count.min, count.max);
    if wanted > present {
        Change::Grow(wanted - present)
    } else if wanted < present && idle >= IDLE_MAX {
        Change::Shrink(present - wanted)
    } else {
        Change::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executors_follow_the_work_up_at_once_and_down_in_time() {
        let count = ExecutorCount {
            initial: 0,
            min: 0,
            max: 8,
        };
        let (now, later) = (Duration::ZERO, IDLE_MAX);
        assert_eq!(change(count, 0, 2, 0, later), Change::None);
        assert_eq!(change(count, 5, 2, 0, now), Change::Grow(3));
        assert_eq!(change(count, 500, 2, 3, now), Change::Grow(5));
        assert_eq!(change(count, 3, 2, 8, now), Change::None);
        assert_eq!(change(count, 3, 2, 8, later), Change::Shrink(6));
        assert_eq!(
            change(ExecutorCount { min: 2, ..count }, 0, 2, 8, later),
            Change::Shrink(6)
        );
    }
}
