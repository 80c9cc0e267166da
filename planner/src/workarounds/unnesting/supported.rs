//! The subqueries that DataFusion decorrelates correctly.
//!
//! DataFusion moves correlated conditions up from filters to a join. That is correct through
//! projections, aliases and one side of inner joins, and, for a scalar subquery, through one
//! aggregate without groups if each condition is an equality. Every other form is joined here.

use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, JoinType, Result};
use datafusion::logical_expr::utils::{merge_schema, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Distinct, Expr, LogicalPlan, Operator, Subquery};

use super::outer_columns::{outer_columns, outer_columns_of_expr, subquery_of};

/// Aggregate functions that are null for an empty input, and `count`, which DataFusion handles
/// specially.
const KNOWN_AGGREGATES: [&str; 6] = ["count", "sum", "min", "max", "avg", "checked_sum"];

/// Whether DataFusion plans this `EXISTS` or `IN` correctly in a filter.
pub(super) fn is_supported_condition(subquery: &Subquery, schema: &DFSchema) -> Result<bool> {
    Ok(uses_only_columns_of(subquery, schema)?
        && has_movable_conditions(&subquery.subquery, Consumer::Condition)?)
}

/// Whether DataFusion plans this scalar subquery correctly in a filter or projection.
pub(super) fn is_supported_scalar(subquery: &Subquery, schema: &DFSchema) -> Result<bool> {
    if !uses_only_columns_of(subquery, schema)? {
        return Ok(false);
    }
    if outer_columns(&subquery.subquery)?.is_empty() {
        return Ok(true);
    }
    let mut plan = subquery.subquery.as_ref();
    loop {
        plan = match plan {
            LogicalPlan::Projection(projection) => {
                let is_known = |expr: &Expr| expr.any_column_refs() && is_null_for_null(expr);
                if !projection.expr.iter().all(is_known) {
                    return Ok(false);
                }
                &projection.input
            }
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
                return Ok(aggregate.aggr_expr.iter().all(is_known_aggregate)
                    && aggregate
                        .aggr_expr
                        .iter()
                        .all(|expr| !expr.contains_outer())
                    && has_movable_conditions(&aggregate.input, Consumer::Aggregate)?);
            }
            _ => return Ok(false),
        }
    }
}

/// Whether the subquery uses outer columns only of the query directly around it, which has this
/// schema.
fn uses_only_columns_of(subquery: &Subquery, schema: &DFSchema) -> Result<bool> {
    let columns = outer_columns(&subquery.subquery)?;
    Ok(columns.iter().all(|column| schema.has_column(column)))
}

/// What is computed over the rows of a subquery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Consumer {
    /// EXISTS or IN, which need to know only whether rows exist.
    Condition,
    /// An aggregate without groups, whose result depends on how often a row occurs.
    Aggregate,
}

/// Whether DataFusion can move all correlated conditions of a plan to a join.
fn has_movable_conditions(plan: &LogicalPlan, consumer: Consumer) -> Result<bool> {
    if outer_columns(plan)?.is_empty() {
        return Ok(true);
    }
    match plan {
        LogicalPlan::Projection(projection) => {
            let is_plain = |expr: &Expr| is_independent(expr, plan);
            Ok(projection.expr.iter().all(is_plain)
                && has_movable_conditions(&projection.input, consumer)?)
        }
        LogicalPlan::SubqueryAlias(alias) => has_movable_conditions(&alias.input, consumer),
        LogicalPlan::Distinct(Distinct::All(input)) if consumer == Consumer::Condition => {
            has_movable_conditions(input, consumer)
        }
        LogicalPlan::Filter(filter) => {
            let is_movable = |condition: &&Expr| match consumer {
                Consumer::Aggregate if condition.contains_outer() => is_equality(condition),
                _ => !has_correlated_subquery(condition, plan),
            };
            Ok(split_conjunction(&filter.predicate).iter().all(is_movable)
                && has_movable_conditions(&filter.input, consumer)?)
        }
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
            let filter = join.filter.iter();
            let keys = join.on.iter().flat_map(|(left, right)| [left, right]);
            let is_plain = keys.chain(filter).all(|expr| is_independent(expr, plan));
            let (left, right) = (outer_columns(&join.left)?, outer_columns(&join.right)?);
            Ok(is_plain
                && (left.is_empty() || right.is_empty())
                && has_movable_conditions(&join.left, consumer)?
                && has_movable_conditions(&join.right, consumer)?)
        }
        _ => Ok(false),
    }
}

/// Whether an expression of a node uses no columns of outer queries, including its subqueries.
fn is_independent(expr: &Expr, node: &LogicalPlan) -> bool {
    let schema = merge_schema(&node.inputs());
    outer_columns_of_expr(expr, &schema).is_ok_and(|columns| columns.is_empty())
}

/// Whether a subquery within an expression uses columns of queries around the node.
fn has_correlated_subquery(expr: &Expr, node: &LogicalPlan) -> bool {
    let schema = merge_schema(&node.inputs());
    expr.exists(|part| {
        let Some(subquery) = subquery_of(part) else {
            return Ok(false);
        };
        let columns = outer_columns(&subquery.subquery)?;
        Ok(columns.iter().any(|column| !schema.has_column(column)))
    })
    .unwrap_or(true)
}

/// Whether a condition is `inner = outer`, with inner columns on one side and outer ones on the
/// other.
fn is_equality(expr: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr {
        left,
        op: Operator::Eq,
        right,
    }) = expr
    else {
        return false;
    };
    let is_outer = |expr: &Expr| expr.contains_outer() && !expr.any_column_refs();
    let is_inner = |expr: &Expr| !expr.contains_outer() && expr.any_column_refs();
    is_outer(left) && is_inner(right) || is_inner(left) && is_outer(right)
}

fn is_known_aggregate(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_known_aggregate(&alias.expr),
        Expr::AggregateFunction(function) => KNOWN_AGGREGATES.contains(&function.func.name()),
        _ => false,
    }
}

/// Whether an expression is arithmetic over columns, which is null if one of them is.
fn is_null_for_null(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) | Expr::Literal(..) => true,
        Expr::Alias(alias) => is_null_for_null(&alias.expr),
        Expr::Cast(cast) => is_null_for_null(&cast.expr),
        Expr::Negative(operand) => is_null_for_null(operand),
        Expr::BinaryExpr(binary) => {
            let is_arithmetic = matches!(
                binary.op,
                Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide
            );
            is_arithmetic && is_null_for_null(&binary.left) && is_null_for_null(&binary.right)
        }
        _ => false,
    }
}
