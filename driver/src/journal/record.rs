//! The records of a journal.
//!
//! The format is public: each line is a JSON object with `at_ms`, `record` and the fields of that
//! record. New fields are optional, and readers skip records that they do not know.
//! [`FORMAT_VERSION`] changes only if an old reader would misread a new journal.

use std::collections::BTreeMap;

use faisca_planner::ids::{Attempt, ExecutorId, QueryId, StageId, TaskId};
use serde::{Deserialize, Serialize};

/// Version of the format, in [`Record::RunStarted`].
pub const FORMAT_VERSION: u32 = 1;

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Milliseconds since the run started.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub record: Record,
}

/// Something that happened during a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The first line of a journal.
    RunStarted(RunStarted),
    /// A step of the job began.
    StepStarted {
        /// Name of the step.
        step: String,
    },
    /// A step of the job ended.
    StepFinished {
        /// Name of the step.
        step: String,
        /// What it wrote; none for a view.
        output: Option<StepOutput>,
        /// Why it wrote nothing in this run, if it did not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        skipped: Option<StepSkip>,
    },
    /// An executor is ready.
    ExecutorUp {
        /// The executor.
        executor: ExecutorId,
        /// Number of tasks that it runs at once.
        slots: u32,
        /// Its process.
        pid: u32,
    },
    /// An executor ended.
    ExecutorDown {
        /// The executor.
        executor: ExecutorId,
        /// Why, in words.
        reason: String,
        /// Whether it announced its end, so that its blocks were transferred.
        drained: bool,
    },
    /// The cause of an executor's end became known after the end was noticed.
    ExecutorLossExplained {
        /// The executor.
        executor: ExecutorId,
        /// The cause, in words.
        reason: String,
    },
    /// An executor failed too often, and gets no more tasks.
    ExecutorExcluded {
        /// The executor.
        executor: ExecutorId,
    },
    /// A query was submitted.
    QueryStarted {
        /// The query.
        query: QueryId,
        /// The step or statement that it runs.
        label: String,
        /// Its stages, producers before consumers.
        stages: Vec<StageRecord>,
    },
    /// The waiting stages of a query were planned again.
    QueryRevised {
        /// The query.
        query: QueryId,
        /// Why, in words.
        change: String,
        /// Stages that no longer run.
        dropped: Vec<StageId>,
        /// Stages that replace them.
        stages: Vec<StageRecord>,
    },
    /// The result of a query is complete.
    QueryCompleted {
        /// The query.
        query: QueryId,
    },
    /// A query failed for good.
    QueryFailed {
        /// The query.
        query: QueryId,
        /// Why, in words.
        message: String,
    },
    /// The inputs of a stage are complete, and its tasks are known.
    StageReady {
        /// The query.
        query: QueryId,
        /// The stage.
        stage: StageId,
        /// Number of its tasks.
        tasks: u32,
    },
    /// An attempt of a task was launched.
    AttemptStarted {
        /// The task.
        #[serde(flatten)]
        task: TaskId,
        /// The attempt.
        attempt: Attempt,
        /// Where it runs.
        executor: ExecutorId,
    },
    /// An attempt failed.
    AttemptFailed {
        /// The task.
        #[serde(flatten)]
        task: TaskId,
        /// The attempt.
        attempt: Attempt,
        /// Why, in words.
        message: String,
    },
    /// An attempt is not needed any more.
    AttemptCancelled {
        /// The task.
        #[serde(flatten)]
        task: TaskId,
        /// The attempt.
        attempt: Attempt,
    },
    /// An attempt is its task's result.
    TaskCommitted(TaskCommitted),
    /// A task's result was lost, and is recomputed.
    TaskLost {
        /// The task.
        #[serde(flatten)]
        task: TaskId,
    },
    /// The job failed.
    JobFailed {
        /// Why, in words.
        message: String,
    },
    /// Records were left out, because the disk was too slow for them.
    RecordsDropped {
        /// Number of records.
        count: u64,
    },
    /// The last line of a run that was not killed.
    RunFinished,
}

impl Record {
    /// Whether a journal may lack this record: it has figures for displays, and decides nothing.
    pub(super) fn is_droppable(&self) -> bool {
        matches!(
            self,
            Self::AttemptStarted { .. } | Self::AttemptCancelled { .. }
        )
    }
}

/// The settings of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    /// [`FORMAT_VERSION`] of the writer.
    pub format: u32,
    /// Name of the application.
    pub application: String,
    /// Version of the engine.
    pub build: String,
    /// Start of the run, in milliseconds since 1970-01-01T00:00:00Z.
    pub started_unix_ms: u64,
    /// Number of executors requested; 0 if tasks run in the driver.
    pub executors: u32,
    /// Number of task slots of each executor.
    pub slots: u32,
    /// Memory of each executor in bytes, if limited.
    pub memory_bytes: Option<u64>,
    /// Settings that differ from their defaults, without the values of secrets.
    pub settings: BTreeMap<String, String>,
    /// The run that started this one, such as a task of Airflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentRun>,
    /// The run at the top, which started all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_parent: Option<ParentRun>,
}

/// A run of another program, as OpenLineage names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentRun {
    /// Namespace of its job.
    pub namespace: String,
    /// Name of its job.
    pub job: String,
    /// Identity of the run, a UUID.
    pub run: String,
}

/// A column of files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnRecord {
    /// Its name.
    pub name: String,
    /// Its type in Spark's words: `array<int>`.
    #[serde(rename = "type")]
    pub data_type: String,
}

/// A stage of a query.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// Its index in the query.
    pub id: u32,
    /// The stages that it reads.
    pub inputs: Vec<StageId>,
    /// Rows that it is expected to return.
    pub rows_expected: u64,
    /// Whether its tasks write files.
    pub writes_files: bool,
    /// Its operators, as in EXPLAIN.
    pub plan: String,
    /// The files that it scans.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scans: Vec<ScanRecord>,
}

/// The files of one scan of a stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScanRecord {
    /// The folder of the files, or the only file.
    pub path: String,
    /// Name of their format, as in a manifest.
    pub format: String,
    /// Number of files.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Columns of the files, also those that the query does not read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnRecord>,
}

/// Why a step had nothing to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepSkip {
    /// The output existed, and the save mode is `ignore`.
    OutputExists,
    /// An earlier attempt of the run had committed it.
    CommittedBefore,
}

/// The files that a step wrote.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepOutput {
    /// The output folder.
    pub path: String,
    /// Rows written.
    pub rows: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Number of files.
    pub files: u64,
    /// Columns of the rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnRecord>,
}

/// The result of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskCommitted {
    /// The task.
    #[serde(flatten)]
    pub task: TaskId,
    /// The attempt.
    pub attempt: Attempt,
    /// Where it ran.
    pub executor: ExecutorId,
    /// Output rows.
    pub rows: u64,
    /// Output bytes: of a block in memory, or of files on disk.
    pub bytes: u64,
    /// Bytes fetched from other executors.
    pub fetched_bytes: u64,
    /// Bytes spilled to disk.
    pub spilled_bytes: u64,
    /// Peak memory of the executor's process so far, if its system reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resident_peak_bytes: Option<u64>,
    /// Milliseconds from launch to end.
    pub elapsed_ms: u64,
}
