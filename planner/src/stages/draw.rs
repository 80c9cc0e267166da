//! Renders a stage graph as text, for EXPLAIN and for approved plans.

use std::fmt::{self, Display};

use datafusion::physical_plan::displayable;

use super::graph::{Slicing, Stage, StageGraph, StageOutput};

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
    fn render(&self, note: Option<&str>) -> String {
        let mut title = vec![format!(
            "Stage {}: {} partitions → {}",
            self.id,
            self.partitions(),
            self.output
        )];
        title.push(format!("about {} rows", about(self.rows_expected)));
        title.extend(
            self.inputs
                .iter()
                .map(|input| format!("reads {} {:?}", input.stage, input.mode)),
        );
        if let Slicing::Whole { reason } = self.slicing {
            title.push(format!("one task: {reason}"));
        }
        title.push(format!("{:?}", self.determinism));
        let title = title.join(", ");
        let plan = displayable(self.plan.as_ref()).indent(false).to_string();
        let lines = note
            .into_iter()
            .chain(plan.lines())
            .map(|line| format!("  {line}\n"));
        format!("{title}\n{}", lines.collect::<String>())
    }
}

impl Display for StageOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shuffle { partitions } => write!(f, "{partitions} partitions"),
            Self::Partitions => f.write_str("as they are"),
            Self::Sink { write: 0 } => f.write_str("files"),
            Self::Sink { write } => write!(f, "files of write {}", write + 1),
        }
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
