//! Grouping sets do not keep what is known of their input.
//!
//! `WHERE c = 1 GROUP BY ROLLUP (c, d)` returns rows in which `c` is NULL. DataFusion takes `c` for
//! a constant all the same, and so for ordered: the next aggregate ends its groups whenever `c`
//! changes, and returns a group several times. The same holds for columns that are equal, ordered
//! or partitioned by in the input. Here the rows of grouping sets promise nothing.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode};

use super::plan_rule::PlanRule;
use crate::nodes::PlainRowsExec;

/// Runs first: later rules rely on what operators promise.
pub(super) const GROUPING_SETS: PlanRule = PlanRule {
    name: "grouping_sets",
    rewrite: |plan| {
        plan.transform_up(|node| {
            let has_sets = node
                .downcast_ref::<AggregateExec>()
                .is_some_and(makes_grouping_sets);
            Ok(match has_sets {
                true => Transformed::yes(Arc::new(PlainRowsExec::new(node)) as _),
                false => Transformed::no(node),
            })
        })
        .data()
    },
};

fn makes_grouping_sets(aggregate: &AggregateExec) -> bool {
    !aggregate.group_expr().is_single() && aggregate.mode().input_mode() == AggregateInputMode::Raw
}
