//! Handwritten journals for tests.

use faisca_planner::ids::{Attempt, ExecutorId, QueryId, StageId, TaskId};

use crate::journal::RecordedRun;
use crate::journal::record::{
    Line, Record, RunStarted, ScanRecord, StageRecord, StepOutput, TaskCommitted,
};

/// A journal under construction. Records may be added in any order.
pub(super) struct Sample(pub(super) RecordedRun);

/// Returns the identity of a task of query 0.
pub(super) fn task(stage: u32, index: u32) -> TaskId {
    TaskId {
        query: QueryId(0),
        stage: StageId(stage),
        index,
    }
}

/// Returns a stage that scans files.
pub(super) fn scan(id: u32, format: &str, path: &str, files: u64, bytes: u64) -> StageRecord {
    StageRecord {
        id,
        rows_expected: 1000,
        plan: format!("DataSourceExec: file_groups=4, file_type={format}\n"),
        scans: vec![ScanRecord {
            path: path.to_owned(),
            format: format.to_owned(),
            files,
            bytes,
            columns: vec![],
        }],
        ..StageRecord::default()
    }
}

/// Returns a stage that reads other stages.
pub(super) fn join(id: u32, inputs: &[u32]) -> StageRecord {
    let reads: String = inputs
        .iter()
        .map(|input| format!("  ExchangeReadExec: s{input} Shuffle, partitions=4\n"))
        .collect();
    StageRecord {
        id,
        inputs: inputs.iter().copied().map(StageId).collect(),
        rows_expected: 1000,
        plan: format!("HashJoinExec: mode=Partitioned\n{reads}"),
        ..StageRecord::default()
    }
}

impl Sample {
    /// A run with executors that are ready at once; with none, tasks run in the driver.
    pub(super) fn new(executors: u32, slots: u32) -> Self {
        let started = RunStarted {
            format: 1,
            application: "sample".to_owned(),
            build: "0.0.0".to_owned(),
            started_unix_ms: 1_795_809_888_000,
            executors,
            slots,
            ..RunStarted::default()
        };
        let mut sample = Self(RecordedRun {
            started,
            lines: vec![],
            unknown: 0,
        });
        let first = u32::from(executors > 0);
        for id in first..=executors {
            sample.up(0, id, slots);
        }
        sample
    }

    pub(super) fn add(&mut self, at_ms: u64, record: Record) {
        self.0.lines.push(Line { at_ms, record });
    }

    pub(super) fn up(&mut self, at_ms: u64, id: u32, slots: u32) {
        let executor = ExecutorId(id);
        self.add(
            at_ms,
            Record::ExecutorUp {
                executor,
                slots,
                pid: 4000 + id,
            },
        );
    }

    pub(super) fn down(&mut self, at_ms: u64, id: u32, reason: &str) {
        let executor = ExecutorId(id);
        let reason = reason.to_owned();
        self.add(
            at_ms,
            Record::ExecutorDown {
                executor,
                reason,
                drained: false,
            },
        );
    }

    /// Starts query 0, as step `step`.
    pub(super) fn query(&mut self, at_ms: u64, step: &str, stages: Vec<StageRecord>) {
        let label = step.to_owned();
        let step = label.clone();
        self.add(at_ms, Record::StepStarted { step });
        self.add(
            at_ms,
            Record::QueryStarted {
                query: QueryId(0),
                label,
                stages,
            },
        );
    }

    pub(super) fn ready(&mut self, at_ms: u64, stage: u32, tasks: u32) {
        let (query, stage) = (QueryId(0), StageId(stage));
        self.add(
            at_ms,
            Record::StageReady {
                query,
                stage,
                tasks,
            },
        );
    }

    pub(super) fn start(&mut self, at_ms: u64, task: TaskId, attempt: u32, executor: u32) {
        self.add(
            at_ms,
            Record::AttemptStarted {
                task,
                attempt: Attempt(attempt),
                executor: ExecutorId(executor),
            },
        );
    }

    /// Runs the first attempt of a task from `from_ms` to `to_ms`.
    pub(super) fn run(&mut self, task: TaskId, executor: u32, from_ms: u64, to_ms: u64) {
        self.run_again(task, 1, executor, from_ms, to_ms);
    }

    pub(super) fn run_again(
        &mut self,
        task: TaskId,
        attempt: u32,
        executor: u32,
        from_ms: u64,
        to_ms: u64,
    ) {
        self.start(from_ms, task, attempt, executor);
        self.commit(task, attempt, executor, from_ms, to_ms, |_| {});
    }

    pub(super) fn commit(
        &mut self,
        task: TaskId,
        attempt: u32,
        executor: u32,
        from_ms: u64,
        to_ms: u64,
        change: impl Fn(&mut TaskCommitted),
    ) {
        let mut committed = TaskCommitted {
            task,
            attempt: Attempt(attempt),
            executor: ExecutorId(executor),
            rows: 1000,
            bytes: 1 << 20,
            fetched_bytes: 0,
            spilled_bytes: 0,
            resident_peak_bytes: Some(200 << 20),
            elapsed_ms: to_ms - from_ms,
        };
        change(&mut committed);
        self.add(to_ms, Record::TaskCommitted(committed));
    }

    /// Completes query 0 at one moment, and its step and the run at later ones.
    pub(super) fn finish(mut self, query_ms: u64, step: &str, step_ms: u64) -> RecordedRun {
        let query = QueryId(0);
        self.add(query_ms, Record::QueryCompleted { query });
        let output = Some(StepOutput {
            path: "/lake/out".to_owned(),
            rows: 4000,
            bytes: 4 << 20,
            files: 4,
            columns: vec![],
        });
        let step = step.to_owned();
        self.add(
            step_ms,
            Record::StepFinished {
                step,
                output,
                skipped: None,
            },
        );
        self.add(step_ms, Record::RunFinished);
        self.end()
    }

    /// Ends the journal here, as a kill of the driver does.
    pub(super) fn end(mut self) -> RecordedRun {
        self.0.lines.sort_by_key(|line| line.at_ms);
        self.0
    }
}

/// A run of two stages on two executors. One of them is lost with its results after the first
/// stage, which the other one recomputes before the second stage.
pub(super) fn lost_executor() -> RecordedRun {
    let mut sample = Sample::new(2, 1);
    sample.query(0, "s", vec![scan(0, "csv", "a", 2, 2), join(1, &[0])]);
    sample.ready(0, 0, 2);
    sample.run(task(0, 0), 1, 0, 1_000);
    sample.run(task(0, 1), 2, 0, 1_000);
    sample.ready(1_000, 1, 1);
    sample.down(1_000, 2, "killed for exceeding its memory limit");
    sample.add(1_000, Record::TaskLost { task: task(0, 1) });
    sample.run_again(task(0, 1), 2, 1, 1_000, 2_000);
    sample.run(task(1, 0), 1, 2_000, 2_500);
    sample.finish(2_500, "s", 2_500)
}

/// A run whose exchange is skewed: one task of the second stage takes nine times the others' time.
pub(super) fn skewed_join() -> RecordedRun {
    let mut sample = Sample::new(2, 2);
    let stages = vec![
        scan(0, "parquet", "/lake/orders", 4, 400 << 20),
        join(1, &[0]),
    ];
    sample.query(0, "s", stages);
    sample.ready(0, 0, 4);
    for index in 0..4 {
        sample.run(task(0, index), 1 + index % 2, 0, 1_000);
    }
    sample.ready(1_000, 1, 4);
    for index in 0..3 {
        sample.run(task(1, index), 1 + index % 2, 1_000, 2_000);
    }
    sample.start(1_000, task(1, 3), 1, 2);
    sample.commit(task(1, 3), 1, 2, 1_000, 10_000, |committed| {
        committed.fetched_bytes = 900 << 20;
    });
    sample.finish(10_000, "s", 10_100)
}

/// A run whose join spilled.
pub(super) fn spilled_join() -> RecordedRun {
    let mut sample = Sample::new(2, 1);
    let stages = vec![scan(0, "parquet", "/lake/a", 2, 400 << 20), join(1, &[0])];
    sample.query(0, "s", stages);
    sample.ready(0, 0, 2);
    for index in 0..2 {
        sample.run(task(0, index), 1 + index, 0, 1_000);
    }
    sample.ready(1_000, 1, 2);
    for index in 0..2 {
        sample.start(1_000, task(1, index), 1, 1 + index);
        sample.commit(task(1, index), 1, 1 + index, 1_000, 21_000, |committed| {
            committed.spilled_bytes = 1 << 30;
        });
    }
    sample.finish(21_000, "s", 21_200)
}

/// A run of 60 queries with 20 stages each, on 1,000 executors, with long plans and settings.
pub(super) fn large_run(tasks: u32) -> RecordedRun {
    let mut sample = Sample::new(1_000, 4);
    let (queries, stages) = (60, 20);
    let tasks_of_stage = tasks / queries / stages;
    for query in 0..queries {
        let (query, from) = (QueryId(query), 60_000 * u64::from(query));
        let records = (0..stages).map(|id| {
            let mut record = if id == 0 {
                scan(0, "csv", "/in", 9, 9)
            } else {
                join(id, &[id - 1])
            };
            record.plan = format!("{}{}", record.plan, "FilterExec: a = 'x'\n".repeat(2_000));
            record
        });
        let label = format!("step {query} {}", "with a long name ".repeat(100));
        sample.add(
            from,
            Record::StepStarted {
                step: label.clone(),
            },
        );
        let stages_of_query = records.collect();
        sample.add(
            from,
            Record::QueryStarted {
                query,
                label,
                stages: stages_of_query,
            },
        );
        for stage in 0..stages {
            let start = from + 2_500 * u64::from(stage);
            let ready = StageId(stage);
            sample.add(
                start,
                Record::StageReady {
                    query,
                    stage: ready,
                    tasks: tasks_of_stage,
                },
            );
            for index in 0..tasks_of_stage {
                let id = TaskId {
                    query,
                    stage: ready,
                    index,
                };
                let end = start + 500 + u64::from(index * 7919 % 2_000);
                sample.run(id, 1 + (index * 31 + stage) % 1_000, start, end);
            }
        }
        sample.add(from + 52_000, Record::QueryCompleted { query });
    }
    for id in 1..100 {
        sample.down(
            100_000 * u64::from(id % 30),
            id * 10,
            &"evicted ".repeat(200),
        );
    }
    sample.0.started.settings = (0..500)
        .map(|index| (format!("setting.{index}"), "value ".repeat(200)))
        .collect();
    sample.end()
}
