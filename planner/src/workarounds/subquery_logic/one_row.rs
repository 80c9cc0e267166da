//! Subqueries that aggregate without groups: one row, unless HAVING removes it.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery, lit, when};

/// The aggregate of a subquery, and the conditions that decide whether its one row exists.
pub(super) struct OneRow {
    /// Conditions above the aggregate, in terms of its columns.
    having: Vec<Expr>,
    aggregate: Arc<LogicalPlan>,
    /// The first output column, in terms of the aggregate's columns.
    item: Expr,
}

impl OneRow {
    /// Returns the parts of such a subquery; `None` for any other subquery.
    pub(super) fn from_subquery(plan: &Arc<LogicalPlan>) -> Option<Self> {
        let (qualifier, field) = plan.schema().qualified_field(0);
        let mut row = Self {
            having: vec![],
            aggregate: Arc::clone(plan),
            item: Expr::Column(Column::new(qualifier.cloned(), field.name())),
        };
        loop {
            let input = match row.aggregate.as_ref() {
                LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
                    return Some(row);
                }
                LogicalPlan::Projection(projection) => {
                    let (schema, exprs) = (&projection.schema, &projection.expr);
                    let inner_column = |column: &Column| {
                        let index = schema.index_of_column(column).ok()?;
                        exprs.get(index).map(|expr| expr.clone().unalias())
                    };
                    row.item = replace_columns(row.item, &inner_column)?;
                    row.having = replace_all_columns(row.having, &inner_column)?;
                    Arc::clone(&projection.input)
                }
                LogicalPlan::SubqueryAlias(alias) => {
                    let (outer, inner) = (&alias.schema, alias.input.schema());
                    let inner_column = |column: &Column| {
                        let index = outer.index_of_column(column).ok()?;
                        Some(Expr::from(inner.qualified_field(index)))
                    };
                    row.item = replace_columns(row.item, &inner_column)?;
                    row.having = replace_all_columns(row.having, &inner_column)?;
                    Arc::clone(&alias.input)
                }
                LogicalPlan::Filter(filter) => {
                    row.having.push(filter.predicate.clone());
                    Arc::clone(&filter.input)
                }
                LogicalPlan::Sort(sort) if sort.fetch.is_none() => Arc::clone(&sort.input),
                _ => return None,
            };
            row.aggregate = input;
        }
    }

    /// Returns the condition that the row exists.
    pub(super) fn exists(self, subquery: &Subquery) -> Result<Expr> {
        let Some(having) = conjunction(self.having) else {
            return Ok(lit(true));
        };
        Ok(scalar(&self.aggregate, having, subquery)?.is_true())
    }

    /// Returns the condition that `value` equals the row's item; false without a row.
    pub(super) fn equals(self, value: Expr, subquery: &Subquery) -> Result<Expr> {
        let equal = value.eq(scalar(&self.aggregate, self.item, subquery)?);
        let Some(having) = conjunction(self.having) else {
            return Ok(equal);
        };
        let exists = scalar(&self.aggregate, having, subquery)?.is_true();
        when(exists, equal).otherwise(lit(false))
    }
}

/// Returns the value of an expression over the one row, as a scalar subquery.
fn scalar(aggregate: &Arc<LogicalPlan>, value: Expr, subquery: &Subquery) -> Result<Expr> {
    let plan = LogicalPlanBuilder::from(aggregate.as_ref().clone())
        .project([value.alias("value")])?
        .build()?;
    Ok(Expr::ScalarSubquery(Subquery {
        outer_ref_columns: plan.all_out_ref_exprs(),
        subquery: Arc::new(plan),
        spans: subquery.spans.clone(),
    }))
}

/// Replaces the columns of an expression; `None` if one has no replacement.
fn replace_columns(expr: Expr, inner_column: &impl Fn(&Column) -> Option<Expr>) -> Option<Expr> {
    let mut is_known = true;
    let replaced = expr.transform_up(|e| match &e {
        Expr::Column(column) => match inner_column(column) {
            Some(inner) => Ok(Transformed::yes(inner)),
            None => {
                is_known = false;
                Ok(Transformed::no(e))
            }
        },
        _ => Ok(Transformed::no(e)),
    });
    replaced.data().ok().filter(|_| is_known)
}

fn replace_all_columns(
    exprs: Vec<Expr>,
    inner_column: &impl Fn(&Column) -> Option<Expr>,
) -> Option<Vec<Expr>> {
    exprs
        .into_iter()
        .map(|expr| replace_columns(expr, inner_column))
        .collect()
}
