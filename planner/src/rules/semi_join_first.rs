//! Moves a semi join below inner joins, to the relation that owns its keys.
//!
//! ```text
//!   LeftSemi Join a.k = s.k              Inner Join a.k = b.k
//!     Inner Join a.k = b.k                 LeftSemi Join a.k = s.k
//!       a                         ──►        a
//!       b                                    Filter s
//!     Filter s                             b
//! ```
//!
//! `WHERE o_orderkey IN (SELECT … HAVING …)` is planned above all joins of its query: all rows are
//! joined, and then most of them are dropped. An inner join with `B` neither adds rows of `A` that
//! the semi join would not see nor changes its keys, so `(A ⋈ B) ⋉ S` equals `(A ⋉ S) ⋈ B` if the
//! keys are columns of `A`.
//!
//! The rule applies only if `S` is filtered: an unfiltered right side seldom drops many rows, and
//! then the joins are cheaper.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, Filter, Join, JoinType, LogicalPlan, Projection};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::ownership::projected_column;
use super::switches::switches;

/// Moves semi joins with a filtered right side below inner joins.
#[derive(Debug)]
pub(super) struct SemiJoinFirst;

impl OptimizerRule for SemiJoinFirst {
    fn name(&self) -> &'static str {
        "semi_join_first"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        if !switches(&config.options()).semi_join_first {
            return Ok(Transformed::no(plan));
        }
        match &plan {
            LogicalPlan::Join(semi)
                if semi.join_type == JoinType::LeftSemi
                    && semi.filter.is_none()
                    && has_predicate(&semi.right)? =>
            {
                let keys: Option<Vec<Column>> = semi
                    .on
                    .iter()
                    .map(|(left, _)| left.try_as_col().cloned())
                    .collect();
                let pushed = keys.map_or(Ok(None), |keys| push_below(&semi.left, &keys, semi))?;
                Ok(pushed.map_or(Transformed::no(plan), Transformed::yes))
            }
            _ => Ok(Transformed::no(plan)),
        }
    }
}

/// Whether a plan has a predicate.
fn has_predicate(plan: &LogicalPlan) -> Result<bool> {
    let mut has_predicate = false;
    plan.apply(|node| {
        has_predicate |= match node {
            LogicalPlan::Filter(_) => true,
            LogicalPlan::TableScan(scan) => !scan.filters.is_empty(),
            _ => false,
        };
        Ok(if has_predicate {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    })?;
    Ok(has_predicate)
}

/// Pushes the semi join below the top of `plan`; `None` if it has to stay above.
fn push_below(plan: &LogicalPlan, keys: &[Column], semi: &Join) -> Result<Option<LogicalPlan>> {
    match plan {
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
            let owns_keys =
                |side: &LogicalPlan| keys.iter().all(|key| side.schema().has_column(key));
            let (mut left, mut right) = (Arc::clone(&join.left), Arc::clone(&join.right));
            let owner = match (owns_keys(&left), owns_keys(&right)) {
                (true, _) => &mut left,
                (_, true) => &mut right,
                _ => return Ok(None),
            };
            let Some(pushed) = push_into(owner, keys, semi)? else {
                return Ok(None);
            };
            *owner = Arc::new(pushed);
            Ok(Some(LogicalPlan::Join(Join {
                left,
                right,
                ..join.clone()
            })))
        }
        LogicalPlan::Filter(filter) => {
            let Some(input) = push_below(&filter.input, keys, semi)? else {
                return Ok(None);
            };
            Filter::try_new(filter.predicate.clone(), Arc::new(input))
                .map(|filter| Some(LogicalPlan::Filter(filter)))
        }
        LogicalPlan::Projection(projection) => {
            let Some(keys) = keys
                .iter()
                .map(|key| projected_column(projection, key))
                .collect::<Option<Vec<_>>>()
            else {
                return Ok(None);
            };
            let Some(input) = push_below(&projection.input, &keys, semi)? else {
                return Ok(None);
            };
            let projected = Projection::try_new_with_schema(
                projection.expr.clone(),
                Arc::new(input),
                Arc::clone(&projection.schema),
            )?;
            Ok(Some(LogicalPlan::Projection(projected)))
        }
        _ => Ok(None),
    }
}

/// Pushes the semi join into `plan` as far as possible, or puts it on top if `plan` is a single
/// relation.
///
/// Between joins it would keep them from being reordered.
fn push_into(plan: &LogicalPlan, keys: &[Column], semi: &Join) -> Result<Option<LogicalPlan>> {
    if let Some(pushed) = push_below(plan, keys, semi)? {
        return Ok(Some(pushed));
    }
    if is_inner_join(plan) {
        return Ok(None);
    }
    let on = keys
        .iter()
        .zip(&semi.on)
        .map(|(key, (_, right))| (Expr::Column(key.clone()), right.clone()))
        .collect();
    let join = Join::try_new(
        Arc::new(plan.clone()),
        Arc::clone(&semi.right),
        on,
        None,
        JoinType::LeftSemi,
        semi.join_constraint,
        semi.null_equality,
        semi.null_aware,
    )?;
    Ok(Some(LogicalPlan::Join(join)))
}

/// Whether a plan is an inner join, perhaps below filters and projections.
fn is_inner_join(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Join(join) => join.join_type == JoinType::Inner,
        LogicalPlan::Filter(filter) => is_inner_join(&filter.input),
        LogicalPlan::Projection(projection) => is_inner_join(&projection.input),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::logical_expr::{LogicalPlanBuilder, col, lit, table_scan};
    use datafusion::optimizer::{Optimizer, OptimizerContext};

    use super::*;

    fn table(name: &str) -> LogicalPlanBuilder {
        let fields = ["k", "n"].map(|column| Field::new(column, DataType::Int64, true));
        table_scan(Some(name), &Schema::new(fields.to_vec()), None).unwrap()
    }

    /// Optimizes an inner join of `a` and `b` below a semi join with `s` on these columns.
    fn optimized(filtered: bool, left: &[&str], right: &[&str]) -> String {
        let mut s = table("s");
        if filtered {
            s = s.filter(col("s.n").gt(lit(1i64))).unwrap();
        }
        let joined = table("a")
            .join(
                table("b").build().unwrap(),
                JoinType::Inner,
                (vec!["a.k"], vec!["b.k"]),
                None,
            )
            .unwrap();
        let semi = joined
            .project([col("a.n"), col("a.k").alias("key"), col("b.n")])
            .unwrap();
        let semi = semi
            .join(
                s.build().unwrap(),
                JoinType::LeftSemi,
                (left.to_vec(), right.to_vec()),
                None,
            )
            .unwrap();
        let optimizer = Optimizer::with_rules(vec![Arc::new(SemiJoinFirst)]);
        let optimized = optimizer
            .optimize(semi.build().unwrap(), &OptimizerContext::new(), |_, _| {})
            .unwrap();
        optimized.to_string()
    }

    #[test]
    fn it_moves_to_the_relation_that_owns_its_keys() {
        let expected = "Projection: a.n, a.k AS key, b.n\
            \n  Inner Join: a.k = b.k\
            \n    LeftSemi Join: a.k = s.k\
            \n      TableScan: a\
            \n      Filter: s.n > Int64(1)\
            \n        TableScan: s\
            \n    TableScan: b";
        assert_eq!(optimized(true, &["key"], &["s.k"]), expected);
        assert!(
            optimized(true, &["b.n"], &["s.k"])
                .contains("\n    LeftSemi Join: b.n = s.k\n      TableScan: b")
        );
    }

    #[test]
    fn it_stays_if_its_keys_are_of_two_relations_or_its_right_side_has_no_predicate() {
        assert!(
            optimized(true, &["a.n", "b.n"], &["s.k", "s.n"])
                .starts_with("LeftSemi Join: a.n = s.k, b.n = s.n\n")
        );
        assert!(optimized(false, &["key"], &["s.k"]).starts_with("LeftSemi Join: key = s.k\n"));
    }
}
