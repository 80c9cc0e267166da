//! Executors that die or drain: what is recomputed, and what is not.

use faisca_planner::ids::{BlockId, ExecutorId, StageId, TaskId};

use super::builders::{report, stage, task};
use super::{QUERY, Simulation};
use crate::scheduler::InputReads::{AllPartitions, OwnPartition};
use crate::scheduler::{Action, BlockHome, Event, OutputKind};

#[test]
fn a_lost_producer_reruns_only_tasks_whose_blocks_are_still_needed() {
    let stages = vec![stage(4, &[]), stage(4, &[(0, OwnPartition)])];
    let mut sim = Simulation::new(7, stages, 2, 2).without_faults();
    sim.run_until(0..1, |sim| sim.committed.len() == 4);
    let killed = ExecutorId(1);
    let on_victim: Vec<TaskId> = sim
        .blocks
        .iter()
        .filter(|(_, home)| *home == BlockHome::Executor(killed))
        .map(|(block, _)| block.task)
        .collect();
    let running_on_killed = sim.running.iter().filter(|(on, _)| *on == killed).count();
    sim.kill(killed);
    sim.run(0);
    let mut relaunched = sim.relaunched();
    relaunched.retain(|t| t.stage == StageId(0));
    relaunched.sort();
    assert_eq!(relaunched, on_victim);
    assert!(sim.relaunched().len() <= on_victim.len() + running_on_killed + 4);
}

#[test]
fn outputs_that_are_not_needed_any_more_are_not_recomputed() {
    let stages = vec![
        stage(2, &[]),
        stage(2, &[(0, OwnPartition)]),
        stage(1, &[(1, AllPartitions)]),
    ];
    let mut sim = Simulation::new(1, stages, 2, 1);
    sim.run_until(0..2, |sim| {
        let is_committed = |id| sim.committed.iter().any(|(t, _)| *t == id);
        is_committed(task(1, 0)) && is_committed(task(1, 1))
    });
    // Only stage 0's blocks are lost: stage 1 is complete, so nothing of stage 0 is needed.
    let lost_block: Vec<_> = sim
        .blocks
        .iter()
        .filter(|(block, _)| block.task.stage == StageId(0))
        .copied()
        .collect();
    for (block, home) in lost_block {
        sim.step(Event::OutputLost(block, home));
    }
    sim.run(0);
    let relaunched = sim.relaunched();
    assert!(
        relaunched.iter().all(|t| t.stage == StageId(2)),
        "{relaunched:?}"
    );
}

#[test]
fn an_executor_that_drains_loses_no_finished_work() {
    let stages = vec![stage(4, &[]), stage(4, &[(0, OwnPartition)])];
    let mut sim = Simulation::new(8, stages, 2, 2).without_faults();
    (0..2).for_each(|_| sim.finish(0));
    sim.deliver_mail();
    let first_home = sim.blocks.iter().map(|(_, home)| *home).next();
    let Some(BlockHome::Executor(draining)) = first_home else {
        panic!("no executor holds a block");
    };
    sim.drain(draining);
    sim.run(0);
    assert_eq!(sim.relaunched(), vec![], "work was done twice");
    assert!(!sim.alive.contains(&draining), "it was never dismissed");
}

#[test]
fn with_durable_copies_nothing_finished_is_recomputed_when_all_executors_die_between_two_stages() {
    let stages = vec![
        stage(4, &[]),
        stage(4, &[(0, OwnPartition)]),
        stage(2, &[(1, OwnPartition)]),
    ];
    let mut sim = Simulation::with_store(11, stages, 2, 2, true).without_faults();
    sim.run_until(0..1, |sim| sim.committed_of(StageId(0)) == 4);
    let running: Vec<TaskId> = sim.running.iter().map(|(_, s)| s.task).collect();
    for executor in sim.alive.clone() {
        sim.kill(executor);
    }
    sim.join(2);
    sim.run(0);
    let mut relaunched = sim.relaunched();
    relaunched.retain(|task| !running.contains(task));
    assert_eq!(relaunched, vec![], "finished work was done again");
    let actions = sim.scheduler.step(sim.now, Event::Release(QUERY));
    let swept_blocks = actions.iter().find_map(|action| match action {
        Action::Sweep(blocks) => Some(blocks),
        _ => None,
    });
    let mut sealed = sim.read.keys();
    assert!(
        sealed.all(|block| swept_blocks.is_some_and(|swept_blocks| swept_blocks.contains(block))),
        "an object is left"
    );
}

#[test]
fn a_result_lost_after_its_input_was_lost_too_is_recomputed_from_the_start() {
    let stages = vec![stage(2, &[]), stage(1, &[(0, AllPartitions)])];
    let mut sim = Simulation::new(13, stages, 2, 1).without_faults();
    sim.run_until(0..1, |sim| sim.committed_of(StageId(0)) == 2);
    let (busy, spec) = sim.running.remove(0);
    assert_eq!(spec.task, task(1, 0));

    // The lost input is queued while the only slot runs its reader, which has read it before.
    let idle = sim.alive.iter().copied().find(|id| *id != busy).unwrap();
    sim.kill(idle);
    sim.deliver_mail();
    sim.step(Event::Finished(busy, report(&spec, OutputKind::Shuffle)));
    assert!(sim.output.take().is_some());

    let block = BlockId {
        task: spec.task,
        attempt: spec.attempt,
    };
    sim.step(Event::OutputLost(block, BlockHome::Executor(busy)));
    sim.run(0);
    assert_eq!(sim.committed_of(StageId(1)), 2);
}
