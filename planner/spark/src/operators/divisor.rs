//! The check that a divisor is not zero.

use datafusion::arrow::array::{Array, AsArray, Float64Array};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// Returns its argument, a DOUBLE, and raises an error where it is zero: Spark's ANSI mode has no
/// infinity as a quotient.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Divisor(Signature);

impl Default for Divisor {
    fn default() -> Self {
        Self(Signature::coercible(
            vec![datafusion::logical_expr::Coercion::new_exact(
                datafusion::logical_expr::TypeSignatureClass::Native(
                    datafusion::common::types::logical_float64(),
                ),
            )],
            Volatility::Immutable,
        ))
    }
}

impl ScalarUDFImpl for Divisor {
    fn name(&self) -> &'static str {
        "divisor"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    /// The check is not a part of a column's name.
    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        Ok(arguments
            .iter()
            .map(|argument| argument.schema_name().to_string())
            .collect())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [divisor] = datafusion::common::utils::take_function_args(self.name(), args.args)?;
        let has_zero = match &divisor {
            ColumnarValue::Scalar(ScalarValue::Float64(Some(number))) => *number == 0.0,
            ColumnarValue::Scalar(_) => false,
            ColumnarValue::Array(numbers) => has_zero(numbers.as_primitive::<Float64Type>()),
        };
        if has_zero {
            return exec_err!(
                "division by zero; use try_divide, or nullif(divisor, 0), to get null instead"
            );
        }
        Ok(divisor)
    }
}

fn has_zero(numbers: &Float64Array) -> bool {
    if numbers.null_count() == 0 {
        numbers.values().contains(&0.0)
    } else {
        numbers.iter().flatten().any(|number| number == 0.0)
    }
}
