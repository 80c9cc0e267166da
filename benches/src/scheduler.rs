//! The scheduler alone: events per second and bytes per task, for a growing number of tasks.

use std::time::{Duration, Instant};

use faisca_driver::scheduler::{
    Action, Event, InputReads, Placement, RetryLimits, Scheduler, StageInfo, StageInput,
    TaskGrouping,
};
use faisca_executor::protocol::{PartitionSize, TaskMetrics, TaskReport, TaskSpec};
use faisca_planner::ids::{ExecutorId, QueryId, StageId};

use crate::compare::numeric_table;

const EXECUTORS: u32 = 1_000;
const SLOTS: u32 = 4;
const PARTITIONS: u32 = 64;

/// A scan of that many tasks, and an aggregation of 64 partitions behind it.
fn stages(tasks: u32) -> Vec<StageInfo> {
    let scan = StageInfo {
        partitions: tasks,
        ..StageInfo::default()
    };
    let aggregation = StageInfo {
        partitions: PARTITIONS,
        inputs: vec![StageInput {
            stage: StageId(0),
            reads: InputReads::OwnPartition,
        }],
        grouping: TaskGrouping::Merged,
        ..StageInfo::default()
    };
    vec![scan, aggregation]
}

fn report(spec: &TaskSpec) -> TaskReport {
    let partitions = (0..PARTITIONS)
        .map(|partition| PartitionSize {
            partition,
            rows: 1,
            bytes: 1 << 20,
        })
        .collect();
    TaskReport {
        task: spec.task,
        attempt: spec.attempt,
        partitions,
        has_durable_copy: false,
        files: vec![],
        statistics: None,
        metrics: TaskMetrics::default(),
    }
}

/// Runs a query to its end. Returns the number of events, the time in `step`, and the growth of the
/// process in bytes.
pub(crate) fn play(tasks: u32) -> (u64, Duration, u64) {
    let mut scheduler = Scheduler::new(RetryLimits::default());
    let executor_up = |id| Event::ExecutorUp {
        id: ExecutorId(id),
        slots: SLOTS,
        address: Some(format!("http://10.0.0.{id}:1")),
        placement: Placement::Fleet,
    };
    (1..=EXECUTORS).for_each(|id| drop(scheduler.step(Duration::ZERO, executor_up(id))));
    let before = resident_bytes();
    let submit = Event::Submit {
        query: QueryId(1),
        stages: stages(tasks),
        placement: Placement::Fleet,
        slots_expected: EXECUTORS * SLOTS,
    };
    let mut running = std::collections::VecDeque::new();
    let (mut events, mut spent) = (0u64, Duration::ZERO);
    let mut next = Some(submit);
    while let Some(event) = next.take() {
        let started = Instant::now();
        let actions = scheduler.step(Duration::from_millis(events), event);
        spent += started.elapsed();
        events += 1;
        for action in actions {
            if let Action::Launch(executor, spec) = action {
                running.push_back((executor, spec));
            }
        }
        next = running
            .pop_front()
            .map(|(executor, spec): (ExecutorId, TaskSpec)| {
                Event::Finished(executor, report(&spec))
            });
    }
    (events, spent, resident_bytes().saturating_sub(before))
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap_or_default();
    line.split_whitespace()
        .next()
        .and_then(|n| n.parse::<u64>().ok())
        .unwrap_or_default()
        * 1024
}

pub(crate) fn run() {
    let mut table = numeric_table(&[
        "tasks",
        "events",
        "events per second",
        "µs per event",
        "bytes per task",
    ]);
    for tasks in [10_000, 100_000, 1_000_000] {
        let (events, spent, grown) = play(tasks);
        let rate = events as f64 / spent.as_secs_f64();
        table.add_row([
            tasks.to_string(),
            events.to_string(),
            format!("{rate:.0}"),
            format!("{:.2}", 1e6 / rate),
            (grown / u64::from(tasks)).to_string(),
        ]);
    }
    println!("The scheduler alone, {EXECUTORS} executors of {SLOTS} slots\n{table}");
}
