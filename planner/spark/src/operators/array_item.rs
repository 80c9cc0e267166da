//! An item of an array by its position.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, GenericListArray, Int64Array, OffsetSizeTrait,
};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::pair::apply_to_pair;

/// `array[index]`, which counts from 0. An index beyond the array is an error, as in Spark's ANSI
/// mode.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ArrayItem(Signature);

impl Default for ArrayItem {
    fn default() -> Self {
        Self(Signature::any(2, Volatility::Immutable))
    }
}

impl ScalarUDFImpl for ArrayItem {
    fn name(&self) -> &'static str {
        "array_item"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [
                DataType::List(item) | DataType::LargeList(item),
                DataType::Int64,
            ] => Ok(item.data_type().clone()),
            [DataType::List(_) | DataType::LargeList(_), index] => {
                plan_err!("a position in an array is a BIGINT, not {index}")
            }
            other => plan_err!("only an array has items by position, not {other:?}"),
        }
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        let names: Vec<String> = arguments
            .iter()
            .map(|argument| argument.schema_name().to_string())
            .collect();
        Ok(match names.as_slice() {
            [array, index] => format!("{array}[{index}]"),
            _ => names.join(", "),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        apply_to_pair(self.name(), args, |arrays, indices| {
            let indices = indices.as_primitive::<Int64Type>();
            match arrays.data_type() {
                DataType::List(_) => take_items(arrays.as_list::<i32>(), indices),
                _ => take_items(arrays.as_list::<i64>(), indices),
            }
        })
    }
}

/// Returns one item of each array.
///
/// # Errors
/// If an index is outside of its array.
fn take_items<O: OffsetSizeTrait>(
    arrays: &GenericListArray<O>,
    indices: &Int64Array,
) -> Result<ArrayRef> {
    let mut positions = Vec::with_capacity(arrays.len());
    for row in 0..arrays.len() {
        if arrays.is_null(row) || indices.is_null(row) {
            positions.push(None);
            continue;
        }
        let (index, length) = (indices.value(row), arrays.value_length(row).as_usize());
        let Some(offset) = usize::try_from(index).ok().filter(|index| *index < length) else {
            return exec_err!(
                "index {index} is outside of an array of {length} items, which are counted from 0; use get(array, index) \
                 to get null instead"
            );
        };
        positions.push(i64::try_from(arrays.value_offsets()[row].as_usize() + offset).ok());
    }
    let positions: Arc<Int64Array> = Arc::new(positions.into_iter().collect());
    Ok(take(arrays.values(), positions.as_ref(), None)?)
}
