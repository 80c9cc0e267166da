//! The functions `checked_add`, `checked_subtract`, `checked_multiply` and `checked_negate` of
//! whole numbers, which fail instead of wrapping around.

use std::sync::LazyLock;

use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;
use datafusion::common::{Result, exec_err, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::physical_expr_common::datum::apply;

static UNARY: LazyLock<Signature> = LazyLock::new(|| Signature::any(1, Volatility::Immutable));
static BINARY: LazyLock<Signature> = LazyLock::new(|| Signature::any(2, Volatility::Immutable));

/// An operator on whole numbers of one type that fails where its result does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CheckedOperator {
    Add,
    Subtract,
    Multiply,
    Negate,
}

impl CheckedOperator {
    pub(crate) const ALL: [Self; 4] = [Self::Add, Self::Subtract, Self::Multiply, Self::Negate];

    /// Returns the function for an operator with two sides; `None` if it cannot overflow.
    pub(super) fn for_operator(operator: Operator) -> Option<Self> {
        match operator {
            Operator::Plus => Some(Self::Add),
            Operator::Minus => Some(Self::Subtract),
            Operator::Multiply => Some(Self::Multiply),
            _ => None,
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract | Self::Negate => "-",
            Self::Multiply => "*",
        }
    }

    /// Formats a call as its operator is written in SQL.
    fn format_call(self, arguments: &[String]) -> String {
        match (self, arguments) {
            (Self::Negate, [value]) => format!("(- {value})"),
            (_, [left, right]) => format!("{left} {} {right}", self.sign()),
            (_, other) => other.join(", "),
        }
    }

    fn overflow_error(self, error: &ArrowError, kind: &DataType) -> Result<ColumnarValue> {
        exec_err!(
            "`{}` overflows its type {kind}: {error}; cast the numbers to a wider type such as BIGINT or \
             DECIMAL(38, 0), or set spark.sql.ansi.enabled to false for numbers that wrap around",
            self.sign()
        )
    }
}

impl ScalarUDFImpl for CheckedOperator {
    fn name(&self) -> &'static str {
        match self {
            Self::Add => "checked_add",
            Self::Subtract => "checked_subtract",
            Self::Multiply => "checked_multiply",
            Self::Negate => "checked_negate",
        }
    }

    /// Returns the name that the operator has, so that columns keep their names.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let names: Vec<_> = args
            .iter()
            .map(|arg| arg.schema_name().to_string())
            .collect();
        Ok(self.format_call(&names))
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        let names: Vec<_> = args.iter().map(ToString::to_string).collect();
        Ok(self.format_call(&names))
    }

    fn signature(&self) -> &Signature {
        match self {
            Self::Negate => &UNARY,
            _ => &BINARY,
        }
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types.first().cloned().unwrap_or(DataType::Null))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let is_nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        let types: Vec<_> = args
            .arg_fields
            .iter()
            .map(|f| f.data_type().clone())
            .collect();
        Ok(Field::new(self.name(), self.return_type(&types)?, is_nullable).into())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let kernel = match self {
            Self::Add => numeric::add,
            Self::Subtract => numeric::sub,
            Self::Multiply => numeric::mul,
            Self::Negate => return self.negate(&args),
        };
        let [left, right] = args.args.as_slice() else {
            return internal_err!("{} takes two arguments", self.name());
        };
        match apply(left, right, kernel) {
            Ok(value) => Ok(value),
            Err(error) => match error.find_root() {
                datafusion::common::DataFusionError::ArrowError(arrow, _) => {
                    self.overflow_error(arrow, &left.data_type())
                }
                _ => Err(error),
            },
        }
    }
}

impl CheckedOperator {
    fn negate(self, args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else {
            return internal_err!("{} takes one argument", self.name());
        };
        let array = value.to_array(1)?;
        match (numeric::neg(array.as_ref()), value) {
            (Ok(negated), ColumnarValue::Array(_)) => Ok(ColumnarValue::Array(negated)),
            (Ok(negated), ColumnarValue::Scalar(_)) => {
                datafusion::common::ScalarValue::try_from_array(&negated, 0)
                    .map(ColumnarValue::Scalar)
            }
            (Err(error), _) => self.overflow_error(&error, &value.data_type()),
        }
    }
}
