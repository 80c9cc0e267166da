//! Projections that keep the original names of columns.

use std::sync::Arc;

use datafusion::common::{Column, DFSchema, Result, internal_err};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};

/// Selects `keys` and, under the names of `original`, the columns at `positions`.
pub(super) fn select_positions(
    plan: LogicalPlan,
    keys: &[Column],
    positions: impl IntoIterator<Item = usize>,
    original: &DFSchema,
) -> Result<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    let renamed =
        positions
            .into_iter()
            .zip(original.iter())
            .map(|(position, (qualifier, field))| {
                let (present_qualifier, present_field) = schema.qualified_field(position);
                let column = Expr::from((present_qualifier, present_field));
                match present_qualifier == qualifier && present_field.name() == field.name() {
                    true => column,
                    false => column.alias_qualified(qualifier.cloned(), field.name()),
                }
            });
    let exprs: Vec<Expr> = keys
        .iter()
        .cloned()
        .map(Expr::Column)
        .chain(renamed)
        .collect();
    if exprs.len() != keys.len() + original.fields().len() {
        return internal_err!("a plan has lost columns");
    }
    Projection::try_new(exprs, Arc::new(plan)).map(LogicalPlan::Projection)
}

/// Selects `keys` and the columns of `original`, which the plan has under the same names.
pub(super) fn select_columns(
    plan: LogicalPlan,
    keys: &[Column],
    original: &DFSchema,
) -> Result<LogicalPlan> {
    let columns = original.columns();
    let exprs = keys.iter().cloned().chain(columns).map(Expr::Column);
    Projection::try_new(exprs.collect(), Arc::new(plan)).map(LogicalPlan::Projection)
}

/// Selects `keys` and `exprs`.
pub(super) fn select(
    plan: LogicalPlan,
    keys: &[Column],
    exprs: impl IntoIterator<Item = Expr>,
) -> Result<LogicalPlan> {
    let keys = keys.iter().cloned().map(Expr::Column);
    Projection::try_new(keys.chain(exprs).collect(), Arc::new(plan)).map(LogicalPlan::Projection)
}
