//! The positions of the items of an array, which `posexplode` returns.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, AsArray, Int32Array, ListArray};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::utils::take_function_args;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

static SIGNATURE: LazyLock<Signature> = LazyLock::new(|| Signature::any(1, Volatility::Immutable));

/// Returns the array `[0, 1, …]` that is as long as its argument; null for a null.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ItemPositions;

impl ItemPositions {
    pub(crate) const NAME: &'static str = "item_positions";
}

impl ScalarUDFImpl for ItemPositions {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn signature(&self) -> &Signature {
        &SIGNATURE
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [DataType::List(_)] => Ok(DataType::new_list(DataType::Int32, false)),
            other => plan_err!("{}: expected an array, got {other:?}", Self::NAME),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [list] = take_function_args(Self::NAME, args.args)?;
        let list = list.to_array(args.number_rows)?;
        let list = list.as_list::<i32>();
        let length = |row: usize| match list.is_null(row) {
            true => 0,
            false => list.value_length(row),
        };
        let lengths: Vec<i32> = (0..list.len()).map(length).collect();
        let positions: Int32Array = lengths
            .iter()
            .flat_map(|length| 0..*length)
            .map(Some)
            .collect();
        let offsets = OffsetBuffer::from_lengths(
            lengths
                .into_iter()
                .map(|length| usize::try_from(length).unwrap_or(0)),
        );
        let item = Arc::new(Field::new_list_field(DataType::Int32, false));
        let positions =
            ListArray::try_new(item, offsets, Arc::new(positions), list.nulls().cloned())?;
        Ok(ColumnarValue::Array(Arc::new(positions)))
    }
}
