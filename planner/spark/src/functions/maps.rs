//! Maps: `map_concat`, `map_contains_key`.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, MapArray, MutableArrayData, StructArray, make_array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, exec_err, plan_err};

use super::arrays::common;
use super::convert;
use super::scalar::{Call, Function, Param, Returns};
use super::types::map_of;

/// Returns the functions of maps.
pub(crate) fn functions() -> Vec<Function> {
    vec![
        Function::new("map_concat", &[Param::Map], Returns::Argument(0), concat)
            .variadic()
            .unify(same_maps),
        Function::new(
            "map_contains_key",
            &[Param::Map, Param::Any],
            Returns::Type(DataType::Boolean),
            contains_key,
        )
        .unify(|types| {
            let key = parts(&types[0]).map_or_else(|| types[1].clone(), |(key, _)| key);
            Ok(vec![types[0].clone(), key])
        }),
    ]
}

/// Returns the types of the keys and values of a map.
pub(crate) fn parts(map: &DataType) -> Option<(DataType, DataType)> {
    match map {
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                Some((fields[0].data_type().clone(), fields[1].data_type().clone()))
            }
            _ => None,
        },
        _ => None,
    }
}

fn same_maps(types: &[DataType]) -> Result<Vec<DataType>> {
    let (mut key, mut value) = (DataType::Null, DataType::Null);
    for (other_key, other_value) in types.iter().filter_map(parts) {
        key = common(&key, &other_key)?;
        value = common(&value, &other_value)?;
    }
    match key.is_null() {
        true => plan_err!("map_concat: expected a MAP"),
        false => Ok(vec![map_of(key, value); types.len()]),
    }
}

/// Returns the entries of a row, as positions in the map's keys and values.
pub(crate) fn entry_range(map: &MapArray, row: usize) -> std::ops::Range<usize> {
    let offsets = map.value_offsets();
    offsets[row].unsigned_abs() as usize..offsets[row + 1].unsigned_abs() as usize
}

fn concat(call: &Call) -> Result<ArrayRef> {
    let DataType::Map(field, _) = &call.return_type else {
        return call.fail("the result is no map");
    };
    let DataType::Struct(fields) = field.data_type() else {
        return call.fail("the result is no map");
    };
    let maps: Vec<&MapArray> = (0..call.arrays.len())
        .map(|index| call.map(index))
        .collect();
    let converter = RowConverter::new(vec![SortField::new(fields[0].data_type().clone())])?;
    let keys = maps
        .iter()
        .map(|map| Ok(converter.convert_columns(&[Arc::clone(map.keys())])?))
        .collect::<Result<Vec<_>>>()?;
    let column = |data: Vec<ArrayRef>| data.iter().map(|array| array.to_data()).collect::<Vec<_>>();
    let key_data = column(maps.iter().map(|map| Arc::clone(map.keys())).collect());
    let value_data = column(maps.iter().map(|map| Arc::clone(map.values())).collect());
    let mut new_keys = MutableArrayData::new(key_data.iter().collect(), false, 0);
    let mut new_values = MutableArrayData::new(value_data.iter().collect(), true, 0);
    let nulls = call.validity();
    let mut lengths = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            lengths.push(0);
            continue;
        }
        let mut seen = std::collections::HashSet::new();
        for (index, map) in maps.iter().enumerate() {
            let range = entry_range(map, row);
            if !range
                .clone()
                .all(|entry| seen.insert(keys[index].row(entry)))
            {
                return exec_err!(
                    "map_concat: [DUPLICATED_MAP_KEY] a key occurs in several maps; remove it from all but one"
                );
            }
            new_keys.try_extend(index, range.start, range.end)?;
            new_values.try_extend(index, range.start, range.end)?;
        }
        lengths.push(seen.len());
    }
    let columns = vec![
        make_array(new_keys.freeze()),
        make_array(new_values.freeze()),
    ];
    assemble(field, lengths, columns, nulls)
}

/// Returns maps with these numbers of entries, whose keys and values are the two columns.
///
/// # Errors
/// If `entries` is not the field of a map's entries, or the columns do not fit it.
pub(crate) fn assemble(
    entries: &FieldRef,
    lengths: Vec<usize>,
    columns: Vec<ArrayRef>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let DataType::Struct(fields) = entries.data_type() else {
        return exec_err!("a map has no entries");
    };
    Ok(Arc::new(MapArray::try_new(
        Arc::clone(entries),
        OffsetBuffer::from_lengths(lengths),
        StructArray::try_new(fields.clone(), columns, None)?,
        nulls,
        false,
    )?))
}

fn contains_key(call: &Call) -> Result<ArrayRef> {
    let map = call.map(0);
    let target = convert::with_type(Arc::clone(&call.arrays[1]), map.keys().data_type())?;
    let converter = RowConverter::new(vec![SortField::new(target.data_type().clone())])?;
    let keys = converter.convert_columns(&[Arc::clone(map.keys())])?;
    let target = converter.convert_columns(&[target])?;
    call.booleans(|row| {
        Ok(Some(
            entry_range(map, row).any(|entry| keys.row(entry) == target.row(row)),
        ))
    })
}
