//! `median` of decimals and floats is a DOUBLE, as `percentile(x, 0.5)` is.
//!
//! DataFusion's has the type of its argument, so the mean of two prices is cut to whole cents.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Expr, ExprSchemable};

use super::literals::with_type;

/// Casts the argument of `median` to DOUBLE. Returns whether it did.
///
/// # Errors
/// If the argument cannot be cast.
pub(super) fn widen(name: &str, arguments: &mut [Expr], schema: &DFSchema) -> Result<bool> {
    let [argument] = arguments else {
        return Ok(false);
    };
    let Ok(data_type) = argument.get_type(schema) else {
        return Ok(false);
    };
    let is_narrow =
        data_type.is_decimal() || matches!(data_type, DataType::Float16 | DataType::Float32);
    if name != "median" || !is_narrow {
        return Ok(false);
    }
    *argument = with_type(argument.clone(), &DataType::Float64, schema)?;
    Ok(true)
}
