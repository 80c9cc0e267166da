//! Tests cheap predicates first.
//!
//! ```text
//!   text LIKE '%x%' AND a < 1 AND b < 2 AND c < 3   ──►   (a < 1 AND (b < 2 AND c < 3)) AND text LIKE '%x%'
//! ```
//!
//! Predicates joined by AND are tested from left to right. After a predicate that drops many rows,
//! the later ones have less work. Comparing numbers and dates costs a fraction of comparing text,
//! but queries seldom list predicates in that order. Only predicates that cannot fail move to the
//! front, so that none is tested on rows from which an earlier predicate protected it.
//!
//! When the predicates so far pass less than a fifth of the rows, DataFusion copies those rows
//! before it tests the next predicate. For a comparison of numbers this costs more than comparing
//! all rows. The cheap predicates are therefore nested to the right, where DataFusion considers
//! each pair alone.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, ExprSchemable, Filter, LogicalPlan, Operator};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, split_conjunction as split_physical};
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};

use super::rule::{Plan, Rule};
use super::switches::switches;

/// Moves cheap predicates of each filter to the front.
#[derive(Debug)]
pub(super) struct ConjunctOrder;

impl OptimizerRule for ConjunctOrder {
    fn name(&self) -> &'static str {
        "conjunct_order"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        if !switches(&config.options()).conjunct_order {
            return Ok(Transformed::no(plan));
        }
        let LogicalPlan::Filter(filter) = &plan else {
            return Ok(Transformed::no(plan));
        };
        let conjuncts = split_conjunction(&filter.predicate);
        let (cheap, expensive): (Vec<&Expr>, Vec<&Expr>) = conjuncts
            .iter()
            .copied()
            .partition(|condition| is_cheap(condition, &filter.input));
        let ordered: Vec<&Expr> = cheap.into_iter().chain(expensive).collect();
        if ordered == conjuncts {
            return Ok(Transformed::no(plan));
        }
        let Some(predicate) = conjunction(ordered.into_iter().cloned()) else {
            return Ok(Transformed::no(plan));
        };
        Filter::try_new(predicate, Arc::clone(&filter.input))
            .map(|filter| Transformed::yes(LogicalPlan::Filter(filter)))
    }
}

/// Nests the cheap predicates of each filter to the right. Runs last, when filters are at their
/// final place.
pub(super) const CONJUNCT_SHAPE: Rule = Rule {
    name: "conjunct_shape",
    is_on: |switches| switches.conjunct_order,
    rewrite: |plan, _| nest_cheap_predicates(plan),
};

fn nest_cheap_predicates(plan: Plan) -> Result<Plan> {
    let nest = |node: Plan| {
        let Some(filter) = node.downcast_ref::<FilterExec>() else {
            return Ok(Transformed::no(node));
        };
        let schema = filter.input().schema();
        let conjuncts: Vec<Arc<dyn PhysicalExpr>> = split_physical(filter.predicate())
            .into_iter()
            .cloned()
            .collect();
        let cheap_count = conjuncts
            .iter()
            .take_while(|condition| is_cheap_physical(condition, &schema))
            .count();
        // Two predicates can be nested in only one way.
        let Some((last, cheap)) = conjuncts[..cheap_count]
            .split_last()
            .filter(|_| cheap_count > 2)
        else {
            return Ok(Transformed::no(node));
        };
        let and = |left, right| {
            Arc::new(BinaryExpr::new(left, Operator::And, right)) as Arc<dyn PhysicalExpr>
        };
        let nested = cheap
            .iter()
            .rev()
            .fold(Arc::clone(last), |rest, condition| {
                and(Arc::clone(condition), rest)
            });
        let predicate = conjuncts[cheap_count..]
            .iter()
            .fold(nested, |before, condition| {
                and(before, Arc::clone(condition))
            });
        Ok(Transformed::yes(Arc::new(
            FilterExecBuilder::from(filter)
                .with_predicate(predicate)
                .build()?,
        ) as Plan))
    };
    plan.transform_up(nest).data()
}

/// [`is_cheap`] for a physical expression.
fn is_cheap_physical(condition: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
    let is_plain = |expr: &Arc<dyn PhysicalExpr>| {
        (expr.is::<Column>() || expr.is::<Literal>())
            && expr
                .data_type(schema)
                .is_ok_and(|data_type| is_fixed_width(&data_type))
    };
    condition
        .downcast_ref::<BinaryExpr>()
        .is_some_and(|binary| {
            is_comparison(*binary.op()) && is_plain(binary.left()) && is_plain(binary.right())
        })
}

fn is_comparison(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

/// Whether a predicate compares columns and constants of fixed width, which is fast and cannot
/// fail.
fn is_cheap(condition: &Expr, input: &LogicalPlan) -> bool {
    let is_fixed = |expr: &Expr| match expr {
        Expr::Literal(value, _) => is_fixed_width(&value.data_type()),
        Expr::Column(_) => expr
            .get_type(input.schema())
            .is_ok_and(|data_type| is_fixed_width(&data_type)),
        _ => false,
    };
    match condition {
        Expr::BinaryExpr(binary) => {
            is_comparison(binary.op) && is_fixed(&binary.left) && is_fixed(&binary.right)
        }
        Expr::Between(between) => {
            is_fixed(&between.expr) && is_fixed(&between.low) && is_fixed(&between.high)
        }
        _ => false,
    }
}

fn is_fixed_width(data_type: &DataType) -> bool {
    data_type.is_primitive() || *data_type == DataType::Boolean
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};
    use datafusion::logical_expr::{col, lit, table_scan};
    use datafusion::optimizer::{Optimizer, OptimizerContext};

    use super::*;

    #[test]
    fn numbers_are_tested_before_text_and_a_predicate_that_may_fail_stays_behind_its_guard() {
        let fields = [
            ("t", DataType::Utf8View),
            ("n", DataType::Int64),
            ("d", DataType::Date32),
        ];
        let schema = Schema::new(
            fields
                .map(|(name, data_type)| Field::new(name, data_type, true))
                .to_vec(),
        );
        let predicate = col("t")
            .eq(lit("x"))
            .and(col("n").not_eq(lit(0i64)))
            .and((lit(1i64) / col("n")).gt(lit(0i64)))
            .and(col("d").lt(col("d")))
            .and(col("n").between(lit(1i64), lit(9i64)));
        let plan = table_scan(Some("a"), &schema, None)
            .unwrap()
            .filter(predicate)
            .unwrap()
            .build()
            .unwrap();
        let optimized = Optimizer::with_rules(vec![Arc::new(ConjunctOrder)])
            .optimize(plan, &OptimizerContext::new(), |_, _| {})
            .unwrap();
        let expected = "Filter: a.n != Int64(0) AND a.d < a.d AND a.n BETWEEN Int64(1) AND Int64(9) AND a.t = Utf8(\"x\") AND Int64(1) / a.n > Int64(0)";
        assert_eq!(optimized.to_string().lines().next().unwrap(), expected);
    }
}
