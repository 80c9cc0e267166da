//! Tells what a second run of a task would yield, so that recovery knows what it may mix.

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

/// What a re-run of a task yields, given the same inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Determinism {
    /// The same rows in the same order.
    Deterministic,
    /// The same rows, perhaps in another order.
    Unordered,
    /// Perhaps other rows: its first output must not be mixed with a second one.
    Indeterminate,
}

/// Judges one stage. A limit over unordered rows and any volatile function make it indeterminate, and
/// so do buckets by the hash of a float in a stage that takes its rows as they come: sums differ in
/// their last bits with the order of rows, and a hash with any bit.
///
/// # Errors
/// Only if walking the plan fails inside DataFusion.
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
        let limits =
            node.is::<GlobalLimitExec>() || node.is::<LocalLimitExec>() || node.fetch().is_some();
        if limits && unordered_input && node.output_ordering().is_none() {
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
    if worst == Determinism::Unordered && spreads_by_float(plan)? {
        worst = Determinism::Indeterminate;
    }
    Ok(worst)
}

/// Whether a part of a plan that is made twice, apart from each other, holds the same rows both times: besides what makes a
/// stage indeterminate, nothing in it may go by the order of rows, and no sums of floats, which differ in their last bits.
pub(crate) fn is_repeatable(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let goes_by_order = |node: &Arc<dyn ExecutionPlan>| {
        let windows = node.is::<WindowAggExec>() || node.is::<BoundedWindowAggExec>();
        windows
            || node
                .downcast_ref::<AggregateExec>()
                .is_some_and(|aggregate| aggregate.aggr_expr().iter().any(|of| !is_exact(of)))
    };
    determinism_of(plan).is_ok_and(|found| found != Determinism::Indeterminate)
        && plan
            .exists(|node| Ok(goes_by_order(node)))
            .is_ok_and(|found| !found)
}

/// Whether an aggregate comes out the same whatever the order of its rows.
fn is_exact(aggregate: &AggregateFunctionExpr) -> bool {
    matches!(aggregate.fun().name(), "count" | "sum" | "min" | "max")
        && !aggregate.field().data_type().is_floating()
        || aggregate.fun().name() == "avg"
            && matches!(aggregate.field().data_type(), DataType::Decimal128(..))
}

fn spreads_by_float(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
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
