//! Events of a run in the order of their times.

use serde_json::Value;

/// The order of events that happen in the same millisecond.
pub(super) mod rank {
    pub(in crate::report::export) const EXECUTOR_ADDED: u8 = 0;
    pub(in crate::report::export) const QUERY_STARTED: u8 = 1;
    pub(in crate::report::export) const JOB_STARTED: u8 = 2;
    pub(in crate::report::export) const STAGE_SUBMITTED: u8 = 3;
    pub(in crate::report::export) const TASK_START: u8 = 4;
    pub(in crate::report::export) const TASK_END: u8 = 5;
    pub(in crate::report::export) const STAGE_COMPLETED: u8 = 6;
    pub(in crate::report::export) const JOB_ENDED: u8 = 7;
    pub(in crate::report::export) const QUERY_ENDED: u8 = 8;
    pub(in crate::report::export) const EXECUTOR_REMOVED: u8 = 9;
}

/// Events, collected in any order.
pub(super) struct Timeline {
    started_unix_ms: u64,
    events: Vec<(u64, u8, Value)>,
}

impl Timeline {
    pub(super) fn new(started_unix_ms: u64) -> Self {
        Self {
            started_unix_ms,
            events: vec![],
        }
    }

    /// Returns the events in the order of their times.
    pub(super) fn into_events(mut self) -> impl Iterator<Item = Value> {
        self.events.sort_by_key(|(at_ms, rank, _)| (*at_ms, *rank));
        self.events.into_iter().map(|(_, _, event)| event)
    }

    /// Returns a time of the run in milliseconds since 1970.
    pub(super) fn time(&self, at_ms: u64) -> u64 {
        self.started_unix_ms + at_ms
    }

    pub(super) fn add(&mut self, at_ms: u64, rank: u8, event: Value) {
        self.events.push((at_ms, rank, event));
    }
}
