//! Maps: `map`, `map_concat`, `map_contains_key`.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, MapArray, MutableArrayData, StructArray, make_array, new_empty_array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::interleave;
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
        Function::new(
            "map",
            &[Param::Any],
            Returns::Computed(|site| map_type(site.types)),
            from_pairs,
        )
        .variadic()
        .unify(same_pairs),
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
            // An untyped NULL is a map of keys of any type.
            Ok(match parts(&types[0]) {
                Some((key, _)) => vec![types[0].clone(), key],
                None => vec![map_of(types[1].clone(), DataType::Null), types[1].clone()],
            })
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

/// Gives the keys one type, and the values another one.
fn same_pairs(types: &[DataType]) -> Result<Vec<DataType>> {
    if !types.len().is_multiple_of(2) {
        return plan_err!(
            "[WRONG_NUM_ARGS] map: expected keys and values in turn, got {} arguments",
            types.len()
        );
    }
    let of_side = |side: usize| {
        let types = types.iter().skip(side).step_by(2);
        types
            .cloned()
            .try_fold(DataType::Null, |common_type, data_type| {
                common(&common_type, &data_type)
            })
    };
    let (key, value) = (of_side(0)?, of_side(1)?);
    if matches!(key, DataType::Map(..)) {
        return plan_err!("[DATATYPE_MISMATCH.INVALID_MAP_KEY_TYPE] map: a key must not be a MAP");
    }
    let pairs = (0..types.len()).map(|index| match index % 2 {
        0 => key.clone(),
        _ => value.clone(),
    });
    Ok(pairs.collect())
}

fn map_type(types: &[DataType]) -> Result<DataType> {
    let types = same_pairs(types)?;
    let of_side = |side: usize| types.get(side).cloned().unwrap_or(DataType::Null);
    Ok(map_of(of_side(0), of_side(1)))
}

/// Builds a map of each row's keys and values.
fn from_pairs(call: &Call) -> Result<ArrayRef> {
    let DataType::Map(field, _) = &call.return_type else {
        return call.fail("the result is no map");
    };
    let Some((key, value)) = parts(&call.return_type) else {
        return call.fail("the result is no map");
    };
    let count = call.arrays.len() / 2;
    let column = |side: usize, data_type: &DataType| -> Result<ArrayRef> {
        if count == 0 {
            return Ok(new_empty_array(data_type));
        }
        let sources = call.arrays.iter().skip(side).step_by(2);
        let sources = sources
            .map(|array| convert::with_type(Arc::clone(array), data_type))
            .collect::<Result<Vec<_>>>()?;
        let sources: Vec<&dyn Array> = sources.iter().map(AsRef::as_ref).collect();
        let places: Vec<(usize, usize)> = (0..call.rows)
            .flat_map(|row| (0..count).map(move |pair| (pair, row)))
            .collect();
        Ok(interleave(&sources, &places)?)
    };
    let keys = column(0, &key)?;
    if keys.logical_null_count() > 0 {
        return exec_err!("[NULL_MAP_KEY] map: a key must not be null");
    }
    let rows =
        RowConverter::new(vec![SortField::new(key)])?.convert_columns(&[Arc::clone(&keys)])?;
    for row in 0..call.rows {
        let mut seen = std::collections::HashSet::new();
        if !(row * count..(row + 1) * count).all(|entry| seen.insert(rows.row(entry))) {
            return exec_err!(
                "[DUPLICATED_MAP_KEY] map: a key occurs twice; remove one of its pairs"
            );
        }
    }
    let columns = vec![keys, column(1, &value)?];
    assemble(field, vec![count; call.rows], columns, None)
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
