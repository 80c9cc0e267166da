//! Finds the input of an operator that a column comes from, and decides whether a rule may push
//! something to that input. Shared by rules; not a rule itself.

use std::sync::Arc;

use datafusion::common::{Column, JoinType};
use datafusion::logical_expr::{Expr, Projection};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;

use crate::physical::column_index;

/// Finds the child that owns `column`, and the column's index there.
///
/// A child owns a column if no output row has a value that does not come from a row of that child.
pub(super) fn owning_child(plan: &Arc<dyn ExecutionPlan>, column: usize) -> Option<(usize, usize)> {
    match plan.downcast_ref::<HashJoinExec>() {
        Some(join) => owning_side(join, column),
        None => input_column(plan, column).map(|column| (0, column)),
    }
}

/// Finds the side of a join that owns `column` (0 is left), and the column's index there.
///
/// Returns `None` for outer joins, whose rows may have no row of that side.
pub(super) fn owning_side(join: &HashJoinExec, column: usize) -> Option<(usize, usize)> {
    let column = join
        .projection
        .as_ref()
        .map_or(Some(column), |projection| projection.get(column).copied())?;
    let left_columns = join.left().schema().fields().len();
    match join.join_type() {
        JoinType::Inner if column >= left_columns => Some((1, column - left_columns)),
        JoinType::Inner | JoinType::LeftSemi | JoinType::LeftAnti => Some((0, column)),
        JoinType::RightSemi | JoinType::RightAnti => Some((1, column)),
        _ => None,
    }
}

/// Returns the input column that a projection or a filter returns unchanged as `column`; `None` for
/// other operators.
pub(super) fn input_column(plan: &Arc<dyn ExecutionPlan>, column: usize) -> Option<usize> {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return column_index(&projection.expr().get(column)?.expr);
    }
    let filter = plan
        .downcast_ref::<FilterExec>()
        .filter(|filter| filter.fetch().is_none())?;
    filter
        .projection()
        .as_ref()
        .map_or(Some(column), |projection| projection.get(column).copied())
}

/// Returns the input column that a logical projection returns unchanged as `column`.
pub(super) fn projected_column(projection: &Projection, column: &Column) -> Option<Column> {
    let index = projection.schema.maybe_index_of_column(column)?;
    match projection.expr.get(index)? {
        Expr::Column(column) => Some(column.clone()),
        Expr::Alias(alias) => alias.expr.try_as_col().cloned(),
        _ => None,
    }
}
