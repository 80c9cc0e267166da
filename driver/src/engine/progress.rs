//! What runs now, for progress bars, and what ran so far, for the summary of a job.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use faisca_executor::protocol::RequestSnapshot;
use faisca_executor::protocol::TaskReport;
use faisca_planner::ids::{ExecutorId, QueryId, StageId, TaskId};
use faisca_planner::stages::StageGraph;
use parking_lot::Mutex;

/// The progress of a session. The engine writes it, and displays read it.
///
/// ```no_run
/// # fn example(session: &faisca_driver::Session) {
/// let progress = session.progress_handle();
/// for (query, state) in progress.snapshot().queries {
///     let tasks: u32 = state.stages.iter().map(|stage| stage.tasks).sum();
///     let finished: u32 = state.stages.iter().map(|stage| stage.finished).sum();
///     println!("{query} ({}): {finished} of {tasks} tasks", state.label);
/// }
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Progress(
    /// Locked for single updates and copies only.
    Mutex<Snapshot>,
);

/// The progress at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The queries that run.
    pub queries: BTreeMap<QueryId, QueryProgress>,
    /// Totals of each executor so far, dead ones included.
    pub executors: BTreeMap<ExecutorId, ExecutorTotals>,
    /// Number of executors that were lost.
    pub executors_lost: u32,
    /// Number of executors that shut down on request, after their blocks were transferred.
    pub executors_drained: u32,
    /// Number of committed tasks whose output was lost and recomputed.
    pub tasks_recomputed: u32,
    /// Number of completed steps and of all steps of the manifest; `None` without a manifest.
    pub steps: Option<(usize, usize)>,
    /// Totals of the writes so far, by the name of the output.
    pub written: BTreeMap<String, WriteSummary>,
}

/// Progress of one query.
#[derive(Debug, Clone, Default)]
pub struct QueryProgress {
    /// The user's name for it.
    pub label: String,
    /// Index = stage id.
    pub stages: Vec<StageProgress>,
}

/// Progress of one stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageProgress {
    /// Number of tasks; 0 until its inputs are complete.
    pub tasks: u32,
    /// Number of committed tasks.
    pub finished: u32,
    /// Output rows.
    pub rows: u64,
    /// Output bytes.
    pub bytes: u64,
    /// Slot time used, in milliseconds.
    pub busy_ms: u64,
}

/// Totals of one executor so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExecutorTotals {
    /// Id of its process.
    pub pid: u32,
    /// Whether it is connected.
    pub is_connected: bool,
    /// Number of committed tasks.
    pub tasks: u32,
    /// Output rows of committed tasks.
    pub rows: u64,
    /// Output bytes of committed tasks.
    pub bytes: u64,
    /// Bytes fetched from other executors.
    pub fetched_bytes: u64,
    /// Bytes that its tasks spilled to disk.
    pub spilled_bytes: u64,
    /// Slot time used, in milliseconds.
    pub busy_ms: u64,
    /// Peak resident memory of its process, in bytes, if its system reports it.
    pub resident_peak_bytes: Option<u64>,
    /// Requests that its process sent to object stores, as of its latest finished task.
    pub requests: RequestSnapshot,
}

/// Summary of a completed write.
#[derive(Debug, Clone, Default)]
pub struct WriteSummary {
    /// The output folder.
    pub path: String,
    /// Rows written.
    pub rows: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Number of files.
    pub files: usize,
    /// Number of attempts that followed a failure or a loss.
    pub retried: u32,
    /// Duration, planning included.
    pub elapsed: Duration,
    /// The columns of the rows, if rows were written.
    pub columns: Option<SchemaRef>,
    /// Why nothing was written, if nothing was.
    pub skipped: Option<SkipReason>,
}

/// Why a write had nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipReason {
    /// The output existed, and the save mode is `ignore`.
    OutputExists,
    /// An earlier attempt of the run has committed it.
    CommittedBefore,
}

/// Why an executor is no longer connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    /// It had announced that it shuts down.
    Drained,
    Lost,
}

impl Progress {
    /// Returns a copy of the current state.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.0.lock().clone()
    }

    pub(crate) fn set_steps(&self, finished: usize, all: usize) {
        self.0.lock().steps = Some((finished, all));
    }

    pub(crate) fn record_write(&self, label: &str, summary: &WriteSummary) {
        let mut all = self.0.lock();
        let total = all.written.entry(label.to_owned()).or_default();
        total.path.clone_from(&summary.path);
        total.rows += summary.rows;
        total.bytes += summary.bytes;
        total.files += summary.files;
    }

    pub(crate) fn start_query(&self, query: QueryId, label: String, stages: usize) {
        self.0.lock().queries.insert(
            query,
            QueryProgress {
                label,
                stages: vec![StageProgress::default(); stages],
            },
        );
    }

    /// Adds `new` stages, and resets those that are dropped in `graph`.
    pub(crate) fn revise_stages(&self, query: QueryId, graph: &StageGraph, new: usize) {
        if let Some(query) = self.0.lock().queries.get_mut(&query) {
            query.stages.extend(vec![StageProgress::default(); new]);
            let dropped = query
                .stages
                .iter_mut()
                .zip(&graph.stages)
                .filter(|(_, stage)| stage.is_dropped);
            dropped.for_each(|(progress, _)| *progress = StageProgress::default());
        }
    }

    pub(crate) fn end_query(&self, query: QueryId) {
        self.0.lock().queries.remove(&query);
    }

    pub(crate) fn set_task_count(&self, query: QueryId, stage: StageId, tasks: u32) {
        if let Some(stage) = self
            .0
            .lock()
            .queries
            .get_mut(&query)
            .and_then(|q| q.stages.get_mut(stage.index()))
        {
            stage.tasks = tasks;
        }
    }

    pub(crate) fn record_commit(&self, executor: ExecutorId, report: &TaskReport) {
        let mut all = self.0.lock();
        if let Some(stage) = all
            .queries
            .get_mut(&report.task.query)
            .and_then(|q| q.stages.get_mut(report.task.stage.index()))
        {
            stage.finished = (stage.finished + 1).min(stage.tasks);
            stage.rows += report.metrics.rows;
            stage.bytes += report.metrics.bytes;
            stage.busy_ms += report.metrics.elapsed_ms;
        }
        let totals = all.executors.entry(executor).or_default();
        totals.tasks += 1;
        totals.rows += report.metrics.rows;
        totals.bytes += report.metrics.bytes;
        totals.fetched_bytes += report.metrics.fetched_bytes;
        totals.spilled_bytes += report.metrics.spilled_bytes;
        totals.busy_ms += report.metrics.elapsed_ms;
        totals.resident_peak_bytes = totals
            .resident_peak_bytes
            .max(report.metrics.resident_peak_bytes);
        if report.metrics.requests.total() > totals.requests.total() {
            totals.requests = report.metrics.requests;
        }
    }

    pub(crate) fn withdraw_commit(&self, task: TaskId) {
        let mut all = self.0.lock();
        all.tasks_recomputed += 1;
        if let Some(stage) = all
            .queries
            .get_mut(&task.query)
            .and_then(|q| q.stages.get_mut(task.stage.index()))
        {
            stage.finished = stage.finished.saturating_sub(1);
        }
    }

    pub(crate) fn connect_executor(&self, executor: ExecutorId, pid: u32) {
        let mut all = self.0.lock();
        let totals = all.executors.entry(executor).or_default();
        (totals.pid, totals.is_connected) = (pid, true);
    }

    pub(crate) fn disconnect_executor(&self, executor: ExecutorId, departure: Departure) {
        let mut all = self.0.lock();
        all.executors.entry(executor).or_default().is_connected = false;
        match departure {
            Departure::Drained => all.executors_drained += 1,
            Departure::Lost => all.executors_lost += 1,
        }
    }
}
