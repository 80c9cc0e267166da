//! Which executor a task runs on: by placement, and a second one if the first is slow.

use std::time::Duration;

use faisca_planner::ids::{ExecutorId, QueryId};

use super::Simulation;
use super::builders::{report, stage};
use crate::scheduler::{Action, Event, OutputKind, Placement, RetryLimits, Scheduler};

#[test]
fn small_queries_wait_for_the_drivers_slots_and_large_ones_for_the_fleet() {
    let mut scheduler = Scheduler::new(RetryLimits::default());
    let executor_up = |id, placement| Event::ExecutorUp {
        id: ExecutorId(id),
        slots: 1,
        address: None,
        placement,
    };
    let submit = |query, placement| Event::Submit {
        query: QueryId(query),
        stages: vec![stage(1, &[])],
        placement,
        slots_expected: 1,
    };
    let mut step = |event| scheduler.step(Duration::ZERO, event);
    step(executor_up(0, Placement::Driver));
    let launched = step(submit(1, Placement::Fleet));
    assert!(
        launched.iter().all(|a| !matches!(a, Action::Launch(..))),
        "{launched:?}"
    );
    let launched = step(submit(2, Placement::Driver));
    assert!(
        launched
            .iter()
            .any(|a| matches!(a, Action::Launch(ExecutorId(0), _))),
        "{launched:?}"
    );
    let launched = step(executor_up(1, Placement::Fleet));
    assert!(
        launched.iter().any(
            |a| matches!(a, Action::Launch(ExecutorId(1), spec) if spec.task.query == QueryId(1))
        ),
        "{launched:?}"
    );
}

#[test]
fn a_straggler_gets_a_speculative_attempt_and_the_first_commit_wins() {
    let mut sim = Simulation::new(6, vec![stage(4, &[])], 2, 2).without_faults();
    let (slow, straggler) = sim.running.remove(0);
    sim.now = Duration::from_millis(200);
    (0..3).for_each(|_| sim.finish(0));
    sim.deliver_mail();
    assert_eq!(sim.committed.len(), 3);
    sim.step(Event::Tick);
    assert!(sim.running.is_empty(), "a speculative attempt too early");
    sim.now = Duration::from_secs(5);
    sim.step(Event::Tick);
    let (other, speculative) = sim.running.pop().expect("no speculative attempt");
    assert!(speculative.task == straggler.task && other != slow);
    sim.step(Event::Finished(
        other,
        report(&speculative, OutputKind::Shuffle),
    ));
    sim.step(Event::Finished(
        slow,
        report(&straggler, OutputKind::Shuffle),
    ));
    let output = sim.output.unwrap();
    assert_eq!(
        (sim.committed.len(), output.speculated, output.retried),
        (4, 1, 0)
    );
    assert_eq!(
        sim.committed.last(),
        Some(&(speculative.task, speculative.attempt))
    );
}
