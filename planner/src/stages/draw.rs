//! Renders a stage graph as text, for EXPLAIN and for approved plans.

use std::fmt::{self, Display};

use datafusion::physical_plan::displayable;

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
        displayable(self.plan.as_ref()).indent(false).to_string()
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
                about(self.rows_expected),
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
pub fn about(rows: u64) -> String {
    let units = [(1_000_000_000, " G"), (1_000_000, " M"), (1_000, " k")];
    match units.into_iter().find(|(unit, _)| rows >= *unit) {
        Some((unit, name)) => format!("{:.1}{name}", rows as f64 / unit as f64),
        None => rows.to_string(),
    }
}
