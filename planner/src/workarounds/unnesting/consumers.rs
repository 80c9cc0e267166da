//! The nodes whose expressions contain subqueries, and lateral joins.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, Result, not_impl_err};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, Expr, Filter, Join, LogicalPlan, Projection, Sort, Window,
};

use super::Names;
use super::columns::{select_columns, select_positions};
use super::dependent::run_for_all;
use super::domain::{Domain, KeyedJoin};
use super::marks::{MarkedRows, strip_exists_subquery};
use super::outer_columns::{outer_columns, subquery_of};
use super::supported::{is_supported_condition, is_supported_scalar};

/// The kind of node that contains an expression: DataFusion plans subqueries only in some nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    Filter,
    Projection,
    Other,
}

/// Joins the subqueries of a node to its input, except those that DataFusion decorrelates
/// correctly.
pub(super) fn rewrite_node(plan: LogicalPlan, names: &Names) -> Result<Transformed<LogicalPlan>> {
    let plan = plan
        .map_expressions(|expr| expr.transform_up(simplify_exists))?
        .data;
    if let LogicalPlan::Join(join) = plan {
        return rewrite_join(join, names);
    }
    let position = match &plan {
        LogicalPlan::Filter(_) => Position::Filter,
        LogicalPlan::Projection(_) => Position::Projection,
        _ => Position::Other,
    };
    let [input] = plan.inputs()[..] else {
        return Ok(Transformed::no(plan));
    };
    let schema = Arc::clone(input.schema());
    let mut has_subquery_to_join = false;
    plan.apply_expressions(|expr| {
        has_subquery_to_join |= contains_subquery_to_join(expr, &schema, position)?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    if !has_subquery_to_join {
        return Ok(Transformed::no(plan));
    }
    rewrite_consumer(plan, &schema, position, names).map(Transformed::yes)
}

fn rewrite_consumer(
    plan: LogicalPlan,
    schema: &DFSchema,
    position: Position,
    names: &Names,
) -> Result<LogicalPlan> {
    let original = Arc::clone(plan.schema());
    match plan {
        LogicalPlan::Filter(filter) => {
            let mut rows = MarkedRows::new(&filter.input, names);
            let predicate = join_subqueries(filter.predicate, schema, position, &mut rows)?;
            let plan = Filter::try_new(predicate, Arc::new(rows.plan))?;
            select_columns(LogicalPlan::Filter(plan), &[], &original)
        }
        LogicalPlan::Projection(projection) => {
            let mut rows = MarkedRows::new(&projection.input, names);
            let preserver = NamePreserver::new_for_projection();
            let mut exprs = vec![];
            for expr in projection.expr {
                let name = preserver.save(&expr);
                let expr = join_subqueries(expr, schema, position, &mut rows)?;
                exprs.push(name.restore(expr));
            }
            Projection::try_new(exprs, Arc::new(rows.plan)).map(LogicalPlan::Projection)
        }
        LogicalPlan::Aggregate(aggregate) => {
            let mut rows = MarkedRows::new(&aggregate.input, names);
            let groups = join_all(aggregate.group_expr, schema, &mut rows)?;
            let functions = join_all(aggregate.aggr_expr, schema, &mut rows)?;
            let plan = Aggregate::try_new(Arc::new(rows.plan), groups, functions)?;
            let positions = 0..original.fields().len();
            select_positions(LogicalPlan::Aggregate(plan), &[], positions, &original)
        }
        LogicalPlan::Window(window) => {
            let mut rows = MarkedRows::new(&window.input, names);
            let functions = join_all(window.window_expr, schema, &mut rows)?;
            let plan = Window::try_new(functions, Arc::new(rows.plan))?;
            let input_width = schema.fields().len();
            let function_count = original.fields().len() - input_width;
            // The columns of joined subqueries are between the input's columns and the functions.
            let first_function = plan.input.schema().fields().len();
            let functions = first_function..first_function + function_count;
            let positions = (0..input_width).chain(functions);
            select_positions(LogicalPlan::Window(plan), &[], positions, &original)
        }
        LogicalPlan::Sort(sort) => {
            let mut rows = MarkedRows::new(&sort.input, names);
            let mut order = sort.expr;
            for key in &mut order {
                let expr = std::mem::take(&mut key.expr);
                key.expr = join_subqueries(expr, schema, position, &mut rows)?;
            }
            let plan = LogicalPlan::Sort(Sort {
                expr: order,
                input: Arc::new(rows.plan),
                fetch: sort.fetch,
            });
            select_columns(plan, &[], &original)
        }
        other => not_impl_err!(
            "a subquery in this operator: {}; compute its value in a derived table first",
            other.display()
        ),
    }
}

fn join_all(exprs: Vec<Expr>, schema: &DFSchema, rows: &mut MarkedRows) -> Result<Vec<Expr>> {
    let exprs = exprs.into_iter();
    exprs
        .map(|expr| join_subqueries(expr, schema, Position::Other, rows))
        .collect()
}

/// Joins the subqueries of an expression and returns it with their values.
fn join_subqueries(
    expr: Expr,
    schema: &DFSchema,
    position: Position,
    rows: &mut MarkedRows,
) -> Result<Expr> {
    expr.transform_up(|part| match is_subquery_to_join(&part, schema, position)? {
        true => rows.add(part).map(Transformed::yes),
        false => Ok(Transformed::no(part)),
    })
    .data()
}

fn contains_subquery_to_join(expr: &Expr, schema: &DFSchema, position: Position) -> Result<bool> {
    expr.exists(|part| is_subquery_to_join(part, schema, position))
}

/// Is this a subquery that DataFusion does not plan correctly in this position?
fn is_subquery_to_join(expr: &Expr, schema: &DFSchema, position: Position) -> Result<bool> {
    Ok(match expr {
        Expr::ScalarSubquery(subquery) => {
            position == Position::Other || !is_supported_scalar(subquery, schema)?
        }
        Expr::Exists(exists) => {
            position != Position::Filter || !is_supported_condition(&exists.subquery, schema)?
        }
        Expr::InSubquery(in_list) => {
            position != Position::Filter || !is_supported_condition(&in_list.subquery, schema)?
        }
        _ => false,
    })
}

/// Simplifies the subquery of EXISTS, so that DataFusion decorrelates more of them.
fn simplify_exists(expr: Expr) -> Result<Transformed<Expr>> {
    let Expr::Exists(mut exists) = expr else {
        return Ok(Transformed::no(expr));
    };
    exists.subquery.subquery = strip_exists_subquery(exists.subquery.subquery)?;
    Ok(Transformed::yes(Expr::Exists(exists)))
}

/// Joins the subqueries of a join's condition, and the right side of a lateral join.
fn rewrite_join(join: Join, names: &Names) -> Result<Transformed<LogicalPlan>> {
    let mut columns = outer_columns(&join.right)?;
    columns.retain(|column| join.left.schema().has_column(column));
    let has_subquery = |expr: &Expr| expr.exists(|part| Ok(subquery_of(part).is_some()));
    let is_lateral = !columns.is_empty();
    let plan = match is_lateral {
        true => rewrite_lateral(join, columns, names)?,
        false => LogicalPlan::Join(join),
    };
    let LogicalPlan::Join(mut join) = plan else {
        return Ok(Transformed::yes(plan));
    };
    let filter = join.filter.take();
    let (conditions, rest): (Vec<Expr>, Vec<Expr>) = filter
        .into_iter()
        .flat_map(split_conjunction_owned)
        .partition(|condition| has_subquery(condition).unwrap_or(false));
    join.filter = conjunction(rest);
    if conditions.is_empty() {
        return Ok(Transformed::new_transformed(
            LogicalPlan::Join(join),
            is_lateral,
        ));
    }
    if join.join_type == JoinType::Inner {
        let predicate = conjunction(conditions).unwrap_or_default();
        let filter = Filter::try_new(predicate, Arc::new(LogicalPlan::Join(join)))?;
        let filter = rewrite_node(LogicalPlan::Filter(filter), names)?.data;
        return Ok(Transformed::yes(filter));
    }
    rewrite_outer_join(join, conditions, names).map(Transformed::yes)
}

/// Joins each subquery of an outer join's condition to the side whose columns it uses.
fn rewrite_outer_join(mut join: Join, conditions: Vec<Expr>, names: &Names) -> Result<LogicalPlan> {
    let original = Arc::clone(&join.schema);
    let (left, right) = (Arc::clone(&join.left), Arc::clone(&join.right));
    let mut left_rows = MarkedRows::new(&left, names);
    let mut right_rows = MarkedRows::new(&right, names);
    let mut filter = join.filter.take();
    for condition in conditions {
        let condition = condition.transform_up(|part| {
            let Some(subquery) = subquery_of(&part) else {
                return Ok(Transformed::no(part));
            };
            let mut columns = outer_columns(&subquery.subquery)?;
            columns.extend(part.column_refs().into_iter().cloned());
            let uses = |side: &LogicalPlan| {
                columns
                    .iter()
                    .any(|column| side.schema().has_column(column))
            };
            match (uses(&left), uses(&right)) {
                (true, true) => not_impl_err!(
                    "a subquery in the condition of an outer join that uses columns of both sides; \
                     join in a derived table with this condition in WHERE"
                ),
                (true, false) => left_rows.add(part).map(Transformed::yes),
                (false, _) => right_rows.add(part).map(Transformed::yes),
            }
        })?;
        filter = conjunction(filter.into_iter().chain([condition.data]));
    }
    let plan = KeyedJoin {
        on: join.on,
        filter,
        null_equality: join.null_equality,
        is_null_aware: join.null_aware,
        ..KeyedJoin::new(join.join_type)
    };
    let plan = plan.build(left_rows.plan, right_rows.plan, [])?;
    select_columns(plan, &[], &original)
}

/// Runs the right side of a lateral join for all rows of the left side.
fn rewrite_lateral(join: Join, columns: Vec<Column>, names: &Names) -> Result<LogicalPlan> {
    if !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
        return not_impl_err!(
            "LATERAL on the right side of a {} join; use INNER or LEFT",
            join.join_type
        );
    }
    let domain = Domain::new(&join.left, columns, names)?;
    let right = run_for_all(&domain, Arc::unwrap_or_clone(join.right))?;
    let keys = right.keys.into_iter().map(Expr::Column);
    let keyed = KeyedJoin {
        on: join.on,
        filter: join.filter,
        null_equality: join.null_equality,
        ..KeyedJoin::new(join.join_type)
    };
    let left = Arc::unwrap_or_clone(join.left);
    let plan = keyed.build(left, right.plan, domain.outer().zip(keys))?;
    select_columns(plan, &[], &join.schema)
}
