//! Findings about files: many small ones, text that is read twice, many outputs.

use std::collections::BTreeMap;

use super::{Finding, stage_name};
use crate::report::critical_path::{CriticalPath, PartKind, StageOfQuery};
use crate::report::run::Run;
use crate::report::text;

/// Files that are smaller on average are tiny.
const TINY_FILE_BYTES: u64 = 4 << 20;
/// With fewer files, their number does not matter.
const FILES_MIN: u64 = 64;
/// Speed of one slot that reads large files.
const SCAN_BYTES_PER_MS: u64 = 100 * 1024;
/// Percentage of the time of a text scan that a scan of the same columns in Parquet saves.
const PARQUET_SAVES_PERCENT: u64 = 80;
/// Size of output files that a query engine reads well.
const OUTPUT_FILE_BYTES: u64 = 128 << 20;

/// Finds the stage that would gain most from larger files.
pub(super) fn tiny_files(run: &Run<'_>, path: &CriticalPath) -> Option<Finding> {
    let times = path.stages();
    let slots = run.slots();
    let tiny = run.stages().filter_map(|(query, stage)| {
        let id = (query, stage.id());
        let scans = stage.record.scans.iter();
        let scan = scans
            .filter(|scan| scan.files >= FILES_MIN && scan.bytes / scan.files < TINY_FILE_BYTES)
            .max_by_key(|scan| scan.files)?;
        let path_ms = times.get(&id)?;
        let needed_ms = scan.bytes / SCAN_BYTES_PER_MS / slots.min(stage.tasks.max(1));
        Some((path_ms.saturating_sub(needed_ms), id, scan))
    });
    let (gain_ms, id, scan) = tiny.max_by_key(|(gain_ms, id, _)| (*gain_ms, *id))?;
    Some(Finding {
        title: format!("Stage {} reads many tiny files", stage_name(id)),
        evidence: format!(
            "{} has {} with {} on average, {} in total.",
            scan.path,
            text::count_of(scan.files, "file"),
            text::bytes(scan.bytes / scan.files),
            text::bytes(scan.bytes),
        ),
        fix: "Write the folder once as larger files, with a step that reads it and has \
              `write.targetFileSize` (256Mi is the default), and read the output of that step. If \
              a job of yours wrote the files: fewer columns in `partitionBy`, or fewer partitions."
            .to_owned(),
        gain_ms,
        basis: "the same bytes in large files at 100 MiB/s for each slot",
        stage: Some(id),
    })
}

/// Finds the text files that several stages read.
pub(super) fn text_read_twice(run: &Run<'_>, path: &CriticalPath) -> Option<Finding> {
    let times = path.stages();
    let mut readers: BTreeMap<&str, Vec<(u64, StageOfQuery, u64)>> = BTreeMap::new();
    for (query, stage) in run.stages().filter(|(_, stage)| !stage.results.is_empty()) {
        let id = (query, stage.id());
        let scans = stage.record.scans.iter();
        for scan in scans.filter(|scan| scan.format == "csv" || scan.format == "json") {
            let path_ms = times.get(&id).copied().unwrap_or(0);
            let reader = (path_ms, id, scan.bytes);
            readers.entry(&scan.path).or_default().push(reader);
        }
    }
    let repeated = readers.into_iter().filter(|(_, stages)| stages.len() > 1);
    let (gain_ms, path, stages) = repeated
        .map(|(path, stages)| {
            let sum: u64 = stages.iter().map(|(ms, ..)| ms).sum();
            // The longest scan remains: it reads the text once.
            let longest = stages.iter().map(|(ms, ..)| *ms).max().unwrap_or(0);
            let gain_ms = (sum - longest) * PARQUET_SAVES_PERCENT / 100;
            (gain_ms, path, stages)
        })
        .max_by_key(|(gain_ms, path, _)| (*gain_ms, *path))?;
    let names: Vec<String> = stages.iter().map(|(_, id, _)| stage_name(*id)).collect();
    let is_off = |value: &String| value == "false";
    let fix = if run
        .started
        .settings
        .get("faisca.share_stages")
        .is_some_and(is_off)
    {
        "Set `faisca.share_stages` to true: equal scans, and steps that read the same view, then \
         run once."
    } else {
        "Add a step that writes the columns that you need as Parquet, and read that step instead. \
         Steps that read one view at the same time already share their scan."
    };
    Some(Finding {
        title: format!("{path} is parsed {} times", stages.len()),
        evidence: format!(
            "The stages {} read this text, {} each time.",
            names.join(", "),
            text::bytes(stages.iter().map(|(.., bytes)| *bytes).max().unwrap_or(0)),
        ),
        fix: fix.to_owned(),
        gain_ms,
        basis: "scans after the first take a fifth of their time from Parquet",
        stage: stages.iter().max().map(|(_, id, _)| *id),
    })
}

/// Finds the output with the most files that are too small.
pub(super) fn many_output_files(run: &Run<'_>, path: &CriticalPath) -> Option<Finding> {
    let commit_ms = path.total(PartKind::Commit);
    let outputs = run
        .steps
        .iter()
        .filter_map(|step| Some((step, step.output?)));
    let (step, output) = outputs
        .filter(|(_, output)| {
            output.files >= FILES_MIN && output.bytes / output.files < TINY_FILE_BYTES
        })
        .max_by_key(|(_, output)| output.files)?;
    let needed = output.bytes.div_ceil(OUTPUT_FILE_BYTES).max(1);
    Some(Finding {
        title: format!("Step {} writes many tiny files", step.name),
        evidence: format!(
            "It wrote {} with {} on average. Commits took {} of the run.",
            text::count_of(output.files, "file"),
            text::bytes(output.bytes / output.files),
            text::duration(commit_ms),
        ),
        fix: format!(
            "Each task writes its own files, one for each of its partitions: use fewer columns in \
             `partitionBy`, or fewer partitions (`--partitions`). {} would hold these rows.",
            text::count_of(needed, "file")
        ),
        gain_ms: commit_ms - commit_ms * needed.min(output.files) / output.files,
        basis: "commits take time for each file; later readers gain more",
        stage: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::record::{Record, StepOutput};
    use crate::report::sample::{Sample, scan, task};

    /// Two scans of the same path, one after the other, of 4 s each on two slots.
    fn two_scans(format: &str, files: u64, bytes: u64) -> Sample {
        let mut sample = Sample::new(1, 2);
        let stages = vec![
            scan(0, format, "/in", files, bytes),
            scan(1, format, "/in", files, bytes),
        ];
        sample.query(0, "s", stages);
        for stage in 0..2 {
            sample.ready(0, stage, 2);
            let from = 4_000 * u64::from(stage);
            sample.run(task(stage, 0), 1, from, from + 4_000);
            sample.run(task(stage, 1), 1, from, from + 4_000);
        }
        sample
    }

    #[test]
    fn many_tiny_files_are_slower_than_their_bytes() {
        let recorded = two_scans("parquet", 1_000, 100 << 20).finish(8_000, "s", 8_000);
        let run = Run::new(&recorded);
        let finding = tiny_files(&run, &CriticalPath::new(&run)).unwrap();
        assert_eq!(
            finding.evidence,
            "/in has 1,000 files with 102 KiB on average, 100 MiB in total."
        );
        // 100 MiB need half a second of two slots.
        assert_eq!(finding.gain_ms, 4_000 - 512);
    }

    #[test]
    fn few_large_files_are_not_tiny() {
        let recorded = two_scans("parquet", 100, 100 << 30).finish(8_000, "s", 8_000);
        let run = Run::new(&recorded);
        assert_eq!(tiny_files(&run, &CriticalPath::new(&run)), None);
    }

    #[test]
    fn text_that_is_read_twice_gains_most_of_the_second_scan() {
        let recorded = two_scans("csv", 2, 1 << 30).finish(8_000, "s", 8_000);
        let run = Run::new(&recorded);
        let finding = text_read_twice(&run, &CriticalPath::new(&run)).unwrap();
        assert_eq!(finding.title, "/in is parsed 2 times");
        assert_eq!(finding.gain_ms, 3_200);
        assert!(finding.fix.contains("as Parquet"));
    }

    #[test]
    fn parquet_may_be_read_twice() {
        let recorded = two_scans("parquet", 2, 1 << 30).finish(8_000, "s", 8_000);
        let run = Run::new(&recorded);
        assert_eq!(text_read_twice(&run, &CriticalPath::new(&run)), None);
    }

    #[test]
    fn an_output_of_tiny_files_costs_its_commit() {
        let mut sample = two_scans("parquet", 2, 1 << 30);
        let step = "s".to_owned();
        let output = Some(StepOutput {
            path: "/out".to_owned(),
            rows: 1_000,
            bytes: 100 << 20,
            files: 1_000,
            columns: vec![],
        });
        sample.add(
            12_000,
            Record::StepFinished {
                step,
                output,
                skipped: None,
            },
        );
        let recorded = sample.finish(8_000, "other", 12_000);
        let run = Run::new(&recorded);
        let finding = many_output_files(&run, &CriticalPath::new(&run)).unwrap();
        assert_eq!(finding.title, "Step s writes many tiny files");
        assert_eq!(finding.gain_ms, 4_000 - 4);
    }
}
