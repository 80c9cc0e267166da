//! Hash joins that do not fit into memory become sort-merge joins, which spill.
//!
//! DataFusion's hash join keeps its whole build side in memory. At a stage's start the exact bytes of
//! each partition are known, so a task decides for its own plan, just before it runs it: where the
//! build side of a partition would take more than its share of the pool, and everywhere once the
//! task has run out of memory before.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::compute::SortOptions;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_common::physical_expr::PhysicalExprRef;
use datafusion::physical_expr_common::sort_expr::LexOrdering;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode, SortMergeJoinExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use faisca_planner::ids::StageId;
use faisca_planner::{ExchangeReadExec, leaves};

/// Part of a task's memory that the rows of one build side may take: its hash table needs about as
/// much again, and the stage has other operators.
const BUILD_SHARE: u64 = 4;

/// Which joins of a task are to merge.
pub(crate) enum JoinsByMerge<'a> {
    /// All that can.
    All,
    /// Those whose build side is too large for a task with so much memory.
    TooLarge {
        /// Exact bytes of the largest partition that the task reads of each stage.
        partition_bytes: &'a HashMap<StageId, u64>,
        /// What the pool has for each of the executor's slots.
        task_memory_bytes: u64,
    },
}

impl JoinsByMerge<'_> {
    /// The same plan with other joins.
    ///
    /// # Errors
    /// If a join cannot be built, which would be a bug.
    pub(crate) fn apply(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            match node
                .downcast_ref::<HashJoinExec>()
                .filter(|join| can_merge(join) && self.wants(join))
            {
                Some(join) => Ok(Transformed::yes(merging(join)?)),
                None => Ok(Transformed::no(node)),
            }
        })
        .data()
    }

    fn wants(&self, join: &HashJoinExec) -> bool {
        match self {
            Self::All => true,
            Self::TooLarge {
                partition_bytes,
                task_memory_bytes,
            } => {
                let build: u64 = build_inputs(join, partition_bytes)
                    .iter()
                    .map(|(_, bytes)| bytes)
                    .sum();
                build > task_memory_bytes / BUILD_SHARE
            }
        }
    }
}

/// What the build side of a join reads of other stages, each with the exact bytes of its largest partition.
pub(crate) fn build_inputs(
    join: &HashJoinExec,
    partition_bytes: &HashMap<StageId, u64>,
) -> Vec<(Arc<dyn ExecutionPlan>, u64)> {
    let read = |leaf: Arc<dyn ExecutionPlan>| {
        let bytes = *partition_bytes.get(&leaf.downcast_ref::<ExchangeReadExec>()?.stage())?;
        Some((leaf, bytes))
    };
    leaves(join.left()).into_iter().filter_map(read).collect()
}

/// A hash join keeps the order of its probe side, which an operator above may count on.
fn can_merge(join: &HashJoinExec) -> bool {
    *join.partition_mode() == PartitionMode::Partitioned
        && !join.null_aware
        && !join.on().is_empty()
        && join.fetch().is_none()
        && join.properties().output_ordering().is_none()
}

fn merging(join: &HashJoinExec) -> Result<Arc<dyn ExecutionPlan>> {
    let (left_keys, right_keys): (Vec<_>, Vec<_>) = join.on().iter().cloned().unzip();
    let left = sorted(join.left(), left_keys);
    let right = sorted(join.right(), right_keys);
    let options = vec![SortOptions::default(); join.on().len()];
    let on = join.on().to_vec();
    let merged = SortMergeJoinExec::try_new(
        left,
        right,
        on,
        join.filter().cloned(),
        *join.join_type(),
        options,
        join.null_equality(),
    )?;
    let merged: Arc<dyn ExecutionPlan> = Arc::new(merged);
    let Some(projection) = join.projection.as_deref() else {
        return Ok(merged);
    };
    let schema = merged.schema();
    let column = |index: &usize| {
        let name = schema.field(*index).name();
        (
            Arc::new(Column::new(name, *index)) as PhysicalExprRef,
            name.clone(),
        )
    };
    let columns: Vec<_> = projection.iter().map(column).collect();
    Ok(Arc::new(ProjectionExec::try_new(columns, merged)?))
}

fn sorted(input: &Arc<dyn ExecutionPlan>, keys: Vec<PhysicalExprRef>) -> Arc<dyn ExecutionPlan> {
    let order = keys
        .into_iter()
        .map(|key| PhysicalSortExpr::new(key, SortOptions::default()));
    match LexOrdering::new(order) {
        Some(order) => {
            Arc::new(SortExec::new(order, Arc::clone(input)).with_preserve_partitioning(true))
        }
        None => Arc::clone(input),
    }
}
