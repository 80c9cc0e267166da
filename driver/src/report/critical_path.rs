//! What the run waited for, from its end back to its start.
//!
//! A stage starts when its inputs are complete, so at each moment exactly one thing holds the run
//! up, and the parts of the path add up to the elapsed time.
//!
//! ```text
//!   run ends ◄─ commit ◄─ query ends ◄─ last stage ◄─ its first task ┬─ was ready ◄─ last input complete ◄─ …
//!                                                                    └─ had no slot ◄─ the stage that held it
//! ```

mod part;
mod walk;

use std::collections::BTreeMap;

use super::run::Run;
pub(super) use part::{Part, PartKind, StageOfQuery};
use walk::Walk;

/// The critical path of a run.
#[derive(Debug, Default)]
pub(super) struct CriticalPath {
    /// Its parts, from the end of the run to its start. Their times add up to the elapsed time.
    pub(super) parts: Vec<Part>,
}

impl CriticalPath {
    /// Follows the critical path of a run.
    pub(super) fn new(run: &Run<'_>) -> Self {
        Self {
            parts: Walk::new(run).parts(),
        }
    }

    /// Returns the time of a kind.
    pub(super) fn total(&self, kind: PartKind) -> u64 {
        let parts = self.parts.iter().filter(|part| part.kind == kind);
        parts.map(|part| part.ms).sum()
    }

    /// Returns the time of each stage on the path, in the tasks that it ran.
    pub(super) fn stages(&self) -> BTreeMap<StageOfQuery, u64> {
        let mut times = BTreeMap::new();
        for part in &self.parts {
            let is_work = matches!(
                part.kind,
                PartKind::Scan | PartKind::Exchange | PartKind::Skew | PartKind::Recomputed
            );
            if let Some(stage) = part.stage.filter(|_| is_work) {
                *times.entry(stage).or_default() += part.ms;
            }
        }
        times
    }

    /// Returns the time of a kind by stage, the longest first.
    pub(super) fn stages_of(&self, kind: PartKind) -> Vec<(StageOfQuery, u64)> {
        let mut times: BTreeMap<StageOfQuery, u64> = BTreeMap::new();
        for part in self.parts.iter().filter(|part| part.kind == kind) {
            if let Some(stage) = part.stage {
                *times.entry(stage).or_default() += part.ms;
            }
        }
        let mut times: Vec<_> = times.into_iter().collect();
        times.sort_by_key(|(stage, ms)| (std::cmp::Reverse(*ms), *stage));
        times
    }
}

#[cfg(test)]
mod tests {
    use faisca_planner::ids::{QueryId, StageId};

    use super::*;
    use crate::journal::RecordedRun;
    use crate::journal::record::Record;
    use crate::report::sample::{Sample, join, lost_executor, scan, task};

    /// Returns the time of each kind that is on the path.
    fn times(recorded: &RecordedRun) -> Vec<(PartKind, u64)> {
        let run = Run::new(recorded);
        let path = CriticalPath::new(&run);
        let sum: u64 = path.parts.iter().map(|part| part.ms).sum();
        assert_eq!(sum, run.elapsed_ms, "{:?}", path.parts);
        let kinds = PartKind::ALL.into_iter();
        kinds
            .map(|kind| (kind, path.total(kind)))
            .filter(|(_, ms)| *ms > 0)
            .collect()
    }

    #[test]
    fn a_query_that_waits_for_the_slots_of_another_does_not_hold_up_a_run_that_goes_on() {
        let mut sample = Sample::new(1, 1);
        sample.query(0, "runs", vec![scan(0, "csv", "a", 2, 2)]);
        sample.ready(0, 0, 2);
        sample.run(task(0, 0), 1, 0, 500);
        sample.start(500, task(0, 1), 1, 1);
        let waiting = Record::QueryStarted {
            query: QueryId(1),
            label: "waits".to_owned(),
            stages: vec![scan(0, "csv", "b", 2, 2)],
        };
        sample.add(10, waiting);
        let recorded = sample.end();
        let run = Run::running(&recorded, 2_000);
        let path = CriticalPath::new(&run);
        assert_eq!(path.total(PartKind::Queue), 0, "{path:?}");
        assert_eq!(path.total(PartKind::Scan), 2_000, "{path:?}");
    }

    #[test]
    fn stages_follow_their_inputs() {
        let mut sample = Sample::new(2, 2);
        sample.query(100, "s", vec![scan(0, "csv", "a", 4, 4), join(1, &[0])]);
        sample.ready(150, 0, 4);
        for index in 0..4 {
            sample.run(task(0, index), 1 + index % 2, 160, 1_000);
        }
        sample.ready(1_010, 1, 2);
        sample.run(task(1, 0), 1, 1_020, 1_500);
        sample.run(task(1, 1), 2, 1_020, 1_600);
        let recorded = sample.finish(1_650, "s", 1_900);
        assert_eq!(
            times(&recorded),
            [
                (PartKind::Driver, 100 + 50 + 10 + 10 + 10),
                (PartKind::Scan, 840),
                (PartKind::Exchange, 580),
                (PartKind::Commit, 300),
            ]
        );
    }

    #[test]
    fn a_long_task_beside_idle_slots_is_skew() {
        let mut sample = Sample::new(1, 4);
        sample.query(0, "s", vec![scan(0, "parquet", "a", 4, 4)]);
        sample.ready(0, 0, 4);
        for index in 0..3 {
            sample.run(task(0, index), 1, 0, 100 + u64::from(index));
        }
        sample.run(task(0, 3), 1, 0, 1_000);
        let recorded = sample.finish(1_000, "s", 1_000);
        assert_eq!(
            times(&recorded),
            [(PartKind::Scan, 101), (PartKind::Skew, 899)]
        );
    }

    #[test]
    fn a_stage_without_a_slot_waits_for_the_work_that_has_it() {
        let mut sample = Sample::new(1, 1);
        let stages = vec![
            scan(0, "csv", "a", 1, 1),
            scan(1, "csv", "b", 1, 1),
            join(2, &[0, 1]),
        ];
        sample.query(0, "s", stages);
        sample.ready(0, 0, 1);
        sample.ready(0, 1, 1);
        sample.run(task(0, 0), 1, 0, 400);
        sample.run(task(1, 0), 1, 430, 900);
        sample.ready(900, 2, 1);
        sample.run(task(2, 0), 1, 900, 1_000);
        let recorded = sample.finish(1_000, "s", 1_000);
        assert_eq!(
            times(&recorded),
            [
                (PartKind::Queue, 30),
                (PartKind::Scan, 870),
                (PartKind::Exchange, 100)
            ]
        );
    }

    #[test]
    fn tasks_wait_for_executors_that_are_not_ready() {
        let mut sample = Sample::new(0, 1);
        sample.0.lines.clear();
        sample.query(0, "s", vec![scan(0, "csv", "a", 1, 1)]);
        sample.ready(10, 0, 1);
        sample.up(3_000, 1, 1);
        sample.run(task(0, 0), 1, 3_005, 4_000);
        let recorded = sample.finish(4_000, "s", 4_000);
        assert_eq!(
            times(&recorded),
            [
                (PartKind::Driver, 10),
                (PartKind::Executors, 2_990),
                (PartKind::Queue, 5),
                (PartKind::Scan, 995)
            ]
        );
    }

    #[test]
    fn work_that_is_repeated_after_a_loss_is_recomputed() {
        let recorded = lost_executor();
        assert_eq!(
            times(&recorded),
            [
                (PartKind::Scan, 1_000),
                (PartKind::Exchange, 500),
                (PartKind::Recomputed, 1_000)
            ]
        );
    }

    #[test]
    fn inputs_that_are_lost_before_the_next_stage_is_ready_are_recomputed() {
        let mut sample = Sample::new(2, 1);
        sample.query(0, "s", vec![scan(0, "csv", "a", 1, 1), join(1, &[0])]);
        sample.ready(0, 0, 1);
        sample.run(task(0, 0), 2, 0, 500);
        sample.down(500, 2, "evicted");
        sample.add(500, Record::TaskLost { task: task(0, 0) });
        sample.run_again(task(0, 0), 2, 1, 510, 1_000);
        sample.ready(1_000, 1, 1);
        sample.run(task(1, 0), 1, 1_000, 1_200);
        let recorded = sample.finish(1_200, "s", 1_200);
        assert_eq!(
            times(&recorded),
            [
                (PartKind::Driver, 10),
                (PartKind::Scan, 500),
                (PartKind::Exchange, 200),
                (PartKind::Recomputed, 490)
            ]
        );
    }

    #[test]
    fn queries_that_follow_each_other_are_all_on_the_path() {
        let mut sample = Sample::new(0, 1);
        for query in 0..3 {
            let (query, from) = (QueryId(query), 1_000 * u64::from(query));
            let label = format!("s{}", query.0);
            sample.add(
                from,
                Record::StepStarted {
                    step: label.clone(),
                },
            );
            sample.add(
                from + 10,
                Record::QueryStarted {
                    query,
                    label,
                    stages: vec![scan(0, "csv", "a", 1, 1)],
                },
            );
            let stage = StageId(0);
            sample.add(
                from + 20,
                Record::StageReady {
                    query,
                    stage,
                    tasks: 1,
                },
            );
            let task = faisca_planner::ids::TaskId {
                query,
                stage,
                index: 0,
            };
            sample.run(task, 0, from + 20, from + 900);
            sample.add(from + 900, Record::QueryCompleted { query });
            sample.add(
                from + 990,
                Record::StepFinished {
                    step: format!("s{}", query.0),
                    output: None,
                    skipped: None,
                },
            );
        }
        assert_eq!(
            times(&sample.end()),
            [
                // Of the later ones, 10 ms pass between the end of a step and the next step.
                (PartKind::Driver, 20 + 2 * 30),
                (PartKind::Scan, 3 * 880),
                (PartKind::Commit, 3 * 90)
            ]
        );
    }

    #[test]
    fn a_run_that_was_killed_ends_in_the_stage_that_ran() {
        let mut sample = Sample::new(1, 2);
        sample.query(0, "s", vec![scan(0, "csv", "a", 2, 2), join(1, &[0])]);
        sample.ready(0, 0, 2);
        sample.run(task(0, 0), 1, 0, 500);
        sample.run(task(0, 1), 1, 0, 500);
        sample.ready(500, 1, 2);
        sample.start(500, task(1, 0), 1, 1);
        sample.start(500, task(1, 1), 1, 1);
        sample.add(900, Record::RecordsDropped { count: 1 });
        let recorded = sample.end();
        assert_eq!(
            times(&recorded),
            [(PartKind::Scan, 500), (PartKind::Exchange, 400)]
        );
    }

    #[test]
    fn a_run_without_a_query_is_the_drivers() {
        let mut sample = Sample::new(0, 1);
        sample.add(70, Record::RunFinished);
        assert_eq!(times(&sample.end()), [(PartKind::Driver, 70)]);
    }
}
