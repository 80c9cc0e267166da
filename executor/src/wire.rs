//! What driver and executors say to each other: **the only types that are serialized** between them.
//!
//! The same values pass through channels inside one process and through a Flight `DoExchange`
//! stream between processes ([`crate::control`]); nothing else differs between the two fleets.
//!
//! ```text
//! 1 executor → Register        4 driver → Stage, once per stage and executor
//! 2 driver   → (accepts)       5 driver → Launch          7 driver → Release at a statement's end
//! 3 executor → Heartbeat, ever 6 executor → Finished|Failed 8 driver → Shutdown
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use faisca_planner::ids::{Attempt, BlockId, ExecutorId, QueryId, StageId, TaskId};
use faisca_planner::manifest::{Compression, FileFormat};
use serde::{Deserialize, Serialize};

use crate::stores::RequestSnapshot;

/// Driver to executor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ToExecutor {
    /// Step 4: a plan that tasks will refer to.
    Stage(StageSpec),
    /// Step 5: run one attempt.
    Launch(TaskSpec),
    /// Stop an attempt and forget its output. Idempotent.
    Cancel {
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: Attempt,
    },
    /// Bring blocks to another executor, or to the object store, since this one is about to end.
    /// Answered by a [`FromExecutor::HandedOver`] each.
    HandOver {
        /// Who gets them.
        to: ExecutorId,
        /// URL of that one's Flight service.
        address: String,
        /// Which.
        blocks: Vec<BlockId>,
    },
    /// Step 7: forget a statement's plans and blocks. Idempotent.
    Release(QueryId),
    /// Step 8: end.
    Shutdown,
}

/// Executor to driver.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum FromExecutor {
    /// Step 1.
    Register(Registration),
    /// Step 3.
    Heartbeat,
    /// It was told to end (SIGTERM, a spot notice): no new tasks, please, and take the blocks.
    Draining,
    /// What became of a block in a [`ToExecutor::HandOver`].
    HandedOver {
        /// Which.
        block: BlockId,
        /// Who has it now; nobody if it could not be brought there.
        to: Option<ExecutorId>,
    },
    /// A block of an attempt that finished before has its copy in the object store now.
    Durable(BlockId),
    /// Step 6: the attempt's output is sealed.
    Finished(TaskReport),
    /// Step 6: the attempt has no output.
    Failed {
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: Attempt,
        /// Why.
        failure: Failure,
    },
}

/// Who an executor is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registration {
    /// As the driver named it.
    pub executor: ExecutorId,
    /// Tasks it runs at once.
    pub slots: u32,
    /// URL of its Flight service; empty for one inside the driver.
    pub address: String,
    /// Version of the build.
    pub version: String,
    /// Hash of fixed values by the exchange's partitioner: builds that differ would spread equal
    /// keys over different buckets.
    pub canary: u64,
    /// Operating system process.
    pub pid: u32,
}

/// One stage as executors see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StageSpec {
    /// The statement.
    pub query: QueryId,
    /// The stage.
    pub stage: StageId,
    /// The encoded plan; its root tells the partitioning of a shuffled output.
    pub plan: Bytes,
    /// Where rows go.
    pub output: OutputSpec,
    /// Whether its blocks outlive their executors.
    pub durability: Durability,
    /// DataFusion settings that differ from the defaults.
    pub settings: Vec<(String, String)>,
}

/// When a block gets its copy in the object store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Durability {
    /// Never.
    #[default]
    Never,
    /// When its executor is told to end.
    OnDrain,
    /// Soon after its task has ended.
    Async,
    /// Before its task ends.
    Sync,
}

/// Where a stage's rows go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputSpec {
    /// Into buckets, by the partitioning of the plan's root.
    Shuffle,
    /// Into the bucket of the partition's own number.
    Partitions,
    /// Into files.
    Sink(SinkSpec),
}

/// How tasks write files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkSpec {
    /// URL of the folder: a local one that no reader looks into, or on an object store where the files will be.
    pub folder: String,
    /// Between the `key=value` folders and the files; may be empty.
    pub subfolder: String,
    /// The same for some of those folders, by their paths.
    pub subfolders: BTreeMap<String, String>,
    /// Format.
    pub format: FileFormat,
    /// Compression.
    pub compression: Compression,
    /// Names of the columns that become folders.
    pub partition_by: Vec<String>,
    /// A file is closed once it is about this large.
    pub target_file_bytes: u64,
    /// Part of every file name, so that appends never meet.
    pub tag: String,
    /// Describe the columns, for a catalog.
    pub statistics: bool,
}

/// One attempt of one task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The task.
    pub task: TaskId,
    /// Its attempt.
    pub attempt: Attempt,
    /// Partitions of the stage's body, run one after another.
    pub partitions: Vec<u32>,
    /// Where the stages that it reads left their blocks.
    pub inputs: Vec<StageBlocks>,
    /// It ran out of memory before: prefer operators that spill, whatever they cost.
    pub frugal: bool,
}

/// The committed blocks of one stage.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StageBlocks {
    /// The producer.
    pub stage: StageId,
    /// At most one per task, in the order of partitions. Shared, since all tasks of a stage read the same.
    #[serde(
        serialize_with = "serialize_shared",
        deserialize_with = "deserialize_shared"
    )]
    pub blocks: Arc<Vec<BlockLocation>>,
    /// Exact bytes in memory of what the largest of the task's partitions reads.
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

/// Where one block lives.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BlockLocation {
    /// Which.
    pub block: BlockId,
    /// Who made it.
    pub executor: ExecutorId,
    /// URL of that executor's Flight service.
    pub address: String,
    /// For an output by partition: the partitions in it. Empty for a shuffled one: any bucket.
    pub partitions: Vec<u32>,
}

/// What a finished attempt made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskReport {
    /// The task.
    pub task: TaskId,
    /// Its attempt.
    pub attempt: Attempt,
    /// Non-empty buckets.
    pub buckets: Vec<BucketSize>,
    /// The block has its copy in the object store already.
    pub durable: bool,
    /// Files that wait to be made visible.
    pub files: Vec<PendingFile>,
    /// What the columns of those files hold, where it was asked for.
    pub statistics: Option<Bytes>,
    /// Figures for the report.
    pub metrics: TaskMetrics,
}

/// Exact size of one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketSize {
    /// Which.
    pub bucket: u32,
    /// Rows.
    pub rows: u64,
    /// Bytes in memory.
    pub bytes: u64,
}

/// A file that nobody sees yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingFile {
    /// Path below the output, `key=value` folders included.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Bytes of it.
    pub bytes: u64,
    /// On an object store: what makes it visible.
    pub upload: Option<PendingUpload>,
}

/// A multipart upload whose parts are all there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingUpload {
    /// The store's name for it.
    pub id: String,
    /// What the store called each part.
    pub parts: Vec<String>,
}

/// Figures of one attempt.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct TaskMetrics {
    /// Rows that came out.
    pub rows: u64,
    /// Bytes that came out: of buckets in memory, of files on disk.
    pub bytes: u64,
    /// Bytes of blocks read from other executors.
    pub fetched_bytes: u64,
    /// Bytes spilled to disk, by the exchange and by operators.
    pub spilled_bytes: u64,
    /// Most memory that the executor's process ever held; 0 where the kernel does not tell.
    pub resident_peak_bytes: u64,
    /// Requests that the process ever sent to object stores.
    pub requests: RequestSnapshot,
    /// Milliseconds from launch to the end.
    pub elapsed_ms: u64,
}

/// Why an attempt failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    /// What can be done about it.
    pub kind: FailureKind,
    /// For people.
    pub message: String,
}

/// Decides, in one place, what follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The statement or its data is wrong: final.
    User,
    /// Memory or disk ran out: try again, at another time or place.
    Resource,
    /// Something outside hiccuped: try again.
    Transient,
    /// An input is gone from an executor: its producer must run again first. Costs no try.
    BlockLost(BlockId, ExecutorId),
    /// The executor is gone. Costs no try.
    ExecutorLost,
    /// Ours: a panic, a broken invariant. Tried again, since the next executor may fare better.
    Bug,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// One message of a Flight `DoPut`, by which an executor that ends hands a block to another.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum HandOverFrame {
    /// The first: which block, and its sizes.
    Block {
        /// Which.
        block: BlockId,
        /// Its non-empty buckets.
        buckets: Vec<BucketSize>,
    },
    /// Any other: part of a bucket, as an Arrow IPC stream in the message's body.
    Segment {
        /// Of which bucket.
        bucket: u32,
        /// CRC-32 of the body.
        crc: u32,
    },
}

/// What a reader asks an executor for, as the ticket of a Flight `DoGet`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FetchRequest {
    /// Blocks, in the order wanted.
    pub blocks: Vec<BlockId>,
    /// One bucket of each, or all of them in ascending order.
    pub bucket: Option<u32>,
    /// Whether the way is long enough for compression to pay.
    pub compressed: bool,
}
