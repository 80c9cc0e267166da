//! The scheduler's input and output: events, actions and the values they carry.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use faisca_executor::protocol::{BlockLocation, Failure, PendingFile, TaskReport, TaskSpec};
use faisca_planner::ids::{Attempt, BlockHome, BlockId, ExecutorId, QueryId, StageId, TaskId};
use faisca_planner::stages::Fact;

use super::Placement;

/// What the scheduler needs to know about a stage.
#[derive(Debug, Clone, Default)]
pub struct StageInfo {
    /// Partitions of the stage's plan; each belongs to exactly one task, or is divided among
    /// several.
    pub partitions: u32,
    /// The stages it reads.
    pub inputs: Vec<StageInput>,
    /// How partitions are grouped into tasks.
    pub grouping: TaskGrouping,
    /// Inputs that several tasks of one skewed partition may read in parts, one input at a time.
    pub divisible: Vec<StageId>,
    /// Where the rows of its tasks go.
    pub output: OutputKind,
    /// A second run of a task may yield other rows, which must not be mixed with those of the
    /// first.
    pub is_indeterminate: bool,
    /// Row counts with which the plan of the remaining stages stays unchanged; `None` for any
    /// count.
    pub expected_rows: Option<RangeInclusive<u64>>,
    /// Its plan may change once actual row counts are known.
    pub is_replannable: bool,
}

/// An edge between two stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageInput {
    /// The producer.
    pub stage: StageId,
    /// What a partition of the consumer reads of it.
    pub reads: InputReads,
}

/// The part of a producer's output that one partition of the consumer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputReads {
    /// The partition with its own number, as after a shuffle.
    OwnPartition,
    /// All partitions, as of a broadcast.
    AllPartitions,
}

/// How the partitions of a stage are grouped into tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TaskGrouping {
    /// One task for each partition.
    #[default]
    Single,
    /// Adjacent small partitions share a task, by the exact bytes of their inputs.
    Merged,
    /// One task runs all partitions, since an operator keeps state across them.
    Whole,
}

/// Where the rows of a stage's tasks go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OutputKind {
    /// Into one block for each task, which may hold rows of any partition.
    #[default]
    Shuffle,
    /// Into one block for each task, which holds the task's own partitions only.
    Partitions,
    /// Into files of this write of the query. Files outlive the executor that wrote them.
    Sink(u32),
}

impl StageInfo {
    /// Returns the write whose files the stage's tasks produce, if any.
    pub(super) fn sink(&self) -> Option<u32> {
        match self.output {
            OutputKind::Sink(write) => Some(write),
            OutputKind::Shuffle | OutputKind::Partitions => None,
        }
    }
}

/// Why an executor was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossCause {
    /// Its connection broke. The cause may become known later.
    Unknown,
    /// It shut down on request: a scale-down, an eviction, a preemption, a signal to end.
    Drained,
    /// Its process was ended from outside, or its machine was lost.
    Killed,
    /// It did not respond, though its process may still run.
    Unreachable,
    /// Its process ended itself: an abort, a fault, an exit from within a function.
    Crashed,
    /// The kernel or the kubelet ended its process, because its memory was exhausted.
    OutOfMemory,
}

impl LossCause {
    /// Returns true if a task that ran on the executor may have caused the loss.
    #[must_use]
    pub fn is_blamed_on_tasks(self) -> bool {
        match self {
            Self::Crashed | Self::OutOfMemory => true,
            Self::Unknown | Self::Drained | Self::Killed | Self::Unreachable => false,
        }
    }
}

/// What happened to the executor: continues a sentence about it.
impl fmt::Display for LossCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "was lost",
            Self::Drained => "shut down",
            Self::Killed => "was killed",
            Self::Unreachable => "became unreachable",
            Self::Crashed => "crashed",
            Self::OutOfMemory => "was killed because its memory was exhausted",
        })
    }
}

/// Something that happened outside the scheduler.
#[derive(Debug, Clone)]
pub enum Event {
    /// An executor is ready.
    ExecutorUp {
        /// The new executor.
        id: ExecutorId,
        /// Number of tasks it runs at once.
        slots: u32,
        /// URL at which others fetch its blocks; `None` if no other can reach it.
        address: Option<String>,
        /// The queries whose tasks it takes.
        placement: Placement,
    },
    /// An executor is dead, and its blocks are lost.
    ExecutorDown(ExecutorId, LossCause),
    /// The cause of an executor's loss became known after [`Event::ExecutorDown`].
    LossExplained(ExecutorId, LossCause),
    /// An executor shuts down soon. It finishes its running tasks, and its blocks can still be
    /// read.
    Draining(ExecutorId),
    /// The transfer of a block from a draining executor has ended.
    HandedOver {
        /// The block.
        block: BlockId,
        /// The draining executor.
        from: ExecutorId,
        /// Its new home; `None` if the transfer failed.
        to: Option<BlockHome>,
    },
    /// A block of this executor has a copy in the object store now.
    Durable(BlockId, ExecutorId),
    /// Time passed.
    Tick,
    /// A new query. Its last stage is a root, and so is every sink.
    Submit {
        /// The query.
        query: QueryId,
        /// Its stages, producers before consumers.
        stages: Vec<StageInfo>,
        /// Where its tasks run.
        placement: Placement,
        /// Number of slots to plan for, even if some executors are not up yet.
        slots_expected: u32,
    },
    /// The reply to [`Action::Revise`].
    Revised {
        /// The query.
        query: QueryId,
        /// Stages that replace the waiting ones; empty if the plan stays unchanged.
        stages: Vec<StageInfo>,
    },
    /// An attempt sealed its output.
    Finished(ExecutorId, TaskReport),
    /// An attempt ended without output.
    Failed(ExecutorId, TaskId, Attempt, Failure),
    /// The reader of a delivered result could not read a block from its home.
    OutputLost(BlockId, BlockHome),
    /// A query is no longer needed: its attempts stop and its blocks are deleted.
    Release(QueryId),
}

/// A command of the scheduler to the engine.
#[derive(Debug, Clone)]
pub enum Action {
    /// Start an attempt.
    Launch(ExecutorId, TaskSpec),
    /// Stop an attempt.
    Cancel(ExecutorId, TaskId, Attempt),
    /// Every task of the roots is committed: deliver the output.
    Completed(QueryId, QueryOutput),
    /// The query has failed for good.
    Failed(QueryId, Failure),
    /// Delete the query's plans and blocks on these executors.
    Release(QueryId, Vec<ExecutorId>),
    /// Delete what lost executors may have left of these blocks in the object store.
    Sweep(Vec<BlockId>),
    /// Record that a stage now has this many tasks.
    Sliced(QueryId, StageId, u32),
    /// Re-plan the waiting stages, given the progress of each stage: one deviated from its
    /// estimate. No waiting stage starts before the reply, [`Event::Revised`].
    Revise(QueryId, Vec<Fact>),
    /// Record that an attempt is its task's result.
    Committed(ExecutorId, TaskReport),
    /// Record that a task's result was lost: the task runs again.
    Uncommitted(TaskId),
    /// Record that an executor failed too often and takes no more tasks.
    Excluded(ExecutorId),
    /// Transfer blocks from a draining executor.
    HandOver {
        /// The draining executor.
        from: ExecutorId,
        /// The new home.
        to: BlockHome,
        /// URL of the receiving executor; `None` for the object store.
        address: Option<String>,
        /// The blocks.
        blocks: Vec<BlockId>,
    },
    /// Let a draining executor end: its blocks are no longer needed.
    Dismiss(ExecutorId),
}

/// The output of a completed query.
#[derive(Debug, Clone, Default)]
pub struct QueryOutput {
    /// Blocks of the last stage, in the order of its partitions.
    pub blocks: Arc<Vec<BlockLocation>>,
    /// The output of each write, in the order of the writes.
    pub writes: Vec<SinkOutput>,
    /// Number of attempts that followed a failure or a loss.
    pub retried: u32,
    /// Number of speculative attempts.
    pub speculated: u32,
}

/// The output of one write, before its commit.
#[derive(Debug, Clone, Default)]
pub struct SinkOutput {
    /// Files of all tasks, none of them visible to readers yet.
    pub files: Vec<PendingFile>,
    /// Encoded column statistics of those files, one value for each task that collected them.
    pub statistics: Vec<Bytes>,
}
