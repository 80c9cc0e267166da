//! Findings about a stage: skew, spill, too few tasks.

use super::{Finding, stage_name};
use crate::report::critical_path::{CriticalPath, PartKind, StageOfQuery};
use crate::report::run::{Run, Stage};
use crate::report::text;

/// Speed at which spilled bytes are written or read back, for each task: a disk shared by a few.
const SPILL_BYTES_PER_MS: u64 = 150 * 1024;
/// A stage spends at least this share of its time on its rows, however much it spills.
const SPILL_PERCENT_MAX: u64 = 70;

/// Finds the stage whose last tasks the run waited for longest.
pub(super) fn skew(run: &Run<'_>, path: &CriticalPath) -> Option<Finding> {
    let (id, tail_ms) = *path.stages_of(PartKind::Skew).first()?;
    let stage = stage_of(run, id)?;
    let times = stage.task_times();
    let (median, slowest) = (text::quantile(&times, 0.5), text::quantile(&times, 1.0));
    let (name, slots) = (stage_name(id), run.slots());
    let fix = if stage.is_scan && is_text(stage) {
        "A compressed file, or one with `multiLine`, is read by one task. Provide it uncompressed, \
         or as several files of similar size."
    } else if stage.is_scan {
        "One file has far more rows than the others, or the operators after the scan multiply \
         some of its rows. Write the input again with `write.targetFileSize`, or look for a \
         frequent key in the join of this stage."
    } else {
        "A frequent value of the key fills one partition. Handle values that cannot match (null, \
         '', 0) in a branch of their own, or aggregate before the join. More partitions \
         (`--partitions`, on a cluster `datafusion.execution.target_partitions`) let the engine \
         divide the partition among more tasks, as long as the operators allow it."
    };
    Some(Finding {
        title: format!("Stage {name} is skewed"),
        evidence: format!(
            "Its slowest task took {}, the median of its {} took {}. For {} the run waited for \
             the last tasks while at least half of the slots were idle.",
            text::duration(slowest),
            text::count_of(stage.tasks, "task"),
            text::duration(median),
            text::duration(tail_ms),
        ),
        fix: fix.to_owned(),
        gain_ms: tail_ms - tail_ms / slots,
        basis: "the work of the last tasks, divided among all slots",
        stage: Some(id),
    })
}

/// Finds the stage that would gain most if it did not spill.
pub(super) fn spill(run: &Run<'_>, path: &CriticalPath) -> Option<Finding> {
    let times = path.stages();
    let spilled = times.into_iter().filter_map(|(id, path_ms)| {
        let stage = stage_of(run, id)?;
        let spilled = stage.total(|task| task.spilled_bytes);
        let busy_ms = stage.total(|task| task.elapsed_ms).max(1);
        // Bytes are written and read back in the tasks' time; the path has a part of that time.
        let io_ms = 2 * spilled / SPILL_BYTES_PER_MS;
        let percent = (100 * io_ms / busy_ms).min(SPILL_PERCENT_MAX);
        (spilled > 0).then_some((path_ms * percent / 100, spilled, id))
    });
    let (gain_ms, spilled, id) = spilled.max()?;
    let stage = stage_of(run, id)?;
    let tasks = stage.results.values();
    let most = tasks.map(|task| task.spilled_bytes).max().unwrap_or(0);
    let memory = run.started.memory_bytes.map_or_else(
        || "without a limit of memory".to_owned(),
        |bytes| format!("with {} of memory for each executor", text::bytes(bytes)),
    );
    Some(Finding {
        title: format!("Stage {} spilled to disk", stage_name(id)),
        evidence: format!(
            "Its tasks spilled {}, the largest {}, {memory}.",
            text::bytes(spilled),
            text::bytes(most)
        ),
        fix: format!(
            "Give each executor more memory (`--memory`, on a cluster `executor.memory`), fewer \
             slots, or make tasks smaller by more partitions (`--partitions`, on a cluster \
             `datafusion.execution.target_partitions`). {} more for each slot would have held \
             the largest task.",
            text::bytes(most)
        ),
        gain_ms,
        basis: "the spilled bytes are written and read once at 150 MiB/s for each task",
        stage: Some(id),
    })
}

/// Finds the stage with fewer tasks than slots that the run waited for longest.
pub(super) fn too_few_tasks(run: &Run<'_>, path: &CriticalPath) -> Option<Finding> {
    let slots = run.slots();
    let times = [PartKind::Scan, PartKind::Exchange].map(|kind| path.stages_of(kind));
    let narrow = times.iter().flatten().filter_map(|(id, path_ms)| {
        let stage = stage_of(run, *id)?;
        let is_narrow = stage.tasks > 0 && stage.tasks < slots && is_divisible(stage);
        is_narrow.then(|| (path_ms - path_ms * stage.tasks / slots, *id))
    });
    let (gain_ms, id) = narrow.max()?;
    let stage = stage_of(run, id)?;
    let fix = if is_text(stage) {
        "A compressed file, or one with `multiLine`, is read by one task: provide it uncompressed, \
         or as several files. Otherwise set more partitions (`--partitions`, on a cluster \
         `datafusion.execution.target_partitions`)."
            .to_owned()
    } else {
        format!(
            "Set at least {} partitions (`--partitions {}`, on a cluster \
             `datafusion.execution.target_partitions`). Parquet files are divided at their row \
             groups: a file of one row group is read by one task.",
            2 * slots,
            2 * slots
        )
    };
    Some(Finding {
        title: format!("Stage {} has too few tasks", stage_name(id)),
        evidence: format!(
            "It ran as {} for {}, while the executors had {}.",
            text::count_of(stage.tasks, "task"),
            text::duration(path.stages().get(&id).copied().unwrap_or(0)),
            text::count_of(slots, "slot"),
        ),
        fix,
        gain_ms,
        basis: "the work of the stage, divided among all slots",
        stage: Some(id),
    })
}

fn stage_of<'r, 'a>(run: &'r Run<'a>, (query, stage): StageOfQuery) -> Option<&'r Stage<'a>> {
    run.queries.get(&query)?.stages.get(&stage)
}

fn is_text(stage: &Stage<'_>) -> bool {
    let mut scans = stage.record.scans.iter();
    scans.any(|scan| scan.format == "csv" || scan.format == "json")
}

/// Returns whether more tasks could do the work of a stage: not if its result is one sorted or
/// limited run of rows, or if it merges its inputs.
fn is_divisible(stage: &Stage<'_>) -> bool {
    let plan = &stage.record.plan;
    let merges = [
        " Merge",
        "SortPreservingMergeExec",
        "CoalescePartitionsExec",
        "GlobalLimitExec",
    ];
    !merges.iter().any(|operator| plan.contains(operator))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{Sample, join, scan, skewed_join, spilled_join, task};

    #[test]
    fn the_long_task_of_a_join_is_skew() {
        let recorded = skewed_join();
        let run = Run::new(&recorded);
        let finding = skew(&run, &CriticalPath::new(&run)).unwrap();
        assert_eq!(finding.title, "Stage q0.s1 is skewed");
        assert!(
            finding
                .evidence
                .contains("took 9.00 s, the median of its 4 tasks took 1.00 s"),
            "{}",
            finding.evidence
        );
        // Eight seconds of one task are two seconds of four.
        assert_eq!(finding.gain_ms, 6_000);
        assert!(finding.fix.contains("frequent value"));
    }

    #[test]
    fn spilled_bytes_cost_their_way_to_the_disk_and_back() {
        let recorded = spilled_join();
        let run = Run::new(&recorded);
        let finding = spill(&run, &CriticalPath::new(&run)).unwrap();
        assert_eq!(finding.title, "Stage q0.s1 spilled to disk");
        // 2 GiB, written and read at 150 MiB/s, are 28 s of the 40 s of two tasks.
        assert_eq!(finding.gain_ms, 20_000 * 69 / 100);
        assert!(
            finding
                .evidence
                .contains("spilled 2.0 GiB, the largest 1.0 GiB")
        );
    }

    #[test]
    fn a_stage_of_one_task_leaves_slots_idle() {
        let mut sample = Sample::new(2, 2);
        sample.query(
            0,
            "s",
            vec![scan(0, "csv", "/in/a.csv.gz", 1, 9 << 30), join(1, &[0])],
        );
        sample.ready(0, 0, 1);
        sample.run(task(0, 0), 1, 0, 8_000);
        sample.ready(8_000, 1, 4);
        for index in 0..4 {
            sample.run(task(1, index), 1 + index % 2, 8_000, 9_000);
        }
        let recorded = sample.finish(9_000, "s", 9_000);
        let run = Run::new(&recorded);
        let finding = too_few_tasks(&run, &CriticalPath::new(&run)).unwrap();
        assert_eq!(finding.title, "Stage q0.s0 has too few tasks");
        assert_eq!(finding.gain_ms, 6_000);
        assert!(finding.fix.contains("compressed"));
    }

    #[test]
    fn a_stage_that_merges_has_one_task_by_design() {
        let mut sample = Sample::new(2, 2);
        let mut merge = join(0, &[]);
        merge.plan = "SortPreservingMergeExec: [a@0]\n".to_owned();
        sample.query(0, "s", vec![merge]);
        sample.ready(0, 0, 1);
        sample.run(task(0, 0), 1, 0, 8_000);
        let recorded = sample.finish(8_000, "s", 8_000);
        let run = Run::new(&recorded);
        assert_eq!(too_few_tasks(&run, &CriticalPath::new(&run)), None);
    }

    #[test]
    fn an_even_run_has_no_skew_and_no_spill() {
        let mut sample = Sample::new(1, 2);
        sample.query(0, "s", vec![scan(0, "parquet", "/in", 2, 1 << 30)]);
        sample.ready(0, 0, 2);
        sample.run(task(0, 0), 1, 0, 1_000);
        sample.run(task(0, 1), 1, 0, 1_100);
        let recorded = sample.finish(1_100, "s", 1_100);
        let run = Run::new(&recorded);
        let path = CriticalPath::new(&run);
        assert_eq!(skew(&run, &path), None);
        assert_eq!(spill(&run, &path), None);
        assert_eq!(too_few_tasks(&run, &path), None);
    }
}
