//! Runs a subquery for every value of the outer columns at once.
//!
//! The values become columns, the *keys*, of the plans of the subquery, from the first node that
//! needs them up to its root. Each node then computes for each key what it would compute for one
//! outer row:
//!
//! ```text
//!   uncorrelated plan      ──►   values CROSS JOIN plan
//!   Filter, Projection     ──►   the same, with the keys
//!   Aggregate: groups      ──►   Aggregate: keys, groups
//!   Aggregate: no groups   ──►   Aggregate: keys, functions FILTER (WHERE mark)    a row even without rows
//!                                  values LEFT JOIN (plan, mark = true) ON keys
//!   Limit: Sort            ──►   row_number() OVER (PARTITION BY keys ORDER BY …) <= limit
//!   Window                 ──►   PARTITION BY keys, …
//!   Join of two such plans ──►   … AND keys are equal, or both null
//!   Union, Distinct        ──►   the same, with the keys
//! ```
//!
//! A plan that is returned has the columns of the original under their names, and the keys.

mod aggregate;
mod join;
mod limit;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, Result, not_impl_err};
use datafusion::logical_expr::{
    Distinct, Expr, Filter, LogicalPlan, LogicalPlanBuilder, Projection, SubqueryAlias, Union,
    Unnest, Window,
};

use super::columns::{select, select_positions};
use super::domain::Domain;

/// A plan that runs for all values of a domain, and its columns with these values.
pub(super) struct KeyedPlan {
    pub(super) plan: LogicalPlan,
    pub(super) keys: Vec<Column>,
}

/// Runs a plan for all values of a domain.
///
/// # Errors
/// If the plan contains a node for which this is not supported.
pub(super) fn run_for_all(domain: &Domain, plan: LogicalPlan) -> Result<KeyedPlan> {
    crate::stack::recurse(|| {
        if domain.is_used_by(&plan)? {
            run_node(domain, plan)
        } else {
            cross_join(domain, plan)
        }
    })
}

fn cross_join(domain: &Domain, plan: LogicalPlan) -> Result<KeyedPlan> {
    let (values, keys) = domain.values()?;
    let plan = match plan {
        LogicalPlan::EmptyRelation(empty)
            if empty.produce_one_row && empty.schema.fields().is_empty() =>
        {
            values
        }
        plan => LogicalPlanBuilder::from(values).cross_join(plan)?.build()?,
    };
    Ok(KeyedPlan { plan, keys })
}

fn run_node(domain: &Domain, plan: LogicalPlan) -> Result<KeyedPlan> {
    match plan {
        LogicalPlan::Projection(projection) => run_projection(domain, projection),
        LogicalPlan::Filter(filter) => {
            let KeyedPlan { plan, keys } = run_for_all(domain, Arc::unwrap_or_clone(filter.input))?;
            let predicate = domain.replace(filter.predicate, &keys)?;
            let plan = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?);
            Ok(KeyedPlan { plan, keys })
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let KeyedPlan { plan, keys } = run_for_all(domain, Arc::unwrap_or_clone(alias.input))?;
            let keys = keys
                .into_iter()
                .map(|key| Column::new(Some(alias.alias.clone()), key.name))
                .collect();
            let plan = SubqueryAlias::try_new(Arc::new(plan), alias.alias)?;
            let plan = LogicalPlan::SubqueryAlias(plan);
            Ok(KeyedPlan { plan, keys })
        }
        LogicalPlan::Subquery(subquery) => {
            run_for_all(domain, Arc::unwrap_or_clone(subquery.subquery))
        }
        LogicalPlan::Sort(mut sort) => match sort.fetch.take() {
            Some(fetch) => {
                let sort = LogicalPlan::Sort(sort);
                limit::run(domain, sort, 0, Some(fetch))
            }
            // The order of a subquery's rows matters only for its limit.
            None => run_for_all(domain, Arc::unwrap_or_clone(sort.input)),
        },
        LogicalPlan::Limit(limit) => limit::run_limit(domain, limit),
        LogicalPlan::Aggregate(aggregate) => aggregate::run(domain, aggregate),
        LogicalPlan::Window(window) => run_window(domain, window),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let KeyedPlan { plan, keys } = run_for_all(domain, Arc::unwrap_or_clone(input))?;
            let plan = LogicalPlan::Distinct(Distinct::All(Arc::new(plan)));
            Ok(KeyedPlan { plan, keys })
        }
        LogicalPlan::Union(union) => run_union(domain, union),
        LogicalPlan::Join(join) => join::run(domain, join),
        LogicalPlan::Unnest(unnest) => run_unnest(domain, unnest),
        other => not_impl_err!(
            "a subquery that uses columns of the outer query in this operator: {}; \
             write it as a join",
            other.display()
        ),
    }
}

fn run_projection(domain: &Domain, projection: Projection) -> Result<KeyedPlan> {
    let KeyedPlan { plan, keys } = run_for_all(domain, Arc::unwrap_or_clone(projection.input))?;
    let mut exprs = vec![];
    for (expr, (qualifier, field)) in projection.expr.into_iter().zip(projection.schema.iter()) {
        let expr = domain.replace(expr, &keys)?;
        let (present_qualifier, name) = expr.qualified_name();
        exprs.push(
            match present_qualifier.as_ref() == qualifier && name == *field.name() {
                true => expr,
                false => expr.alias_qualified(qualifier.cloned(), field.name()),
            },
        );
    }
    let plan = select(plan, &keys, exprs)?;
    Ok(KeyedPlan { plan, keys })
}

fn run_window(domain: &Domain, window: Window) -> Result<KeyedPlan> {
    let KeyedPlan { plan, keys } = run_for_all(domain, Arc::unwrap_or_clone(window.input))?;
    let input = Arc::clone(plan.schema());
    let mut exprs = vec![];
    for expr in window.window_expr {
        let expr = domain.replace(expr, &keys)?;
        let partitioned = expr.transform_up(|part| match part {
            Expr::WindowFunction(mut function) => {
                let keys = keys.iter().cloned().map(Expr::Column);
                function.params.partition_by.extend(keys);
                Ok(Transformed::yes(Expr::WindowFunction(function)))
            }
            part => Ok(Transformed::no(part)),
        });
        exprs.push(partitioned.data()?);
    }
    let function_count = exprs.len();
    let plan = LogicalPlan::Window(Window::try_new(exprs, Arc::new(plan))?);
    let input_width = window.schema.fields().len() - function_count;
    let mut positions = vec![];
    for column in window.schema.columns().iter().take(input_width) {
        positions.push(input.index_of_column(column)?);
    }
    positions.extend(input.fields().len()..input.fields().len() + function_count);
    let plan = select_positions(plan, &keys, positions, &window.schema)?;
    Ok(KeyedPlan { plan, keys })
}

fn run_union(domain: &Domain, union: Union) -> Result<KeyedPlan> {
    let mut inputs = vec![];
    let mut key_names: Vec<Column> = vec![];
    for input in union.inputs {
        let columns = input.schema().columns();
        let KeyedPlan { plan, keys } = run_for_all(domain, Arc::unwrap_or_clone(input))?;
        if key_names.is_empty() {
            key_names.extend(
                keys.iter()
                    .map(|_| Column::new_unqualified(domain.names.next("outer"))),
            );
        }
        let keys = keys.into_iter().zip(&key_names);
        let keys = keys.map(|(key, name)| Expr::Column(key).alias(&name.name));
        let columns = columns.into_iter().map(Expr::Column);
        inputs.push(Arc::new(select(plan, &[], keys.chain(columns))?));
    }
    let plan = LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?);
    let positions = key_names.len()..plan.schema().fields().len();
    let plan = select_positions(plan, &key_names, positions, &union.schema)?;
    Ok(KeyedPlan {
        plan,
        keys: key_names,
    })
}

fn run_unnest(domain: &Domain, unnest: Unnest) -> Result<KeyedPlan> {
    let KeyedPlan { plan, keys } = run_for_all(domain, Arc::unwrap_or_clone(unnest.input))?;
    let plan = LogicalPlanBuilder::from(plan)
        .unnest_columns_with_options(unnest.exec_columns, unnest.options)?
        .build()?;
    Ok(KeyedPlan { plan, keys })
}
