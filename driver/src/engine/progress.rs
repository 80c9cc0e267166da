//! What runs at the moment, for progress bars; and what ran, for the summary.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use faisca_executor::stores::RequestSnapshot;
use faisca_executor::wire::TaskReport;
use faisca_planner::ids::{ExecutorId, QueryId, StageId, TaskId};
use faisca_planner::stages::StageGraph;

/// Shared between the engine, which writes it, and whoever shows it.
#[derive(Debug, Default)]
pub struct Progress(
    /// Held for single updates and copies only.
    Mutex<Snapshot>,
);

/// A copy of the state at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Statements that run.
    pub queries: BTreeMap<QueryId, QueryProgress>,
    /// All that executors did so far.
    pub executors: BTreeMap<ExecutorId, ExecutorTotals>,
    /// Executors that were lost.
    pub executors_lost: u32,
    /// Executors that ended because they were told to, after handing on what they had.
    pub executors_drained: u32,
    /// Committed tasks whose output was lost, and made again.
    pub tasks_redone: u32,
    /// Steps of the manifest that are done, and all of them; none in a program.
    pub steps: Option<(usize, usize)>,
    /// What was written, by what the user calls it.
    pub written: BTreeMap<String, WriteSummary>,
}

/// One statement.
#[derive(Debug, Clone, Default)]
pub struct QueryProgress {
    /// What the user calls it.
    pub label: String,
    /// Index = stage.
    pub stages: Vec<StageProgress>,
}

/// One stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageProgress {
    /// Tasks it was cut into; 0 until its inputs are complete.
    pub tasks: u32,
    /// Tasks that are committed.
    pub done: u32,
    /// Rows that came out.
    pub rows: u64,
    /// Bytes that came out.
    pub bytes: u64,
    /// Milliseconds of slots.
    pub busy_ms: u64,
}

/// What one executor did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExecutorTotals {
    /// Its operating system process.
    pub pid: u32,
    /// It is connected.
    pub up: bool,
    /// Committed tasks.
    pub tasks: u32,
    /// Rows that came out of them.
    pub rows: u64,
    /// Bytes that came out of them.
    pub bytes: u64,
    /// Bytes fetched from other executors.
    pub fetched_bytes: u64,
    /// Bytes that its tasks spilled.
    pub spilled_bytes: u64,
    /// Milliseconds of its slots.
    pub busy_ms: u64,
    /// Most memory that its process ever held; 0 where it is not known.
    pub resident_peak_bytes: u64,
    /// Requests that its process sent to object stores, as far as finished tasks told.
    pub requests: RequestSnapshot,
}

/// What a write left behind.
#[derive(Debug, Clone, Default)]
pub struct WriteSummary {
    /// The folder.
    pub path: String,
    /// Rows written.
    pub rows: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Files.
    pub files: usize,
    /// Task attempts beyond the first.
    pub retried: u32,
    /// How long it took, planning included.
    pub elapsed: Duration,
    /// Nothing was written, since something was there and the mode is `ignore`.
    pub skipped: bool,
}

impl Progress {
    /// The state at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    pub(crate) fn steps(&self, done: usize, all: usize) {
        self.lock().steps = Some((done, all));
    }

    pub(crate) fn wrote(&self, label: &str, summary: &WriteSummary) {
        let mut all = self.lock();
        let total = all.written.entry(label.to_owned()).or_default();
        total.path.clone_from(&summary.path);
        total.rows += summary.rows;
        total.bytes += summary.bytes;
        total.files += summary.files;
    }

    pub(crate) fn start(&self, query: QueryId, label: String, stages: usize) {
        self.lock().queries.insert(
            query,
            QueryProgress {
                label,
                stages: vec![StageProgress::default(); stages],
            },
        );
    }

    /// So many new stages take the place of those that `graph` has dropped, whose tasks count no more.
    pub(crate) fn revised(&self, query: QueryId, graph: &StageGraph, new: usize) {
        if let Some(query) = self.lock().queries.get_mut(&query) {
            query.stages.extend(vec![StageProgress::default(); new]);
            let dropped = query
                .stages
                .iter_mut()
                .zip(&graph.stages)
                .filter(|(_, stage)| stage.dropped);
            dropped.for_each(|(progress, _)| *progress = StageProgress::default());
        }
    }

    pub(crate) fn end(&self, query: QueryId) {
        self.lock().queries.remove(&query);
    }

    pub(crate) fn sliced(&self, query: QueryId, stage: StageId, tasks: u32) {
        if let Some(stage) = self
            .lock()
            .queries
            .get_mut(&query)
            .and_then(|q| q.stages.get_mut(stage.0 as usize))
        {
            stage.tasks = tasks;
        }
    }

    pub(crate) fn committed(&self, executor: ExecutorId, report: &TaskReport) {
        let mut all = self.lock();
        if let Some(stage) = all
            .queries
            .get_mut(&report.task.query)
            .and_then(|q| q.stages.get_mut(report.task.stage.0 as usize))
        {
            stage.done = (stage.done + 1).min(stage.tasks);
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

    pub(crate) fn uncommitted(&self, task: TaskId) {
        let mut all = self.lock();
        all.tasks_redone += 1;
        if let Some(stage) = all
            .queries
            .get_mut(&task.query)
            .and_then(|q| q.stages.get_mut(task.stage.0 as usize))
        {
            stage.done = stage.done.saturating_sub(1);
        }
    }

    pub(crate) fn executor_up(&self, executor: ExecutorId, pid: u32) {
        let mut all = self.lock();
        let totals = all.executors.entry(executor).or_default();
        (totals.pid, totals.up) = (pid, true);
    }

    pub(crate) fn executor_gone(&self, executor: ExecutorId, drained: bool) {
        let mut all = self.lock();
        all.executors.entry(executor).or_default().up = false;
        if drained {
            all.executors_drained += 1;
        } else {
            all.executors_lost += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
