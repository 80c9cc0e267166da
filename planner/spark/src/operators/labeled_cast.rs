//! A cast with a name of its own, while a statement is planned.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// Name of [`LabeledCast`].
pub(crate) const LABELED_CAST: &str = "labeled_cast";

/// `labeled_cast(CAST(x AS INT), 'INT')`: the cast, named by both its value and its type.
///
/// DataFusion names a cast as its value, so that `sum(CAST(x AS INT))` and `sum(x)` would be one
/// column. The call is in the plan only until its names are given: [`without_label`] removes it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct LabeledCast(Signature);

impl Default for LabeledCast {
    fn default() -> Self {
        Self(Signature::any(2, Volatility::Immutable))
    }
}

/// Returns the cast of a call of [`LabeledCast`].
///
/// # Errors
/// The call, if it is one of another function.
pub(crate) fn without_label(call: ScalarFunction) -> Result<Expr, ScalarFunction> {
    if call.name() != LABELED_CAST {
        return Err(call);
    }
    let ScalarFunction { func, args } = call;
    match <[Expr; 2]>::try_from(args) {
        Ok([cast, _]) => Ok(cast),
        Err(args) => Err(ScalarFunction { func, args }),
    }
}

impl ScalarUDFImpl for LabeledCast {
    fn name(&self) -> &'static str {
        LABELED_CAST
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        plan_err!("{LABELED_CAST}: the result is the field of the cast")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.arg_fields.first() {
            Some(cast) => Ok(Arc::clone(cast)),
            None => plan_err!("{LABELED_CAST}: expected a cast"),
        }
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        Ok(match arguments {
            [cast, Expr::Literal(label, _)] => format!("CAST({} AS {label})", cast.schema_name()),
            other => format!("{LABELED_CAST}({other:?})"),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.into_iter().next() {
            Some(cast) => Ok(cast),
            None => exec_err!("{LABELED_CAST}: expected a cast"),
        }
    }
}
