//! Attempts that fail: which failures are final, and what changes before the next attempt.

use faisca_executor::protocol::{FailureKind, PartitionSize, TaskReport};
use faisca_planner::ids::{Attempt, ExecutorId};

use super::builders::{failure, report, stage};
use super::{QUERY, Random, Simulation};
use crate::scheduler::InputReads::OwnPartition;
use crate::scheduler::{Event, LossCause, OutputKind};

#[test]
fn a_users_error_is_final_and_stops_the_rest() {
    let mut sim = Simulation::new(3, vec![stage(4, &[])], 2, 2);
    let (executor, spec) = sim.running.remove(0);
    let mut failure = failure(FailureKind::User);
    failure.message = "divide by zero".into();
    sim.step(Event::Failed(executor, spec.task, spec.attempt, failure));
    assert_eq!(
        sim.failed.as_ref().map(|f| f.message.as_str()),
        Some("divide by zero")
    );
    assert!(
        sim.running.is_empty(),
        "attempts go on after a final failure"
    );
}

#[test]
fn a_query_fails_after_four_failures_of_one_task_but_not_for_lost_executors() {
    let mut sim = Simulation::new(4, vec![stage(1, &[])], 1, 1);
    for _ in 0..6 {
        let executor = *sim.alive.first().unwrap();
        sim.alive.remove(&executor);
        sim.running.clear();
        sim.step(Event::ExecutorDown(executor, LossCause::Unknown));
        sim.join(1);
    }
    for failures in 1..=4 {
        assert!(sim.failed.is_none(), "gave up after {failures} failures");
        let (executor, spec) = sim.running.pop().unwrap();
        let failure = failure(FailureKind::Transient);
        sim.step(Event::Failed(executor, spec.task, spec.attempt, failure));
    }
    assert!(sim.failed.is_some());
}

#[test]
fn late_and_duplicate_reports_change_nothing() {
    let mut sim = Simulation::new(5, vec![stage(2, &[])], 2, 1);
    let (executor, spec) = sim.running[0].clone();
    let report = report(&spec, OutputKind::Shuffle);
    sim.step(Event::Finished(executor, report.clone()));
    sim.step(Event::Finished(executor, report.clone()));
    sim.step(Event::Finished(
        ExecutorId(99),
        TaskReport {
            attempt: Attempt(7),
            ..report.clone()
        },
    ));
    assert_eq!(sim.committed.len(), 1);
    sim.step(Event::Release(QUERY));
    sim.step(Event::Finished(executor, report));
    assert!(sim.output.is_none());
}

#[test]
fn an_executor_that_fails_three_times_in_a_row_gets_no_more_tasks() {
    let mut sim = Simulation::new(9, vec![stage(12, &[])], 2, 1);
    let bad = ExecutorId(1);
    for _ in 0..20 {
        let Some(index) = sim.running.iter().position(|(on, _)| *on == bad) else {
            break;
        };
        let (executor, spec) = sim.running.remove(index);
        let failure = failure(FailureKind::Transient);
        sim.step(Event::Failed(executor, spec.task, spec.attempt, failure));
    }
    assert!(sim.failed.is_none());
    assert_eq!(
        sim.launched.len(),
        1 + 3,
        "it failed three times and must have been left alone"
    );
    sim.random = Random(2);
    sim.run(0);
}

#[test]
fn a_task_that_runs_out_of_memory_is_split_and_saves() {
    let stages = vec![stage(1, &[]), stage(4, &[(0, OwnPartition)])];
    let mut sim = Simulation::new(10, stages, 1, 1);
    let (executor, spec) = sim.running.pop().unwrap();
    let small = PartitionSize {
        partition: 0,
        rows: 1,
        bytes: 10,
    };
    sim.step(Event::Finished(
        executor,
        TaskReport {
            partitions: vec![small],
            ..report(&spec, OutputKind::Shuffle)
        },
    ));
    let (executor, spec) = sim.running.pop().unwrap();
    assert_eq!(
        (spec.partitions.as_slice(), spec.reduces_memory),
        ([0, 1, 2, 3].as_slice(), false)
    );
    let failure = failure(FailureKind::Resource);
    sim.step(Event::Failed(executor, spec.task, spec.attempt, failure));
    let mut halves = vec![];
    while let Some((executor, spec)) = sim.running.pop() {
        assert!(spec.reduces_memory);
        halves.push(spec.partitions.clone());
        let report = report(&spec, OutputKind::Shuffle);
        sim.step(Event::Finished(executor, report));
    }
    halves.sort();
    assert_eq!(halves, [vec![0, 1], vec![2, 3]]);
    assert!(sim.output.is_some());
}
