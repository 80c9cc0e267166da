//! Functions of arrays. `element_at` and positions count from 1, `get` counts from 0.

mod build;
mod element;
mod sets;
mod shuffle;
mod sort;

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::ListArray;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;

use super::scalar::Function;
use crate::coercion::common_type;

/// Returns the functions of arrays.
pub(crate) fn functions() -> Vec<Function> {
    [
        build::functions(),
        element::functions(),
        sets::functions(),
        shuffle::functions(),
        sort::functions(),
    ]
    .concat()
}

/// Returns the type of an array of these items.
pub(crate) fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// Returns the type of the items of an array.
pub(crate) fn item_of(list: &DataType) -> Option<&DataType> {
    match list {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => Some(item.data_type()),
        _ => None,
    }
}

/// Returns the range of a row's items in the list's values.
pub(crate) fn items(list: &ListArray, row: usize) -> Range<usize> {
    let offsets = list.value_offsets();
    offsets[row].unsigned_abs() as usize..offsets[row + 1].unsigned_abs() as usize
}

/// Returns the common type of two types of values.
pub(crate) fn common(a: &DataType, b: &DataType) -> Result<DataType> {
    match (a, b) {
        (DataType::Null, other) | (other, DataType::Null) => Ok(other.clone()),
        _ if a == b => Ok(a.clone()),
        _ => match common_type(&[a.clone(), b.clone()]).or_else(|| comparison_coercion(a, b)) {
            Some(common) => Ok(common),
            None => plan_err!("[DATATYPE_MISMATCH] {a} and {b} have no common type"),
        },
    }
}

/// Converts an array and a value to the same type of items.
pub(super) fn list_and_item(types: &[DataType]) -> Result<Vec<DataType>> {
    let data_type = item_of(&types[0]).unwrap_or(&DataType::Null);
    let item = common(data_type, &types[1])?;
    let rest = types.iter().skip(2).cloned();
    Ok([list_of(item.clone()), item]
        .into_iter()
        .chain(rest)
        .collect())
}

/// Converts arrays to the same type of items.
pub(super) fn same_lists(types: &[DataType]) -> Result<Vec<DataType>> {
    let mut item = DataType::Null;
    for data_type in types {
        item = common(&item, item_of(data_type).unwrap_or(&DataType::Null))?;
    }
    Ok(vec![list_of(item); types.len()])
}
