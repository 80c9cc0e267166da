//! Hash joins that do not fit into memory become sort-merge joins, which spill.
//!
//! DataFusion's hash join keeps its whole build side in memory. When a task starts, the exact bytes
//! of its partitions are known. So the task decides for its own plan, just before it runs it: a
//! join merges if its build side would take more than its share of the memory, and every join
//! merges if an earlier attempt ran out of memory.

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

/// The rows of one build side may take `1 / BUILD_SHARE` of a task's memory: the hash table needs
/// about as much again, and the stage has other operators.
const BUILD_SHARE: u64 = 4;

/// Which joins of a task become sort-merge joins.
pub(crate) enum JoinsByMerge<'a> {
    /// Every join that can.
    All,
    /// Joins whose build side is too large for the memory of a task.
    TooLarge {
        /// Exact bytes of the largest partition that the task reads of each stage.
        partition_bytes: &'a HashMap<StageId, u64>,
        /// Bytes of the memory pool for each slot of the executor.
        task_memory_bytes: u64,
    },
}

impl JoinsByMerge<'_> {
    /// Returns the plan with those joins replaced.
    ///
    /// # Errors
    /// If a join cannot be built, which would be a bug.
    pub(crate) fn apply(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            match node
                .downcast_ref::<HashJoinExec>()
                .filter(|join| can_merge(join) && self.applies_to(join))
            {
                Some(join) => Ok(Transformed::yes(sort_merge_join(join)?)),
                None => Ok(Transformed::no(node)),
            }
        })
        .data()
    }

    fn applies_to(&self, join: &HashJoinExec) -> bool {
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

/// Returns the exchange reads of a join's build side, each with the exact bytes of its largest
/// partition.
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

/// Whether a join can become a sort-merge join.
///
/// A hash join keeps the order of its probe side. An operator above may rely on it, so an ordered
/// join stays.
fn can_merge(join: &HashJoinExec) -> bool {
    *join.partition_mode() == PartitionMode::Partitioned
        && !join.null_aware
        && !join.on().is_empty()
        && join.fetch().is_none()
        && join.properties().output_ordering().is_none()
}

fn sort_merge_join(join: &HashJoinExec) -> Result<Arc<dyn ExecutionPlan>> {
    let (left_keys, right_keys): (Vec<_>, Vec<_>) = join.on().iter().cloned().unzip();
    let left = sort_by_keys(join.left(), left_keys);
    let right = sort_by_keys(join.right(), right_keys);
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

fn sort_by_keys(
    input: &Arc<dyn ExecutionPlan>,
    keys: Vec<PhysicalExprRef>,
) -> Arc<dyn ExecutionPlan> {
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
