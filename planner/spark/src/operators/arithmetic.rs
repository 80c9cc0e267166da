//! `+`, `-`, `*`, `/` and `%` of numbers, with the types of Spark's results.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, ScalarUDF};

use super::decimal::DecimalOperator;
use super::{binary, checked};
use crate::coercion::{as_decimal, digits_of, fit, typed};

/// Gives an operation on numbers Spark's types: decimals stay exact, and `/` never cuts off the fraction.
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
    let left = beside(*left, &right_type);
    let right = beside(*right, &left_type);
    let types = [left.get_type(schema)?, right.get_type(schema)?];
    let any_type = |is_kind: fn(&DataType) -> bool| types.iter().any(is_kind);
    let result = if !any_type(DataType::is_decimal) {
        match op {
            Operator::Divide => doubles(left, op, right, schema)?,
            _ => binary(left, op, right),
        }
    } else if any_type(DataType::is_floating) {
        doubles(left, op, right, schema)?
    } else {
        decimals(left, op, right, schema)?
    };
    Ok(Transformed::yes(result))
}

/// A literal in the type of the operand on its other side, so that no column is cast for it.
fn beside(expr: Expr, other: &DataType) -> Expr {
    let is_literal = matches!(&expr, Expr::Literal(value, _) if value.data_type().is_numeric());
    if !is_literal {
        return expr;
    }
    let fitted = match other {
        DataType::Decimal128(..) => as_decimal(&expr),
        DataType::Float32 | DataType::Float64 => fit(&expr, other),
        // A narrower type would narrow the result.
        DataType::Int64 => fit(&expr, other).filter(|_| is_integer(&expr)),
        _ => None,
    };
    fitted.unwrap_or(expr)
}

fn is_integer(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.data_type().is_integer())
}

fn doubles(left: Expr, op: Operator, right: Expr, schema: &DFSchema) -> Result<Expr> {
    let left = typed(left, &DataType::Float64, schema)?;
    let right = typed(right, &DataType::Float64, schema)?;
    Ok(match op {
        Operator::Divide => binary(left, op, checked(right)),
        _ => binary(left, op, right),
    })
}

fn decimals(left: Expr, op: Operator, right: Expr, schema: &DFSchema) -> Result<Expr> {
    let types = (left.get_type(schema)?, right.get_type(schema)?);
    let (Some((p1, s1)), Some((p2, s2))) = (digits_of(&types.0), digits_of(&types.1)) else {
        return Ok(binary(left, op, right));
    };
    let decimal = |p, s| -> Result<DataType> { Ok(super::decimal::decimal(p, s)) };
    let left = typed(left, &decimal(p1, s1)?, schema)?;
    let right = typed(right, &decimal(p2, s2)?, schema)?;
    let Some(operator) = DecimalOperator::for_operator(op) else {
        return Ok(binary(left, op, right));
    };
    let plain = binary(left.clone(), op, right.clone());
    let result = operator.result((p1, s1), (p2, s2));
    if op != Operator::Divide && plain.get_type(schema).is_ok_and(|own| own == result) {
        return Ok(plain);
    }
    Ok(ScalarUDF::from(operator).call(vec![left, right]))
}
