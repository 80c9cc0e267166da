//! Renders a stage graph as text, for EXPLAIN and for approved plans.

use std::fmt::{self, Display};
use std::sync::Arc;

use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::{ExecutionPlan, displayable};

use super::graph::{Slicing, Stage, StageGraph, StageInput, StageOutput};
use crate::determinism::Determinism;

impl StageGraph {
    /// Renders the graph, root first: each stage with its inputs, its slicing, its note, and its
    /// operators.
    pub fn render(&self, note: impl Fn(&Stage) -> Option<String>) -> String {
        self.live()
            .rev()
            .map(|stage| stage.render(note(stage).as_deref()))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl Display for StageGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(|_| None))
    }
}

impl Stage {
    /// Returns the operators of the stage, one on each line, indented below their consumers.
    #[must_use]
    pub fn operators(&self) -> String {
        let drawing = displayable(self.plan.as_ref()).indent(false).to_string();
        with_whole_paths(&drawing, &self.plan)
    }

    fn render(&self, note: Option<&str>) -> String {
        let mut title = vec![
            format!(
                "Stage {}: {}",
                self.id,
                count(self.partitions(), "partition")
            ),
            describe_output(self.output),
            format!(
                "about {} {}",
                format_rough_count(self.rows_expected),
                match self.rows_expected {
                    1 => "row",
                    _ => "rows",
                }
            ),
            describe_inputs(&self.inputs),
        ];
        if let Slicing::Whole { reason } = self.slicing {
            title.push(format!("one task: {reason}"));
        }
        title.push(describe_determinism(self.determinism).to_owned());
        title.retain(|part| !part.is_empty());
        let title = title.join(", ");
        let plan = self.operators();
        let lines = note
            .into_iter()
            .chain(plan.lines())
            .map(|line| format!("  {line}\n"));
        format!("{title}\n{}", lines.collect::<String>())
    }
}

/// Completes the paths of files. DataFusion prints them without their store: a file of this machine
/// without its first slash, others without their bucket.
fn with_whole_paths(drawing: &str, plan: &Arc<dyn ExecutionPlan>) -> String {
    let mut roots = vec![];
    collect_roots(plan, &mut roots);
    let complete = |line: &str| {
        let Some(start) = line.find(FILES_START) else {
            return format!("{line}\n");
        };
        let (before, files) = line.split_at(start);
        let mut files = files.to_owned();
        for (location, root) in &roots {
            for delimiter in ["[", ", "] {
                let whole = format!("{delimiter}{root}{location}");
                files = files.replace(&format!("{delimiter}{location}"), &whole);
            }
        }
        format!("{before}{files}\n")
    };
    drawing.lines().map(complete).collect()
}

/// Start of the files of a scan in DataFusion's drawing.
const FILES_START: &str = "file_groups={";

/// Collects the path of each file within its store, and what precedes it.
fn collect_roots(plan: &Arc<dyn ExecutionPlan>, roots: &mut Vec<(String, String)>) {
    let scan = plan.downcast_ref::<DataSourceExec>();
    if let Some(scan) = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>()) {
        let url = scan.object_store_url.as_str();
        let root = url.strip_prefix("file://").unwrap_or(url);
        let files = scan.file_groups.iter().flat_map(|group| group.files());
        roots.extend(files.map(|file| (file.object_meta.location.to_string(), root.to_owned())));
    }
    for child in plan.children() {
        collect_roots(child, roots);
    }
}

/// Describes where the rows go; empty if they stay in their partitions.
fn describe_output(output: StageOutput) -> String {
    match output {
        StageOutput::Shuffle { partitions } => format!("shuffled into {partitions}"),
        StageOutput::Partitions => String::new(),
        StageOutput::Sink { write: 0 } => "written to files".to_owned(),
        StageOutput::Sink { write } => format!("written to files of write {}", write + 1),
    }
}

/// Describes which stages are read, and how; empty if none is.
fn describe_inputs(inputs: &[StageInput]) -> String {
    let reads = inputs.iter().map(|input| {
        let mode = format!("{:?}", input.mode).to_lowercase();
        format!("{} ({mode})", input.stage)
    });
    match inputs {
        [] => String::new(),
        _ => format!("reads {}", reads.collect::<Vec<_>>().join(", ")),
    }
}

/// Describes what a second run of a task returns.
fn describe_determinism(determinism: Determinism) -> &'static str {
    match determinism {
        Determinism::Deterministic => "deterministic",
        Determinism::Unordered => "order may vary",
        Determinism::Indeterminate => "rows may vary",
    }
}

fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// Formats a count with one decimal of its unit, for estimates.
#[must_use]
pub fn format_rough_count(rows: u64) -> String {
    let units = [(1_000_000_000, " G"), (1_000_000, " M"), (1_000, " k")];
    match units.into_iter().find(|(unit, _)| rows >= *unit) {
        Some((unit, name)) => format!("{:.1}{name}", rows as f64 / unit as f64),
        None => rows.to_string(),
    }
}
