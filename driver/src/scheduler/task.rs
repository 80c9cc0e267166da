//! One task of a stage and the states it passes through.
//!
//! ```text
//!          enqueue           start            commit
//!   Idle ──────────► Queued ───────► Running ─────────► Committed
//!    ▲                               │   ▲ │                │
//!    │                               │   └─┘ start of a     │
//!    │                               │       speculative    │
//!    │                               │       attempt        │
//!    ├── last running attempt failed,┘                      │
//!    │   was lost or cancelled                              │
//!    └── output lost and still needed ──────────────────────┘
//! ```
//!
//! A report of an attempt that is no longer running changes nothing, even in state Committed.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use faisca_executor::protocol::{PendingFile, TaskReport};
use faisca_planner::ids::{Attempt, ExecutorId};
use faisca_planner::stages::PartitionSplit;

use super::BlockHome;

/// A task. Kept small: a query may have a million of them.
#[derive(Debug, Default)]
pub(super) struct TaskState {
    pub(super) phase: TaskPhase,
    /// The first of its adjacent partitions.
    pub(super) first: u32,
    /// Number of its partitions.
    pub(super) partitions: u32,
    /// Index of the task that it was split from, or its own. Consumers that read a part of the
    /// stage choose by this number, so that they read the same rows no matter what was split since.
    pub(super) origin: u32,
    /// The part of a divided input that it reads, if it shares its partition with other tasks.
    pub(super) split: Option<PartitionSplit>,
    /// Number of attempts started.
    pub(super) attempts: u32,
    /// Number of failures that count against the task.
    pub(super) failures: u32,
    /// Number of attempts that failed because an input was lost.
    pub(super) lost_inputs: u32,
    /// Executors on which it failed; avoided as long as there are others.
    pub(super) failed_on: Vec<ExecutorId>,
    /// Its output sizes are part of the stage's totals. Stays true when the output is lost.
    pub(super) is_measured: bool,
    /// It ran out of memory before and runs in low-memory mode.
    pub(super) reduces_memory: bool,
    /// Lost executors that ran it.
    pub(super) losses: Losses,
}

/// Numbers of executors that were lost while they ran a task that may be the cause.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Losses {
    /// Losses without a known cause.
    pub(super) unexplained: u32,
    /// Crashes and kills for memory.
    pub(super) crashes: u32,
}

impl Losses {
    /// Number of losses without a known cause after which a task runs alone. A single one is most
    /// often the loss of a machine.
    const UNEXPLAINED_MAX: u32 = 2;

    /// Returns whether the task must run alone from now on.
    pub(super) fn is_suspect(self) -> bool {
        self.crashes > 0 || self.unexplained >= Self::UNEXPLAINED_MAX
    }
}

/// The state of a task.
#[derive(Debug, Default)]
pub(super) enum TaskPhase {
    /// Neither running nor queued.
    #[default]
    Idle,
    /// In its stage's `parked` tasks, in the scheduler's ready queue, or in its quarantine: in
    /// exactly one of them.
    Queued,
    Running(Running),
    Committed(Committed),
}

/// The attempts of a running task.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) attempt: RunningAttempt,
    /// A second attempt, started because the first one was slow.
    pub(super) speculative: Option<RunningAttempt>,
}

impl Running {
    pub(super) fn iter(&self) -> impl Iterator<Item = &RunningAttempt> {
        std::iter::once(&self.attempt).chain(&self.speculative)
    }

    pub(super) fn attempts(self) -> impl Iterator<Item = RunningAttempt> {
        std::iter::once(self.attempt).chain(self.speculative)
    }
}

/// One attempt in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunningAttempt {
    pub(super) attempt: Attempt,
    pub(super) executor: ExecutorId,
    /// When it was launched, as time since the scheduler started.
    pub(super) since: Duration,
}

/// The result of a task.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) attempt: Attempt,
    pub(super) home: BlockHome,
    pub(super) block: CommittedBlock,
    pub(super) files: Vec<PendingFile>,
    pub(super) statistics: Option<Bytes>,
}

/// The block that a committed task left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommittedBlock {
    /// The output has no rows, so there is no block to read or to lose.
    Empty,
    /// The block is at its home, and nowhere else.
    Single,
    /// The block also has a copy in the object store.
    Durable,
}

impl CommittedBlock {
    pub(super) fn from_report(report: &TaskReport) -> Self {
        match (report.partitions.is_empty(), report.has_durable_copy) {
            (true, _) => Self::Empty,
            (false, false) => Self::Single,
            (false, true) => Self::Durable,
        }
    }
}

impl Committed {
    /// Returns whether this is that attempt's output, stored at that home.
    pub(super) fn is_at(&self, attempt: Attempt, home: BlockHome) -> bool {
        self.attempt == attempt && self.home == home
    }
}

/// Why an attempt was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StartReason {
    First,
    /// An earlier attempt failed, or its output was lost.
    Retry,
    /// Another attempt is running, but slowly.
    Speculation,
}

impl TaskState {
    pub(super) fn range(&self) -> Range<u32> {
        self.first..self.first + self.partitions
    }

    pub(super) fn committed(&self) -> Option<&Committed> {
        match &self.phase {
            TaskPhase::Committed(committed) => Some(committed),
            TaskPhase::Idle | TaskPhase::Queued | TaskPhase::Running(_) => None,
        }
    }

    pub(super) fn committed_mut(&mut self) -> Option<&mut Committed> {
        match &mut self.phase {
            TaskPhase::Committed(committed) => Some(committed),
            TaskPhase::Idle | TaskPhase::Queued | TaskPhase::Running(_) => None,
        }
    }

    /// Starts an attempt. A task that already runs gets a speculative one.
    pub(super) fn start(&mut self, executor: ExecutorId, now: Duration) -> (Attempt, StartReason) {
        self.attempts += 1;
        let attempt = RunningAttempt {
            attempt: Attempt(self.attempts),
            executor,
            since: now,
        };
        let reason = if let TaskPhase::Running(running) = &mut self.phase {
            running.speculative = Some(attempt);
            StartReason::Speculation
        } else {
            self.phase = TaskPhase::Running(Running {
                attempt,
                speculative: None,
            });
            if self.attempts == 1 {
                StartReason::First
            } else {
                StartReason::Retry
            }
        };
        (attempt.attempt, reason)
    }

    /// Removes one running attempt and returns it; `None` if it does not run.
    pub(super) fn remove_attempt(&mut self, attempt: Attempt) -> Option<RunningAttempt> {
        let TaskPhase::Running(running) = &mut self.phase else {
            return None;
        };
        if let Some(removed) = running.speculative.take_if(|s| s.attempt == attempt) {
            return Some(removed);
        }
        if running.attempt.attempt != attempt {
            return None;
        }
        let removed = running.attempt;
        match running.speculative.take() {
            Some(speculative) => running.attempt = speculative,
            None => self.phase = TaskPhase::Idle,
        }
        Some(removed)
    }

    /// Removes all running attempts and returns them.
    pub(super) fn take_running(&mut self) -> Option<Running> {
        if !matches!(self.phase, TaskPhase::Running(_)) {
            return None;
        }
        match std::mem::take(&mut self.phase) {
            TaskPhase::Running(running) => Some(running),
            TaskPhase::Idle | TaskPhase::Queued | TaskPhase::Committed(_) => None,
        }
    }

    /// Removes the task's result and returns it.
    pub(super) fn take_committed(&mut self) -> Option<Committed> {
        if !matches!(self.phase, TaskPhase::Committed(_)) {
            return None;
        }
        match std::mem::take(&mut self.phase) {
            TaskPhase::Committed(committed) => Some(committed),
            TaskPhase::Idle | TaskPhase::Queued | TaskPhase::Running(_) => None,
        }
    }
}
