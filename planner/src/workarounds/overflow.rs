//! Whole numbers that overflow are an error, as in Spark's ANSI mode.
//!
//! DataFusion wraps around in `+`, `-`, `*`, unary minus and `sum` (apache/datafusion#12140,
//! #21318, #16406). Here they become functions that check, before the optimizer folds constants.
//! `spark.sql.ansi.enabled = false` switches it off. Products and sums of decimals are checked by
//! Arrow already; only `sum` of them is not.

mod arithmetic;
mod sum;

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    AggregateUDF, BinaryExpr, Expr, ExprSchemable, LogicalPlan, ScalarUDF, WindowFunctionDefinition,
};
use datafusion::optimizer::AnalyzerRule;

pub(super) use arithmetic::CheckedOperator;
pub(super) use sum::CheckedSum;

/// Replaces operators and sums by checked functions. Runs after type coercion, when both sides have
/// one type.
#[derive(Debug)]
pub(super) struct Overflow;

impl AnalyzerRule for Overflow {
    fn name(&self) -> &'static str {
        "overflow"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        if !config.execution.enable_ansi_mode {
            return Ok(plan);
        }
        plan.transform_up_with_subqueries(|node| {
            if matches!(node, LogicalPlan::Limit(_)) {
                return Ok(Transformed::no(node));
            }
            let schema = merge_schema(&node.inputs());
            // The condition of FILTER and the keys of a window are parts of a column's name.
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let checked = expr.transform_up(|e| check_overflow(e, &schema))?;
                Ok(checked.update_data(|expr| name.restore(expr)))
            })
        })
        .data()
    }
}

/// Replaces an operator or a sum by the function that checks its result.
fn check_overflow(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            match CheckedOperator::for_operator(op) {
                Some(checked) if is_integer(&left, schema) && is_integer(&right, schema) => {
                    let function = ScalarUDF::from(checked);
                    Ok(Transformed::yes(function.call(vec![*left, *right])))
                }
                _ => Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr {
                    left,
                    op,
                    right,
                }))),
            }
        }
        Expr::Negative(value) if is_integer(&value, schema) => {
            let function = ScalarUDF::from(CheckedOperator::Negate);
            Ok(Transformed::yes(function.call(vec![*value])))
        }
        Expr::AggregateFunction(AggregateFunction { func, params }) if is_sum(&func) => {
            let func = Arc::new(AggregateUDF::from(CheckedSum::default()));
            Ok(Transformed::yes(Expr::AggregateFunction(
                AggregateFunction { func, params },
            )))
        }
        Expr::WindowFunction(window) => match &window.fun {
            WindowFunctionDefinition::AggregateUDF(func) if is_sum(func) => {
                let sum = Arc::new(AggregateUDF::from(CheckedSum::default()));
                let fun = WindowFunctionDefinition::AggregateUDF(sum);
                let window = WindowFunction { fun, ..*window };
                Ok(Transformed::yes(Expr::WindowFunction(Box::new(window))))
            }
            _ => Ok(Transformed::no(Expr::WindowFunction(window))),
        },
        other => Ok(Transformed::no(other)),
    }
}

fn is_integer(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema)
        .is_ok_and(|data_type| data_type.is_integer())
}

fn is_sum(function: &AggregateUDF) -> bool {
    function.inner().is::<Sum>()
}
