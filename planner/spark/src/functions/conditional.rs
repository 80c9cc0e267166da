//! Functions of nulls and conditions.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, new_null_array};
use datafusion::arrow::compute::kernels::cmp::{eq, not_distinct};
use datafusion::arrow::compute::kernels::zip::zip;
use datafusion::arrow::compute::{is_not_null, is_null};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{Expr, when};

use super::arrays::common;
use super::scalar::{Call, Function, Param, Returns};

/// Returns the functions of this family.
pub(crate) fn functions() -> Vec<Function> {
    let boolean = Returns::Type(DataType::Boolean);
    let any = &[Param::Any];
    let two = &[Param::Any, Param::Any];
    vec![
        Function::new("isnull", any, boolean.clone(), |call| {
            Ok(Arc::new(is_null(&call.arrays[0])?))
        })
        .simplify(|args, _| simplify_unary(args, Expr::is_null)),
        Function::new("isnotnull", any, boolean.clone(), |call| {
            Ok(Arc::new(is_not_null(&call.arrays[0])?))
        })
        .simplify(|args, _| simplify_unary(args, Expr::is_not_null)),
        Function::new("equal_null", two, boolean, |call| {
            if call.arrays[0].data_type().is_null() {
                return Ok(Arc::new(BooleanArray::from(vec![true; call.rows])));
            }
            Ok(Arc::new(not_distinct(&call.arrays[0], &call.arrays[1])?))
        })
        .unify(unify_pair),
        Function::new("nvl", two, Returns::Argument(0), |call| {
            let is_known = is_not_null(&call.arrays[0])?;
            Ok(zip(&is_known, &call.arrays[0], &call.arrays[1])?)
        })
        .unify(unify_pair)
        .aliases(&["ifnull"])
        .simplify(simplify_nvl),
        Function::new(
            "nullifzero",
            &[Param::Number],
            Returns::Argument(0),
            |call| {
                let nulls = new_null_array(call.arrays[0].data_type(), call.rows);
                Ok(zip(&is_zero(call)?, &nulls, &call.arrays[0])?)
            },
        )
        .unify(unify_number),
        Function::new(
            "zeroifnull",
            &[Param::Number],
            Returns::Argument(0),
            |call| {
                let zeros = zeros(call)?;
                Ok(zip(&is_null(&call.arrays[0])?, &zeros, &call.arrays[0])?)
            },
        )
        .unify(unify_number),
        Function::new(
            "assert_true",
            &[Param::Boolean, Param::Text],
            Returns::Type(DataType::Null),
            assert_true,
        )
        .optional(1)
        .volatile(),
        Function::new(
            "raise_error",
            &[Param::Text],
            Returns::Type(DataType::Null),
            |call| {
                let texts = call.text(0);
                match (0..call.rows).find(|row| texts.is_valid(*row)) {
                    Some(row) => exec_err!("[USER_RAISED_EXCEPTION] {}", texts.value(row)),
                    None => exec_err!("[USER_RAISED_EXCEPTION] null"),
                }
            },
        )
        .volatile(),
    ]
}

/// Replaces a call by DataFusion's own expression, which its rules know.
fn simplify_unary(args: Vec<Expr>, expression: fn(Expr) -> Expr) -> Result<ExprSimplifyResult> {
    match <[Expr; 1]>::try_from(args) {
        Ok([value]) => Ok(ExprSimplifyResult::Simplified(expression(value))),
        Err(args) => Ok(ExprSimplifyResult::Original(args)),
    }
}

/// Replaces `nvl` by CASE, which computes the second value only where the first is null, as Spark
/// does.
fn simplify_nvl(args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
    match <[Expr; 2]>::try_from(args) {
        Ok([value, default]) if !value.is_volatile() => {
            let is_known = value.clone().is_not_null();
            let case = when(is_known, value).otherwise(default)?;
            Ok(ExprSimplifyResult::Simplified(case))
        }
        Ok(pair) => Ok(ExprSimplifyResult::Original(pair.to_vec())),
        Err(args) => Ok(ExprSimplifyResult::Original(args)),
    }
}

/// Converts two values to their common type.
fn unify_pair(types: &[DataType]) -> Result<Vec<DataType>> {
    let common = common(&types[0], &types[1])?;
    Ok(vec![common; 2])
}

/// Converts text to DOUBLE, and keeps the types of numbers.
fn unify_number(types: &[DataType]) -> Result<Vec<DataType>> {
    Ok(vec![match types[0].is_numeric() {
        true => types[0].clone(),
        false => DataType::Float64,
    }])
}

fn zeros(call: &Call) -> Result<ArrayRef> {
    ScalarValue::new_zero(call.arrays[0].data_type())?.to_array_of_size(call.rows)
}

fn is_zero(call: &Call) -> Result<BooleanArray> {
    let equal = eq(&call.arrays[0], &zeros(call)?)?;
    // Null is not zero.
    Ok(equal
        .iter()
        .map(|equal| Some(equal.unwrap_or(false)))
        .collect())
}

fn assert_true(call: &Call) -> Result<ArrayRef> {
    let conditions = call.boolean(0);
    for row in 0..call.rows {
        if conditions.is_null(row) || !conditions.value(row) {
            let message = match call.has_argument(1) && call.text(1).is_valid(row) {
                true => call.text(1).value(row),
                false => "the condition is not true",
            };
            return exec_err!("[USER_RAISED_EXCEPTION] {message}");
        }
    }
    Ok(new_null_array(&DataType::Null, call.rows))
}
