//! Leaves out what is joined with nothing.
//!
//! A finished stage may turn out to have no rows. Whatever an inner join would have read beside it is not read at all.

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

/// Whether an operator yields no rows, over inputs of which the empty ones are known by now.
fn is_empty(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(read) = plan.downcast_ref::<ExchangeReadExec>() {
        return read.known().is_some_and(|known| known.rows == 0.0);
    }
    let no_rows: Vec<bool> = plan
        .children()
        .into_iter()
        .map(|child| child.is::<EmptyExec>())
        .collect();
    match no_rows[..] {
        [input] => input && passes_rows_on(plan),
        [left, right] if plan.is::<CrossJoinExec>() => left || right,
        [_, input] if plan.is::<KeyFilterExec>() => input,
        // A side that comes out in matches only is in vain if the other one has no rows.
        [left, right] => plan.downcast_ref::<HashJoinExec>().is_some_and(|join| {
            let in_vain = |side| drops_unmatched(*join.join_type(), side);
            left && in_vain(1) || right && in_vain(0)
        }),
        _ => false,
    }
}

/// Whether no rows come out of an operator if none go in.
fn passes_rows_on(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        // A sum over all rows is a row even if there are none.
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
