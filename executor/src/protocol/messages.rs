//! The control messages between the driver and an executor.

use faisca_planner::ids::{Attempt, BlockHome, BlockId, ExecutorId, QueryId, TaskId};
use serde::{Deserialize, Serialize};

use super::{Failure, StageSpec, TaskReport, TaskSpec};

/// A message from the driver to an executor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ToExecutor {
    /// Step 5: the plan of a stage, which later launches refer to.
    Stage(StageSpec),
    /// Step 6: run one attempt of a task.
    Launch(TaskSpec),
    /// Step 9: stop an attempt and discard its output. Idempotent.
    Cancel {
        /// The task of the attempt.
        task: TaskId,
        /// The attempt to stop.
        attempt: Attempt,
    },
    /// Step 9: discard the plans and blocks of a query. Idempotent.
    Release(QueryId),
    /// Step 11: copy blocks to another executor or to the object store, because this executor is
    /// about to end. The executor reports each block with a [`FromExecutor::HandedOver`].
    HandOver {
        /// Who takes the blocks.
        to: BlockHome,
        /// URL of that executor's Flight service; `None` for the object store.
        address: Option<String>,
        /// The blocks to copy.
        blocks: Vec<BlockId>,
    },
    /// Step 14: end the process.
    Shutdown,
}

/// A message from an executor to the driver.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum FromExecutor {
    /// Step 2: the first message of a connection.
    Register(Registration),
    /// Step 4: the executor is alive.
    Heartbeat,
    /// Step 8: the output of an attempt is sealed.
    Finished(TaskReport),
    /// Step 8: an attempt failed and left no output.
    Failed {
        /// The task of the attempt.
        task: TaskId,
        /// The attempt that failed.
        attempt: Attempt,
        /// Why it failed.
        failure: Failure,
    },
    /// A block of a finished attempt has its durable copy now ([`super::Durability::Async`]).
    Durable(BlockId),
    /// Step 10: the executor is shutting down (SIGTERM or spot notice): stop scheduling on it and
    /// move its blocks.
    Draining,
    /// Step 13: the outcome of a hand-over.
    HandedOver {
        /// The block.
        block: BlockId,
        /// Where the block is now; `None` if the hand-over failed.
        to: Option<BlockHome>,
    },
}

/// What an executor says about itself when it connects.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registration {
    /// The identity that the driver gave it.
    pub executor: ExecutorId,
    /// Number of tasks that it runs at once.
    pub slots: u32,
    /// URL of its Flight service; `None` for an embedded executor that no other can reach.
    pub address: Option<String>,
    /// Version of its build.
    pub version: String,
    /// Identity of its build ([`super::BUILD`]).
    pub build: String,
    /// Fingerprint of its partitioner ([`crate::canary`]): builds that differ would send equal keys
    /// to different partitions.
    pub canary: u64,
    /// Operating system process.
    pub pid: u32,
}
