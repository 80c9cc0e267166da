//! Drops rows before an aggregation whose groups the join above drops anyway (magic sets, Bancilhon
//! et al. 1986).
//!
//! ```text
//!   HashJoinExec k = g                          HashJoinExec k = g
//!     few keys                                    few keys
//!     AggregateExec by g                 ──►      AggregateExec by g
//!       large                                       HashJoinExec CollectLeft, RightSemi
//!                                                     few keys
//!                                                     large
//! ```
//!
//! `… WHERE l_quantity < (SELECT 0.2 * avg(l_quantity) FROM lineitem WHERE l_partkey = p_partkey)`
//! is planned as a join with the averages of all parts, although few parts remain by then. If one
//! side of a join is an aggregation by the join key, and the other side takes its key from a small
//! relation, a semi join first reduces the aggregation's input to the keys of that relation.

use std::sync::Arc;

use datafusion::common::config::OptimizerOptions;
use datafusion::common::{JoinType, Result};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::joins::HashJoinExec;

use super::ownership::{input_column, owning_child, owning_side};
use super::rule::Rule;
use crate::cost::{AGGREGATE_COST, REDUCE_FIRST_FRACTION_MAX};
use crate::determinism::is_repeatable;
use crate::estimate::estimate;
use crate::physical::{
    column_index, drops_unmatched, has_plain_keys, leaves, replace_child, replace_nodes, semi_join,
};

pub(super) const REDUCE_FIRST: Rule = Rule {
    name: "reduce_first",
    is_on: |switches| switches.reduce_first,
    rewrite: |plan, config| replace_nodes(plan, |join| reduce_aggregate(join, &config.optimizer)),
};

/// A plan, and a column of it.
type PlanColumn<'a> = (&'a Arc<dyn ExecutionPlan>, usize);

/// Returns the join with an aggregation in it reduced; `None` if there is none, or it gains
/// nothing.
fn reduce_aggregate(
    join: &HashJoinExec,
    limits: &OptimizerOptions,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if !has_plain_keys(join) {
        return Ok(None);
    }
    let sides = [join.left(), join.right()];
    for (left_key, right_key) in join.on() {
        let (Some(left), Some(right)) = (column_index(left_key), column_index(right_key)) else {
            continue;
        };
        let keys = [left, right];
        for side in [1, 0] {
            // Groups may be dropped only if the join would drop them anyway.
            if !drops_unmatched(*join.join_type(), side) {
                continue;
            }
            let other = (sides[1 - side], keys[1 - side]);
            let reduced = reduce_below_aggregate(sides[side], keys[side], other, limits)?;
            if let Some(reduced) = reduced {
                let join: Arc<dyn ExecutionPlan> = Arc::new(join.builder().build()?);
                return replace_child(&join, side, reduced).map(Some);
            }
        }
    }
    Ok(None)
}

/// Finds the aggregation by `key` in `plan`, and reduces its input to the values of `other`.
fn reduce_below_aggregate(
    plan: &Arc<dyn ExecutionPlan>,
    key: usize,
    other: PlanColumn,
    limits: &OptimizerOptions,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(aggregate) = plan.downcast_ref::<AggregateExec>() else {
        let ([child], Some(input_key)) = (&plan.children()[..], input_column(plan, key)) else {
            return Ok(None);
        };
        return reduce_below_aggregate(child, input_key, other, limits)?
            .map(|reduced| replace_child(plan, 0, reduced))
            .transpose();
    };
    let groups = aggregate.group_expr();
    let group_key = groups.expr().get(key).filter(|_| groups.is_single());
    let Some(input_key) = group_key.and_then(|(expr, _)| column_index(expr)) else {
        return Ok(None);
    };
    let input = aggregate.input();
    // A final aggregation reads a partial one.
    let reduced = if input.is::<AggregateExec>() {
        reduce_below_aggregate(input, input_key, other, limits)?
    } else {
        reduce_owner(input, input_key, other, limits)?
    };
    reduced
        .map(|reduced| replace_child(plan, 0, reduced))
        .transpose()
}

/// Puts the semi join on the relation of `plan` that owns the key, so that joins above read fewer
/// rows as well.
fn reduce_owner(
    plan: &Arc<dyn ExecutionPlan>,
    key: usize,
    other: PlanColumn,
    limits: &OptimizerOptions,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some((child, child_key)) = owning_child(plan, key) else {
        return reduce_to_keys(plan, key, other, limits);
    };
    reduce_owner(plan.children()[child], child_key, other, limits)?
        .map(|reduced| replace_child(plan, child, reduced))
        .transpose()
}

/// Reduces `input` to the keys of the cheapest source of `other`'s values; `None` if no source
/// gains anything.
fn reduce_to_keys(
    input: &Arc<dyn ExecutionPlan>,
    key: usize,
    other: PlanColumn,
    limits: &OptimizerOptions,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let mut sources = vec![];
    collect_key_sources(other, &mut sources);
    let rows = estimate(input).rows;
    let mut cheapest: Option<(f64, Arc<dyn ExecutionPlan>)> = None;
    for (source, column) in sources {
        let rows_read: f64 = leaves(&source).iter().map(|leaf| estimate(leaf).rows).sum();
        // The source runs a second time here: it must return the same rows, and cost less than it
        // saves.
        if !is_repeatable(&source)
            || estimate(&source).rows > limits.hash_join_single_partition_threshold_rows as f64
            || rows_read > rows
        {
            continue;
        }
        let semi = semi_join(&source, input, &[(column, key)])?;
        let rows_left = estimate(&semi).rows;
        let cost = rows_read + rows_left * AGGREGATE_COST;
        if rows_left <= rows * REDUCE_FIRST_FRACTION_MAX
            && cheapest
                .as_ref()
                .is_none_or(|(lowest_cost, _)| cost < *lowest_cost)
        {
            cheapest = Some((cost, semi));
        }
    }
    Ok(cheapest
        .filter(|(cost, _)| *cost < rows * AGGREGATE_COST)
        .map(|(_, semi)| semi))
}

/// Collects the plans, each with a column, that hold every value that `column` of `plan` may have.
fn collect_key_sources(
    (plan, column): PlanColumn,
    sources: &mut Vec<(Arc<dyn ExecutionPlan>, usize)>,
) {
    sources.push((Arc::clone(plan), column));
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        let Some((side, side_column)) = owning_side(join, column) else {
            return;
        };
        let sides = [join.left(), join.right()];
        collect_key_sources((sides[side], side_column), sources);
        // Matched rows have the same key on both sides, so the other side holds all values too.
        let partner = join
            .on()
            .iter()
            .map(|(left, right)| [column_index(left), column_index(right)])
            .filter(|pair| pair[side] == Some(side_column))
            .find_map(|pair| pair[1 - side]);
        if let (JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi, Some(partner)) =
            (join.join_type(), partner)
        {
            collect_key_sources((sides[1 - side], partner), sources);
        }
    } else if let ([child], Some(input)) = (&plan.children()[..], input_column(plan, column)) {
        collect_key_sources((child, input), sources);
    }
}

#[cfg(test)]
mod tests {
    use datafusion::physical_plan::aggregates::{AggregateMode, PhysicalGroupBy};
    use datafusion::physical_plan::joins::PartitionMode;

    use super::*;
    use crate::physical::column_at;
    use crate::rules::testing::{join, optimize, relation};

    /// Groups `plan` by its first column.
    fn aggregate(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let group = PhysicalGroupBy::new_single(vec![(column_at(&plan, 0), "k".to_owned())]);
        let schema = plan.schema();
        let mode = AggregateMode::Single;
        Arc::new(AggregateExec::try_new(mode, group, vec![], vec![], plan, schema).unwrap())
    }

    fn optimized(keys: f64, rows: f64, join_type: JoinType) -> String {
        let plan = join(
            relation(0, keys),
            aggregate(relation(1, rows)),
            join_type,
            PartitionMode::Partitioned,
        );
        optimize(&REDUCE_FIRST, plan)
    }

    #[test]
    fn the_input_of_an_aggregation_is_reduced_to_the_keys_that_the_join_keeps() {
        let expected = "HashJoinExec: mode=Partitioned, join_type=Inner\
            \n  ExchangeReadExec: s0 Forward\
            \n  AggregateExec: mode=Single\
            \n    HashJoinExec: mode=CollectLeft, join_type=RightSemi\
            \n      ProjectionExec: expr=[k@0 as k]\
            \n        ExchangeReadExec: s0 Forward\
            \n      ExchangeReadExec: s1 Forward";
        assert_eq!(optimized(1e3, 1e7, JoinType::Inner), expected);
    }

    #[test]
    fn groups_that_the_join_returns_without_a_match_are_kept() {
        for join_type in [JoinType::Right, JoinType::Full] {
            assert!(!optimized(1e3, 1e7, join_type).contains("RightSemi"));
        }
    }

    #[test]
    fn nothing_is_reduced_if_most_keys_remain() {
        assert!(!optimized(9e5, 1e6, JoinType::Inner).contains("RightSemi"));
    }
}
