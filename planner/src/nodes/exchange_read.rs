//! The reading side of an exchange, as a plan leaf.
//!
//! ```text
//!   producer tasks           t0          t1            consumer partitions read
//!     output partitions    [0 1 2]     [0 1 2]
//!                                                      Forward    p: partition p, of the task that has it
//!                                                      Shuffle    p: partition p of t0, then of t1
//!                                                      Merge      0: all partitions of t0 and t1
//!                                                      Broadcast  all: all partitions of t0 and t1
//! ```
//!
//! The planner knows only *which* output partitions a consumer's partition reads. *Where* they are
//! is known when a task starts, and is passed in the task's [`datafusion::execution::TaskContext`]
//! as an [`ExchangeHandle`]. So one plan serves every attempt of every task of a stage.

use std::fmt;
use std::sync::Arc;

use datafusion::common::{Result, internal_datafusion_err, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions, SchedulingType,
};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use serde::{Deserialize, Serialize};

use crate::ids::StageId;
use crate::statistics::Estimate;

/// Which output partitions of the producer one partition of the consumer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputMode {
    /// Partition *p* reads partition *p*, in its order.
    Forward,
    /// The only partition reads every output partition, one after another.
    Merge,
    /// Partition *p* reads output partition *p* of every task.
    Shuffle,
    /// As `Merge`, in every task of the consumer.
    Broadcast,
}

impl InputMode {
    /// Whether partition *p* reads output partition *p* only.
    #[must_use]
    pub fn is_by_partition(self) -> bool {
        matches!(self, Self::Forward | Self::Shuffle)
    }
}

/// Opens the input blocks of a task. Implemented by the executor.
///
/// Called inside a task, once per partition of each [`ExchangeReadExec`]. Dropping the stream stops
/// the fetch. A lost block must surface as an error of the stream, never as its early end.
pub trait ExchangeSource: fmt::Debug + Send + Sync {
    /// Streams the rows that `partition` of `read` reads.
    ///
    /// # Errors
    /// If `read`'s stage is not an input of the task.
    fn open(
        &self,
        read: &ExchangeReadExec,
        partition: usize,
        context: &Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream>;
}

/// Passes an [`ExchangeSource`] in a session configuration's extensions.
#[derive(Debug)]
pub struct ExchangeHandle(pub Arc<dyn ExchangeSource>);

/// A plan leaf that reads the output of another stage.
#[derive(Debug, Clone)]
pub struct ExchangeReadExec {
    stage: StageId,
    mode: InputMode,
    properties: Arc<PlanProperties>,
    known_output: Option<Arc<Estimate>>,
}

impl ExchangeReadExec {
    /// Reads `stage`. `eq_properties` are those of the operator that this leaf replaces; they
    /// include its schema.
    #[must_use]
    pub fn new(
        stage: StageId,
        mode: InputMode,
        eq_properties: EquivalenceProperties,
        partitioning: Partitioning,
    ) -> Self {
        let properties = PlanProperties::new(
            eq_properties,
            partitioning,
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Self {
            stage,
            mode,
            properties: Arc::new(properties),
            known_output: None,
        }
    }

    /// Returns a leaf that reads another stage instead, whose output is equal.
    #[must_use]
    pub(crate) fn with_stage(&self, stage: StageId) -> Self {
        Self {
            stage,
            ..self.clone()
        }
    }

    /// Adds what the producer returned, or is expected to return, for planning again while the
    /// query runs.
    #[must_use]
    pub(crate) fn with_known_output(self, known: Arc<Estimate>) -> Self {
        Self {
            known_output: Some(known),
            ..self
        }
    }

    /// Returns the producer's output as far as it is known. Not encoded: executors do not need it.
    pub(crate) fn known_output(&self) -> Option<&Arc<Estimate>> {
        self.known_output.as_ref()
    }

    /// Returns the producer.
    #[must_use]
    pub fn stage(&self) -> StageId {
        self.stage
    }

    /// Returns which output partitions a partition reads.
    #[must_use]
    pub fn mode(&self) -> InputMode {
        self.mode
    }
}

impl DisplayAs for ExchangeReadExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "ExchangeReadExec: {} {:?}", self.stage, self.mode)?;
        let count = self.properties.partitioning.partition_count();
        if self.mode.is_by_partition() {
            write!(f, ", partitions={count}")
        } else {
            Ok(())
        }
    }
}

impl ExecutionPlan for ExchangeReadExec {
    fn name(&self) -> &'static str {
        "ExchangeReadExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() {
            Ok(self)
        } else {
            internal_err!("ExchangeReadExec has no children")
        }
    }

    crate::plan_node_methods!();

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let handle = context
            .session_config()
            .get_extension::<ExchangeHandle>()
            .ok_or_else(|| {
                internal_datafusion_err!("stage {} is read outside a task", self.stage)
            })?;
        handle.0.open(self, partition, &context)
    }
}
