//! The stage graph: what the scheduler schedules.

use std::sync::Arc;

use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use crate::determinism::Determinism;
use crate::estimate::estimate;
use crate::ids::StageId;
use crate::nodes::{ExchangeReadExec, InputMode};
use crate::physical::leaves;

/// The stages of one statement, or of several that run together. Producers come before their consumers. The last stage is a
/// root; where there are several, each is a sink.
#[derive(Debug)]
pub struct StageGraph {
    /// Index = [`StageId`].
    pub stages: Vec<Stage>,
}

impl StageGraph {
    /// The stages that run.
    pub fn live(&self) -> impl DoubleEndedIterator<Item = &Stage> {
        self.stages.iter().filter(|stage| !stage.dropped)
    }

    /// The stages whose output is the statement's result: one, or a sink for each write.
    pub fn roots(&self) -> impl Iterator<Item = &Stage> {
        let last = self.stages.last().map(|stage| stage.id);
        self.live().filter(move |stage| {
            Some(stage.id) == last || matches!(stage.output, StageOutput::Sink { .. })
        })
    }

    /// Rows that all operators together are expected to yield. Reading a stage's output adds none.
    #[must_use]
    pub fn rows_yielded(&self) -> u64 {
        fn yielded(plan: &Arc<dyn ExecutionPlan>) -> f64 {
            let own = if plan.is::<ExchangeReadExec>() {
                0.0
            } else {
                estimate(plan).rows
            };
            own + plan.children().into_iter().map(yielded).sum::<f64>()
        }
        self.live().map(|stage| yielded(&stage.plan)).sum::<f64>() as u64
    }
}

/// One stage: a plan whose leaves are scans and [`crate::ExchangeReadExec`]s.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Its place in the graph.
    pub id: StageId,
    /// What a task runs. For a shuffled output the root is a `RepartitionExec`, which only tells
    /// the writer how to spread rows over buckets; its input is what executes.
    pub plan: Arc<dyn ExecutionPlan>,
    /// How the rows leave.
    pub output: StageOutput,
    /// The stages it reads, each once per edge.
    pub inputs: Vec<StageInput>,
    /// Whether its partitions may run in different tasks.
    pub slicing: Slicing,
    /// Inputs of which several tasks of one partition may each read a part, one input at a time.
    pub divisible: Vec<StageId>,
    /// What a second run of a task would yield.
    pub determinism: Determinism,
    /// Rows that are expected of all of its tasks together.
    pub rows_expected: u64,
    /// It was planned otherwise before any task of it ran: nothing reads it, and it never runs.
    pub dropped: bool,
}

impl Stage {
    /// The part of [`Stage::plan`] that executes.
    #[must_use]
    pub fn body(&self) -> &Arc<dyn ExecutionPlan> {
        match (self.output, self.plan.children().first()) {
            (StageOutput::Shuffle { .. }, Some(child)) => child,
            _ => &self.plan,
        }
    }

    /// Partitions of [`Stage::body`]: the finest slices that tasks can be cut into.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.body().output_partitioning().partition_count()
    }

    /// Whether a second run of a task may yield other rows.
    #[must_use]
    pub fn is_indeterminate(&self) -> bool {
        self.determinism == Determinism::Indeterminate
    }

    /// Whether every leaf reads an exchange, so that adjacent partitions may be run as one task.
    #[must_use]
    pub fn reads_only_exchanges(&self) -> bool {
        !self.inputs.is_empty()
            && leaves(self.body())
                .iter()
                .all(|leaf| leaf.is::<ExchangeReadExec>())
    }
}

/// How a stage's rows leave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageOutput {
    /// Rows are spread over this many buckets by the partitioning of the plan's root.
    Shuffle {
        /// Number of buckets.
        buckets: usize,
    },
    /// Bucket *p* is partition *p*.
    Partitions,
    /// Rows are written to files by the tasks themselves.
    Sink {
        /// Which of the statement's writes.
        write: u32,
    },
}

/// An edge of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageInput {
    /// The producer.
    pub stage: StageId,
    /// Which of its buckets a partition of the consumer sees.
    pub mode: InputMode,
}

/// Whether a stage's partitions may run in different tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slicing {
    /// Any partition stands alone.
    Free,
    /// An operator keeps state across partitions: one task must run them all.
    Whole {
        /// That operator and why, for EXPLAIN.
        reason: &'static str,
    },
}
