//! What the scheduler is told, and what it answers.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use faisca_executor::wire::{BlockLocation, Failure, PendingFile, TaskReport, TaskSpec};
use faisca_planner::ids::{Attempt, BlockId, ExecutorId, QueryId, StageId, TaskId};
use faisca_planner::stages::Fact;

/// Where a statement may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// On the driver's own slots: too small to travel.
    Driver = 0,
    /// On the fleet.
    Fleet = 1,
}

/// What the scheduler needs to know of a stage.
#[derive(Debug, Clone, Default)]
pub struct StageShape {
    /// Partitions of its body.
    pub partitions: u32,
    /// Producers, and whether a partition reads only the bucket of its own number.
    pub inputs: Vec<(StageId, bool)>,
    /// One task must run all partitions.
    pub whole: bool,
    /// Adjacent partitions may share a task, once the sizes of their inputs are known.
    pub may_merge: bool,
    /// Inputs of which several tasks of one partition may each read a part, one input at a time.
    pub divisible: Vec<StageId>,
    /// The statement's write whose files its tasks make; they outlive their executor.
    pub sink: Option<u32>,
    /// Its blocks are by partition rather than by bucket.
    pub by_partition: bool,
    /// A second run of a task may yield other rows: they must not be mixed with those of the first.
    pub indeterminate: bool,
    /// Rows that are no reason to plan again what is left of the statement; `None` if nothing is.
    pub unsurprising: Option<RangeInclusive<u64>>,
    /// It may look otherwise once more is known.
    pub has_choices: bool,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// An executor is ready.
    ExecutorUp {
        /// Its name.
        id: ExecutorId,
        /// Tasks it runs at once.
        slots: u32,
        /// URL of its blocks.
        address: String,
        /// It is the driver itself.
        is_driver: bool,
    },
    /// An executor and all its blocks are gone.
    ExecutorDown(ExecutorId),
    /// An executor will be gone soon: it may finish what it runs, and its blocks can still be had.
    Draining(ExecutorId),
    /// A block of an executor that drains is on another one now, or could not be brought there.
    HandedOver {
        /// Which.
        block: BlockId,
        /// The old home.
        from: ExecutorId,
        /// The new one, if all went well.
        to: Option<ExecutorId>,
    },
    /// A block has a copy in the object store now.
    Durable(BlockId, ExecutorId),
    /// Time passed.
    Tick,
    /// A statement wants to run. Its last stage is a root, and so is every sink.
    Submit {
        /// Its name.
        query: QueryId,
        /// Producers before consumers.
        stages: Vec<StageShape>,
        /// Where.
        placement: Placement,
        /// Slots to plan for, even if not all executors are up yet.
        slots_expected: u32,
    },
    /// What is left of a statement was planned again, as it was asked.
    Revised {
        /// Which.
        query: QueryId,
        /// New stages, in the place of those that wait; none if they stay.
        stages: Vec<StageShape>,
    },
    /// An attempt sealed its output.
    Finished(ExecutorId, TaskReport),
    /// An attempt ended without output.
    Failed(ExecutorId, TaskId, Attempt, Failure),
    /// A reader outside the scheduler found a block of a finished statement gone from an executor.
    OutputLost(BlockId, ExecutorId),
    /// Nobody wants the statement any more; its blocks may go.
    Release(QueryId),
}

/// What to do.
#[derive(Debug, Clone)]
pub enum Action {
    /// Start an attempt.
    Launch(ExecutorId, TaskSpec),
    /// Stop an attempt.
    Cancel(ExecutorId, TaskId, Attempt),
    /// Every task of the roots is committed.
    Completed(QueryId, Output),
    /// The statement cannot be finished.
    Failed(QueryId, Failure),
    /// Forget the statement on these executors.
    Release(QueryId, Vec<ExecutorId>),
    /// Remove what executors that are gone may have left of a statement in the object store.
    Sweep(Vec<BlockId>),
    /// A stage was cut into so many tasks.
    Sliced(QueryId, StageId, u32),
    /// Plan again what waits: a finished stage was not what was expected. Until the answer, nothing of it begins.
    Revise(QueryId, Vec<Fact>),
    /// A task's output is decided.
    Committed(ExecutorId, TaskReport),
    /// A task's output no longer counts: it is made again.
    Uncommitted(TaskId),
    /// An executor failed too often and gets no more tasks.
    Excluded(ExecutorId),
    /// Bring blocks to another executor, or to the object store.
    HandOver {
        /// Who has them.
        from: ExecutorId,
        /// Who gets them.
        to: ExecutorId,
        /// URL of that one.
        address: String,
        /// Which.
        blocks: Vec<BlockId>,
    },
    /// An executor that drained has nothing left that anybody needs: it may end.
    Dismiss(ExecutorId),
}

/// A finished statement.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// Blocks of the last stage, in the order of its partitions.
    pub blocks: Arc<Vec<BlockLocation>>,
    /// What each of the statement's writes made.
    pub writes: Vec<Written>,
    /// Task attempts that followed a failure or a loss.
    pub retried: u32,
    /// Task attempts beside one that was slow.
    pub speculated: u32,
}

/// What one sink wrote.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// Files, none of them visible yet.
    pub files: Vec<PendingFile>,
    /// What the columns of those files hold, from each task, where it was asked for.
    pub statistics: Vec<Bytes>,
}
