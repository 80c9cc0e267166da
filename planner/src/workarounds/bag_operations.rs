//! Makes `EXCEPT ALL` and `INTERSECT ALL` count the copies of a row.
//!
//! DataFusion plans them as anti- and semi-joins, which remove or keep every copy: `{1, 1} EXCEPT
//! ALL {1}` is empty instead of `{1}` (apache/datafusion#6898 tracks bag semantics). Here each copy
//! gets a number on both sides, which becomes part of the join's keys.
//!
//! ```text
//!   LeftAnti a, b          LeftAnti a, copy | b, copy
//!     left           ──►     Window row_number() over (partition by a)   left
//!     right                  Window row_number() over (partition by b)   right
//! ```

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{Column, JoinType, NullEquality, Result};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, Join, LogicalPlan, LogicalPlanBuilder, Projection,
};
use datafusion::optimizer::AnalyzerRule;

const LEFT_COPY: &str = "__left_copy";
const RIGHT_COPY: &str = "__right_copy";

/// Adds the number of each copy to the keys of set operations. Runs before type coercion: until
/// then the joins of set operations differ from all others.
#[derive(Debug)]
pub(super) struct BagOperations;

impl AnalyzerRule for BagOperations {
    fn name(&self) -> &'static str {
        "bag_operations"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Join(join) if is_bag_operation(&join) => {
                number_copies(join).map(Transformed::yes)
            }
            other => Ok(Transformed::no(other)),
        })
        .data()
    }
}

/// Whether DataFusion planned `EXCEPT ALL` or `INTERSECT ALL` as this join: no other join has all
/// columns as keys, in order, with equal nulls, at this point. Distinct left rows need no counting.
fn is_bag_operation(join: &Join) -> bool {
    let (left, right) = (join.left.schema(), join.right.schema());
    let is_pair = |(index, (l, r)): (usize, &(Expr, Expr))| {
        let is_column = |expr: &Expr, schema: &datafusion::common::DFSchema| {
            matches!(expr, Expr::Column(column)
                if index < schema.fields().len() && column.name() == schema.field(index).name())
        };
        is_column(l, left) && is_column(r, right)
    };
    matches!(join.join_type, JoinType::LeftAnti | JoinType::LeftSemi)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
        && !join.on.is_empty()
        && join.on.len() == left.fields().len()
        && join.on.iter().enumerate().all(is_pair)
        && !matches!(*join.left, LogicalPlan::Distinct(_))
        && !left.has_column_with_unqualified_name(LEFT_COPY)
}

fn number_copies(join: Join) -> Result<LogicalPlan> {
    let schema = Arc::clone(&join.schema);
    let (left_keys, right_keys) = join.on.iter().cloned().unzip();
    let left = number_rows(Arc::unwrap_or_clone(join.left), left_keys, LEFT_COPY)?;
    let right = number_rows(Arc::unwrap_or_clone(join.right), right_keys, RIGHT_COPY)?;
    let mut on = join.on;
    let copy = |name: &str| Expr::Column(Column::new_unqualified(name));
    on.push((copy(LEFT_COPY), copy(RIGHT_COPY)));
    let counted = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        on,
        None,
        join.join_type,
        join.join_constraint,
        NullEquality::NullEqualsNull,
        false,
    )?;
    Ok(LogicalPlan::Projection(Projection::new_from_schema(
        Arc::new(LogicalPlan::Join(counted)),
        schema,
    )))
}

/// Adds a column with the number of each row among the rows that are equal to it.
fn number_rows(plan: LogicalPlan, keys: Vec<Expr>, name: &str) -> Result<LogicalPlan> {
    let number = row_number().partition_by(keys).build()?;
    LogicalPlanBuilder::from(plan)
        .window([number.alias(name)])?
        .build()
}
