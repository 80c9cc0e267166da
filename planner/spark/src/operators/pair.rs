//! What operators on two values share.

use datafusion::arrow::array::ArrayRef;
use datafusion::common::utils::take_function_args;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs};

/// Computes an operator of two values: once if both are constants, else for each row.
pub(super) fn apply_to_pair(
    name: &str,
    args: ScalarFunctionArgs,
    compute: impl FnOnce(&ArrayRef, &ArrayRef) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    let is_scalar = args
        .args
        .iter()
        .all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
    let rows = if is_scalar { 1 } else { args.number_rows };
    let [left, right] = take_function_args(name, args.args)?;
    let results = compute(&left.into_array(rows)?, &right.into_array(rows)?)?;
    if is_scalar {
        return ScalarValue::try_from_array(&results, 0).map(ColumnarValue::Scalar);
    }
    Ok(ColumnarValue::Array(results))
}

/// Returns the names of the operands with a sign between them, so that columns keep their names.
pub(super) fn join_names(arguments: &[Expr], sign: char) -> String {
    let names: Vec<String> = arguments
        .iter()
        .map(|argument| argument.schema_name().to_string())
        .collect();
    names.join(&format!(" {sign} "))
}
