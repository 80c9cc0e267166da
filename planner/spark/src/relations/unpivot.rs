//! Plans `UNPIVOT (x FOR y IN (a, b))`.
//!
//! ```text
//! t(k, a, b) UNPIVOT (x FOR y IN (a, b))      ──▶ two rows for each row of t: (k, 'a', a) and (k, 'b', b)
//! ```
//!
//! The columns become lists, which are unnested, so that the input is read once.

use std::collections::HashSet;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, Result, UnnestOptions, plan_err};
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast, lit};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, ExprWithAlias, Ident, NullInclusion};

use super::generators::call;
use super::pivot::{columns_except, plan_all};
use crate::coercion::common_type;

/// The parts of an UNPIVOT.
pub(super) struct Unpivot {
    pub(super) value: SqlExpr,
    pub(super) name: Ident,
    pub(super) columns: Vec<ExprWithAlias>,
    pub(super) nulls: Option<NullInclusion>,
}

impl Unpivot {
    /// Returns a row for each of the columns that the clause lists, beside the columns that it does
    /// not list.
    ///
    /// # Errors
    /// If it lists something other than columns, or columns without a common type.
    pub(super) fn apply(
        self,
        input: LogicalPlan,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let mut new_names = vec![self.name.value.to_lowercase()];
        match &self.value {
            SqlExpr::Tuple(names) => {
                for name in names {
                    new_names.push(new_name(name)?);
                }
            }
            name => new_names.push(new_name(name)?),
        }
        let schema = DFSchema::clone(input.schema());
        let listed = plan_columns(self.columns, new_names.len() - 1, &schema, context)?;
        let used: HashSet<&Column> = listed
            .iter()
            .flat_map(|(_, columns)| columns.iter().flat_map(Expr::column_refs))
            .collect();
        let kept = columns_except(&schema, |column| used.contains(column));
        let list_name = |n: usize| format!("__list_{n}");
        let names = listed.iter().map(|(name, _)| lit(name.clone())).collect();
        let mut lists = vec![call("make_array", names, context)?.alias(list_name(0))];
        for n in 0..new_names.len() - 1 {
            let columns = listed.iter().map(|(_, columns)| columns[n].clone());
            let columns = with_common_type(columns.collect(), &schema)?;
            lists.push(call("make_array", columns, context)?.alias(list_name(n + 1)));
        }
        let item = |n: usize| Expr::Column(Column::from_name(list_name(n)));
        let unnested = (0..new_names.len()).map(|n| Column::from_name(list_name(n)));
        let mut plan = LogicalPlanBuilder::from(input)
            .project(kept.iter().cloned().chain(lists))?
            .unnest_columns_with_options(unnested.collect(), UnnestOptions::default())?;
        if self.nulls != Some(NullInclusion::IncludeNulls) {
            let exists = (1..new_names.len()).map(|n| item(n).is_not_null());
            if let Some(condition) = exists.reduce(Expr::or) {
                plan = plan.filter(condition)?;
            }
        }
        let new_columns = new_names.into_iter().enumerate();
        let new_columns = new_columns.map(|(n, name)| item(n).alias(name));
        plan.project(kept.into_iter().chain(new_columns))?.build()
    }
}

fn new_name(expr: &SqlExpr) -> Result<String> {
    match expr {
        SqlExpr::Identifier(name) => Ok(name.value.to_lowercase()),
        SqlExpr::Nested(expr) => new_name(expr),
        other => plan_err!("UNPIVOT takes the name of a new column before FOR, not {other}"),
    }
}

/// Plans the items of the list, each with its name and its columns.
fn plan_columns(
    items: Vec<ExprWithAlias>,
    width: usize,
    schema: &DFSchema,
    context: &mut dyn RelationPlannerContext,
) -> Result<Vec<(String, Vec<Expr>)>> {
    let mut listed = Vec::with_capacity(items.len());
    for item in items {
        // `dialect::pivots` has named them.
        let name = item.alias.map_or_else(String::new, |alias| alias.value);
        let text = item.expr.to_string();
        let columns = plan_all(vec![item.expr], schema, context)?;
        if let Some(other) = columns.iter().find(|expr| !matches!(expr, Expr::Column(_))) {
            return plan_err!(
                "[UNPIVOT_REQUIRES_ATTRIBUTES] UNPIVOT takes columns, not {other}; compute it in a subquery"
            );
        }
        if columns.len() != width {
            return plan_err!(
                "[UNPIVOT_VALUE_SIZE_MISMATCH] UNPIVOT has {width} columns before FOR, and {text} has {}",
                columns.len()
            );
        }
        listed.push((name, columns));
    }
    Ok(listed)
}

/// Casts columns to their common type.
///
/// # Errors
/// If some of them are text and some are not.
fn with_common_type(columns: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
    let types = columns.iter().map(|column| column.get_type(schema));
    let types: Vec<DataType> = types.collect::<Result<_>>()?;
    let mut known = types.iter().filter(|data_type| !data_type.is_null());
    let kind = known.next().map(DataType::is_string);
    if let Some(other) = known.find(|data_type| Some(data_type.is_string()) != kind) {
        return plan_err!(
            "[UNPIVOT_VALUE_DATA_TYPE_MISMATCH] the columns of UNPIVOT need one type; {} and {other} have none in common, so \
             cast one of them",
            types.first().unwrap_or(other)
        );
    }
    Ok(match common_type(&types) {
        Some(common) => {
            let typed = columns.into_iter();
            typed.map(|column| cast(column, common.clone())).collect()
        }
        None => columns,
    })
}
