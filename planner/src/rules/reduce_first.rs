//! Keeps rows from an aggregate whose groups nobody will ask for (magic sets, Bancilhon et al. 1986).
//!
//! `… WHERE l_quantity < (SELECT 0.2 * avg(l_quantity) FROM lineitem WHERE l_partkey = p_partkey)` is planned as a join with
//! the averages of all parts, though few parts are left by then. If one side of a join is an aggregate by the join's key,
//! and the other side gets its key from a small relation, the aggregate's input is reduced to the keys of that relation first.

use std::sync::Arc;

use datafusion::common::config::{ConfigOptions, OptimizerOptions};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinType, NullEquality, Result};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

use super::switches::switches;
use crate::estimate::estimate;
use crate::exchange::leaves;

/// Of the aggregate's input no more than this part may be left.
const LEFT_MAX: f64 = 0.5;
/// To aggregate a row costs so much more than to scan one for its key.
const AGGREGATE: f64 = 4.0;

#[derive(Debug)]
pub(super) struct ReduceFirst;

impl PhysicalOptimizerRule for ReduceFirst {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        if !switches(config).reduce_first {
            return Ok(plan);
        }
        plan.transform_up(|node| match node.downcast_ref::<HashJoinExec>() {
            Some(join) => reduced_join(join, &config.optimizer).map(|better| better.map_or(Transformed::no(Arc::clone(&node)), Transformed::yes)),
            None => Ok(Transformed::no(node)),
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "reduce_first"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The join with an aggregate of it reduced; `None` where there is none, or nothing to gain.
fn reduced_join(join: &HashJoinExec, limits: &OptimizerOptions) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    use JoinType::{Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi};
    if join.null_aware || join.null_equality() != NullEquality::NullEqualsNothing {
        return Ok(None);
    }
    // Groups that find no partner must not show.
    let right = matches!(join.join_type(), Inner | Left | LeftSemi | LeftAnti | LeftMark | RightSemi);
    let left = matches!(join.join_type(), Inner | Right | RightSemi | RightAnti | RightMark | LeftSemi);
    for (left_key, right_key) in join.on() {
        let (Some(l), Some(r)) = (column(left_key), column(right_key)) else { continue };
        if right && let Some(reduced) = reduced(join.right(), r, (join.left(), l), limits)? {
            return rebuilt(join, vec![Arc::clone(join.left()), reduced]);
        }
        if left && let Some(reduced) = reduced(join.left(), l, (join.right(), r), limits)? {
            return rebuilt(join, vec![reduced, Arc::clone(join.right())]);
        }
    }
    Ok(None)
}

fn rebuilt(join: &HashJoinExec, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let join: Arc<dyn ExecutionPlan> = Arc::new(join.builder().build()?);
    replaced(&join, children).map(Some)
}

/// A plan, and a column of it.
type Key<'a> = (&'a Arc<dyn ExecutionPlan>, usize);

/// `plan` with the input of the aggregate in it reduced to the keys of `other`.
fn reduced(plan: &Arc<dyn ExecutionPlan>, key: usize, other: Key, limits: &OptimizerOptions) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        let groups = aggregate.group_expr();
        let Some(input_key) = groups.expr().get(key).filter(|_| groups.is_single()).and_then(|(expr, _)| column(expr)) else { return Ok(None) };
        let input = aggregate.input();
        let lower = if input.is::<AggregateExec>() { reduced(input, input_key, other, limits)? } else { at_owner(input, input_key, other, limits)? };
        return lower.map(|lower| replaced(plan, vec![lower])).transpose();
    }
    match plan.children()[..] {
        [child] => {
            let Some(lower_key) = below(plan, key) else { return Ok(None) };
            reduced(child, lower_key, other, limits)?.map(|lower| replaced(plan, vec![lower])).transpose()
        }
        _ => Ok(None),
    }
}

/// `plan` with the semi-join on the relation of it that owns the key: what is joined with that is less, then.
fn at_owner(plan: &Arc<dyn ExecutionPlan>, key: usize, other: Key, limits: &OptimizerOptions) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let children = plan.children();
    if let Some((place, lower_key)) = owner(plan, key) {
        let Some(lower) = at_owner(children[place], lower_key, other, limits)? else { return Ok(None) };
        let mut children: Vec<_> = children.into_iter().cloned().collect();
        children[place] = lower;
        return replaced(plan, children).map(Some);
    }
    semi_joined(plan, key, other, limits)
}

/// The child that owns a column, and its place there, where no row of the plan comes without one of that child.
fn owner(plan: &Arc<dyn ExecutionPlan>, key: usize) -> Option<(usize, usize)> {
    let Some(join) = plan.downcast_ref::<HashJoinExec>() else { return below(plan, key).map(|key| (0, key)) };
    let key = join.projection.as_ref().map_or(Some(key), |kept| kept.get(key).copied())?;
    let split = join.left().schema().fields().len();
    match join.join_type() {
        JoinType::Inner if key >= split => Some((1, key - split)),
        JoinType::Inner | JoinType::LeftSemi | JoinType::LeftAnti => Some((0, key)),
        JoinType::RightSemi | JoinType::RightAnti => Some((1, key)),
        _ => None,
    }
}

/// The input's rows whose key is one of the best source of such keys.
fn semi_joined(input: &Arc<dyn ExecutionPlan>, key: usize, other: Key, limits: &OptimizerOptions) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let mut sources = vec![];
    key_sources(other, &mut sources);
    let rows = estimate(input).rows;
    let mut best: Option<(f64, Arc<dyn ExecutionPlan>)> = None;
    for (source, column) in sources {
        let read: f64 = leaves(&source).iter().map(|leaf| estimate(leaf).rows).sum();
        if estimate(&source).rows > limits.hash_join_single_partition_threshold_rows as f64 || read > rows {
            continue;
        }
        let semi = semi_join(&source, column, input, key)?;
        let left = estimate(&semi).rows;
        let cost = read + left * AGGREGATE;
        if left <= rows * LEFT_MAX && best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, semi));
        }
    }
    Ok(best.filter(|(cost, _)| *cost < rows * AGGREGATE).map(|(_, semi)| semi))
}

fn semi_join(source: &Arc<dyn ExecutionPlan>, column: usize, input: &Arc<dyn ExecutionPlan>, key: usize) -> Result<Arc<dyn ExecutionPlan>> {
    let of =
        |plan: &Arc<dyn ExecutionPlan>, index: usize| -> Arc<dyn PhysicalExpr> { Arc::new(Column::new(plan.schema().field(index).name(), index)) };
    let only = ProjectionExpr { expr: of(source, column), alias: source.schema().field(column).name().clone() };
    let keys: Arc<dyn ExecutionPlan> = Arc::new(ProjectionExec::try_new(vec![only], Arc::clone(source))?);
    let on = vec![(of(&keys, 0), of(input, key))];
    let (mode, nulls) = (PartitionMode::CollectLeft, NullEquality::NullEqualsNothing);
    Ok(Arc::new(HashJoinExec::try_new(keys, Arc::clone(input), on, None, &JoinType::RightSemi, None, mode, nulls, false)?))
}

/// Plans that hold every value that the key may have, and their column of it.
fn key_sources((plan, key): Key, found: &mut Vec<(Arc<dyn ExecutionPlan>, usize)>) {
    found.push((Arc::clone(plan), key));
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        let Some(key) = join.projection.as_ref().map_or(Some(key), |kept| kept.get(key).copied()) else { return };
        let split = join.left().schema().fields().len();
        let equal = |left: bool, key: usize| {
            let pairs = join.on().iter().map(|(l, r)| if left { (column(l), column(r)) } else { (column(r), column(l)) });
            pairs.filter(move |(of, _)| *of == Some(key)).find_map(|(_, other)| other)
        };
        let (is_left, key, both) = match join.join_type() {
            JoinType::Inner => (key < split, if key < split { key } else { key - split }, true),
            JoinType::LeftSemi => (true, key, true),
            JoinType::RightSemi => (false, key, true),
            JoinType::LeftAnti => (true, key, false),
            JoinType::RightAnti => (false, key, false),
            _ => return,
        };
        let (own, other) = if is_left { (join.left(), join.right()) } else { (join.right(), join.left()) };
        key_sources((own, key), found);
        if both && let Some(other_key) = equal(is_left, key) {
            key_sources((other, other_key), found);
        }
    } else if let ([child], Some(lower)) = (&plan.children()[..], below(plan, key)) {
        key_sources((child, lower), found);
    }
}

/// The column of its only child that a plan passes on as `key`, with no row or value of it more.
fn below(plan: &Arc<dyn ExecutionPlan>, key: usize) -> Option<usize> {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return column(&projection.expr().get(key)?.expr);
    }
    let filter = plan.downcast_ref::<FilterExec>().filter(|filter| filter.fetch().is_none())?;
    filter.projection().as_ref().map_or(Some(key), |kept| kept.get(key).copied())
}

fn replaced(plan: &Arc<dyn ExecutionPlan>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
    Arc::clone(plan).replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}

fn column(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expr.downcast_ref::<Column>().map(Column::index)
}
