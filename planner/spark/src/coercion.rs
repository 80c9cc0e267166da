//! The types that Spark gives to expressions: arithmetic of decimals, comparisons of numbers with text, and common types
//! of the values of CASE, COALESCE and UNION.
//!
//! DataFusion's planner plans each expression when it reads it, with types of its own. [`resolve`] then walks the plan
//! from the leaves up, when the types below are known, and writes Spark's types as casts. Literals take the type of the
//! column beside them, so that no column is cast for one, and statistics still prune files.

mod common;
mod literals;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Between, Case, InList, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::{NamePreserver, coerce_plan_expr_for_schema};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, Union};

use crate::operators::arithmetic;
use common::comparison_type;
pub(crate) use common::{common_type, digits_of};
pub(crate) use literals::{as_decimal, fit, typed};

/// Functions whose arguments have one type.
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

/// Gives one expression Spark's types. Those inside of it have them.
pub(crate) fn resolve_expr(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(operation) if operation.op.is_numerical_operators() => {
            arithmetic::resolve(operation, schema)
        }
        Expr::BinaryExpr(operation) if is_comparison(operation.op) => compare(operation, schema),
        Expr::Between(between) => between_one_type(between, schema),
        Expr::InList(list) => list_of_one_type(list, schema),
        Expr::Case(case) => case_of_one_type(case, schema),
        Expr::ScalarFunction(call) if UNIFORM_FUNCTIONS.contains(&call.name()) => {
            arguments_of_one_type(call, schema)
        }
        Expr::ScalarFunction(call) if call.name() == "nullif" => {
            let ScalarFunction { func, args } = call;
            let args = match <[Expr; 2]>::try_from(args) {
                Ok([value, other]) => <[Expr; 2]>::from(comparable(value, other, schema)?).to_vec(),
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

fn compare(operation: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let BinaryExpr { left, op, right } = operation;
    let (left, right) = comparable(*left, *right, schema)?;
    Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(
        Box::new(left),
        op,
        Box::new(right),
    ))))
}

/// Gives both sides of a comparison types that compare as in Spark.
fn comparable(left: Expr, right: Expr, schema: &DFSchema) -> Result<(Expr, Expr)> {
    let (Ok(left_type), Ok(right_type)) = (left.get_type(schema), right.get_type(schema)) else {
        return Ok((left, right));
    };
    if left_type == right_type {
        return Ok((left, right));
    }
    if let Some(left) = fit(&left, &right_type) {
        return Ok((left, right));
    }
    if let Some(right) = fit(&right, &left_type) {
        return Ok((left, right));
    }
    match comparison_type(&left_type, &right_type) {
        Some(common) => Ok((
            typed(left, &common, schema)?,
            typed(right, &common, schema)?,
        )),
        None => Ok((left, right)),
    }
}

fn between_one_type(between: Between, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Between {
        expr,
        negated,
        low,
        high,
    } = between;
    let (with_low, low) = comparable(expr.as_ref().clone(), *low, schema)?;
    let (with_high, high) = comparable(*expr, *high, schema)?;
    // A bound that widens the value widens it for both of them.
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

fn list_of_one_type(list: InList, schema: &DFSchema) -> Result<Transformed<Expr>> {
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
        .map(|item| fit(&item, &value_type).unwrap_or(item))
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
        .map(|item| typed(item, &common, schema))
        .collect::<Result<_>>()?;
    let expr = Box::new(typed(*expr, &common, schema)?);
    Ok(Transformed::yes(Expr::InList(InList::new(
        expr, list, negated,
    ))))
}

fn case_of_one_type(mut case: Case, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if let Some(operand) = case.expr.take() {
        let mut operand = *operand;
        for (when, _) in &mut case.when_then_expr {
            let (left, right) = comparable(operand, when.as_ref().clone(), schema)?;
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
    let thens = case.when_then_expr.iter_mut().map(|(_, then)| then);
    for value in thens.chain(&mut case.else_expr) {
        **value = typed(value.as_ref().clone(), &common, schema)?;
    }
    Ok(Transformed::yes(Expr::Case(case)))
}

fn arguments_of_one_type(mut call: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    // The first argument of these is a condition.
    let first = usize::from(matches!(call.name(), "if" | "nvl2")).min(call.args.len());
    let types: Result<Vec<DataType>> = call.args[first..]
        .iter()
        .map(|argument| argument.get_type(schema))
        .collect();
    let Some(common) = types.ok().and_then(|types| common_type(&types)) else {
        return Ok(Transformed::no(Expr::ScalarFunction(call)));
    };
    for argument in &mut call.args[first..] {
        *argument = typed(argument.clone(), &common, schema)?;
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
        let common = common_type(&types).unwrap_or_else(|| types[0].clone());
        differs |= types.iter().any(|data_type| *data_type != common)
            && common_type(&types).is_some()
            || *field.data_type() != common;
        let field = field.as_ref().clone().with_data_type(common);
        (table.cloned(), std::sync::Arc::new(field))
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
                let [own, common] = types.map(|field| field.data_type());
                own == common || common_type(&[own.clone(), common.clone()]).is_none()
            });
            match has_common_types {
                true => Ok(input),
                false => {
                    let plan = std::sync::Arc::unwrap_or_clone(input);
                    coerce_plan_expr_for_schema(plan, &schema).map(std::sync::Arc::new)
                }
            }
        })
        .collect::<Result<_>>()?;
    let schema = std::sync::Arc::new(schema);
    Ok(LogicalPlan::Union(Union { inputs, schema }))
}
