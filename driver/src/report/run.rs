//! A run, as its journal describes it.

mod fold;

use std::collections::BTreeMap;

use faisca_planner::ids::{ExecutorId, QueryId, StageId, TaskId};

use crate::journal::record::{RunStarted, StageRecord, StepOutput, StepSkip, TaskCommitted};

/// A run, as far as its journal has it. All times are milliseconds since the run started.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) started: &'a RunStarted,
    pub(super) outcome: Outcome<'a>,
    pub(super) elapsed_ms: u64,
    pub(super) steps: Vec<Step<'a>>,
    pub(super) executors: BTreeMap<ExecutorId, Executor<'a>>,
    pub(super) queries: BTreeMap<QueryId, Query<'a>>,
    /// The attempts whose executor is known, ascending by their end.
    pub(super) attempts: Vec<AttemptSpan>,
    /// Messages of failed attempts, in order.
    pub(super) failures: Vec<(TaskId, &'a str)>,
    /// Number of committed tasks whose result was lost.
    pub(super) tasks_lost: u64,
    /// Number of records that the writer left out.
    pub(super) records_dropped: u64,
    /// Number of records that this version does not know.
    pub(super) records_unknown: usize,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome<'a> {
    Succeeded,
    Failed(&'a str),
    /// The journal has no end: the driver was killed.
    Killed,
    /// The journal has no end yet: the driver still writes it.
    Running,
}

/// A step of the job.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) name: &'a str,
    pub(super) started_ms: u64,
    pub(super) finished_ms: Option<u64>,
    pub(super) output: Option<&'a StepOutput>,
    /// Why it wrote nothing in this run, if it did not.
    pub(super) skipped: Option<StepSkip>,
}

/// An executor, from its registration to its end.
#[derive(Debug, Default)]
pub(super) struct Executor<'a> {
    pub(super) slots: u32,
    pub(super) pid: u32,
    pub(super) up_ms: u64,
    pub(super) end: Option<ExecutorEnd<'a>>,
    pub(super) is_excluded: bool,
    /// Number of tasks that it committed.
    pub(super) tasks: u64,
    /// Slot time of all of its attempts.
    pub(super) busy_ms: u64,
    pub(super) resident_peak_bytes: Option<u64>,
    pub(super) fetched_bytes: u64,
    pub(super) spilled_bytes: u64,
}

/// The end of an executor.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExecutorEnd<'a> {
    pub(super) at_ms: u64,
    pub(super) reason: &'a str,
    pub(super) is_drained: bool,
}

/// A query.
#[derive(Debug)]
pub(super) struct Query<'a> {
    pub(super) label: &'a str,
    pub(super) started_ms: u64,
    /// Its completion or failure.
    pub(super) ended_ms: Option<u64>,
    pub(super) failure: Option<&'a str>,
    pub(super) stages: BTreeMap<StageId, Stage<'a>>,
    /// Why its waiting stages were planned again.
    pub(super) changes: Vec<&'a str>,
}

/// A stage.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) record: &'a StageRecord,
    /// Whether it reads files.
    pub(super) is_scan: bool,
    /// Whether a later plan left it out.
    pub(super) is_dropped: bool,
    pub(super) ready_ms: Option<u64>,
    pub(super) first_start_ms: Option<u64>,
    /// When all of its tasks were committed for the first time.
    pub(super) complete_ms: Option<u64>,
    pub(super) tasks: u64,
    /// The latest result of each task, by its index.
    pub(super) results: BTreeMap<u32, &'a TaskCommitted>,
}

/// An attempt, from its launch to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttemptSpan {
    pub(super) task: TaskId,
    pub(super) executor: ExecutorId,
    pub(super) start_ms: u64,
    pub(super) end_ms: u64,
    pub(super) end: AttemptEnd,
    /// Whether an earlier attempt failed, or its result was lost. False for a speculative attempt.
    pub(super) is_rerun: bool,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AttemptEnd {
    Committed,
    /// Another attempt was committed, or its query ended.
    Cancelled,
    Failed,
    /// Its executor ended before it.
    Lost,
    /// The journal ends before it.
    Unfinished,
}

impl<'a> Run<'a> {
    /// Returns the executors that tasks could run on. Beside a fleet, the driver counts if it ran
    /// any.
    fn task_executors(&self) -> impl Iterator<Item = &Executor<'a>> {
        let runs_in_driver = self.started.executors == 0
            || (self.attempts.iter()).any(|attempt| attempt.executor == ExecutorId::DRIVER);
        let executors = self.executors.iter();
        executors
            .filter(move |(id, _)| runs_in_driver || **id != ExecutorId::DRIVER)
            .map(|(_, executor)| executor)
    }

    /// Returns the number of executors that could run tasks at the end of the journal.
    pub(super) fn executors_ready(&self) -> u64 {
        let executors = self.executors.iter();
        let ready = executors.filter(|(id, executor)| {
            // Beside a fleet, the driver runs small queries only.
            executor.end.is_none() && (self.started.executors == 0 || **id != ExecutorId::DRIVER)
        });
        ready.count() as u64
    }

    /// Returns the largest number of slots that were ready at once.
    pub(super) fn slots(&self) -> u64 {
        let mut changes: Vec<(u64, i64)> = vec![];
        for executor in self.task_executors() {
            let slots = i64::from(executor.slots);
            changes.push((executor.up_ms, slots));
            changes.extend(executor.end.map(|end| (end.at_ms, -slots)));
        }
        changes.sort_unstable();
        let (mut ready, mut most) = (0, 0);
        for (_, change) in changes {
            ready += change;
            most = most.max(ready);
        }
        let requested = u64::from(self.started.slots) * u64::from(self.started.executors.max(1));
        u64::try_from(most)
            .ok()
            .filter(|most| *most > 0)
            .unwrap_or(requested)
            .max(1)
    }

    /// Returns the executors that ended without notice while a query ran.
    pub(super) fn losses(&self) -> impl Iterator<Item = (ExecutorId, ExecutorEnd<'a>)> {
        let ends = self.queries.values().map(|query| query.ended_ms);
        let last_ms = ends.map(|end| end.unwrap_or(self.elapsed_ms)).max();
        let executors = self.executors.iter();
        executors
            .filter_map(|(id, executor)| Some((*id, executor.end?)))
            .filter(move |(_, end)| !end.is_drained && Some(end.at_ms) < last_ms)
    }

    /// Returns the slot time that was available, in milliseconds.
    pub(super) fn slot_ms(&self) -> u64 {
        let ready = |executor: &Executor<'_>| {
            let until = executor.end.map_or(self.elapsed_ms, |end| end.at_ms);
            u64::from(executor.slots) * until.saturating_sub(executor.up_ms)
        };
        self.task_executors().map(ready).sum()
    }

    /// Returns the slot time of all attempts, in milliseconds.
    pub(super) fn busy_ms(&self) -> u64 {
        self.attempts.iter().map(AttemptSpan::elapsed_ms).sum()
    }

    /// Returns the stages that ran or were to run, with their queries.
    pub(super) fn stages(&self) -> impl Iterator<Item = (QueryId, &Stage<'a>)> {
        self.queries
            .iter()
            .flat_map(|(id, query)| query.stages.values().map(|stage| (*id, stage)))
            .filter(|(_, stage)| !stage.is_dropped)
    }

    /// Returns the results of all tasks.
    pub(super) fn results(&self) -> impl Iterator<Item = &'a TaskCommitted> {
        self.stages()
            .flat_map(|(_, stage)| stage.results.values().copied())
    }
}

impl Stage<'_> {
    /// Returns its identity.
    pub(super) fn id(&self) -> StageId {
        StageId(self.record.id)
    }

    /// Sums a figure of its tasks.
    pub(super) fn total(&self, figure: impl Fn(&TaskCommitted) -> u64) -> u64 {
        self.results.values().map(|result| figure(result)).sum()
    }

    /// Returns the time of each task, ascending, in milliseconds.
    pub(super) fn task_times(&self) -> Vec<u64> {
        let mut times: Vec<u64> = self.results.values().map(|r| r.elapsed_ms).collect();
        times.sort_unstable();
        times
    }
}

impl AttemptSpan {
    /// Returns its slot time in milliseconds.
    pub(super) fn elapsed_ms(&self) -> u64 {
        self.end_ms.saturating_sub(self.start_ms)
    }
}
