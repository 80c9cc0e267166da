//! One query: its stages, their tasks and the states it passes through.
//!
//! ```text
//!            roots complete
//!   Running ───────────────► Delivered
//!    │   ▲                    │    │
//!    │   └─ result block lost ┘    │
//!    ▼                             ▼
//!   Ended: an attempt failed, and its task may not be retried
//! ```
//!
//! - `slicing`: cuts stages into tasks
//! - `attempts`: starts, commits and retries the attempts of tasks
//! - `blocks`: where committed output is stored
//! - `losses`: which results a lost block invalidates
//! - `suspicion`: which tasks may have crashed an executor
//! - `revision`: when the waiting stages are replanned

mod attempts;
mod blocks;
mod losses;
mod revision;
mod slicing;
mod suspicion;

use faisca_planner::ids::{QueryId, StageId, TaskId};

pub(super) use attempts::Verdict;
pub(super) use losses::Loss;
use revision::Revision;

use super::executors::Executors;
use super::stage::{StagePhase, StageState};
use super::task::{RunningAttempt, TaskState};
use super::{Placement, QueryOutput, StageInfo};

#[derive(Debug)]
pub(super) struct QueryState {
    id: QueryId,
    pub(super) placement: Placement,
    /// Number of slots to plan for.
    slots_expected: u32,
    /// Index = stage id.
    stages: Vec<StageState>,
    phase: QueryPhase,
    revision: Revision,
    retried: u32,
    speculated: u32,
    /// An executor was lost that may have left objects of this query in the object store.
    has_lost_executor: bool,
}

/// The state of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QueryPhase {
    Running,
    /// The output was delivered; parts of it may still be lost.
    Delivered,
    Ended,
}

impl QueryState {
    pub(super) fn new(
        id: QueryId,
        stages: Vec<StageInfo>,
        placement: Placement,
        slots_expected: u32,
    ) -> Self {
        Self {
            id,
            placement,
            slots_expected,
            stages: stages.into_iter().map(StageState::new).collect(),
            phase: QueryPhase::Running,
            revision: Revision::default(),
            retried: 0,
            speculated: 0,
            has_lost_executor: false,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.phase == QueryPhase::Running
    }

    pub(super) fn stage(&self, id: StageId) -> Option<&StageState> {
        self.stages.get(id.index())
    }

    pub(super) fn task(&self, id: TaskId) -> Option<&TaskState> {
        self.stage(id.stage)?.tasks.get(id.index as usize)
    }

    fn task_mut(&mut self, id: TaskId) -> Option<&mut TaskState> {
        let stage = self.stages.get_mut(id.stage.index())?;
        stage.tasks.get_mut(id.index as usize)
    }

    fn task_id(&self, stage: StageId, index: u32) -> TaskId {
        TaskId {
            query: self.id,
            stage,
            index,
        }
    }

    fn stage_ids(&self) -> impl DoubleEndedIterator<Item = StageId> + use<> {
        (0..self.stages.len()).map(StageId::from_index)
    }

    /// Returns the stages that read a stage.
    pub(super) fn consumers(&self, stage: StageId) -> Vec<StageId> {
        let reads = |consumer: &StageId| {
            let inputs = &self.stages[consumer.index()].info.inputs;
            inputs.iter().any(|input| input.stage == stage)
        };
        self.stage_ids().filter(reads).collect()
    }

    fn inputs_complete(&self, stage: StageId) -> bool {
        let inputs = &self.stages[stage.index()].info.inputs;
        let mut producers = inputs.iter().map(|i| &self.stages[i.stage.index()]);
        producers.all(StageState::is_complete)
    }

    /// Removes all running attempts and returns them.
    pub(super) fn take_running(&mut self) -> Vec<(TaskId, RunningAttempt)> {
        let mut all = vec![];
        for stage in self.stage_ids() {
            for index in 0..count(self.stages[stage.index()].tasks.len()) {
                let id = self.task_id(stage, index);
                let running = self.task_mut(id).and_then(TaskState::take_running);
                let attempts = running.into_iter().flat_map(|r| r.attempts());
                all.extend(attempts.map(|attempt| (id, attempt)));
            }
        }
        all
    }

    /// Ends the query. Returns whether it had not ended before.
    pub(super) fn end(&mut self) -> bool {
        std::mem::replace(&mut self.phase, QueryPhase::Ended) != QueryPhase::Ended
    }

    /// Continues a query whose delivered result was lost in part.
    pub(super) fn reopen(&mut self) {
        if self.phase == QueryPhase::Delivered {
            self.phase = QueryPhase::Running;
        }
    }

    /// Returns the output when all roots are complete: once, and again each time the query was
    /// reopened.
    pub(super) fn take_output(&mut self, executors: &Executors) -> Option<QueryOutput> {
        let is_live_sink =
            |s: &&StageState| s.phase != StagePhase::Dropped && s.info.sink().is_some();
        let mut sinks: Vec<&StageState> = self.stages.iter().filter(is_live_sink).collect();
        let is_complete =
            self.stages.last()?.is_complete() && sinks.iter().all(|sink| sink.is_complete());
        if self.phase != QueryPhase::Running || !is_complete {
            return None;
        }
        self.phase = QueryPhase::Delivered;
        sinks.sort_by_key(|sink| sink.info.sink());
        let writes = sinks.into_iter().map(StageState::sink_output).collect();
        let last = StageId::from_index(self.stages.len() - 1);
        Some(QueryOutput {
            blocks: self.blocks(last, executors),
            writes,
            retried: self.retried,
            speculated: self.speculated,
        })
    }
}

/// Task counts are `u32`, as task indexes are: a stage with more tasks does not fit into memory.
fn count(tasks: usize) -> u32 {
    u32::try_from(tasks).unwrap_or(u32::MAX)
}
