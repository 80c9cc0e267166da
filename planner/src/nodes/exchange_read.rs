//! The reading side of an exchange, as a plan leaf.
//!
//! The planner knows only *which* buckets a partition reads. *Where* they are is known when a task
//! starts, and travels in the task's [`datafusion::execution::TaskContext`] as an [`ExchangeHandle`];
//! so one stage plan serves every attempt of every task.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_datafusion_err, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions, SchedulingType,
};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use serde::{Deserialize, Serialize};

use crate::ids::StageId;
use crate::statistics::Estimate;

/// Which buckets of the producer one partition of the consumer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputMode {
    /// Partition *p* reads partition *p*, in its order.
    Forward,
    /// The only partition reads every bucket, partition after partition.
    Merge,
    /// Partition *p* reads bucket *p* of every task.
    Shuffle,
    /// As `Merge`, but in every task of the consumer.
    Broadcast,
}

impl InputMode {
    /// Whether a partition reads the bucket of its own number only.
    #[must_use]
    pub fn is_by_bucket(self) -> bool {
        matches!(self, Self::Forward | Self::Shuffle)
    }
}

/// Opens the blocks that a task was given. Implemented by the executor.
///
/// Called once per partition of each [`ExchangeReadExec`], from inside a task. Dropping the stream
/// stops the fetch. A block that no tier holds must surface as an error of the stream, never as an
/// early end.
pub trait ExchangeSource: Send + Sync {
    /// Streams what `partition` of `read` sees.
    ///
    /// # Errors
    /// If `read`'s stage is not among the task's inputs.
    fn open(
        &self,
        read: &ExchangeReadExec,
        partition: usize,
        context: &Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream>;
}

/// Carries an [`ExchangeSource`] in a session configuration's extensions.
pub struct ExchangeHandle(pub Arc<dyn ExchangeSource>);

/// A plan leaf that reads the output of another stage.
#[derive(Debug, Clone)]
pub struct ExchangeReadExec {
    stage: StageId,
    mode: InputMode,
    properties: Arc<PlanProperties>,
    known: Option<Arc<Estimate>>,
}

impl ExchangeReadExec {
    /// `eq_properties` are those of the operator that this leaf replaces; they hold its schema.
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
            known: None,
        }
    }

    /// The same, of another producer's equal output.
    #[must_use]
    pub(crate) fn with_stage(&self, stage: StageId) -> Self {
        Self {
            stage,
            ..self.clone()
        }
    }

    /// The same, for planning on: what the producer yields, as far as that is known, or else expected.
    #[must_use]
    pub(crate) fn knowing(self, known: Arc<Estimate>) -> Self {
        Self {
            known: Some(known),
            ..self
        }
    }

    /// What the producer yields. It does not travel: executors read what there is.
    pub(crate) fn known(&self) -> Option<&Arc<Estimate>> {
        self.known.as_ref()
    }

    /// The producer.
    #[must_use]
    pub fn stage(&self) -> StageId {
        self.stage
    }

    /// Which buckets a partition reads.
    #[must_use]
    pub fn mode(&self) -> InputMode {
        self.mode
    }
}

impl DisplayAs for ExchangeReadExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "ExchangeReadExec: {} {:?}", self.stage, self.mode)?;
        let count = self.properties.partitioning.partition_count();
        if self.mode.is_by_bucket() {
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

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
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

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() {
            Ok(self)
        } else {
            internal_err!("ExchangeReadExec has no children")
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let handle = context
            .session_config()
            .get_extension::<ExchangeHandle>()
            .ok_or_else(|| internal_datafusion_err!("{} read outside a task", self.stage))?;
        handle.0.open(self, partition, &context)
    }
}
