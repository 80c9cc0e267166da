//! Decides whether a second run of a task returns the same rows, so that recovery knows which
//! outputs it may combine.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};

/// What a second run of a task returns, given the same inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Determinism {
    /// The same rows in the same order.
    Deterministic,
    /// The same rows, possibly in another order.
    Unordered,
    /// Possibly different rows: outputs of two runs must not be combined.
    Indeterminate,
}

/// Classifies the plan of one stage.
///
/// A stage is indeterminate if it has a limit over unordered rows or a volatile function. It is
/// also indeterminate if it reads rows in arbitrary order and partitions its output by the hash of
/// a float: sums of floats differ in their last bits with the order of rows, and one bit changes
/// the hash.
///
/// # Errors
/// If DataFusion fails to visit the plan.
pub(crate) fn determinism_of(plan: &Arc<dyn ExecutionPlan>) -> Result<Determinism> {
    let mut worst = Determinism::Deterministic;
    plan.apply(|node| {
        if node.is::<crate::nodes::ExchangeReadExec>() {
            worst = worst.max(Determinism::Unordered);
        }
        let unordered_input = node
            .children()
            .first()
            .is_some_and(|child| child.output_ordering().is_none());
        let has_limit =
            node.is::<GlobalLimitExec>() || node.is::<LocalLimitExec>() || node.fetch().is_some();
        if has_limit && unordered_input && node.output_ordering().is_none() {
            worst = Determinism::Indeterminate;
        }
        node.apply_expressions(&mut |expr| {
            if is_volatile(expr)? {
                worst = Determinism::Indeterminate;
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    if worst == Determinism::Unordered && partitions_by_float(plan)? {
        worst = Determinism::Indeterminate;
    }
    Ok(worst)
}

/// Whether a plan that is executed twice, independently, returns the same rows both times.
///
/// Besides what makes a stage indeterminate, it must not have operators whose result depends on the
/// order of rows, such as window functions and sums of floats.
pub(crate) fn is_repeatable(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let depends_on_order = |node: &Arc<dyn ExecutionPlan>| {
        let is_window = node.is::<WindowAggExec>() || node.is::<BoundedWindowAggExec>();
        is_window
            || node
                .downcast_ref::<AggregateExec>()
                .is_some_and(|aggregate| {
                    aggregate
                        .aggr_expr()
                        .iter()
                        .any(|function| !is_order_independent(function))
                })
    };
    determinism_of(plan).is_ok_and(|determinism| determinism != Determinism::Indeterminate)
        && plan
            .exists(|node| Ok(depends_on_order(node)))
            .is_ok_and(|exists| !exists)
}

/// Whether an aggregate function returns the same result for any order of its rows.
fn is_order_independent(aggregate: &AggregateFunctionExpr) -> bool {
    matches!(
        aggregate.fun().name(),
        "count" | "sum" | "checked_sum" | "min" | "max"
    ) && !aggregate.field().data_type().is_floating()
        || aggregate.fun().name() == "avg"
            && matches!(aggregate.field().data_type(), DataType::Decimal128(..))
}

fn partitions_by_float(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let Some(root) = plan.downcast_ref::<RepartitionExec>() else {
        return Ok(false);
    };
    let Partitioning::Hash(keys, _) = root.partitioning() else {
        return Ok(false);
    };
    let schema = root.input().schema();
    for key in keys {
        if key.data_type(&schema)?.is_floating() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_volatile(expr: &Arc<dyn PhysicalExpr>) -> Result<bool> {
    expr.exists(|e| Ok(e.is_volatile_node()))
}
