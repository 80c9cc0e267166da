//! Gives `IN`, `NOT IN` and `EXISTS` with subqueries their three-valued logic.
//!
//! DataFusion plans them as semi-, anti- and mark joins. Nulls get lost where the value is not a
//! plain column or the subquery is correlated (apache/datafusion#25340, #25336, #25347, #25473,
//! #25474, #25480), and a subquery that aggregates without groups, which always has a row, is taken
//! for an empty one (#24960, #8241). In filters they are rewritten as conditions that DataFusion
//! decorrelates correctly; [`unnesting`](super::unnesting) joins those in other positions:
//!
//! ```text
//!   x NOT IN S, tested    ──►   NOT EXISTS(S where y = x) AND NOT EXISTS(S where y IS NULL)
//!                                 AND (x IS NOT NULL OR NOT EXISTS(S))
//!   x IN S, as a value    ──►   CASE WHEN EXISTS(S where y = x) THEN true WHEN … THEN null ELSE false END
//!   EXISTS(one row)       ──►   true
//!   x IN (one row)        ──►   x = (one row)
//! ```

mod one_row;

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, ExprSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, Filter, LogicalPlan, LogicalPlanBuilder, Operator, Subquery,
    lit, not, when,
};
use datafusion::optimizer::AnalyzerRule;

use one_row::OneRow;

/// Rewrites the subqueries of filters. Runs after type coercion, when the value and the subquery's
/// column have one type.
#[derive(Debug)]
pub(super) struct SubqueryLogic;

impl AnalyzerRule for SubqueryLogic {
    fn name(&self) -> &'static str {
        "subquery_logic"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Filter(filter) if has_subquery(&filter.predicate) => {
                rewrite_filter(filter).map(Transformed::yes)
            }
            other => Ok(Transformed::no(other)),
        })
        .data()
    }
}

fn rewrite_filter(mut filter: Filter) -> Result<LogicalPlan> {
    let input = Arc::clone(&filter.input);
    let rewriting = FilterRewrite {
        schema: merge_schema(&[input.as_ref()]),
    };
    filter.predicate = rewriting.rewrite_condition(filter.predicate, Position::Required)?;
    Ok(LogicalPlan::Filter(filter))
}

fn has_subquery(expr: &Expr) -> bool {
    expr.exists(|e| Ok(matches!(e, Expr::InSubquery(_) | Expr::Exists(_))))
        .unwrap_or(false)
}

/// Whether a filter needs a condition to be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Rows stay only if the condition is true.
    Required,
    /// Rows may stay without it: it is a part of an OR.
    Optional,
}

/// Rewrites the predicate of one filter.
struct FilterRewrite {
    /// The columns that the predicate may use.
    schema: DFSchema,
}

impl FilterRewrite {
    /// Rewrites a condition for which unknown counts as false.
    fn rewrite_condition(&self, expr: Expr, position: Position) -> Result<Expr> {
        match expr {
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: op @ (Operator::And | Operator::Or),
                right,
            }) => {
                let position = match op {
                    Operator::And => position,
                    _ => Position::Optional,
                };
                let (left, right) = (
                    self.rewrite_condition(*left, position)?,
                    self.rewrite_condition(*right, position)?,
                );
                Ok(Expr::BinaryExpr(BinaryExpr::new(
                    Box::new(left),
                    op,
                    Box::new(right),
                )))
            }
            Expr::Not(inner) => match *inner {
                Expr::InSubquery(in_list) => {
                    let negated = !in_list.negated;
                    self.rewrite_in_condition(InSubquery { negated, ..in_list }, position)
                }
                Expr::Exists(exists) => {
                    let negated = !exists.negated;
                    self.rewrite_value(Expr::Exists(Exists { negated, ..exists }))
                }
                other => Ok(not(self.rewrite_value(other)?)),
            },
            Expr::InSubquery(in_list) => self.rewrite_in_condition(in_list, position),
            other => self.rewrite_value(other),
        }
    }

    /// Rewrites a condition whose value matters: unknown and false differ.
    fn rewrite_value(&self, expr: Expr) -> Result<Expr> {
        expr.transform_up(|e| match e {
            Expr::InSubquery(in_list) => self.rewrite_in_value(in_list).map(Transformed::yes),
            Expr::Exists(exists) => rewrite_exists(exists),
            other => Ok(Transformed::no(other)),
        })
        .data()
    }

    fn rewrite_in_condition(&self, in_list: InSubquery, position: Position) -> Result<Expr> {
        if OneRow::from_subquery(&in_list.subquery.subquery).is_some() {
            return self.rewrite_in_value(in_list);
        }
        if !in_list.negated || position == Position::Required && is_right_in_datafusion(&in_list) {
            return Ok(Expr::InSubquery(in_list));
        }
        let parts = InParts::new(in_list, &self.schema)?;
        Ok(not(parts.matches()?).and(not(parts.is_unknown()?)))
    }

    fn rewrite_in_value(&self, in_list: InSubquery) -> Result<Expr> {
        let negated = in_list.negated;
        let value = match OneRow::from_subquery(&in_list.subquery.subquery) {
            Some(row) => row.equals(*in_list.expr, &in_list.subquery)?,
            None => {
                let parts = InParts::new(in_list, &self.schema)?;
                when(parts.matches()?, lit(true))
                    .when(parts.is_unknown()?, lit(ScalarValue::Boolean(None)))
                    .otherwise(lit(false))?
            }
        };
        Ok(if negated { not(value) } else { value })
    }
}

/// Whether DataFusion plans this `NOT IN` correctly, as an anti-join that respects nulls: the value
/// is a column, which states whether it may be null, and the subquery is not correlated.
fn is_right_in_datafusion(in_list: &InSubquery) -> bool {
    matches!(in_list.expr.as_ref(), Expr::Column(_))
        && in_list.subquery.outer_ref_columns.is_empty()
}

fn rewrite_exists(exists: Exists) -> Result<Transformed<Expr>> {
    let Some(row) = OneRow::from_subquery(&exists.subquery.subquery) else {
        return Ok(Transformed::no(Expr::Exists(exists)));
    };
    let value = row.exists(&exists.subquery)?;
    Ok(Transformed::yes(if exists.negated {
        not(value)
    } else {
        value
    }))
}

/// The parts of `value IN subquery`.
struct InParts {
    value: Expr,
    /// The value inside the subquery, where its columns are those of an outer query.
    outer_value: Expr,
    value_may_be_null: bool,
    subquery: Subquery,
}

impl InParts {
    fn new(in_list: InSubquery, schema: &DFSchema) -> Result<Self> {
        let value_may_be_null = in_list.expr.nullable(schema).unwrap_or(true);
        let as_outer = |e: Expr| match e {
            Expr::Column(column) => {
                let field = Arc::clone(schema.field_from_column(&column)?);
                Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
            }
            other => Ok(Transformed::no(other)),
        };
        Ok(Self {
            outer_value: in_list
                .expr
                .as_ref()
                .clone()
                .transform_up(as_outer)
                .data()?,
            value: *in_list.expr,
            value_may_be_null,
            subquery: in_list.subquery,
        })
    }

    fn item(&self) -> Expr {
        Expr::from(self.subquery.subquery.schema().qualified_field(0))
    }

    fn matches(&self) -> Result<Expr> {
        self.exists_where(Some(self.item().eq(self.outer_value.clone())))
    }

    /// Returns the condition that the result is unknown, not false, because a value or an item is
    /// null. A side that cannot be null needs no test.
    fn is_unknown(&self) -> Result<Expr> {
        let item_may_be_null = self.subquery.subquery.schema().field(0).is_nullable();
        let by_item = match item_may_be_null {
            true => self.exists_where(Some(self.item().is_null()))?,
            false => lit(false),
        };
        if !self.value_may_be_null {
            return Ok(by_item);
        }
        Ok(by_item.or(self.value.clone().is_null().and(self.exists_where(None)?)))
    }

    fn exists_where(&self, condition: Option<Expr>) -> Result<Expr> {
        let rows = self.subquery.subquery.as_ref().clone();
        let plan = match condition {
            Some(condition) => LogicalPlanBuilder::from(rows).filter(condition)?.build()?,
            None => rows,
        };
        // One row is enough, and a subquery without keys would be compared row by row.
        let plan = match plan.all_out_ref_exprs().is_empty() {
            true => LogicalPlanBuilder::from(plan).limit(0, Some(1))?.build()?,
            false => plan,
        };
        Ok(Expr::Exists(Exists {
            subquery: Subquery {
                outer_ref_columns: plan.all_out_ref_exprs(),
                subquery: Arc::new(plan),
                spans: self.subquery.spans.clone(),
            },
            negated: false,
        }))
    }
}
