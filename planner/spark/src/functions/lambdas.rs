//! Functions that take lambdas, such as `transform(a, x -> x + 1)`.

mod fold;
mod lists;
mod maps;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, UInt32Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, HigherOrderFunctionArgs, HigherOrderReturnFieldArgs, HigherOrderSignature,
    HigherOrderUDF, HigherOrderUDFImpl, LambdaArgument, LambdaParametersProgress, ValueOrLambda,
    Volatility,
};

use super::convert;
use super::scalar::Param;

/// Returns the functions that take lambdas.
pub(crate) fn functions() -> Vec<HigherOrderUDF> {
    [lists::functions(), maps::functions(), fold::functions()]
        .concat()
        .into_iter()
        .map(|definition| {
            let aliases = definition.aliases;
            let function = LambdaFunction {
                signature: HigherOrderSignature::user_defined(Volatility::Immutable),
                definition,
            };
            HigherOrderUDF::new_from_impl(function).with_aliases(aliases.iter().copied())
        })
        .collect()
}

/// The definition of a function with lambdas.
#[derive(Clone)]
pub(super) struct Definition {
    name: &'static str,
    aliases: &'static [&'static str],
    /// The arguments that are values.
    values: &'static [Param],
    /// Converts values to types that depend on each other.
    unify: fn(Vec<DataType>) -> Result<Vec<DataType>>,
    /// Returns the types of the parameters of each lambda, from the types of the values.
    parameters: fn(&[DataType]) -> Result<Vec<Vec<DataType>>>,
    /// Returns the type of the result, from the types of the values and of the lambdas' results.
    returns: fn(&[DataType], &[DataType]) -> Result<DataType>,
    body: fn(&LambdaCall) -> Result<ArrayRef>,
}

struct LambdaFunction {
    definition: Definition,
    signature: HigherOrderSignature,
}

impl fmt::Debug for LambdaFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LambdaFunction({})", self.definition.name)
    }
}

impl PartialEq for LambdaFunction {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
    }
}

impl Eq for LambdaFunction {}

impl Hash for LambdaFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

/// Splits arguments into values and lambdas.
fn split<V: Clone, L: Clone>(arguments: &[ValueOrLambda<V, L>]) -> (Vec<V>, Vec<L>) {
    let (mut values, mut lambdas) = (Vec::new(), Vec::new());
    for argument in arguments {
        match argument {
            ValueOrLambda::Value(value) => values.push(value.clone()),
            ValueOrLambda::Lambda(lambda) => lambdas.push(lambda.clone()),
        }
    }
    (values, lambdas)
}

fn types_of(fields: &[FieldRef]) -> Vec<DataType> {
    fields
        .iter()
        .map(|field| field.data_type().clone())
        .collect()
}

impl HigherOrderUDFImpl for LambdaFunction {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn signature(&self) -> &HigherOrderSignature {
        &self.signature
    }

    fn coerce_value_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let (name, expected) = (self.definition.name, self.definition.values);
        if types.len() != expected.len() {
            return plan_err!(
                "{name}: expected {} values besides lambdas, got {}",
                expected.len(),
                types.len()
            );
        }
        for (param, data_type) in expected.iter().zip(types) {
            if !convert::is_accepted(*param, data_type) {
                return plan_err!("{name}: expected {param}, got {data_type}");
            }
        }
        let as_list = |data_type: &DataType| match super::arrays::item_of(data_type) {
            Some(item) => super::arrays::list_of(item.clone()),
            None => data_type.clone(),
        };
        (self.definition.unify)(types.iter().map(as_list).collect())
    }

    fn lambda_parameters(
        &self,
        _step: usize,
        fields: &[ValueOrLambda<FieldRef, Option<FieldRef>>],
    ) -> Result<LambdaParametersProgress> {
        let (values, lambdas) = split(fields);
        let mut parameters = (self.definition.parameters)(&types_of(&values))?;
        parameters.truncate(lambdas.len());
        let as_field = |data_type: DataType| Arc::new(Field::new("", data_type, true));
        let parameters = parameters
            .into_iter()
            .map(|types| types.into_iter().map(as_field).collect());
        Ok(LambdaParametersProgress::Complete(parameters.collect()))
    }

    fn return_field_from_args(&self, args: HigherOrderReturnFieldArgs) -> Result<FieldRef> {
        let (values, lambdas) = split(args.arg_fields);
        if lambdas.is_empty() {
            let name = self.definition.name;
            return plan_err!("{name}: expected a lambda after its values, such as `x -> x`");
        }
        let result = (self.definition.returns)(&types_of(&values), &types_of(&lambdas))?;
        Ok(Arc::new(Field::new(self.definition.name, result, true)))
    }

    fn invoke_with_args(&self, args: HigherOrderFunctionArgs) -> Result<ColumnarValue> {
        let (values, lambdas) = split(&args.args);
        let zone = convert::Zone::of_session(&args.config_options)?;
        let values = values
            .iter()
            .zip(self.definition.values)
            .map(|(value, param)| {
                convert::convert(&value.to_array(args.number_rows)?, *param, &zone)
            })
            .collect::<Result<Vec<_>>>()?;
        let call = LambdaCall {
            values,
            lambdas,
            rows: args.number_rows,
            return_type: args.return_type().clone(),
        };
        Ok(ColumnarValue::Array((self.definition.body)(&call)?))
    }
}

/// One call on a batch.
pub(super) struct LambdaCall {
    values: Vec<ArrayRef>,
    lambdas: Vec<LambdaArgument>,
    rows: usize,
    return_type: DataType,
}

impl LambdaCall {
    /// Evaluates a lambda on columns of the same length. `rows` has the row of the batch to which
    /// each position of the columns belongs.
    fn evaluate(
        &self,
        lambda: usize,
        columns: &[ArrayRef],
        rows: &UInt32Array,
    ) -> Result<ArrayRef> {
        let Some(lambda) = self.lambdas.get(lambda) else {
            return plan_err!("a lambda is missing");
        };
        let closures: Vec<_> = columns
            .iter()
            .map(|column| move || Ok(ArrayRef::clone(column)))
            .collect();
        let closures: Vec<&dyn Fn() -> Result<ArrayRef>> = closures
            .iter()
            .map(|closure| closure as &dyn Fn() -> Result<ArrayRef>)
            .collect();
        let result = lambda.evaluate(&closures, |captures| {
            captures
                .iter()
                .map(|column| Ok(take(column, rows, None)?))
                .collect()
        })?;
        result.into_array(rows.len())
    }
}
