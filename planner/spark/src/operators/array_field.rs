//! A field of each struct in an array: `items.price` is the array of the prices.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait, StructArray,
};
use datafusion::arrow::compute::{is_null, nullif};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, exec_datafusion_err, plan_datafusion_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, lit,
};

use super::pair::apply_to_pair;

/// Returns the expression for a field of each struct in an array. `name` is spelled as in the data.
#[must_use]
pub fn array_field(array: Expr, name: &str) -> Expr {
    ScalarUDF::from(ArrayField::default()).call(vec![array, lit(name)])
}

/// Returns the type of an array's items; `None` for any other type.
#[must_use]
pub fn item_type(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) => Some(item.data_type()),
        _ => None,
    }
}

/// `array.field`. A struct that is null has null in its place.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ArrayField(Signature);

impl Default for ArrayField {
    fn default() -> Self {
        Self(Signature::any(2, Volatility::Immutable))
    }
}

impl ScalarUDFImpl for ArrayField {
    fn name(&self) -> &'static str {
        "array_field"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        plan_err!("array_field: the type depends on the name of the field")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let name = match args.scalar_arguments.get(1) {
            Some(Some(name)) => name.try_as_str().flatten(),
            _ => None,
        };
        let result = args
            .arg_fields
            .first()
            .zip(name)
            .and_then(|(array, name)| field_type(array.data_type(), name));
        let result = result.ok_or_else(|| {
            plan_datafusion_err!("array_field: expected an array of structs and a field of them")
        })?;
        Ok(Arc::new(Field::new(self.name(), result, true)))
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        Ok(match arguments {
            [array, Expr::Literal(name, _)] => format!("{}.{name}", array.schema_name()),
            other => format!("array_field({other:?})"),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let name = match args.args.get(1) {
            Some(ColumnarValue::Scalar(name)) => name.try_as_str().flatten().map(str::to_owned),
            _ => None,
        };
        let name = name.ok_or_else(|| exec_datafusion_err!("array_field: expected a name"))?;
        apply_to_pair(self.name(), args, |arrays, _| match arrays.data_type() {
            DataType::LargeList(_) => take_field(arrays.as_list::<i64>(), &name),
            _ => take_field(arrays.as_list::<i32>(), &name),
        })
    }
}

/// Returns the type of `array.name`.
fn field_type(array: &DataType, name: &str) -> Option<DataType> {
    let find = |item: &FieldRef| {
        let DataType::Struct(fields) = item.data_type() else {
            return None;
        };
        result_item(fields, name)
    };
    match array {
        DataType::List(item) => find(item).map(DataType::List),
        DataType::LargeList(item) => find(item).map(DataType::LargeList),
        _ => None,
    }
}

fn result_item(fields: &Fields, name: &str) -> Option<FieldRef> {
    let (_, field) = fields.find(name)?;
    let item = Field::new_list_field(field.data_type().clone(), true);
    Some(Arc::new(item))
}

fn take_field<O: OffsetSizeTrait>(arrays: &GenericListArray<O>, name: &str) -> Result<ArrayRef> {
    let structs = arrays.values().as_struct();
    let unknown = || exec_datafusion_err!("array_field: no field `{name}`");
    let item = result_item(structs.fields(), name).ok_or_else(unknown)?;
    let values = structs.column_by_name(name).ok_or_else(unknown)?;
    let values = with_nulls_of(structs, values)?;
    let (offsets, nulls) = (arrays.offsets().clone(), arrays.nulls().cloned());
    Ok(Arc::new(GenericListArray::try_new(
        item, offsets, values, nulls,
    )?))
}

/// Makes the values of structs null that are null themselves.
fn with_nulls_of(structs: &StructArray, values: &ArrayRef) -> Result<ArrayRef> {
    match structs.null_count() {
        0 => Ok(Arc::clone(values)),
        _ => Ok(nullif(values, &is_null(structs)?)?),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int32Array, ListArray};
    use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};

    use super::*;

    #[test]
    fn structs_and_arrays_that_are_null_stay_null() {
        let field = Arc::new(Field::new("a", DataType::Int32, true));
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(2), None]));
        let structs = StructArray::new(
            vec![field].into(),
            vec![numbers],
            Some(NullBuffer::from(vec![true, false, true])),
        );
        let item = Arc::new(Field::new_list_field(structs.data_type().clone(), true));
        let arrays = ListArray::new(
            item,
            OffsetBuffer::from_lengths([3, 0, 0]),
            Arc::new(structs),
            Some(NullBuffer::from(vec![true, true, false])),
        );
        let fields = take_field(&arrays, "a").unwrap();
        let expected = ListArray::from_iter_primitive::<
            datafusion::arrow::datatypes::Int32Type,
            _,
            _,
        >([Some(vec![Some(1), None, None]), Some(vec![]), None]);
        assert_eq!(fields.as_list::<i32>(), &expected);
        assert!(take_field(&arrays, "b").is_err());
    }
}
