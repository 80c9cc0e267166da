//! Tests cheap conditions first.
//!
//! Conditions joined by AND are tested from left to right, and rows that an early one throws away are not tested by the
//! others where it throws away many. SQL's order is the writer's; comparing numbers and dates costs a fraction of
//! comparing text. Only conditions that cannot fail move to the front, so that none is tested on rows that another was
//! to keep from it.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, ExprSchemable, Filter, LogicalPlan, Operator};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::switches::switches;

#[derive(Debug)]
pub(super) struct ConjunctOrder;

impl OptimizerRule for ConjunctOrder {
    fn name(&self) -> &'static str {
        "conjunct_order"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if !switches(&config.options()).conjunct_order {
            return Ok(Transformed::no(plan));
        }
        let LogicalPlan::Filter(filter) = &plan else { return Ok(Transformed::no(plan)) };
        let all = split_conjunction(&filter.predicate);
        let (first, then): (Vec<&Expr>, Vec<&Expr>) = all.iter().copied().partition(|condition| is_cheap(condition, &filter.input));
        let ordered: Vec<&Expr> = first.into_iter().chain(then).collect();
        if ordered == all {
            return Ok(Transformed::no(plan));
        }
        let Some(predicate) = conjunction(ordered.into_iter().cloned()) else { return Ok(Transformed::no(plan)) };
        Filter::try_new(predicate, Arc::clone(&filter.input)).map(|filter| Transformed::yes(LogicalPlan::Filter(filter)))
    }
}

/// A comparison of columns and constants of fixed width: it is quick, and cannot fail.
fn is_cheap(condition: &Expr, input: &LogicalPlan) -> bool {
    let fixed = |expr: &Expr| match expr {
        Expr::Literal(value, _) => is_fixed(&value.data_type()),
        Expr::Column(_) => expr.get_type(input.schema()).is_ok_and(|of| is_fixed(&of)),
        _ => false,
    };
    match condition {
        Expr::BinaryExpr(binary) => {
            use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
            matches!(binary.op, Eq | NotEq | Lt | LtEq | Gt | GtEq) && fixed(&binary.left) && fixed(&binary.right)
        }
        Expr::Between(between) => fixed(&between.expr) && fixed(&between.low) && fixed(&between.high),
        _ => false,
    }
}

fn is_fixed(of: &DataType) -> bool {
    of.is_primitive() || *of == DataType::Boolean
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};
    use datafusion::logical_expr::{col, lit, table_scan};
    use datafusion::optimizer::{Optimizer, OptimizerContext};

    use super::*;

    #[test]
    fn numbers_go_before_text_and_what_may_fail_stays_behind_its_guard() {
        let fields = [("t", DataType::Utf8View), ("n", DataType::Int64), ("d", DataType::Date32)];
        let schema = Schema::new(fields.map(|(name, of)| Field::new(name, of, true)).to_vec());
        let predicate = col("t")
            .eq(lit("x"))
            .and(col("n").not_eq(lit(0i64)))
            .and((lit(1i64) / col("n")).gt(lit(0i64)))
            .and(col("d").lt(col("d")))
            .and(col("n").between(lit(1i64), lit(9i64)));
        let plan = table_scan(Some("a"), &schema, None).unwrap().filter(predicate).unwrap().build().unwrap();
        let found = Optimizer::with_rules(vec![Arc::new(ConjunctOrder)]).optimize(plan, &OptimizerContext::new(), |_, _| {}).unwrap();
        let expected =
            "Filter: a.n != Int64(0) AND a.d < a.d AND a.n BETWEEN Int64(1) AND Int64(9) AND a.t = Utf8(\"x\") AND Int64(1) / a.n > Int64(0)";
        assert_eq!(found.to_string().lines().next().unwrap(), expected);
    }
}
