//! Functions that return an item of an array, or a property of it.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, plan_err};

use super::{item_of, items, list_and_item};
use crate::functions::convert;
use crate::functions::scalar::{Call, CallSite, Function, OnInvalid, Param, Returns};

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let pair = &[Param::Any, Param::Any];
    let value = || Returns::Computed(element_type);
    vec![
        Function::new("element_at", pair, value(), |call| {
            element_at(call, OnInvalid::Fail)
        })
        .unify(key_type),
        Function::new("try_element_at", pair, value(), |call| {
            element_at(call, OnInvalid::Null)
        })
        .unify(key_type),
        Function::new("get", &[Param::List, Param::Int], value(), |call| {
            let (list, indices) = (call.list(0), call.int(1));
            take_positions(call, list.values(), |row| {
                let range = items(list, row);
                let index = usize::try_from(indices.value(row)).ok()?;
                (index < range.len()).then(|| range.start + index)
            })
        }),
        Function::new(
            "array_position",
            &[Param::List, Param::Any],
            Returns::Type(DataType::Int64),
            |call| {
                let matches = matches(call)?;
                call.primitive::<Int64Type>(|row| {
                    let position = items(call.list(0), row).position(|item| matches(row, item));
                    Ok(Some(position.map_or(0, |position| {
                        i64::try_from(position + 1).unwrap_or(0)
                    })))
                })
            },
        )
        .unify(list_and_item),
        Function::new(
            "array_contains",
            &[Param::List, Param::Any],
            Returns::Type(DataType::Boolean),
            |call| {
                let list = call.list(0);
                let matches = matches(call)?;
                call.booleans(|row| {
                    let mut range = items(list, row);
                    // A null item might be equal.
                    let has_null = range.clone().any(|item| list.values().is_null(item));
                    Ok(match range.any(|item| matches(row, item)) {
                        true => Some(true),
                        false if has_null => None,
                        false => Some(false),
                    })
                })
            },
        )
        .unify(list_and_item),
        Function::new(
            "array_size",
            &[Param::List],
            Returns::Type(DataType::Int32),
            |call| {
                let list = call.list(0);
                call.primitive::<Int32Type>(|row| Ok(i32::try_from(items(list, row).len()).ok()))
            },
        ),
        Function::new("size", &[Param::Any], Returns::Type(DataType::Int32), size)
            .aliases(&["cardinality"]),
    ]
}

/// Returns the type of the items of an array, or of the values of a map.
fn element_type(site: &CallSite) -> Result<DataType> {
    match site.types.first() {
        Some(DataType::Map(entries, _)) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => Ok(fields[1].data_type().clone()),
            other => plan_err!("{}: a map of {other} has no values", site.name),
        },
        Some(list) if item_of(list).is_some() => {
            Ok(item_of(list).cloned().unwrap_or(DataType::Null))
        }
        Some(DataType::Null) | None => Ok(DataType::Null),
        Some(other) => plan_err!("{}: expected an ARRAY or a MAP, got {other}", site.name),
    }
}

/// Converts the key to the type of the map's keys, or to an index.
fn key_type(types: &[DataType]) -> Result<Vec<DataType>> {
    let key = match &types[0] {
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if !fields.is_empty() => fields[0].data_type().clone(),
            _ => types[1].clone(),
        },
        _ => DataType::Int64,
    };
    Ok(vec![types[0].clone(), key])
}

/// Takes the value at one position for each row; a row without a position is null.
fn take_positions(
    call: &Call,
    values: &ArrayRef,
    position: impl Fn(usize) -> Option<usize>,
) -> Result<ArrayRef> {
    let nulls = call.validity();
    let is_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let positions = (0..call.rows).map(|row| {
        let position = if is_null(row) { None } else { position(row) };
        position.and_then(|position| u64::try_from(position).ok())
    });
    Ok(take(values, &UInt64Array::from_iter(positions), None)?)
}

fn element_at(call: &Call, on_invalid: OnInvalid) -> Result<ArrayRef> {
    if call.arrays[0].data_type().is_null() {
        return Ok(Arc::clone(&call.arrays[0]));
    }
    if let Some(map) = call.arrays[0].as_map_opt() {
        let keys = equality(map.keys(), &call.arrays[1])?;
        return take_positions(call, map.values(), |row| {
            let offsets = map.value_offsets();
            let mut range =
                offsets[row].unsigned_abs() as usize..offsets[row + 1].unsigned_abs() as usize;
            range.find(|entry| keys(row, *entry))
        });
    }
    let list = convert::convert(&call.arrays[0], Param::List, &call.zone)?;
    let list = list.as_list::<i32>();
    let indices = call.long(1);
    for row in 0..call.rows {
        if list.is_null(row) || indices.is_null(row) {
            continue;
        }
        let (index, size) = (indices.value(row), items(list, row).len());
        if index == 0 {
            return call
                .fail("[INVALID_INDEX_OF_ZERO] items count from 1, or from the end with -1");
        }
        let is_beyond = usize::try_from(index.unsigned_abs()).is_ok_and(|index| index > size);
        if is_beyond && on_invalid == OnInvalid::Fail {
            return call.fail(format!(
                "[INVALID_ARRAY_INDEX_IN_ELEMENT_AT] there is no item {index} among {size}; try_element_at returns NULL for it"
            ));
        }
    }
    take_positions(call, list.values(), |row| {
        let range = items(list, row);
        let index = usize::try_from(indices.value(row).unsigned_abs()).ok()?;
        match indices.value(row) > 0 {
            true => (index <= range.len()).then(|| range.start + index - 1),
            false => range
                .end
                .checked_sub(index)
                .filter(|position| *position >= range.start),
        }
    })
}

/// Returns a predicate on a row and an item: whether the item equals the second argument of the
/// row.
fn matches(call: &Call) -> Result<impl Fn(usize, usize) -> bool> {
    let list = call.list(0);
    equality(list.values(), &call.arrays[1])
}

/// Returns a predicate on a row and a position: whether the value there equals the target of the
/// row. Null equals nothing.
pub(super) fn equality(
    values: &ArrayRef,
    target: &ArrayRef,
) -> Result<impl Fn(usize, usize) -> bool + use<>> {
    let converter = RowConverter::new(vec![SortField::new(values.data_type().clone())])?;
    let target = convert::with_type(Arc::clone(target), values.data_type())?;
    let value_rows = converter.convert_columns(&[Arc::clone(values)])?;
    let target_rows = converter.convert_columns(&[Arc::clone(&target)])?;
    let values = Arc::clone(values);
    Ok(move |row: usize, position: usize| {
        values.is_valid(position)
            && target.is_valid(row)
            && value_rows.row(position) == target_rows.row(row)
    })
}

/// Returns the number of items of an array or of entries of a map.
fn size(call: &Call) -> Result<ArrayRef> {
    if call.arrays[0].data_type().is_null() {
        return call.primitive::<Int32Type>(|_| Ok(None));
    }
    if let Some(map) = call.arrays[0].as_map_opt() {
        return call.primitive::<Int32Type>(|row| Ok(Some(map.value_length(row))));
    }
    let list = convert::convert(&call.arrays[0], Param::List, &call.zone)?;
    let list = list.as_list::<i32>();
    call.primitive::<Int32Type>(|row| Ok(Some(list.value_length(row))))
}
