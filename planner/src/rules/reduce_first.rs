//! Keeps rows from an aggregate whose groups nobody will ask for (magic sets, Bancilhon et al. 1986).
//!
//! `… WHERE l_quantity < (SELECT 0.2 * avg(l_quantity) FROM lineitem WHERE l_partkey = p_partkey)` is planned as a join with
//! the averages of all parts, though few parts are left by then. If one side of a join is an aggregate by the join's key,
//! and the other side gets its key from a small relation, the aggregate's input is reduced to the keys of that relation first.

use std::sync::Arc;

use datafusion::common::config::OptimizerOptions;
use datafusion::common::{JoinType, Result};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;

use super::rule::Rule;
use crate::cost::{AGGREGATE_COST, REDUCE_FIRST_FRACTION_MAX};
use crate::determinism::is_repeatable;
use crate::estimate::estimate;
use crate::physical::{
    column_index, drops_unmatched, has_plain_keys, leaves, replace_children, replace_hash_joins,
    semi_join,
};

pub(super) const REDUCE_FIRST: Rule = Rule {
    name: "reduce_first",
    is_on: |switches| switches.reduce_first,
    rewrite: |plan, config| replace_hash_joins(plan, |join| reduced_join(join, &config.optimizer)),
};

/// The join with an aggregate of it reduced; `None` where there is none, or nothing to gain.
fn reduced_join(
    join: &HashJoinExec,
    limits: &OptimizerOptions,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if !has_plain_keys(join) {
        return Ok(None);
    }
    // Groups that find no partner must not show.
    let [left, right] = [0, 1].map(|side| drops_unmatched(*join.join_type(), side));
    for (left_key, right_key) in join.on() {
        let (Some(l), Some(r)) = (column_index(left_key), column_index(right_key)) else {
            continue;
        };
        if right && let Some(reduced) = reduced(join.right(), r, (join.left(), l), limits)? {
            return replace_children(
                Arc::new(join.builder().build()?),
                vec![Arc::clone(join.left()), reduced],
            )
            .map(Some);
        }
        if left && let Some(reduced) = reduced(join.left(), l, (join.right(), r), limits)? {
            return replace_children(
                Arc::new(join.builder().build()?),
                vec![reduced, Arc::clone(join.right())],
            )
            .map(Some);
        }
    }
    Ok(None)
}

/// A plan, and a column of it.
type Key<'a> = (&'a Arc<dyn ExecutionPlan>, usize);

/// `plan` with the input of the aggregate in it reduced to the keys of `other`.
fn reduced(
    plan: &Arc<dyn ExecutionPlan>,
    key: usize,
    other: Key,
    limits: &OptimizerOptions,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        let groups = aggregate.group_expr();
        let Some(input_key) = groups
            .expr()
            .get(key)
            .filter(|_| groups.is_single())
            .and_then(|(expr, _)| column_index(expr))
        else {
            return Ok(None);
        };
        let input = aggregate.input();
        let lower = if input.is::<AggregateExec>() {
            reduced(input, input_key, other, limits)?
        } else {
            at_owner(input, input_key, other, limits)?
        };
        return lower
            .map(|lower| replace_children(Arc::clone(plan), vec![lower]))
            .transpose();
    }
    match plan.children()[..] {
        [child] => {
            let Some(lower_key) = below(plan, key) else {
                return Ok(None);
            };
            reduced(child, lower_key, other, limits)?
                .map(|lower| replace_children(Arc::clone(plan), vec![lower]))
                .transpose()
        }
        _ => Ok(None),
    }
}

/// `plan` with the semi-join on the relation of it that owns the key: what is joined with that is less, then.
fn at_owner(
    plan: &Arc<dyn ExecutionPlan>,
    key: usize,
    other: Key,
    limits: &OptimizerOptions,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let children = plan.children();
    if let Some((place, lower_key)) = owner(plan, key) {
        let Some(lower) = at_owner(children[place], lower_key, other, limits)? else {
            return Ok(None);
        };
        let mut children: Vec<_> = children.into_iter().cloned().collect();
        children[place] = lower;
        return replace_children(Arc::clone(plan), children).map(Some);
    }
    semi_joined(plan, key, other, limits)
}

/// The child that owns a column, and its place there, where no row of the plan comes without one of that child.
fn owner(plan: &Arc<dyn ExecutionPlan>, key: usize) -> Option<(usize, usize)> {
    match plan.downcast_ref::<HashJoinExec>() {
        Some(join) => joined_from(join, key),
        None => below(plan, key).map(|key| (0, key)),
    }
}

/// The side that a join has a column from, left or right, and its place there; `None` if rows come without that side.
pub(super) fn joined_from(join: &HashJoinExec, key: usize) -> Option<(usize, usize)> {
    let key = join
        .projection
        .as_ref()
        .map_or(Some(key), |kept| kept.get(key).copied())?;
    let split = join.left().schema().fields().len();
    match join.join_type() {
        JoinType::Inner if key >= split => Some((1, key - split)),
        JoinType::Inner | JoinType::LeftSemi | JoinType::LeftAnti => Some((0, key)),
        JoinType::RightSemi | JoinType::RightAnti => Some((1, key)),
        _ => None,
    }
}

/// The input's rows whose key is one of the best source of such keys.
fn semi_joined(
    input: &Arc<dyn ExecutionPlan>,
    key: usize,
    other: Key,
    limits: &OptimizerOptions,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let mut sources = vec![];
    key_sources(other, &mut sources);
    let rows = estimate(input).rows;
    let mut best: Option<(f64, Arc<dyn ExecutionPlan>)> = None;
    for (source, column) in sources {
        let read: f64 = leaves(&source).iter().map(|leaf| estimate(leaf).rows).sum();
        if !is_repeatable(&source)
            || estimate(&source).rows > limits.hash_join_single_partition_threshold_rows as f64
            || read > rows
        {
            continue;
        }
        let semi = semi_join(&source, input, &[(column, key)])?;
        let left = estimate(&semi).rows;
        let cost = read + left * AGGREGATE_COST;
        if left <= rows * REDUCE_FIRST_FRACTION_MAX
            && best.as_ref().is_none_or(|(least, _)| cost < *least)
        {
            best = Some((cost, semi));
        }
    }
    Ok(best
        .filter(|(cost, _)| *cost < rows * AGGREGATE_COST)
        .map(|(_, semi)| semi))
}

/// Plans that hold every value that the key may have, and their column of it.
fn key_sources((plan, key): Key, found: &mut Vec<(Arc<dyn ExecutionPlan>, usize)>) {
    found.push((Arc::clone(plan), key));
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        let Some((side, own_key)) = joined_from(join, key) else {
            return;
        };
        let sides = [join.left(), join.right()];
        key_sources((sides[side], own_key), found);
        let pairs = join
            .on()
            .iter()
            .map(|(l, r)| [column_index(l), column_index(r)]);
        let partner = pairs
            .filter(|pair| pair[side] == Some(own_key))
            .find_map(|pair| pair[1 - side]);
        if let (JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi, Some(partner)) =
            (join.join_type(), partner)
        {
            key_sources((sides[1 - side], partner), found);
        }
    } else if let ([child], Some(lower)) = (&plan.children()[..], below(plan, key)) {
        key_sources((child, lower), found);
    }
}

/// The column of its only child that a plan passes on as `key`, with no row or value of it more.
pub(super) fn below(plan: &Arc<dyn ExecutionPlan>, key: usize) -> Option<usize> {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return column_index(&projection.expr().get(key)?.expr);
    }
    let filter = plan
        .downcast_ref::<FilterExec>()
        .filter(|filter| filter.fetch().is_none())?;
    filter
        .projection()
        .as_ref()
        .map_or(Some(key), |kept| kept.get(key).copied())
}
