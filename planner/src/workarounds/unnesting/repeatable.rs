//! Checks that a copy of the outer rows has the same values as the rows themselves.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, not_impl_err};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};

/// Window functions whose results depend on the order of peers.
const ORDERED_WINDOWS: [&str; 7] = [
    "row_number",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
];

/// Checks that a subquery can be joined to the outer rows.
///
/// The rows are computed once for the outer query and once for the subquery. With LIMIT, or a
/// function such as `rand`, the copies may differ, and rows would silently find no partner.
///
/// # Errors
/// If the two copies may differ.
pub(super) fn check_repeatable(rows: &LogicalPlan, columns: &[Column]) -> Result<()> {
    let mut cause = None;
    rows.apply_with_subqueries(|node| {
        let node_cause = match node {
            LogicalPlan::Limit(_) => Some("LIMIT or OFFSET"),
            LogicalPlan::Sort(sort) if sort.fetch.is_some() => Some("LIMIT or OFFSET"),
            LogicalPlan::Distinct(Distinct::On(_)) => Some("DISTINCT ON"),
            node => {
                let mut is_volatile = false;
                node.apply_expressions(|expr| {
                    is_volatile |= expr.is_volatile();
                    Ok(TreeNodeRecursion::Continue)
                })?;
                is_volatile.then_some("a function that returns other values in each run")
            }
        };
        cause = cause.or(node_cause);
        Ok(match cause {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    })?;
    if cause.is_none() && columns.iter().any(|column| depends_on_order(rows, column)) {
        cause = Some("a function that depends on the order of rows");
    }
    match cause {
        None => Ok(()),
        Some(cause) => not_impl_err!(
            "a correlated subquery of this form over rows that come from {cause}; \
             write the rows to a table first, and query that"
        ),
    }
}

/// Whether a column is the result of a function that returns other values for another order of
/// rows.
fn depends_on_order(plan: &LogicalPlan, column: &Column) -> bool {
    let Ok(position) = plan.schema().index_of_column(column) else {
        return true;
    };
    match plan {
        LogicalPlan::Projection(projection) => projection.expr.get(position).is_none_or(|expr| {
            let columns = expr.column_refs();
            columns
                .into_iter()
                .any(|column| depends_on_order(&projection.input, column))
        }),
        LogicalPlan::SubqueryAlias(alias) => {
            let (qualifier, field) = alias.input.schema().qualified_field(position);
            depends_on_order(&alias.input, &Column::from((qualifier, field)))
        }
        LogicalPlan::Aggregate(aggregate) => {
            let functions = position.checked_sub(aggregate.group_expr.len());
            let function = functions.and_then(|index| aggregate.aggr_expr.get(index));
            function.is_some_and(|function| {
                // Sums of floats are rounded in the order of the rows.
                let is_float = plan.schema().field(position).data_type().is_floating();
                is_float || !is_order_independent(function)
            })
        }
        LogicalPlan::Window(window) => {
            let inputs = window.input.schema().fields().len();
            match position.checked_sub(inputs) {
                Some(index) => window.window_expr.get(index).is_none_or(|expr| {
                    expr.exists(|part| Ok(matches!(part, Expr::WindowFunction(function) if ORDERED_WINDOWS.contains(&function.fun.name()))))
                        .unwrap_or(true)
                }),
                None => depends_on_order(&window.input, column),
            }
        }
        other => other
            .inputs()
            .into_iter()
            .filter(|input| input.schema().has_column(column))
            .any(|input| depends_on_order(input, column)),
    }
}

fn is_order_independent(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_order_independent(&alias.expr),
        Expr::AggregateFunction(aggregate) => {
            matches!(
                aggregate.func.name(),
                "count" | "sum" | "min" | "max" | "avg"
            )
        }
        _ => false,
    }
}
