//! The graph of stages that the scheduler runs.

use std::sync::Arc;

use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use crate::determinism::Determinism;
use crate::estimate::estimate;
use crate::ids::StageId;
use crate::nodes::{ExchangeReadExec, InputMode};
use crate::physical::leaves;

/// The stages of one query, or of several that run together.
///
/// Producers come before their consumers. The last stage is a root. If there are several roots,
/// each is a sink.
#[derive(Debug)]
pub struct StageGraph {
    /// All stages; a stage's index is its [`StageId`].
    pub stages: Vec<Stage>,
}

impl StageGraph {
    /// Returns the stages that run: all but those that planning again has dropped.
    pub fn live(&self) -> impl DoubleEndedIterator<Item = &Stage> {
        self.stages.iter().filter(|stage| !stage.is_dropped)
    }

    /// Returns the stages whose output is the query's result: one, or a sink for each write.
    pub fn roots(&self) -> impl Iterator<Item = &Stage> {
        let last = self.stages.last().map(|stage| stage.id);
        self.live().filter(move |stage| {
            Some(stage.id) == last || matches!(stage.output, StageOutput::Sink { .. })
        })
    }

    /// Returns the rows that all operators together are expected to return. Reads of other stages
    /// do not count.
    #[must_use]
    pub fn operator_rows_expected(&self) -> u64 {
        fn rows_of(plan: &Arc<dyn ExecutionPlan>) -> f64 {
            let node_rows = if plan.is::<ExchangeReadExec>() {
                0.0
            } else {
                estimate(plan).rows
            };
            node_rows + plan.children().into_iter().map(rows_of).sum::<f64>()
        }
        self.live().map(|stage| rows_of(&stage.plan)).sum::<f64>() as u64
    }
}

/// A stage: a plan whose leaves are scans and [`crate::ExchangeReadExec`]s.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Its index in the graph.
    pub id: StageId,
    /// The plan that a task runs. For a shuffled output the root is a `RepartitionExec`, which does
    /// not execute: the exchange writer partitions the rows of its input accordingly.
    pub plan: Arc<dyn ExecutionPlan>,
    /// Where the rows go.
    pub output: StageOutput,
    /// The stages that it reads, one entry per read.
    pub inputs: Vec<StageInput>,
    /// Whether its partitions may run in different tasks.
    pub slicing: Slicing,
    /// Inputs that may be divided among several tasks of one partition, one input at a time.
    pub divisible: Vec<StageId>,
    /// Whether a second run of a task returns the same rows.
    pub determinism: Determinism,
    /// Rows that all of its tasks together are expected to return.
    pub rows_expected: u64,
    /// Replaced by planning again before any task of it ran: no stage reads it, and it never runs.
    pub is_dropped: bool,
}

impl Stage {
    /// Returns the part of [`Stage::plan`] that executes.
    #[must_use]
    pub fn body(&self) -> &Arc<dyn ExecutionPlan> {
        match (self.output, self.plan.children().first()) {
            (StageOutput::Shuffle { .. }, Some(child)) => child,
            _ => &self.plan,
        }
    }

    /// Returns the number of partitions of [`Stage::body`], which is the largest number of
    /// undivided tasks.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.body().output_partitioning().partition_count()
    }

    /// Whether a second run of a task may return different rows.
    #[must_use]
    pub fn is_indeterminate(&self) -> bool {
        self.determinism == Determinism::Indeterminate
    }

    /// Whether every leaf reads an exchange, so that adjacent partitions may run as one task.
    #[must_use]
    pub fn reads_only_exchanges(&self) -> bool {
        !self.inputs.is_empty()
            && leaves(self.body())
                .iter()
                .all(|leaf| leaf.is::<ExchangeReadExec>())
    }
}

/// Where a stage's rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageOutput {
    /// Each task partitions its rows by the partitioning of the plan's root.
    Shuffle {
        /// Number of output partitions.
        partitions: usize,
    },
    /// Output partition *p* is partition *p* of the plan.
    Partitions,
    /// The tasks write their rows to files.
    Sink {
        /// Index of the write among the query's writes.
        write: u32,
    },
}

/// An edge of the graph, from producer to consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageInput {
    /// The producer.
    pub stage: StageId,
    /// Which of its output partitions a partition of the consumer reads.
    pub mode: InputMode,
}

/// Whether a stage's partitions may run in different tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slicing {
    /// Partitions are independent.
    Free,
    /// An operator keeps state across partitions, so one task must run them all.
    Whole {
        /// The operator and the reason, for EXPLAIN.
        reason: &'static str,
    },
}
