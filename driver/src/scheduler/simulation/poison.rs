//! Tasks whose rows end the process of each executor that runs them.

use std::collections::BTreeMap;

use faisca_executor::protocol::FailureKind;
use faisca_planner::ids::{ExecutorId, QueryId, StageId, TaskId};

use super::builders::{four_stages, stage};
use super::{Conditions, Poison, QUERY, STEPS_MAX, Simulation};
use crate::scheduler::{Event, LossCause, Placement};

const SEEDS: u64 = 2_000;

/// The poison of one task: not in the skewed partition 0 of stage 1, which several tasks share.
fn poison(seed: u64) -> Poison {
    let stages = four_stages();
    let stage = usize::try_from(seed).unwrap() % stages.len();
    let first = u32::from(stage == 1);
    let partitions = stages[stage].partitions - first;
    Poison {
        stage: StageId::from_index(stage),
        partition: first + u32::try_from(seed / 4).unwrap() % partitions,
        cause: if seed.is_multiple_of(2) {
            LossCause::Crashed
        } else {
            LossCause::OutOfMemory
        },
        is_explained_late: false,
    }
}

/// Plays until the query has failed. Suspects must run alone.
fn run_to_failure(sim: &mut Simulation, kill_percent: usize) {
    for _ in 0..STEPS_MAX {
        if sim.failed.is_some() {
            return;
        }
        assert!(sim.output.is_none(), "the poison was committed");
        sim.tick(kill_percent);
        check_suspects_run_alone(sim);
    }
    panic!("no progress");
}

fn check_suspects_run_alone(sim: &Simulation) {
    let mut by_executor: BTreeMap<ExecutorId, Vec<TaskId>> = BTreeMap::new();
    for (executor, spec) in &sim.running {
        by_executor.entry(*executor).or_default().push(spec.task);
    }
    for (executor, tasks) in by_executor {
        // The scheduler does not know of a crash whose news is on its way.
        let has_news = sim.has_news_of_loss();
        // One that another attempt has committed since is none any more.
        let is_committed = |task: &TaskId| sim.committed.iter().any(|(t, _)| t == task);
        let is_suspect = |task: &&TaskId| sim.suspects.contains(task) && !is_committed(task);
        let has_suspect = tasks.iter().any(|task| is_suspect(&task));
        assert!(
            has_news || !has_suspect || tasks.len() == 1,
            "{executor} runs a suspect beside others: {tasks:?}"
        );
    }
}

#[test]
fn a_task_that_crashes_executors_fails_its_query_within_four_losses() {
    for seed in 0..SEEDS {
        let mut sim = Simulation::new(seed, four_stages(), 3, 2).without_faults();
        let poison = poison(seed);
        sim.poison = Some(poison);
        run_to_failure(&mut sim, 0);
        assert!(sim.crashes <= 4, "seed {seed}: {} crashes", sim.crashes);
        let failure = sim.failed.unwrap();
        let (kind, cause) = match poison.cause {
            LossCause::OutOfMemory => (FailureKind::Resource, "memory was exhausted"),
            _ => (FailureKind::Bug, "the last one crashed"),
        };
        assert_eq!(failure.kind, kind, "seed {seed}");
        let stage = format!("of stage {QUERY}.{} ended 3 executors", poison.stage);
        let inputs = match poison.stage.0 {
            0 | 2 => "It scans 1 of",
            1 => "MiB of s0",
            _ => "MiB of s",
        };
        for part in [cause, &stage, inputs] {
            assert!(failure.message.contains(part), "seed {seed}: {failure}");
        }
    }
}

#[test]
fn a_crash_that_is_explained_late_fails_its_query_as_well() {
    for seed in 0..SEEDS {
        let mut sim = Simulation::new(seed, four_stages(), 3, 2).without_faults();
        sim.poison = Some(Poison {
            is_explained_late: true,
            ..poison(seed)
        });
        run_to_failure(&mut sim, 0);
        // While the causes are on their way, the task runs again: alone after the second loss.
        assert!(sim.crashes <= 8, "seed {seed}: {} crashes", sim.crashes);
    }
}

#[test]
fn a_skewed_partition_that_crashes_executors_fails_its_query_before_the_fleet_is_used_up() {
    for seed in 0..SEEDS {
        let mut sim = Simulation::new(seed, four_stages(), 3, 2).without_faults();
        // Each of the five tasks that share the partition crashes executors.
        sim.poison = Some(Poison {
            stage: StageId(1),
            partition: 0,
            ..poison(seed)
        });
        run_to_failure(&mut sim, 0);
        assert!(sim.crashes <= 8, "seed {seed}: {} crashes", sim.crashes);
    }
}

#[test]
fn kills_and_failures_do_not_hide_a_task_that_crashes_executors() {
    for seed in 0..SEEDS {
        let mut sim = Simulation::with_store(seed, four_stages(), 3, 2, seed.is_multiple_of(3));
        assert_eq!(sim.conditions, Conditions::Faulty);
        sim.poison = Some(poison(seed));
        run_to_failure(&mut sim, usize::try_from(seed % 8).unwrap());
        assert!(sim.crashes <= 8, "seed {seed}: {} crashes", sim.crashes);
    }
}

#[test]
fn another_query_completes_beside_a_task_that_crashes_executors() {
    let other = QueryId(2);
    for seed in 0..SEEDS {
        let mut sim = Simulation::new(seed, four_stages(), 3, 2).without_faults();
        sim.poison = Some(poison(seed));
        sim.step(Event::Submit {
            query: other,
            stages: four_stages(),
            placement: Placement::Fleet,
            slots_expected: 6,
        });
        for _ in 0..STEPS_MAX {
            if sim.failed.is_some() && sim.completed.contains(&other) {
                break;
            }
            sim.tick(0);
            check_suspects_run_alone(&sim);
        }
        assert!(
            sim.failed.is_some() && sim.completed.contains(&other),
            "seed {seed}"
        );
        assert!(!sim.completed.contains(&QUERY));
        assert!(sim.crashes <= 4, "seed {seed}: {} crashes", sim.crashes);
    }
}

#[test]
fn tasks_that_ran_beside_a_crash_once_are_committed() {
    for seed in 0..SEEDS {
        let mut sim = Simulation::new(seed, vec![stage(8, &[])], 2, 2).without_faults();
        let (executor, _) = sim.running[0];
        sim.crash(executor, poison(0));
        sim.deliver_mail();
        while sim.output.is_none() {
            sim.tick(0);
            check_suspects_run_alone(&sim);
        }
        assert!(sim.failed.is_none());
    }
}

#[test]
fn a_task_that_panics_costs_no_executor() {
    let mut sim = Simulation::new(6, vec![stage(8, &[])], 2, 1).without_faults();
    let victim = ExecutorId(1);
    for _ in 0..3 {
        let index = sim.running.iter().position(|(on, _)| *on == victim);
        let (executor, spec) = sim.running.remove(index.unwrap());
        let failure = super::builders::failure(FailureKind::Bug);
        sim.step(Event::Failed(executor, spec.task, spec.attempt, failure));
    }
    let is_used = sim.running.iter().any(|(on, _)| *on == victim);
    assert!(is_used, "the executor was excluded for the faults of tasks");
}
