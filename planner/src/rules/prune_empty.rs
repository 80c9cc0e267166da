//! Removes operators that cannot return rows, because a finished stage was empty.
//!
//! ```text
//!   HashJoinExec Inner                     EmptyExec
//!     ExchangeReadExec s0, no rows  ──►
//!     scan
//! ```
//!
//! Applied while the query runs, when a stage turns out to have no rows. The other side of an inner
//! join with it is then not read at all.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;

use super::rule::Rule;
use crate::nodes::{ExchangeReadExec, KeyFilterExec, MaterializeExec};
use crate::physical::drops_unmatched;

pub(super) const PRUNE_EMPTY: Rule = Rule {
    name: "prune_empty",
    is_on: |switches| switches.adaptive,
    rewrite: |plan, _| prune(plan),
};

fn prune(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        if node.is::<EmptyExec>() || !is_empty(&node) {
            return Ok(Transformed::no(node));
        }
        Ok(Transformed::yes(Arc::new(EmptyExec::new(node.schema()))))
    })
    .data()
}

/// Whether an operator returns no rows. Empty inputs have been replaced by [`EmptyExec`] already.
fn is_empty(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(read) = plan.downcast_ref::<ExchangeReadExec>() {
        return read.known_output().is_some_and(|output| output.rows == 0.0);
    }
    let is_input_empty: Vec<bool> = plan
        .children()
        .into_iter()
        .map(|child| child.is::<EmptyExec>())
        .collect();
    match is_input_empty[..] {
        [input] => input && is_empty_on_empty_input(plan),
        [left, right] if plan.is::<CrossJoinExec>() => left || right,
        [_, input] if plan.is::<KeyFilterExec>() => input,
        // A side whose unmatched rows are dropped returns nothing if the other side has no rows.
        [left, right] => plan.downcast_ref::<HashJoinExec>().is_some_and(|join| {
            let needs_match = |side| drops_unmatched(*join.join_type(), side);
            left && needs_match(1) || right && needs_match(0)
        }),
        _ => false,
    }
}

/// Whether an operator with one input returns no rows if its input has none.
fn is_empty_on_empty_input(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        // An aggregation without keys returns one row even for an empty input.
        let keys = aggregate.group_expr();
        return keys.is_single() && !keys.expr().is_empty();
    }
    plan.is::<FilterExec>()
        || plan.is::<ProjectionExec>()
        || plan.is::<RepartitionExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<SortExec>()
        || plan.is::<SortPreservingMergeExec>()
        || plan.is::<MaterializeExec>()
        || plan.is::<GlobalLimitExec>()
        || plan.is::<LocalLimitExec>()
}

#[cfg(test)]
mod tests {
    use datafusion::common::JoinType;
    use datafusion::physical_plan::joins::PartitionMode;

    use super::*;
    use crate::rules::testing::{join, optimize, relation, shuffle};

    fn optimized(left_rows: f64, right_rows: f64, join_type: JoinType) -> String {
        let (left, right) = (
            shuffle(relation(0, left_rows)),
            shuffle(relation(1, right_rows)),
        );
        optimize(
            &PRUNE_EMPTY,
            join(left, right, join_type, PartitionMode::Partitioned),
        )
    }

    #[test]
    fn a_join_with_an_empty_side_that_it_needs_a_match_of_is_removed() {
        assert_eq!(optimized(0.0, 10.0, JoinType::Inner), "EmptyExec");
        assert_eq!(optimized(10.0, 0.0, JoinType::Inner), "EmptyExec");
        assert_eq!(optimized(0.0, 10.0, JoinType::Left), "EmptyExec");
        assert_eq!(optimized(10.0, 0.0, JoinType::LeftSemi), "EmptyExec");
    }

    #[test]
    fn an_outer_join_keeps_the_rows_of_its_other_side() {
        let plan = optimized(10.0, 0.0, JoinType::Left);
        assert!(plan.starts_with("HashJoinExec"), "{plan}");
        assert!(plan.ends_with("\n  EmptyExec"), "{plan}");
    }

    #[test]
    fn a_plan_whose_stages_have_rows_stays_as_it_is() {
        let plan = optimized(10.0, 10.0, JoinType::Inner);
        assert!(!plan.contains("EmptyExec"), "{plan}");
    }
}
