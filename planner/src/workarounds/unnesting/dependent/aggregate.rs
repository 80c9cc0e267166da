//! Aggregates of a subquery, for all values of a domain.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, JoinType, Result, not_impl_err};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, lit};

use super::{KeyedPlan, run_for_all};
use crate::workarounds::unnesting::columns::{select, select_positions};
use crate::workarounds::unnesting::domain::{Domain, KeyedJoin};

/// Computes an aggregate for each key. Without groups, a key without rows has a result too.
pub(super) fn run(domain: &Domain, aggregate: Aggregate) -> Result<KeyedPlan> {
    let is_grouping_set = |expr: &Expr| matches!(expr, Expr::GroupingSet(_));
    if aggregate.group_expr.iter().any(is_grouping_set) {
        return not_impl_err!(
            "GROUPING SETS, ROLLUP or CUBE in a subquery that uses columns of the outer query; \
             group in a derived table, and join it"
        );
    }
    // In SQL this may be an aggregate of the outer query. Spark refuses it too.
    if aggregate.aggr_expr.iter().any(Expr::contains_outer) {
        return not_impl_err!(
            "an aggregate function over columns of the outer query; \
             compute its argument in a derived table first"
        );
    }
    let input = run_for_all(domain, Arc::unwrap_or_clone(aggregate.input))?;
    let mut functions = aggregate.aggr_expr;
    let groups = aggregate.group_expr.into_iter();
    let groups = groups.map(|expr| domain.replace(expr, &input.keys));
    let groups = groups.collect::<Result<Vec<_>>>()?;
    let KeyedPlan { plan, keys } = match groups.is_empty() {
        true => {
            let (input, mark) = with_empty_groups(domain, input)?;
            let filtered = functions
                .into_iter()
                .map(|expr| ignore_unmarked_rows(expr, &mark));
            functions = filtered.collect::<Result<_>>()?;
            input
        }
        false => input,
    };
    let key_exprs = keys.iter().cloned().map(Expr::Column);
    let groups = key_exprs.chain(groups).collect();
    let plan = Aggregate::try_new(Arc::new(plan), groups, functions)?;
    let plan = LogicalPlan::Aggregate(plan);
    let positions = keys.len()..plan.schema().fields().len();
    let plan = select_positions(plan, &keys, positions, &aggregate.schema)?;
    Ok(KeyedPlan { plan, keys })
}

/// Adds a row without a mark for each key that has no row. Returns the mark, which is true or null.
fn with_empty_groups(domain: &Domain, input: KeyedPlan) -> Result<(KeyedPlan, Column)> {
    let mark = Column::new_unqualified(domain.names.next("mark"));
    let mut exprs: Vec<Expr> = input
        .plan
        .schema()
        .columns()
        .into_iter()
        .map(Expr::Column)
        .collect();
    exprs.push(lit(true).alias(&mark.name));
    let rows = select(input.plan, &[], exprs)?;
    let (values, keys) = domain.values()?;
    let pairs = keys.iter().cloned().zip(input.keys);
    let pairs = pairs.map(|(value, key)| (Expr::Column(value), Expr::Column(key)));
    let plan = KeyedJoin::new(JoinType::Left).build(values, rows, pairs)?;
    Ok((KeyedPlan { plan, keys }, mark))
}

/// Makes aggregate functions ignore rows without a mark.
fn ignore_unmarked_rows(expr: Expr, mark: &Column) -> Result<Expr> {
    expr.transform_up(|part| match part {
        Expr::AggregateFunction(mut function) => {
            let is_marked = Expr::Column(mark.clone()).is_not_null();
            let filter = match function.params.filter.take() {
                Some(filter) => is_marked.and(*filter),
                None => is_marked,
            };
            function.params.filter = Some(Box::new(filter));
            Ok(Transformed::yes(Expr::AggregateFunction(function)))
        }
        part => Ok(Transformed::no(part)),
    })
    .data()
}
