//! A part of the critical path: what held the run up, and for how long.

use faisca_planner::ids::{QueryId, StageId};

/// A stage of a query.
pub(in crate::report) type StageOfQuery = (QueryId, StageId);

/// A part of the critical path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) struct Part {
    pub(in crate::report) kind: PartKind,
    /// The stage that held the run up; none between queries.
    pub(in crate::report) stage: Option<StageOfQuery>,
    pub(in crate::report) ms: u64,
}

/// What held the run up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::report) enum PartKind {
    /// The driver: start, listing of files, planning, launches.
    Driver,
    /// No executor was ready.
    Executors,
    /// Executors were ready, and no task ran.
    Queue,
    /// Tasks that read files.
    Scan,
    /// Tasks that read other stages.
    Exchange,
    /// A few long tasks of a stage, while most slots were idle.
    Skew,
    /// Only tasks that had run before.
    Recomputed,
    /// From the last task of a query until its output is visible.
    Commit,
}

impl PartKind {
    /// All kinds, in the order of a run.
    pub(in crate::report) const ALL: [Self; 8] = [
        Self::Driver,
        Self::Executors,
        Self::Queue,
        Self::Scan,
        Self::Exchange,
        Self::Skew,
        Self::Recomputed,
        Self::Commit,
    ];

    /// Returns its name on the page.
    pub(in crate::report) fn title(self) -> &'static str {
        match self {
            Self::Driver => "Driver",
            Self::Executors => "Waiting for executors",
            Self::Queue => "Queue",
            Self::Scan => "Scan stages",
            Self::Exchange => "Stages after an exchange",
            Self::Skew => "Skew",
            Self::Recomputed => "Recomputed",
            Self::Commit => "Commit",
        }
    }

    /// Returns what it means, for a reader of the page.
    pub(in crate::report) fn meaning(self) -> &'static str {
        match self {
            Self::Driver => "start, listing of files, planning, launch of tasks",
            Self::Executors => "tasks were ready, and no executor was",
            Self::Queue => "tasks and executors were ready, and no task ran",
            Self::Scan => "tasks that read files, with the operators above the scan",
            Self::Exchange => "tasks that fetch and process the output of other stages",
            Self::Skew => "the last, long tasks of a stage, while most slots were idle",
            Self::Recomputed => {
                "only tasks that had run before: after a failure or a lost executor"
            }
            Self::Commit => "from the last task of a query until its output is visible",
        }
    }

    /// Returns the class of its colour in the style sheet.
    pub(in crate::report) fn class(self) -> &'static str {
        match self {
            Self::Driver => "k-driver",
            Self::Executors => "k-executors",
            Self::Queue => "k-queue",
            Self::Scan => "k-scan",
            Self::Exchange => "k-exchange",
            Self::Skew => "k-skew",
            Self::Recomputed => "k-recomputed",
            Self::Commit => "k-commit",
        }
    }
}
