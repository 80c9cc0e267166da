//! Joins keep constants of their inputs that their own rows do not have.
//!
//! In `x LEFT JOIN (SELECT b, 7 AS k FROM y)`, `k` is 7 or null. DataFusion takes it for a constant
//! all the same, and so for ordered: `ORDER BY k` is dropped, and windows over `k` are wrong. And a
//! column that has one constant for each partition of a union is lost by a join that changes its
//! columns, after the sort by it was dropped. Here the rows of such an input promise nothing.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinSide, JoinType};
use datafusion::physical_expr::AcrossPartitions;
use datafusion::physical_expr::equivalence::EquivalenceClass;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlanProperties;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::union::UnionExec;

use super::plan_rule::{Plan, PlanRule};
use crate::nodes::PlainRowsExec;
use crate::physical::replace_children;

/// Runs first: later rules rely on what operators promise.
pub(super) const JOINED_CONSTANTS: PlanRule = PlanRule {
    name: "joined_constants",
    rewrite: |plan| {
        plan.transform_up(|node| {
            let Some(join_type) = join_type(&node) else {
                return Ok(Transformed::no(node));
            };
            let sides = [JoinSide::Left, JoinSide::Right];
            let is_hidden: Vec<bool> = node
                .children()
                .into_iter()
                .zip(sides)
                .map(|(input, side)| must_hide(input, join_type, side))
                .collect();
            if !is_hidden.contains(&true) {
                return Ok(Transformed::no(node));
            }
            let inputs = node.children().into_iter().zip(is_hidden);
            let inputs = inputs.map(|(input, is_hidden)| match is_hidden {
                true => Arc::new(PlainRowsExec::new(Arc::clone(input))) as Plan,
                false => Arc::clone(input),
            });
            let inputs = inputs.collect();
            replace_children(node, inputs).map(Transformed::yes)
        })
        .data()
    },
};

fn join_type(plan: &Plan) -> Option<JoinType> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return Some(*join.join_type());
    }
    if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        return Some(*join.join_type());
    }
    plan.downcast_ref::<SortMergeJoinExec>()
        .map(SortMergeJoinExec::join_type)
}

fn has_union(plan: &Plan) -> bool {
    plan.is::<UnionExec>() || plan.children().into_iter().any(has_union)
}

/// Whether the rows of a join do not keep what an input promises.
fn must_hide(input: &Plan, join_type: JoinType, side: JoinSide) -> bool {
    let gets_nulls = match side {
        JoinSide::Left => matches!(join_type, JoinType::Right | JoinType::Full),
        _ => matches!(join_type, JoinType::Left | JoinType::Full),
    };
    let properties = input.equivalence_properties();
    let has_lost_constant = properties.constants().iter().any(|constant| {
        let is_of_partition = constant.across_partitions == AcrossPartitions::Heterogeneous;
        gets_nulls || (is_of_partition && has_union(input))
    });
    // In a row of nulls, `coalesce(b, 0)` is not null, and no longer equal to its column.
    let is_computed = |class: &EquivalenceClass| class.iter().any(|expr| !expr.is::<Column>());
    has_lost_constant || (gets_nulls && properties.eq_group().iter().any(is_computed))
}
