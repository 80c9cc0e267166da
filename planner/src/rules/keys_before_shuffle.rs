//! Leaves rows out that a join will not match, before they are moved to it.
//!
//! `EXISTS` over a large table is a join that emits rows of its small side: that side cannot be broadcast, so both are
//! shuffled. But its keys can: the large side is reduced to them by a semi-join first, and what is left is moved. The
//! small side is read twice, so a stage ends there ([`MaterializeExec`]).

use std::sync::Arc;

use datafusion::common::config::{ConfigOptions, OptimizerOptions};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinType, NullEquality, Result};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions, reset_plan_states};
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

use super::switches::switches;
use crate::estimate::estimate;
use crate::materialize::MaterializeExec;

/// Of the large side no more than this part may be left.
const LEFT_MAX: f64 = 0.5;
/// The large side is so many times the small one.
const TIMES_MIN: f64 = 5.0;

#[derive(Debug)]
pub(super) struct KeysBeforeShuffle;

impl PhysicalOptimizerRule for KeysBeforeShuffle {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        if !switches(config).keys_before_shuffle {
            return Ok(plan);
        }
        plan.transform_up(|node| match node.downcast_ref::<HashJoinExec>() {
            Some(join) => reduced(join, &config.optimizer).map(|better| better.map_or(Transformed::no(Arc::clone(&node)), Transformed::yes)),
            None => Ok(Transformed::no(node)),
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "keys_before_shuffle"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The join with its large side reduced to the keys of its small side; `None` where that gains nothing.
fn reduced(join: &HashJoinExec, limits: &OptimizerOptions) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let small_is_left = match join.join_type() {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark | JoinType::Left => true,
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark | JoinType::Right => false,
        JoinType::Inner | JoinType::Full => return Ok(None),
    };
    if *join.partition_mode() != PartitionMode::Partitioned || join.null_aware || join.null_equality() != NullEquality::NullEqualsNothing {
        return Ok(None);
    }
    let (small, large) = if small_is_left { (join.left(), join.right()) } else { (join.right(), join.left()) };
    let keys: Option<Vec<(usize, usize)>> =
        join.on().iter().map(|(l, r)| if small_is_left { column(l).zip(column(r)) } else { column(r).zip(column(l)) }).collect();
    let Some(keys) = keys else { return Ok(None) };
    let (small_rows, large_rows) = (estimate(small).rows, estimate(large).rows);
    // What could be broadcast itself may as well be moved.
    let few = limits.hash_join_single_partition_threshold_rows as f64;
    if small_rows > few || large_rows < few || large_rows < small_rows * TIMES_MIN {
        return Ok(None);
    }
    let kept: Arc<dyn ExecutionPlan> = Arc::new(MaterializeExec::new(Arc::clone(small)));
    let again: Arc<dyn ExecutionPlan> = Arc::new(MaterializeExec::new(reset_plan_states(Arc::clone(small))?));
    let semi = semi_join(&again, large, &keys)?;
    if estimate(&semi).rows > large_rows * LEFT_MAX {
        return Ok(None);
    }
    let children = if small_is_left { vec![kept, semi] } else { vec![semi, kept] };
    let join: Arc<dyn ExecutionPlan> = Arc::new(join.builder().build()?);
    join.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute)).map(Some)
}

/// The large side's rows whose keys the small side has.
fn semi_join(small: &Arc<dyn ExecutionPlan>, large: &Arc<dyn ExecutionPlan>, keys: &[(usize, usize)]) -> Result<Arc<dyn ExecutionPlan>> {
    let of =
        |plan: &Arc<dyn ExecutionPlan>, index: usize| -> Arc<dyn PhysicalExpr> { Arc::new(Column::new(plan.schema().field(index).name(), index)) };
    let only = keys.iter().map(|(key, _)| ProjectionExpr { expr: of(small, *key), alias: small.schema().field(*key).name().clone() });
    let only: Arc<dyn ExecutionPlan> = Arc::new(ProjectionExec::try_new(only.collect::<Vec<_>>(), Arc::clone(small))?);
    let on = keys.iter().enumerate().map(|(index, (_, key))| (of(&only, index), of(large, *key))).collect();
    let (mode, nulls) = (PartitionMode::CollectLeft, NullEquality::NullEqualsNothing);
    Ok(Arc::new(HashJoinExec::try_new(only, Arc::clone(large), on, None, &JoinType::RightSemi, None, mode, nulls, false)?))
}

fn column(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expr.downcast_ref::<Column>().map(Column::index)
}
