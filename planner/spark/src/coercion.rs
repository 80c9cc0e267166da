//! Spark's types of expressions: arithmetic on decimals, comparisons of numbers with text, and
//! common types of the values of CASE, COALESCE and UNION.
//!
//! DataFusion's planner plans each expression as it reads it, with its own types. [`resolve`] then
//! walks the plan from the leaves up, so that the types of all inputs are known, and adds Spark's
//! types as casts. A literal takes the type of the column beside it: a column is not cast for a
//! literal, and statistics still prune files.

mod arguments;
mod common;
mod frames;
mod literals;
mod median;

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Between, Case, InList, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::{NamePreserver, coerce_plan_expr_for_schema};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, Union};

use crate::operators::{arithmetic, without_label};
use common::comparison_type;
pub(crate) use common::{common_type, precision_and_scale};
pub(crate) use literals::{as_decimal_literal, fit_literal, with_type};

/// Functions whose values have one type: all arguments but the condition of `if` and `nvl2`.
const UNIFORM_FUNCTIONS: [&str; 7] = [
    "array",
    "coalesce",
    "greatest",
    "if",
    "least",
    "make_array",
    "nvl2",
];

/// Gives the expressions of a planned statement Spark's types.
///
/// # Errors
/// If types have no meaning together, such as a decimal beyond its digits.
pub fn resolve(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let resolved = expr.transform_up(|expr| resolve_expr(expr, &schema))?;
            Ok(resolved.update_data(|expr| name.restore(expr)))
        })?
        .map_data(unify_union)?
        .map_data(LogicalPlan::recompute_schema)
    })
    .data()
}

/// Gives one expression Spark's types. The expressions inside it have theirs already.
pub(crate) fn resolve_expr(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if let Expr::ScalarFunction(call) = &expr {
        arguments::check(call, schema)?;
    }
    let expr = match expr {
        Expr::ScalarFunction(call) => match without_label(call) {
            Ok(cast) => return Ok(Transformed::yes(cast)),
            Err(call) => Expr::ScalarFunction(call),
        },
        other => other,
    };
    match expr {
        Expr::BinaryExpr(operation) if operation.op.is_numerical_operators() => {
            arithmetic::resolve(operation, schema)
        }
        Expr::BinaryExpr(operation) if is_comparison(operation.op) => {
            resolve_comparison(operation, schema)
        }
        Expr::Between(between) => unify_between(between, schema),
        Expr::InList(list) => unify_list(list, schema),
        Expr::Case(case) => unify_case(case, schema),
        Expr::WindowFunction(mut window) => {
            let name = window.fun.name().to_owned();
            let is_wider = median::widen(&name, &mut window.params.args, schema)?;
            let mut resolved = frames::resolve(window, schema)?;
            resolved.transformed |= is_wider;
            Ok(resolved)
        }
        Expr::AggregateFunction(mut call) => {
            let is_wider = median::widen(call.func.name(), &mut call.params.args, schema)?;
            let call = Expr::AggregateFunction(call);
            Ok(Transformed::new_transformed(call, is_wider))
        }
        Expr::ScalarFunction(call) if UNIFORM_FUNCTIONS.contains(&call.name()) => {
            unify_arguments(call, schema)
        }
        Expr::ScalarFunction(call) if call.name() == "nullif" => {
            let ScalarFunction { func, args } = call;
            let args = match <[Expr; 2]>::try_from(args) {
                Ok([value, other]) => {
                    <[Expr; 2]>::from(make_comparable(value, other, schema)?).to_vec()
                }
                Err(args) => args,
            };
            let call = ScalarFunction { func, args };
            Ok(Transformed::yes(Expr::ScalarFunction(call)))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn is_comparison(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

fn resolve_comparison(operation: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let BinaryExpr { left, op, right } = operation;
    let (left, right) = make_comparable(*left, *right, schema)?;
    Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(
        Box::new(left),
        op,
        Box::new(right),
    ))))
}

/// Gives both sides of a comparison types that compare as in Spark.
fn make_comparable(left: Expr, right: Expr, schema: &DFSchema) -> Result<(Expr, Expr)> {
    let (Ok(left_type), Ok(right_type)) = (left.get_type(schema), right.get_type(schema)) else {
        return Ok((left, right));
    };
    if left_type == right_type {
        return Ok((left, right));
    }
    if let Some(left) = fit_literal(&left, &right_type) {
        return Ok((left, right));
    }
    if let Some(right) = fit_literal(&right, &left_type) {
        return Ok((left, right));
    }
    match comparison_type(&left_type, &right_type) {
        Some(common) => Ok((
            with_type(left, &common, schema)?,
            with_type(right, &common, schema)?,
        )),
        None => Ok((left, right)),
    }
}

fn unify_between(between: Between, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Between {
        expr,
        negated,
        low,
        high,
    } = between;
    let (with_low, low) = make_comparable(expr.as_ref().clone(), *low, schema)?;
    let (with_high, high) = make_comparable(*expr, *high, schema)?;
    // If one bound makes the value a DOUBLE, it is one for both bounds.
    let expr = match (with_low.get_type(schema), with_high.get_type(schema)) {
        (Ok(DataType::Float64), _) => with_low,
        _ => with_high,
    };
    Ok(Transformed::yes(Expr::Between(Between::new(
        Box::new(expr),
        negated,
        Box::new(low),
        Box::new(high),
    ))))
}

fn unify_list(list: InList, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let InList {
        expr,
        list,
        negated,
    } = list;
    let Ok(value_type) = expr.get_type(schema) else {
        return Ok(Transformed::no(Expr::InList(InList::new(
            expr, list, negated,
        ))));
    };
    let list: Vec<Expr> = list
        .into_iter()
        .map(|item| fit_literal(&item, &value_type).unwrap_or(item))
        .collect();
    let mut common = None;
    for item in &list {
        let item_type = item.get_type(schema)?;
        common = common.or_else(|| comparison_type(&value_type, &item_type));
    }
    let Some(common) = common else {
        let list = Expr::InList(InList::new(expr, list, negated));
        return Ok(Transformed::yes(list));
    };
    let list = list
        .into_iter()
        .map(|item| with_type(item, &common, schema))
        .collect::<Result<_>>()?;
    let expr = Box::new(with_type(*expr, &common, schema)?);
    Ok(Transformed::yes(Expr::InList(InList::new(
        expr, list, negated,
    ))))
}

fn unify_case(mut case: Case, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if let Some(operand) = case.expr.take() {
        let mut operand = *operand;
        for (when, _) in &mut case.when_then_expr {
            let (left, right) = make_comparable(operand, when.as_ref().clone(), schema)?;
            operand = left;
            **when = right;
        }
        case.expr = Some(Box::new(operand));
    }
    let values = || {
        let results = case.when_then_expr.iter().map(|(_, then)| then);
        results.chain(&case.else_expr)
    };
    let types: Result<Vec<DataType>> = values().map(|value| value.get_type(schema)).collect();
    let Some(common) = types.ok().and_then(|types| common_type(&types)) else {
        return Ok(Transformed::yes(Expr::Case(case)));
    };
    let results = case.when_then_expr.iter_mut().map(|(_, then)| then);
    for value in results.chain(&mut case.else_expr) {
        **value = with_type(value.as_ref().clone(), &common, schema)?;
    }
    Ok(Transformed::yes(Expr::Case(case)))
}

fn unify_arguments(mut call: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    // The first argument of these is a condition.
    let first_value = usize::from(matches!(call.name(), "if" | "nvl2")).min(call.args.len());
    let types: Result<Vec<DataType>> = call.args[first_value..]
        .iter()
        .map(|argument| argument.get_type(schema))
        .collect();
    let Some(common) = types.ok().and_then(|types| common_type(&types)) else {
        return Ok(Transformed::no(Expr::ScalarFunction(call)));
    };
    for argument in &mut call.args[first_value..] {
        *argument = with_type(argument.clone(), &common, schema)?;
    }
    Ok(Transformed::yes(Expr::ScalarFunction(call)))
}

/// Casts the columns of a union's inputs to their common types.
fn unify_union(plan: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Union(Union { inputs, schema }) = plan else {
        return Ok(plan);
    };
    let has_one_width = inputs
        .iter()
        .all(|input| input.schema().fields().len() == schema.fields().len());
    if !has_one_width {
        return Ok(LogicalPlan::Union(Union { inputs, schema }));
    }
    let mut differs = false;
    let fields = schema.iter().enumerate().map(|(column, (table, field))| {
        let types: Vec<DataType> = inputs
            .iter()
            .map(|input| input.schema().field(column).data_type().clone())
            .collect();
        // Types without a common one are left to DataFusion.
        let common = common_type(&types);
        let data_type = common.clone().unwrap_or_else(|| types[0].clone());
        differs |= common.is_some() || *field.data_type() != data_type;
        let field = field.as_ref().clone().with_data_type(data_type);
        (table.cloned(), Arc::new(field))
    });
    let fields: Vec<_> = fields.collect();
    if !differs {
        return Ok(LogicalPlan::Union(Union { inputs, schema }));
    }
    let schema = DFSchema::new_with_metadata(fields, schema.metadata().clone())?;
    let inputs = inputs
        .into_iter()
        .map(|input| {
            let has_common_types = (0..schema.fields().len()).all(|column| {
                let types = [input.schema().field(column), schema.field(column)];
                let [input_type, common] = types.map(|field| field.data_type());
                input_type == common || common_type(&[input_type.clone(), common.clone()]).is_none()
            });
            match has_common_types {
                true => Ok(input),
                false => {
                    let plan = Arc::unwrap_or_clone(input);
                    coerce_plan_expr_for_schema(plan, &schema).map(Arc::new)
                }
            }
        })
        .collect::<Result<_>>()?;
    let schema = Arc::new(schema);
    Ok(LogicalPlan::Union(Union { inputs, schema }))
}
