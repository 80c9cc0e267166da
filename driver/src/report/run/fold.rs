//! Folds the lines of a journal into a run.

use std::collections::{BTreeMap, HashMap, HashSet};

use faisca_planner::ids::{Attempt, ExecutorId, QueryId, StageId, TaskId};

use super::{AttemptEnd, AttemptSpan, Executor, ExecutorEnd, Outcome, Query, Run, Stage, Step};
use crate::journal::RecordedRun;
use crate::journal::record::{Line, Record, StageRecord, StepOutput, StepSkip, TaskCommitted};

impl<'a> Run<'a> {
    /// Folds the lines of a journal.
    pub(in crate::report) fn new(recorded: &'a RecordedRun) -> Self {
        let mut fold = Fold::new(recorded);
        for line in &recorded.lines {
            fold.add(line);
        }
        fold.finish()
    }

    /// Folds the lines so far of the journal of a run that goes on.
    pub(in crate::report) fn running(recorded: &'a RecordedRun, now_ms: u64) -> Self {
        let mut fold = Fold::new(recorded);
        for line in &recorded.lines {
            fold.add(line);
        }
        if !fold.is_finished {
            fold.run.elapsed_ms = fold.run.elapsed_ms.max(now_ms);
            if fold.run.outcome == Outcome::Killed {
                fold.run.outcome = Outcome::Running;
            }
        }
        fold.finish()
    }
}

/// A journal, partly read.
struct Fold<'a> {
    run: Run<'a>,
    is_finished: bool,
    /// Attempts that run.
    open: HashMap<(TaskId, Attempt), Launch>,
    /// Tasks whose next attempt repeats work.
    repeated: HashSet<TaskId>,
}

/// The launch of an attempt.
struct Launch {
    executor: ExecutorId,
    start_ms: u64,
    is_rerun: bool,
}

impl<'a> Fold<'a> {
    fn new(recorded: &'a RecordedRun) -> Self {
        Self {
            run: Run {
                started: &recorded.started,
                outcome: Outcome::Killed,
                elapsed_ms: 0,
                steps: vec![],
                executors: BTreeMap::new(),
                queries: BTreeMap::new(),
                attempts: vec![],
                failures: vec![],
                tasks_lost: 0,
                records_dropped: 0,
                records_unknown: recorded.unknown,
            },
            is_finished: false,
            open: HashMap::new(),
            repeated: HashSet::new(),
        }
    }

    fn add(&mut self, line: &'a Line) {
        let at_ms = line.at_ms;
        self.run.elapsed_ms = self.run.elapsed_ms.max(at_ms);
        match &line.record {
            Record::RunStarted(_) => {}
            Record::StepStarted { step } => self.start_step(at_ms, step),
            Record::StepFinished {
                step,
                output,
                skipped,
            } => self.finish_step(at_ms, step, output.as_ref(), *skipped),
            Record::ExecutorUp {
                executor,
                slots,
                pid,
            } => self.start_executor(at_ms, *executor, *slots, *pid),
            Record::ExecutorDown {
                executor,
                reason,
                drained,
            } => self.end_executor(at_ms, *executor, reason, *drained),
            Record::ExecutorLossExplained { executor, reason } => {
                self.explain_end(*executor, reason);
            }
            Record::ExecutorExcluded { executor } => self.executor(*executor).is_excluded = true,
            Record::QueryStarted {
                query,
                label,
                stages,
            } => self.start_query(at_ms, *query, label, stages),
            Record::QueryRevised {
                query,
                change,
                dropped,
                stages,
            } => self.revise_query(*query, change, dropped, stages),
            Record::QueryCompleted { query } => self.end_query(at_ms, *query, None),
            Record::QueryFailed { query, message } => self.end_query(at_ms, *query, Some(message)),
            Record::StageReady {
                query,
                stage,
                tasks,
            } => self.start_stage(at_ms, *query, *stage, u64::from(*tasks)),
            Record::AttemptStarted {
                task,
                attempt,
                executor,
            } => self.start_attempt(at_ms, *task, *attempt, *executor),
            Record::AttemptFailed {
                task,
                attempt,
                message,
            } => {
                self.repeated.insert(*task);
                self.run.failures.push((*task, message));
                self.end_attempt(at_ms, *task, *attempt, AttemptEnd::Failed);
            }
            Record::AttemptCancelled { task, attempt } => {
                self.end_attempt(at_ms, *task, *attempt, AttemptEnd::Cancelled);
            }
            Record::TaskCommitted(committed) => self.commit(at_ms, committed),
            Record::TaskLost { task } => {
                self.run.tasks_lost += 1;
                self.repeated.insert(*task);
            }
            Record::JobFailed { message } => self.run.outcome = Outcome::Failed(message),
            Record::RecordsDropped { count } => self.run.records_dropped += count,
            Record::RunFinished => self.is_finished = true,
        }
    }

    fn executor(&mut self, id: ExecutorId) -> &mut Executor<'a> {
        self.run.executors.entry(id).or_default()
    }

    fn start_executor(&mut self, at_ms: u64, id: ExecutorId, slots: u32, pid: u32) {
        let executor = self.executor(id);
        (executor.slots, executor.pid, executor.up_ms) = (slots, pid, at_ms);
    }

    fn end_executor(&mut self, at_ms: u64, id: ExecutorId, reason: &'a str, is_drained: bool) {
        self.executor(id).end = Some(ExecutorEnd {
            at_ms,
            reason,
            is_drained,
        });
        self.end_open(at_ms, AttemptEnd::Lost, |_, launch| launch.executor == id);
    }

    /// Replaces what was noticed first, such as a broken connection, by its cause.
    fn explain_end(&mut self, id: ExecutorId, reason: &'a str) {
        if let Some(end) = &mut self.executor(id).end {
            end.reason = reason;
        }
    }

    fn start_step(&mut self, at_ms: u64, name: &'a str) {
        self.run.steps.push(Step {
            name,
            started_ms: at_ms,
            finished_ms: None,
            output: None,
            skipped: None,
        });
    }

    fn finish_step(
        &mut self,
        at_ms: u64,
        name: &str,
        output: Option<&'a StepOutput>,
        skipped: Option<StepSkip>,
    ) {
        let mut steps = self.run.steps.iter_mut().rev();
        if let Some(step) = steps.find(|s| s.name == name && s.finished_ms.is_none()) {
            step.finished_ms = Some(at_ms);
            step.output = output;
            step.skipped = skipped;
        }
    }

    fn start_query(&mut self, at_ms: u64, id: QueryId, label: &'a str, stages: &'a [StageRecord]) {
        let query = Query {
            label,
            started_ms: at_ms,
            ended_ms: None,
            failure: None,
            stages: stages.iter().map(waiting).collect(),
            changes: vec![],
        };
        self.run.queries.insert(id, query);
    }

    fn revise_query(
        &mut self,
        id: QueryId,
        change: &'a str,
        dropped: &[StageId],
        stages: &'a [StageRecord],
    ) {
        let Some(query) = self.run.queries.get_mut(&id) else {
            return;
        };
        query.changes.push(change);
        for stage in dropped {
            if let Some(stage) = query.stages.get_mut(stage) {
                stage.is_dropped = true;
            }
        }
        query.stages.extend(stages.iter().map(waiting));
    }

    fn start_stage(&mut self, at_ms: u64, query: QueryId, stage: StageId, tasks: u64) {
        if let Some(stage) = self.stage(query, stage) {
            stage.ready_ms = stage.ready_ms.or(Some(at_ms));
            stage.tasks = tasks;
            // A stage without tasks is complete at once.
            if tasks == 0 {
                stage.complete_ms = Some(at_ms);
            }
        }
    }

    fn start_attempt(&mut self, at_ms: u64, task: TaskId, attempt: Attempt, executor: ExecutorId) {
        let launch = Launch {
            executor,
            start_ms: at_ms,
            is_rerun: self.repeated.contains(&task),
        };
        self.note_start(task, at_ms);
        self.open.insert((task, attempt), launch);
    }

    fn commit(&mut self, at_ms: u64, committed: &'a TaskCommitted) {
        let task = committed.task;
        // The launch is a figure that the journal may lack.
        let launch = self.open.remove(&(task, committed.attempt));
        let launch = launch.unwrap_or_else(|| Launch {
            executor: committed.executor,
            start_ms: at_ms.saturating_sub(committed.elapsed_ms),
            is_rerun: self.repeated.contains(&task),
        });
        self.note_start(task, launch.start_ms);
        self.close(at_ms, task, &launch, AttemptEnd::Committed);
        let executor = self.executor(committed.executor);
        executor.tasks += 1;
        executor.fetched_bytes += committed.fetched_bytes;
        executor.spilled_bytes += committed.spilled_bytes;
        executor.resident_peak_bytes = executor
            .resident_peak_bytes
            .max(committed.resident_peak_bytes);
        if let Some(stage) = self.stage(task.query, task.stage) {
            stage.results.insert(task.index, committed);
            let results = stage.results.len() as u64;
            // A task that runs out of memory is split into more tasks than the stage had.
            stage.tasks = stage.tasks.max(results);
            if results == stage.tasks {
                stage.complete_ms = stage.complete_ms.or(Some(at_ms));
            }
        }
    }

    fn note_start(&mut self, task: TaskId, start_ms: u64) {
        if let Some(stage) = self.stage(task.query, task.stage) {
            let first = stage.first_start_ms.map_or(start_ms, |f| f.min(start_ms));
            stage.first_start_ms = Some(first);
        }
    }

    fn stage(&mut self, query: QueryId, stage: StageId) -> Option<&mut Stage<'a>> {
        self.run.queries.get_mut(&query)?.stages.get_mut(&stage)
    }

    fn end_query(&mut self, at_ms: u64, id: QueryId, failure: Option<&'a str>) {
        if let Some(query) = self.run.queries.get_mut(&id) {
            query.ended_ms = Some(at_ms);
            query.failure = failure;
        }
        self.end_open(at_ms, AttemptEnd::Cancelled, |task, _| task.query == id);
    }

    /// Ends the attempts that run and fulfil a condition.
    fn end_open(
        &mut self,
        at_ms: u64,
        end: AttemptEnd,
        is_ended: impl Fn(TaskId, &Launch) -> bool,
    ) {
        let ended = self
            .open
            .extract_if(|(task, _), launch| is_ended(*task, launch));
        let ended: Vec<_> = ended.collect();
        for ((task, _), launch) in ended {
            if end == AttemptEnd::Lost {
                self.repeated.insert(task);
            }
            self.close(at_ms, task, &launch, end);
        }
    }

    /// Ends an attempt, unless its launch is not in the journal, or its executor ended before.
    fn end_attempt(&mut self, at_ms: u64, task: TaskId, attempt: Attempt, end: AttemptEnd) {
        if let Some(launch) = self.open.remove(&(task, attempt)) {
            self.close(at_ms, task, &launch, end);
        }
    }

    fn close(&mut self, at_ms: u64, task: TaskId, launch: &Launch, end: AttemptEnd) {
        let span = AttemptSpan {
            task,
            executor: launch.executor,
            start_ms: launch.start_ms.min(at_ms),
            end_ms: at_ms,
            end,
            is_rerun: launch.is_rerun,
        };
        self.executor(launch.executor).busy_ms += span.elapsed_ms();
        self.run.attempts.push(span);
    }

    fn finish(mut self) -> Run<'a> {
        let (elapsed_ms, slots) = (self.run.elapsed_ms, self.run.started.slots);
        self.end_open(elapsed_ms, AttemptEnd::Unfinished, |_, _| true);
        for executor in self.run.executors.values_mut() {
            // Its registration is not in the journal.
            if executor.slots == 0 {
                executor.slots = slots.max(1);
            }
        }
        let order = |a: &AttemptSpan| (a.end_ms, a.start_ms, a.task);
        self.run.attempts.sort_by_key(order);
        if self.is_finished && self.run.outcome == Outcome::Killed {
            self.run.outcome = Outcome::Succeeded;
        }
        self.run
    }
}

/// Returns a stage before its inputs are complete.
fn waiting(record: &StageRecord) -> (StageId, Stage<'_>) {
    let stage = Stage {
        record,
        is_scan: record.inputs.is_empty() || record.plan.contains("DataSourceExec"),
        is_dropped: false,
        ready_ms: None,
        first_start_ms: None,
        complete_ms: None,
        tasks: 0,
        results: BTreeMap::new(),
    };
    (StageId(record.id), stage)
}
