//! A task attempt: its input, and its report.

use std::sync::Arc;

use bytes::Bytes;
use faisca_planner::ids::{Attempt, BlockHome, BlockId, StageId, TaskId};
use serde::{Deserialize, Serialize};

/// One attempt of one task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: Attempt,
    /// Partitions of the stage's plan that the task runs, one after another.
    pub partitions: Vec<u32>,
    /// Locations of the blocks of each stage that the task reads.
    pub inputs: Vec<StageBlocks>,
    /// Low-memory mode, after an attempt ran out of memory: use operators that spill, even where
    /// they are slower.
    pub reduces_memory: bool,
}

/// The committed blocks of one stage.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StageBlocks {
    /// The stage that produced the blocks.
    pub stage: StageId,
    /// At most one block per task, in the order of the partitions. Shared, because all tasks of a
    /// stage read the same blocks.
    #[serde(
        serialize_with = "serialize_shared",
        deserialize_with = "deserialize_shared"
    )]
    pub blocks: Arc<Vec<BlockLocation>>,
    /// Exact bytes in memory of the largest partition that the task reads of this stage.
    pub partition_bytes_max: u64,
}

fn serialize_shared<T: Serialize, S: serde::Serializer>(
    shared: &Arc<Vec<T>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    shared.as_slice().serialize(serializer)
}

fn deserialize_shared<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Arc<Vec<T>>, D::Error> {
    Vec::deserialize(deserializer).map(Arc::new)
}

/// Where a block can be fetched.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BlockLocation {
    /// The block.
    pub block: BlockId,
    /// Where it is stored.
    pub home: BlockHome,
    /// URL of the executor's Flight service; `None` for the object store.
    pub address: Option<String>,
    /// The partitions in the block, for [`super::OutputSpec::Partitions`]. Empty for a shuffled
    /// block, which may hold any partition.
    pub partitions: Vec<u32>,
}

/// The output of a finished attempt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskReport {
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: Attempt,
    /// Non-empty partitions of the attempt's block, ascending.
    pub partitions: Vec<PartitionSize>,
    /// Whether the block has its durable copy already.
    pub has_durable_copy: bool,
    /// Files that the commit makes visible.
    pub files: Vec<PendingFile>,
    /// Column statistics of those files, if [`super::SinkSpec::computes_statistics`] is set;
    /// encoded by [`crate::sink::Sketches`].
    pub statistics: Option<Bytes>,
    /// Metrics of the attempt.
    pub metrics: TaskMetrics,
}

/// Exact size of one partition of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionSize {
    /// The partition of the exchange.
    pub partition: u32,
    /// Number of rows.
    pub rows: u64,
    /// Bytes of the values in memory.
    pub bytes: u64,
}

/// A written file that is not visible to readers yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingFile {
    /// Path relative to the output folder, `key=value` folders included.
    pub path: String,
    /// Number of rows.
    pub rows: u64,
    /// Size of the file.
    pub bytes: u64,
    /// In an object store, the upload whose completion makes the file visible.
    pub upload: Option<PendingUpload>,
}

/// A multipart upload with all parts sent, to be completed by the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingUpload {
    /// Identity of the upload, given by the store.
    pub id: String,
    /// Identity of each part, given by the store, in order.
    pub parts: Vec<String>,
}

/// Metrics of one attempt.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct TaskMetrics {
    /// Output rows.
    pub rows: u64,
    /// Output bytes: of a block in memory, or of files on disk.
    pub bytes: u64,
    /// Bytes of blocks fetched from other executors.
    pub fetched_bytes: u64,
    /// Bytes spilled to disk, by the exchange and by operators.
    pub spilled_bytes: u64,
    /// Peak memory of the executor's process since it started; 0 where the kernel does not report
    /// it.
    pub resident_peak_bytes: Option<u64>,
    /// Requests that the process has sent to object stores since it started.
    pub requests: RequestSnapshot,
    /// Milliseconds from launch to end.
    pub elapsed_ms: u64,
}

/// Requests of one process to object stores, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestSnapshot {
    /// GET and HEAD: objects, ranges of them, listings.
    pub reads: u64,
    /// PUT and POST: objects, parts, completions, bulk deletes.
    pub writes: u64,
    /// DELETE.
    pub deletes: u64,
    /// Requests with status 429 or 5xx: the store throttles, or has a problem.
    pub refused: u64,
    /// Requests without a response, because the connection broke or could not be opened.
    pub broken: u64,
}

impl RequestSnapshot {
    /// Returns the number of all requests.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.reads + self.writes + self.deletes
    }

    /// Returns the sum of the counts of two processes.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            reads: self.reads + other.reads,
            writes: self.writes + other.writes,
            deletes: self.deletes + other.deletes,
            refused: self.refused + other.refused,
            broken: self.broken + other.broken,
        }
    }

    /// Returns the number of requests that were retried.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.refused + self.broken
    }
}
