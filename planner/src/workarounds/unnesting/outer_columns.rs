//! The columns of outer queries that a plan uses.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery};

/// Returns the columns of outer queries that a plan and its subqueries use, each once.
pub(super) fn outer_columns(plan: &LogicalPlan) -> Result<Vec<Column>> {
    let mut columns = vec![];
    collect(plan, &mut columns)?;
    Ok(columns)
}

/// Returns the columns of outer queries that an expression uses. `schema` is that of the inputs of
/// its node.
pub(super) fn outer_columns_of_expr(expr: &Expr, schema: &DFSchema) -> Result<Vec<Column>> {
    let mut columns = vec![];
    collect_from_expr(expr, schema, &mut columns)?;
    Ok(columns)
}

/// Returns the subquery of an expression, but not those of its operands.
pub(super) fn subquery_of(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::ScalarSubquery(subquery)
        | Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. }) => Some(subquery),
        _ => None,
    }
}

fn collect(plan: &LogicalPlan, columns: &mut Vec<Column>) -> Result<()> {
    crate::stack::recurse(|| {
        let schema = merge_schema(&plan.inputs());
        plan.apply_expressions(|expr| {
            collect_from_expr(expr, &schema, columns)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        if let LogicalPlan::Join(join) = plan {
            collect(&join.left, columns)?;
            // The right side of a lateral join uses columns of the left one.
            return collect_from_outside(&join.right, join.left.schema(), columns);
        }
        for input in plan.inputs() {
            collect(input, columns)?;
        }
        Ok(())
    })
}

fn collect_from_expr(expr: &Expr, schema: &DFSchema, columns: &mut Vec<Column>) -> Result<()> {
    expr.apply(|part| {
        match part {
            Expr::OuterReferenceColumn(_, column) => add(column, columns),
            part => {
                if let Some(subquery) = subquery_of(part) {
                    collect_from_outside(&subquery.subquery, schema, columns)?;
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// Collects the columns that a plan uses of queries outside the one with this schema.
fn collect_from_outside(
    plan: &LogicalPlan,
    schema: &DFSchema,
    columns: &mut Vec<Column>,
) -> Result<()> {
    for column in outer_columns(plan)? {
        if !schema.has_column(&column) {
            add(&column, columns);
        }
    }
    Ok(())
}

fn add(column: &Column, columns: &mut Vec<Column>) {
    if !columns.contains(column) {
        columns.push(column.clone());
    }
}
