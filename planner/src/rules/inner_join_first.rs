//! Moves an inner join below an outer or anti join, to the side whose rows that join preserves.
//!
//! ```text
//!   HashJoinExec Inner a.k = c.k         HashJoinExec Left a.x = b.x
//!     HashJoinExec Left a.x = b.x          HashJoinExec Inner a.k = c.k
//!       a                         ──►        a
//!       b                                    c
//!     c                                    b
//! ```
//!
//! `sales LEFT JOIN returns … JOIN dates …` joins all sales with their returns, although few of
//! them are of these dates. If the inner join's keys are columns of `a`, then
//! `(a ⟕ b) ⋈ c = (a ⋈ c) ⟕ b`: whether a row of `a` has a match in `b` does not depend on `c`. The
//! same holds for an anti join. `join_order` cannot do this, because it orders inner joins only.

use std::sync::Arc;

use datafusion::common::{JoinType, Result};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::joins::{HashJoinExec, HashJoinExecBuilder};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

use super::ownership::{input_column, owning_side};
use super::rule::{Plan, Rule};
use crate::cost::INNER_JOIN_FIRST_FRACTION_MAX;
use crate::estimate::estimate;
use crate::physical::{column_at, column_index, has_plain_keys, replace_nodes};

pub(super) const INNER_JOIN_FIRST: Rule = Rule {
    name: "inner_join_first",
    is_on: |switches| switches.inner_join_first,
    rewrite: |plan, _| replace_nodes(plan, move_down),
};

/// The inner join that moves: the side that moves with it, and its keys.
struct Moved<'a> {
    join: &'a HashJoinExec,
    side: usize,
}

impl Moved<'_> {
    fn plan(&self) -> &Plan {
        [self.join.left(), self.join.right()][self.side]
    }

    fn columns(&self) -> usize {
        self.plan().schema().fields().len()
    }

    /// Returns the keys of the side that stays; `None` if one of them is not a column.
    fn keys(&self) -> Option<Vec<usize>> {
        let keys = self.join.on().iter();
        keys.map(|(left, right)| column_index([right, left][self.side]))
            .collect()
    }

    /// Joins a plan, which has these keys, with the side that moves.
    fn join_with(&self, plan: &Plan, keys: &[usize]) -> Result<Plan> {
        let on = self.join.on().iter().zip(keys).map(|((left, right), key)| {
            let moved_key = [left, right][self.side];
            (column_at(plan, *key), Arc::clone(moved_key))
        });
        let (plan, moved) = (Arc::clone(plan), Arc::clone(self.plan()));
        HashJoinExecBuilder::new(plan, moved, on.collect(), JoinType::Inner)
            .with_partition_mode(*self.join.partition_mode())
            .build_exec()
    }
}

/// Returns the plan with the inner join moved; `None` if it has to stay.
fn move_down(join: &HashJoinExec) -> Result<Option<Plan>> {
    let may_move = *join.join_type() == JoinType::Inner
        && join.filter().is_none()
        && has_plain_keys(join)
        && !has_limit(join);
    if !may_move {
        return Ok(None);
    }
    let sides = [join.left(), join.right()];
    for side in [0, 1] {
        let moved = Moved { join, side };
        let stays = sides[1 - side];
        let Some(keys) = moved.keys() else { continue };
        if let Some(pushed) = push_below(stays, &keys, &moved)? {
            return restore_columns(join, side, pushed).map(Some);
        }
    }
    Ok(None)
}

fn has_limit(join: &HashJoinExec) -> bool {
    join.fetch().is_some()
}

/// Projects `pushed`, which has the columns of the side that stayed and then those that moved, to
/// the columns of `join`.
fn restore_columns(join: &HashJoinExec, moved_side: usize, pushed: Plan) -> Result<Plan> {
    let [left, right] = [join.left(), join.right()].map(|side| side.schema().fields().len());
    let joined = |column: usize| match moved_side {
        1 => column,
        _ if column < left => right + column,
        _ => column - left,
    };
    let schema = join.schema();
    let columns = projected(join.projection.as_deref(), left + right);
    let exprs = columns.iter().zip(schema.fields());
    let exprs = exprs.map(|(column, field)| ProjectionExpr {
        expr: column_at(&pushed, joined(*column)),
        alias: field.name().clone(),
    });
    let exprs: Vec<_> = exprs.collect();
    Ok(Arc::new(ProjectionExec::try_new(exprs, pushed)?))
}

/// Returns the columns that a projection keeps: all, if there is none.
fn projected(projection: Option<&[usize]>, columns: usize) -> Vec<usize> {
    projection.map_or_else(|| (0..columns).collect(), <[usize]>::to_vec)
}

/// Moves the join below an outer or anti join in `plan`. The output has the columns of `plan`, and
/// then those of the side that moves. `None` if there is no such join, or nothing is gained.
fn push_below(plan: &Plan, keys: &[usize], moved: &Moved) -> Result<Option<Plan>> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return push_below_join(join, keys, moved);
    }
    let input_keys: Option<Vec<usize>> = keys.iter().map(|key| input_column(plan, *key)).collect();
    let ([input], Some(input_keys)) = (&plan.children()[..], input_keys) else {
        return Ok(None);
    };
    let Some(pushed) = push_below(input, &input_keys, moved)? else {
        return Ok(None);
    };
    let input_columns = input.schema().fields().len();
    let moved_columns = input_columns..input_columns + moved.columns();
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let mut exprs = projection.expr().to_vec();
        exprs.extend(moved_columns.map(|column| ProjectionExpr {
            expr: column_at(&pushed, column),
            alias: pushed.schema().field(column).name().clone(),
        }));
        return Ok(Some(Arc::new(ProjectionExec::try_new(exprs, pushed)?)));
    }
    let Some(filter) = plan.downcast_ref::<FilterExec>() else {
        return Ok(None);
    };
    let mut columns = projected(filter.projection().as_deref(), input_columns);
    columns.extend(moved_columns);
    let filtered = FilterExecBuilder::new(Arc::clone(filter.predicate()), pushed)
        .with_default_selectivity(filter.default_selectivity())
        .apply_projection(Some(columns))?
        .build()?;
    Ok(Some(Arc::new(filtered)))
}

/// [`push_below`] for a join: puts the moved join on its preserved side, or deeper.
fn push_below_join(join: &HashJoinExec, keys: &[usize], moved: &Moved) -> Result<Option<Plan>> {
    let Some((side, side_keys)) = preserved_side(join, keys).filter(|_| !has_limit(join)) else {
        return Ok(None);
    };
    let sides = [join.left(), join.right()];
    let preserved = match push_below(sides[side], &side_keys, moved)? {
        Some(pushed) => pushed,
        // Inner joins are ordered by `join_order`.
        None if *join.join_type() == JoinType::Inner => return Ok(None),
        None => {
            let joined = moved.join_with(sides[side], &side_keys)?;
            let rows_max = estimate(sides[side]).rows * INNER_JOIN_FIRST_FRACTION_MAX;
            if estimate(&joined).rows > rows_max {
                return Ok(None);
            }
            joined
        }
    };
    let [left, right] = sides.map(|side| side.schema().fields().len());
    let all_columns = match join.join_type() {
        JoinType::LeftAnti => left,
        JoinType::RightAnti => right,
        _ => left + right,
    };
    // The moved columns are behind those of the preserved side.
    let (moved_start, shift) = match side {
        0 => (left, moved.columns()),
        _ => (all_columns, 0),
    };
    let kept = projected(join.projection.as_deref(), all_columns).into_iter();
    let kept = kept.map(|column| column + if column < moved_start { 0 } else { shift });
    let columns = kept.chain(moved_start..moved_start + moved.columns());
    let mut children = sides.map(Arc::clone);
    children[side] = preserved;
    join.builder()
        .with_new_children(children.into())?
        .with_projection(Some(columns.collect()))
        .recompute_properties()
        .build_exec()
        .map(Some)
}

/// Returns the side that owns all keys and none of whose rows is dropped or duplicated depending on
/// the moved join, with the keys' columns there.
fn preserved_side(join: &HashJoinExec, keys: &[usize]) -> Option<(usize, Vec<usize>)> {
    let left_columns = join.left().schema().fields().len();
    let owner = |key: &usize| match join.join_type() {
        JoinType::Inner | JoinType::LeftAnti | JoinType::RightAnti => owning_side(join, *key),
        outer => {
            let columns = join.projection.as_deref();
            let column = columns.map_or(Some(*key), |columns| columns.get(*key).copied())?;
            match outer {
                JoinType::Left if column < left_columns => Some((0, column)),
                JoinType::Right if column >= left_columns => Some((1, column - left_columns)),
                _ => None,
            }
        }
    };
    let owners: Vec<(usize, usize)> = keys.iter().map(owner).collect::<Option<_>>()?;
    let (side, _) = *owners.first()?;
    let side_keys = owners
        .into_iter()
        .map(|(owner, key)| (owner == side).then_some(key));
    Some((side, side_keys.collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use datafusion::physical_plan::joins::PartitionMode;

    use super::*;
    use crate::rules::testing::{join, optimize, relation};

    /// Joins `a` with `b`, and the result with `c` by the first column of `a`, or of `b`.
    fn optimized(join_type: JoinType, key: usize, c_rows: f64) -> String {
        let mode = PartitionMode::Partitioned;
        let outer = join(relation(0, 1e7), relation(1, 1e6), join_type, mode);
        let c = relation(2, c_rows);
        let on = vec![(column_at(&outer, key), column_at(&c, 0))];
        let inner = HashJoinExecBuilder::new(outer, c, on, JoinType::Inner);
        let plan = inner.with_partition_mode(mode).build_exec().unwrap();
        optimize(&INNER_JOIN_FIRST, plan)
    }

    #[test]
    fn an_inner_join_that_drops_rows_moves_to_the_preserved_side() {
        for join_type in [JoinType::Left, JoinType::LeftAnti] {
            let expected = format!(
                "  HashJoinExec: mode=Partitioned, join_type={join_type}\
                \n    HashJoinExec: mode=Partitioned, join_type=Inner\
                \n      ExchangeReadExec: s0 Forward\
                \n      ExchangeReadExec: s2 Forward\
                \n    ExchangeReadExec: s1 Forward"
            );
            let optimized = optimized(join_type, 0, 1e3);
            let (projection, joins) = optimized.split_once('\n').unwrap();
            assert!(projection.starts_with("ProjectionExec"), "{projection}");
            assert_eq!(joins, expected);
        }
        let right = optimized(JoinType::Right, 2, 1e3);
        assert!(
            right.contains("join_type=Inner\n      ExchangeReadExec: s1"),
            "{right}"
        );
    }

    #[test]
    fn it_stays_if_it_drops_few_rows_or_its_key_may_be_missing() {
        for (join_type, key, rows) in [
            (JoinType::Left, 0, 1e7),
            (JoinType::Left, 2, 1e3),
            (JoinType::Right, 0, 1e3),
            (JoinType::Full, 0, 1e3),
            (JoinType::LeftSemi, 0, 1e3),
        ] {
            let plan = optimized(join_type, key, rows);
            assert!(
                plan.starts_with("HashJoinExec: mode=Partitioned, join_type=Inner"),
                "{plan}"
            );
        }
    }
}
