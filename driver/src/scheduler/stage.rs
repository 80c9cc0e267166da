//! One stage: its tasks, the sizes of their output and the states it passes through.
//!
//! ```text
//!             first launch          all tasks committed, once
//!   Waiting ───────────────► Started ─────────────────────────► Finished
//!      │                        │                               (stays, even if
//!      │ replaced               │ its output is read            output is lost)
//!      │ by re-planning         │ by no stage of the new plan
//!      ▼                        │
//!   Dropped ◄───────────────────┘
//! ```

use std::sync::Arc;

use faisca_executor::protocol::{BlockLocation, PartitionSize};

use super::durations::Durations;
use super::task::{Committed, RunningAttempt, TaskPhase, TaskState};
use super::{SinkOutput, StageInfo};

#[derive(Debug)]
pub(super) struct StageState {
    pub(super) info: StageInfo,
    pub(super) phase: StagePhase,
    /// Empty until all inputs are complete for the first time. Grows only when a task is split.
    pub(super) tasks: Vec<TaskState>,
    /// Number of committed tasks.
    pub(super) committed: usize,
    /// Queued tasks that wait for the stage's inputs, by index.
    pub(super) parked: Vec<u32>,
    /// Exact output bytes of each partition, summed over the tasks that committed at least once.
    pub(super) partition_bytes: Vec<u64>,
    /// Locations of the committed blocks: computed when a consumer starts, cleared when one
    /// changes.
    pub(super) blocks: Option<Arc<Vec<BlockLocation>>>,
    /// Durations of committed attempts.
    pub(super) durations: Durations,
    /// Output rows of all tasks that committed at least once.
    pub(super) rows: u64,
    /// Executors that its tasks may have crashed.
    pub(super) crashes: u32,
}

/// The state of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StagePhase {
    /// No task was launched: re-planning may replace the stage.
    Waiting,
    /// A task was launched: the plan is fixed.
    Started,
    /// All tasks were committed at least once, and their rows were compared with the estimate.
    Finished,
    /// Replaced by re-planning: no tasks, no inputs, no consumers.
    Dropped,
}

impl StageState {
    pub(super) fn new(info: StageInfo) -> Self {
        Self {
            info,
            phase: StagePhase::Waiting,
            tasks: vec![],
            committed: 0,
            parked: vec![],
            partition_bytes: vec![],
            blocks: None,
            durations: Durations::default(),
            rows: 0,
            crashes: 0,
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        !self.tasks.is_empty() && self.committed == self.tasks.len()
    }

    /// Returns the files and statistics of its tasks.
    pub(super) fn sink_output(&self) -> SinkOutput {
        let committed = || self.tasks.iter().filter_map(TaskState::committed);
        SinkOutput {
            files: committed().flat_map(|task| task.files.clone()).collect(),
            statistics: committed()
                .filter_map(|task| task.statistics.clone())
                .collect(),
        }
    }

    /// Drops the stage. Returns its running attempts, each with the index of its task.
    pub(super) fn drop_tasks(&mut self) -> Vec<(u32, RunningAttempt)> {
        let tasks = std::mem::take(&mut self.tasks);
        let info = StageInfo {
            inputs: vec![],
            ..std::mem::take(&mut self.info)
        };
        *self = Self {
            phase: StagePhase::Dropped,
            ..Self::new(info)
        };
        let running = |(index, mut task): (u32, TaskState)| {
            let attempts = task.take_running().into_iter().flat_map(|r| r.attempts());
            attempts.map(move |attempt| (index, attempt))
        };
        (0..).zip(tasks).flat_map(running).collect()
    }

    /// Adds the output sizes of a task. Called once for each task.
    pub(super) fn add_sizes(&mut self, sizes: &[PartitionSize]) {
        for size in sizes {
            self.rows += size.rows;
            let partition = size.partition as usize;
            if self.partition_bytes.len() <= partition {
                self.partition_bytes.resize(partition + 1, 0);
            }
            self.partition_bytes[partition] += size.bytes;
        }
    }

    /// Marks the stage as finished when all tasks are committed for the first time. Returns true if
    /// this call did so, and the row count is outside the expected range.
    pub(super) fn finish_and_compare(&mut self) -> bool {
        if self.phase != StagePhase::Started || !self.is_complete() {
            return false;
        }
        self.phase = StagePhase::Finished;
        let expected = self.info.expected_rows.as_ref();
        expected.is_some_and(|expected| !expected.contains(&self.rows))
    }

    /// Queues a task until the inputs are complete. No effect if it is queued, running or
    /// committed.
    pub(super) fn park(&mut self, index: u32) {
        if let Some(task) = self.tasks.get_mut(index as usize)
            && matches!(task.phase, TaskPhase::Idle)
        {
            task.phase = TaskPhase::Queued;
            self.parked.push(index);
        }
    }

    /// Withdraws a task's result and returns it.
    pub(super) fn uncommit(&mut self, index: u32) -> Option<Committed> {
        let committed = self.tasks.get_mut(index as usize)?.take_committed()?;
        self.committed -= 1;
        self.blocks = None;
        Some(committed)
    }
}
