//! Draws a stage graph as text, for EXPLAIN and for approved plans.

use std::fmt::{self, Display};

use datafusion::physical_plan::displayable;

use crate::graph::{Slicing, Stage, StageGraph, StageOutput};

/// Root first, each stage with its edges, its slicing and its operators.
impl Display for StageGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, stage) in self.stages.iter().rev().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{stage}")?;
        }
        Ok(())
    }
}

impl Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stage {}: {} partitions", self.id, self.partitions())?;
        match self.output {
            StageOutput::Shuffle { buckets } => write!(f, " → {buckets} buckets")?,
            StageOutput::Partitions => write!(f, " → as they are")?,
            StageOutput::Sink => write!(f, " → files")?,
        }
        for input in &self.inputs {
            write!(f, ", reads {} {:?}", input.stage, input.mode)?;
        }
        if let Slicing::Whole { reason } = self.slicing {
            write!(f, ", one task: {reason}")?;
        }
        writeln!(f, ", {:?}", self.determinism)?;
        for line in displayable(self.plan.as_ref()).indent(false).to_string().lines() {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}
