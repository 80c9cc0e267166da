//! Groups by a floating-point number are not cut to the first few while they are made.
//!
//! For `GROUP BY x ORDER BY x LIMIT n` DataFusion's `LimitAggregation` keeps `n` groups in a hash
//! table that compares keys by `==`. NaN is not equal to itself, so that its group is never found
//! again, and the task panics. Without the limit the sort above the aggregate cuts the rows.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, LimitOptions};

use crate::physical::replace_nodes;
use crate::workarounds::plan_rule::PlanRule;

/// Removes the limit from ordered groups whose keys are floating-point numbers.
pub(in crate::workarounds) const TOP_GROUPS_OF_FLOATS: PlanRule = PlanRule {
    name: "top_groups_of_floats",
    rewrite: |plan| {
        replace_nodes(plan, |aggregate: &AggregateExec| {
            let is_cut = is_cut_while_grouping(aggregate);
            Ok(is_cut.then(|| Arc::new(aggregate.with_new_limit_options(None)) as _))
        })
    },
};

fn is_cut_while_grouping(aggregate: &AggregateExec) -> bool {
    let is_ordered = |options: LimitOptions| options.descending.is_some();
    let schema = aggregate.schema();
    let keys = aggregate.group_expr().expr().len();
    aggregate.limit_options().is_some_and(is_ordered)
        && schema
            .fields()
            .iter()
            .take(keys)
            .any(|field| field.data_type().is_floating())
}
