//! Joins of a subquery, for all values of a domain.

use std::sync::Arc;

use datafusion::common::{Column, JoinType, Result, not_impl_err};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, Join, LogicalPlan};

use super::{KeyedPlan, run_for_all};
use crate::workarounds::unnesting::columns::{select, select_columns};
use crate::workarounds::unnesting::domain::{Domain, KeyedJoin};

/// States which inputs of a join run for all values of the domain, and so have keys.
struct Sides {
    is_left_keyed: bool,
    is_right_keyed: bool,
}

/// Joins the inputs for each key.
pub(super) fn run(domain: &Domain, join: Join) -> Result<KeyedPlan> {
    let sides = keyed_sides(domain, &join)?;
    if join.null_aware && sides.is_right_keyed {
        return not_impl_err!(
            "EXCEPT or NOT IN in a subquery that uses columns of the outer query on its right side"
        );
    }
    let run_side = |is_keyed: bool, plan: Arc<LogicalPlan>| {
        let plan = Arc::unwrap_or_clone(plan);
        match is_keyed {
            true => run_for_all(domain, plan),
            false => Ok(KeyedPlan { plan, keys: vec![] }),
        }
    };
    let left = run_side(sides.is_left_keyed, join.left)?;
    let right = run_side(sides.is_right_keyed, join.right)?;
    // If both sides have keys, the keys are equal, except in rows without a partner.
    let keys = match (sides.is_left_keyed, join.join_type) {
        (true, _) => left.keys.clone(),
        (false, _) => right.keys.clone(),
    };
    let replace = |expr: Expr| domain.replace(expr, &keys);
    let mut on = vec![];
    for (left, right) in join.on {
        on.push((replace(left)?, replace(right)?));
    }
    let keyed = KeyedJoin {
        on,
        filter: join.filter.map(replace).transpose()?,
        null_equality: join.null_equality,
        is_null_aware: join.null_aware,
        ..KeyedJoin::new(join.join_type)
    };
    let pairs: Vec<(Column, Column)> = match sides.is_left_keyed && sides.is_right_keyed {
        true => left.keys.into_iter().zip(right.keys).collect(),
        false => vec![],
    };
    let conditions = pairs.clone().into_iter();
    let conditions = conditions.map(|(left, right)| (Expr::Column(left), Expr::Column(right)));
    let plan = keyed.build(left.plan, right.plan, conditions)?;
    match join.join_type {
        JoinType::Full => {
            let keys: Vec<Column> = pairs
                .iter()
                .map(|_| Column::new_unqualified(domain.names.next("outer")))
                .collect();
            let merged = pairs.into_iter().zip(&keys).map(|((left, right), key)| {
                coalesce(vec![Expr::Column(left), Expr::Column(right)]).alias(&key.name)
            });
            let columns = join.schema.columns().into_iter().map(Expr::Column);
            let exprs: Vec<Expr> = merged.chain(columns).collect();
            let plan = select(plan, &[], exprs)?;
            Ok(KeyedPlan { plan, keys })
        }
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti if !pairs.is_empty() => {
            let keys: Vec<Column> = pairs.into_iter().map(|(_, right)| right).collect();
            let plan = select_columns(plan, &keys, &join.schema)?;
            Ok(KeyedPlan { plan, keys })
        }
        _ => {
            let plan = select_columns(plan, &keys, &join.schema)?;
            Ok(KeyedPlan { plan, keys })
        }
    }
}

fn keyed_sides(domain: &Domain, join: &Join) -> Result<Sides> {
    let left = domain.is_used_by(&join.left)?;
    let right = domain.is_used_by(&join.right)?;
    // If all rows of a side stay, it must have keys for the rows that find no partner.
    Ok(match join.join_type {
        JoinType::Inner => Sides {
            is_left_keyed: left || !right,
            is_right_keyed: right,
        },
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => Sides {
            is_left_keyed: true,
            is_right_keyed: right,
        },
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
            Sides {
                is_left_keyed: left,
                is_right_keyed: true,
            }
        }
        JoinType::Full => Sides {
            is_left_keyed: true,
            is_right_keyed: true,
        },
    })
}
