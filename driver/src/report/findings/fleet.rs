//! Findings about executors: late ones, lost ones, too few.

use super::Finding;
use crate::report::critical_path::{CriticalPath, PartKind};
use crate::report::run::{Run, Stage};
use crate::report::text;

/// A run with at most this much slot time may as well run in the driver.
const SMALL_RUN_MS: u64 = 60_000;
/// Slots that are busy for at least this percentage of the time are what the run is limited by.
const BUSY_PERCENT_MIN: u64 = 70;

/// Finds out whether the run waited for executors.
pub(super) fn slow_start(run: &Run<'_>, path: &CriticalPath) -> Option<Finding> {
    let waited_ms = path.total(PartKind::Executors);
    if waited_ms == 0 {
        return None;
    }
    let first = run
        .executors
        .values()
        .map(|executor| executor.up_ms)
        .min()?;
    let busy_ms = run.busy_ms();
    let fix = if busy_ms < SMALL_RUN_MS {
        "The work is small: run it in the driver (`--executors 0`, on a cluster `executor.scale: \
         {min: 0, max: N}`)."
    } else {
        "Keep the image on the nodes, and room for the pods: a priority class for executors, or \
         fewer or smaller executors (`executor.instances`, `executor.memory`)."
    };
    Some(Finding {
        title: "Tasks waited for executors".to_owned(),
        evidence: format!(
            "For {} tasks were ready and no executor was. The first executor was ready after {}; \
             all tasks together took {}.",
            text::duration(waited_ms),
            text::duration(first),
            text::duration(busy_ms),
        ),
        fix: fix.to_owned(),
        gain_ms: waited_ms,
        basis: "the time without an executor",
        stage: None,
    })
}

/// Finds out what lost results cost.
pub(super) fn lost_results(run: &Run<'_>, path: &CriticalPath) -> Option<Finding> {
    let recomputed_ms = path.total(PartKind::Recomputed);
    if recomputed_ms == 0 {
        return None;
    }
    let lost: Vec<_> = run.losses().collect();
    let reasons: Vec<&str> = lost.iter().map(|(_, end)| end.reason).collect();
    let is_memory = reasons.iter().any(|reason| reason.contains("memory"));
    let cause = match (lost.first(), run.failures.first()) {
        (Some((id, end)), _) => format!("{id} ended: {}.", end.reason),
        (None, Some((task, message))) => {
            format!("Task {task} failed: {}.", text::cut(message, 200))
        }
        (None, None) => String::new(),
    };
    let fix = if is_memory {
        "Give each executor more memory (`--memory`, on a cluster `executor.memory`), or make \
         tasks smaller by more partitions (`--partitions`)."
    } else if lost.is_empty() {
        "Remove the cause of the failed attempts; the table of executors and the log name it."
    } else {
        "Set `faisca.exchange.store` to a folder of an object store: a lost executor then costs \
         only its running tasks. `faisca.exchange.durability: onDrain` copies results only when \
         an executor is shut down, as spot nodes are."
    };
    Some(Finding {
        title: "Results were lost and recomputed".to_owned(),
        evidence: format!(
            "For {} only repeated tasks ran. {} and the results of {} were lost. {cause}",
            text::duration(recomputed_ms),
            text::count_of(lost.len() as u64, "executor"),
            text::count_of(run.tasks_lost, "task"),
        ),
        fix: fix.to_owned(),
        gain_ms: recomputed_ms,
        basis: "the time in which only repeated tasks ran",
        stage: path
            .stages_of(PartKind::Recomputed)
            .first()
            .map(|(id, _)| *id),
    })
}

/// Finds out whether twice the executors would help: the stages on the path have enough tasks,
/// and the slots were busy.
pub(super) fn more_slots(run: &Run<'_>, path: &CriticalPath) -> Option<Finding> {
    let slots = run.slots();
    let available_ms = run.slot_ms();
    let busy_ms = run.busy_ms();
    if available_ms == 0 || busy_ms * 100 < available_ms * BUSY_PERCENT_MIN {
        return None;
    }
    let times = path.stages();
    let wide = |stage: &Stage<'_>| stage.tasks >= 2 * slots;
    let wide_ms: u64 = run
        .stages()
        .filter(|(_, stage)| wide(stage))
        .filter_map(|(query, stage)| times.get(&(query, stage.id())))
        .sum();
    let executors = run.started.executors;
    let fix = if executors > 0 {
        format!(
            "Twice the executors: `--executors {}`, on a cluster `executor.instances: {}` or \
             `executor.scale`.",
            2 * executors,
            2 * executors
        )
    } else {
        "More cores (`--executor-cores`), or executors on a cluster (`executor.instances`)."
            .to_owned()
    };
    Some(Finding {
        title: "The run is limited by its slots".to_owned(),
        evidence: format!(
            "The {} were busy for {} of their time, and stages with at least twice as many tasks \
             took {} of the critical path.",
            text::count_of(slots, "slot"),
            text::share(busy_ms, available_ms),
            text::duration(wide_ms),
        ),
        fix,
        gain_ms: wide_ms / 2,
        basis: "half the time of these stages with twice the slots",
        stage: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{Sample, lost_executor, scan, task};

    #[test]
    fn a_late_executor_costs_the_time_until_it_is_ready() {
        let mut sample = Sample::new(0, 1);
        sample.0.lines.clear();
        sample.query(0, "s", vec![scan(0, "csv", "/in", 1, 1)]);
        sample.ready(10, 0, 1);
        sample.up(8_010, 1, 1);
        sample.run(task(0, 0), 1, 8_010, 9_000);
        let recorded = sample.finish(9_000, "s", 9_000);
        let run = Run::new(&recorded);
        let finding = slow_start(&run, &CriticalPath::new(&run)).unwrap();
        assert_eq!(finding.gain_ms, 8_000);
        assert!(finding.fix.contains("`--executors 0`"));
    }

    #[test]
    fn lost_results_cost_the_time_of_their_tasks() {
        let recorded = lost_executor();
        let run = Run::new(&recorded);
        let finding = lost_results(&run, &CriticalPath::new(&run)).unwrap();
        assert_eq!(finding.gain_ms, 1_000);
        assert!(
            finding
                .evidence
                .contains("1 executor and the results of 1 task were lost"),
            "{finding:?}"
        );
        assert!(finding.fix.contains("more memory"));
    }

    #[test]
    fn busy_slots_gain_from_more_of_them() {
        let mut sample = Sample::new(1, 1);
        sample.query(0, "s", vec![scan(0, "csv", "/in", 4, 1 << 30)]);
        sample.ready(0, 0, 4);
        for index in 0..4 {
            let from = 1_000 * u64::from(index);
            sample.run(task(0, index), 1, from, from + 1_000);
        }
        let recorded = sample.finish(4_000, "s", 4_000);
        let run = Run::new(&recorded);
        let path = CriticalPath::new(&run);
        assert_eq!(more_slots(&run, &path).unwrap().gain_ms, 2_000);
        assert_eq!(slow_start(&run, &path), None);
        assert_eq!(lost_results(&run, &path), None);
    }
}
