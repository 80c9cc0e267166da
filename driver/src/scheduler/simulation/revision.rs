//! Waiting stages that are replanned after a surprise.

use std::ops::RangeInclusive;

use faisca_planner::ids::StageId;
use faisca_planner::stages::Fact;

use super::builders::{report, stage};
use super::{QUERY, Simulation};
use crate::scheduler::InputReads::OwnPartition;
use crate::scheduler::{Action, Event, OutputKind, StageInfo};

fn scan(expected_rows: Option<RangeInclusive<u64>>) -> StageInfo {
    StageInfo {
        expected_rows,
        ..stage(2, &[])
    }
}

/// Finishes a running attempt of this stage, and returns the actions that follow.
fn finish_one(sim: &mut Simulation, stage: u32) -> Vec<Action> {
    let is_of_stage =
        |spec: &faisca_executor::protocol::TaskSpec| spec.task.stage == StageId(stage);
    let index = sim.running.iter().position(|(_, spec)| is_of_stage(spec));
    let (executor, spec) = sim.running.remove(index.unwrap());
    let report = report(&spec, OutputKind::Shuffle);
    sim.scheduler
        .step(sim.now, Event::Finished(executor, report))
}

fn launches(actions: &[Action], stage: u32) -> bool {
    let is_launch =
        |a: &Action| matches!(a, Action::Launch(_, spec) if spec.task.stage == StageId(stage));
    actions.iter().any(is_launch)
}

#[test]
fn waiting_stages_are_planned_again_once_and_what_is_not_read_any_more_is_stopped() {
    let join = StageInfo {
        is_replannable: true,
        ..stage(4, &[(0, OwnPartition), (1, OwnPartition)])
    };
    let mut sim = Simulation::new(12, vec![scan(Some(100..=200)), scan(None), join], 1, 4);
    let first = finish_one(&mut sim, 0);
    assert!(
        !first.iter().any(|a| matches!(a, Action::Revise(..))),
        "{first:?}"
    );
    let second = finish_one(&mut sim, 0);
    let facts = second.iter().find_map(|action| match action {
        Action::Revise(_, facts) => Some(facts.as_slice()),
        _ => None,
    });
    assert_eq!(
        facts,
        Some([Fact::Finished { rows: 8 }, Fact::Started, Fact::Waiting].as_slice())
    );

    // No waiting stage starts before the reply. The new stage needs only the first scan.
    let actions = finish_one(&mut sim, 1);
    assert!(
        !actions.iter().any(|a| matches!(a, Action::Launch(..))),
        "{actions:?}"
    );
    let reply = |stages| Event::Revised {
        query: QUERY,
        stages,
    };
    let actions = sim
        .scheduler
        .step(sim.now, reply(vec![stage(4, &[(0, OwnPartition)])]));
    assert!(
        actions
            .iter()
            .any(|a| matches!(a, Action::Cancel(_, task, _) if task.stage == StageId(1))),
        "{actions:?}"
    );
    assert!(launches(&actions, 3), "{actions:?}");
    let late_reply = sim.scheduler.step(sim.now, reply(vec![stage(1, &[])]));
    assert!(late_reply.is_empty(), "{late_reply:?}");
}
