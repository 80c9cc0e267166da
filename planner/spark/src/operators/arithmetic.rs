//! `+`, `-`, `*`, `/` and `%` of numbers, with the types of Spark's results.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, ScalarUDF};

use super::decimal::{DecimalOperator, bounded_decimal};
use super::{binary, checked_divisor};
use crate::coercion::{as_decimal_literal, fit_literal, precision_and_scale, with_type};

/// Gives an operation on numbers Spark's types: decimals stay exact, and `/` never cuts off the
/// fraction.
pub(crate) fn resolve(operation: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (left, right) = (
        operation.left.get_type(schema),
        operation.right.get_type(schema),
    );
    let (Ok(left_type), Ok(right_type)) = (left, right) else {
        return Ok(Transformed::no(Expr::BinaryExpr(operation)));
    };
    let is_number = |data_type: &DataType| data_type.is_numeric() || data_type.is_null();
    if !is_number(&left_type)
        || !is_number(&right_type)
        || left_type.is_null() && right_type.is_null()
    {
        return Ok(Transformed::no(Expr::BinaryExpr(operation)));
    }
    let BinaryExpr { left, op, right } = operation;
    let left = fit_to_operand(*left, &right_type);
    let right = fit_to_operand(*right, &left_type);
    let types = [left.get_type(schema)?, right.get_type(schema)?];
    let any_type = |is_kind: fn(&DataType) -> bool| types.iter().any(is_kind);
    let result = if !any_type(DataType::is_decimal) {
        match op {
            Operator::Divide => compute_as_doubles(left, op, right, schema)?,
            _ => binary(left, op, right),
        }
    } else if any_type(DataType::is_floating) {
        compute_as_doubles(left, op, right, schema)?
    } else {
        compute_as_decimals(left, op, right, schema)?
    };
    Ok(Transformed::yes(result))
}

/// Gives a literal the type of the other operand, so that no column is cast for it. Other
/// expressions stay as they are.
fn fit_to_operand(expr: Expr, other: &DataType) -> Expr {
    let is_literal = matches!(&expr, Expr::Literal(value, _) if value.data_type().is_numeric());
    if !is_literal {
        return expr;
    }
    let fitted = match other {
        DataType::Decimal128(..) => as_decimal_literal(&expr),
        DataType::Float32 | DataType::Float64 => fit_literal(&expr, other),
        // A type narrower than the literal's would also narrow the result.
        DataType::Int64 => fit_literal(&expr, other).filter(|_| is_integer(&expr)),
        _ => None,
    };
    fitted.unwrap_or(expr)
}

fn is_integer(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.data_type().is_integer())
}

fn compute_as_doubles(left: Expr, op: Operator, right: Expr, schema: &DFSchema) -> Result<Expr> {
    let left = with_type(left, &DataType::Float64, schema)?;
    let right = with_type(right, &DataType::Float64, schema)?;
    Ok(match op {
        Operator::Divide => binary(left, op, checked_divisor(right)),
        _ => binary(left, op, right),
    })
}

fn compute_as_decimals(left: Expr, op: Operator, right: Expr, schema: &DFSchema) -> Result<Expr> {
    let types = (left.get_type(schema)?, right.get_type(schema)?);
    let (Some((p1, s1)), Some((p2, s2))) =
        (precision_and_scale(&types.0), precision_and_scale(&types.1))
    else {
        return Ok(binary(left, op, right));
    };
    let left = with_type(left, &bounded_decimal(p1, s1), schema)?;
    let right = with_type(right, &bounded_decimal(p2, s2), schema)?;
    let Some(operator) = DecimalOperator::for_operator(op) else {
        return Ok(binary(left, op, right));
    };
    // Arrow's operator stays where its result has Spark's type, and always fits.
    let plain = binary(left.clone(), op, right.clone());
    let result_type = operator.result_type((p1, s1), (p2, s2));
    let has_spark_type = plain
        .get_type(schema)
        .is_ok_and(|plain_type| plain_type == result_type);
    if op != Operator::Divide && has_spark_type && !operator.can_overflow((p1, s1), (p2, s2)) {
        return Ok(plain);
    }
    Ok(ScalarUDF::from(operator).call(vec![left, right]))
}
