//! The values of outer columns for which a subquery runs.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, JoinConstraint, JoinType, NullEquality, Result};
use datafusion::logical_expr::{
    Distinct, Expr, ExprSchemable, Join, LogicalPlan, Operator, Projection, binary_expr,
};

use super::Names;
use super::outer_columns::outer_columns;
use super::repeatable::check_repeatable;

/// The distinct values of the columns of one outer query that a subquery uses.
pub(super) struct Domain<'a> {
    rows: LogicalPlan,
    columns: Vec<Column>,
    pub(super) names: &'a Names,
}

impl<'a> Domain<'a> {
    /// Returns the domain of these `columns` of the outer query's `rows`.
    ///
    /// # Errors
    /// If a second copy of the rows may have other values.
    pub(super) fn new(rows: &LogicalPlan, columns: Vec<Column>, names: &'a Names) -> Result<Self> {
        check_repeatable(rows, &columns)?;
        Ok(Self {
            rows: rows.clone(),
            columns,
            names,
        })
    }

    /// Returns the columns of the outer query.
    pub(super) fn outer(&self) -> impl Iterator<Item = Expr> {
        self.columns.iter().cloned().map(Expr::Column)
    }

    /// Returns the values, and their columns. Each call gives the columns new names.
    pub(super) fn values(&self) -> Result<(LogicalPlan, Vec<Column>)> {
        let (mut exprs, mut keys) = (vec![], vec![]);
        for column in &self.columns {
            let name = self.names.next("outer");
            exprs.push(Expr::Column(column.clone()).alias(&name));
            keys.push(Column::new_unqualified(name));
        }
        let rows = Projection::try_new(exprs, Arc::new(self.rows.clone()))?;
        let rows = Arc::new(LogicalPlan::Projection(rows));
        Ok((LogicalPlan::Distinct(Distinct::All(rows)), keys))
    }

    /// Whether a plan uses columns of the outer query.
    pub(super) fn is_used_by(&self, plan: &LogicalPlan) -> Result<bool> {
        let columns = outer_columns(plan)?;
        Ok(columns.iter().any(|column| self.columns.contains(column)))
    }

    /// Replaces the columns of the outer query in an expression by `keys`, the columns of the
    /// domain's values.
    pub(super) fn replace(&self, expr: Expr, keys: &[Column]) -> Result<Expr> {
        expr.transform_up(|part| match &part {
            Expr::OuterReferenceColumn(_, column) => {
                let position = self.columns.iter().position(|outer| outer == column);
                let key = position.and_then(|position| keys.get(position));
                Ok(match key {
                    Some(key) => Transformed::yes(Expr::Column(key.clone())),
                    None => Transformed::no(part),
                })
            }
            _ => Ok(Transformed::no(part)),
        })
        .data()
    }
}

/// A join of two plans, before the equality of keys is added to its condition.
pub(super) struct KeyedJoin {
    pub(super) join_type: JoinType,
    pub(super) on: Vec<(Expr, Expr)>,
    pub(super) filter: Option<Expr>,
    pub(super) null_equality: NullEquality,
    pub(super) is_null_aware: bool,
}

impl KeyedJoin {
    pub(super) fn new(join_type: JoinType) -> Self {
        Self {
            join_type,
            on: vec![],
            filter: None,
            null_equality: NullEquality::NullEqualsNothing,
            is_null_aware: false,
        }
    }

    /// Joins the plans. Each pair of `keys` must be equal, or null on both sides, besides the
    /// join's own condition.
    pub(super) fn build(
        mut self,
        left: LogicalPlan,
        right: LogicalPlan,
        keys: impl IntoIterator<Item = (Expr, Expr)>,
    ) -> Result<LogicalPlan> {
        let keys: Vec<(Expr, Expr)> = keys.into_iter().collect();
        let may_be_null = |(left_key, right_key): &(Expr, Expr)| {
            left_key.nullable(left.schema()).unwrap_or(true)
                && right_key.nullable(right.schema()).unwrap_or(true)
        };
        if self.on.is_empty() && keys.iter().any(may_be_null) {
            self.null_equality = NullEquality::NullEqualsNull;
        }
        // A join compares nulls in one way for all its keys, so the others become conditions.
        let is_null_safe = self.null_equality == NullEquality::NullEqualsNull;
        for key in keys {
            if is_null_safe || !may_be_null(&key) {
                self.on.push(key);
            } else {
                let condition = binary_expr(key.0, Operator::IsNotDistinctFrom, key.1);
                self.filter = Some(match self.filter {
                    Some(filter) => filter.and(condition),
                    None => condition,
                });
            }
        }
        Join::try_new(
            Arc::new(left),
            Arc::new(right),
            self.on,
            self.filter,
            self.join_type,
            JoinConstraint::On,
            self.null_equality,
            self.is_null_aware,
        )
        .map(LogicalPlan::Join)
    }
}
