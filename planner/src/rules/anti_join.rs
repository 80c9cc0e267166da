//! Turns an outer join that keeps only rows without a match into an anti join.
//!
//! ```text
//!   Filter b.k IS NULL                   Projection a.*, NULL AS b.*
//!     Left Join a.k = b.k         ──►      LeftAnti Join a.k = b.k
//!       a                                    a
//!       b                                    b
//! ```
//!
//! A matched row has a `b.k` that is not null, since it is equal to `a.k`. So the filter keeps
//! exactly the rows of `a` without a match. The anti join needs no columns of `b` but the keys, and
//! stops at the first match of a row.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, NullEquality, Result, ScalarValue};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, Filter, Join, JoinType, LogicalPlan, Projection};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::ownership::projected_column;
use super::switches::switches;

/// Turns outer joins whose matched rows are dropped into anti joins.
#[derive(Debug)]
pub(super) struct AntiJoin;

impl OptimizerRule for AntiJoin {
    fn name(&self) -> &'static str {
        "anti_join"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = &plan else {
            return Ok(Transformed::no(plan));
        };
        if !switches(&config.options()).anti_join {
            return Ok(Transformed::no(plan));
        }
        let conjuncts = split_conjunction(&filter.predicate);
        for (index, conjunct) in conjuncts.iter().enumerate() {
            let Expr::IsNull(operand) = conjunct else {
                continue;
            };
            let Some(column) = operand.try_as_col() else {
                continue;
            };
            if let Some(unmatched) = keep_unmatched(&filter.input, column)? {
                let rest = conjuncts.iter().enumerate();
                let rest = rest.filter(|(other, _)| *other != index);
                let rest = conjunction(rest.map(|(_, conjunct)| (*conjunct).clone()));
                let unmatched = match rest {
                    Some(rest) => LogicalPlan::Filter(Filter::try_new(rest, Arc::new(unmatched))?),
                    None => unmatched,
                };
                return Ok(Transformed::yes(unmatched));
            }
        }
        Ok(Transformed::no(plan))
    }
}

/// Returns `plan` with its outer join turned into an anti join, if exactly the rows without a match
/// have a null in this column.
fn keep_unmatched(plan: &LogicalPlan, column: &Column) -> Result<Option<LogicalPlan>> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let Some(input_column) = projected_column(projection, column) else {
                return Ok(None);
            };
            let Some(input) = keep_unmatched(&projection.input, &input_column)? else {
                return Ok(None);
            };
            let schema = Arc::clone(&projection.schema);
            Projection::try_new_with_schema(projection.expr.clone(), Arc::new(input), schema)
                .map(|projection| Some(LogicalPlan::Projection(projection)))
        }
        LogicalPlan::Join(join) if is_null_without_match(join, column) => anti_join(join).map(Some),
        _ => Ok(None),
    }
}

/// Whether a column of an outer join is null exactly in the rows without a match: it is a key of
/// the other side, and a null key matches nothing.
fn is_null_without_match(join: &Join, column: &Column) -> bool {
    let is_key = |expr: &Expr| expr.try_as_col() == Some(column);
    let is_key_of_other_side = match join.join_type {
        JoinType::Left => join.on.iter().any(|(_, right)| is_key(right)),
        JoinType::Right => join.on.iter().any(|(left, _)| is_key(left)),
        _ => false,
    };
    is_key_of_other_side && join.null_equality == NullEquality::NullEqualsNothing
}

/// Returns the anti join, with nulls as the columns of the side without a match.
fn anti_join(join: &Join) -> Result<LogicalPlan> {
    let (left, right) = (Arc::clone(&join.left), Arc::clone(&join.right));
    let on = join.on.clone();
    let (preserved, missing, on) = match join.join_type {
        JoinType::Right => (right, left, on.into_iter().map(|(l, r)| (r, l)).collect()),
        _ => (left, right, on),
    };
    let anti = Join::try_new(
        Arc::clone(&preserved),
        missing,
        on,
        join.filter.clone(),
        JoinType::LeftAnti,
        join.join_constraint,
        join.null_equality,
        false,
    )?;
    let exprs = join.schema.iter().map(|(qualifier, field)| {
        let column = Column::new(qualifier.cloned(), field.name());
        if preserved.schema().has_column(&column) {
            return Ok(Expr::Column(column));
        }
        let null = Expr::Literal(ScalarValue::try_new_null(field.data_type())?, None);
        Ok(null.alias_qualified(qualifier.cloned(), field.name()))
    });
    let exprs = exprs.collect::<Result<Vec<_>>>()?;
    let anti = Arc::new(LogicalPlan::Join(anti));
    Projection::try_new_with_schema(exprs, anti, Arc::clone(&join.schema))
        .map(LogicalPlan::Projection)
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

    /// Optimizes a filter over a join of `a` and `b` on `k`.
    fn optimized(join_type: JoinType, predicate: Expr) -> String {
        let b = table("b").build().unwrap();
        let joined = table("a").join(b, join_type, (vec!["a.k"], vec!["b.k"]), None);
        let filtered = joined.unwrap().filter(predicate).unwrap();
        let optimizer = Optimizer::with_rules(vec![Arc::new(AntiJoin)]);
        let plan = filtered.build().unwrap();
        let optimized = optimizer.optimize(plan, &OptimizerContext::new(), |_, _| {});
        optimized.unwrap().to_string()
    }

    #[test]
    fn an_outer_join_whose_matches_are_dropped_is_an_anti_join() {
        let predicate = col("b.k").is_null().and(col("a.n").gt(lit(1i64)));
        let expected = "Filter: a.n > Int64(1)\
            \n  Projection: a.k, a.n, Int64(NULL) AS k, Int64(NULL) AS n\
            \n    LeftAnti Join: a.k = b.k\
            \n      TableScan: a\
            \n      TableScan: b";
        assert_eq!(optimized(JoinType::Left, predicate), expected);
        let right = optimized(JoinType::Right, col("a.k").is_null());
        assert!(
            right.contains("LeftAnti Join: b.k = a.k\n    TableScan: b"),
            "{right}"
        );
    }

    #[test]
    fn a_column_that_may_be_null_in_a_match_is_no_sign_of_a_missing_one() {
        for (join_type, predicate) in [
            (JoinType::Left, col("b.n").is_null()),
            (JoinType::Left, col("a.k").is_null()),
            (JoinType::Full, col("b.k").is_null()),
            (
                JoinType::Left,
                col("b.k").is_null().or(col("a.n").gt(lit(1i64))),
            ),
        ] {
            assert!(!optimized(join_type, predicate).contains("Anti"));
        }
    }
}
