//! Functions with lambdas on the entries of maps: `map_filter`, `transform_keys`,
//! `transform_values`, `map_zip_with`.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, MapArray, UInt32Array, UInt64Array};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::compute::{filter, interleave, take};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, exec_err, plan_err};

use super::{Definition, LambdaCall};
use crate::functions::arrays::common;
use crate::functions::convert::with_type;
use crate::functions::maps::{assemble, entry_range, parts};
use crate::functions::scalar::Param;
use crate::functions::types::map_of;

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Definition> {
    let on_entries = |name, returns, body| Definition {
        name,
        aliases: &[],
        values: &[Param::Map],
        unify: Ok,
        parameters: |types: &[DataType]| {
            entry_types(&types[0]).map(|(key, value)| vec![vec![key, value]])
        },
        returns,
        body,
    };
    vec![
        on_entries(
            "map_filter",
            |values, _| Ok(values[0].clone()),
            filter_entries,
        ),
        on_entries(
            "transform_keys",
            |values, lambdas| Ok(map_of(lambdas[0].clone(), entry_types(&values[0])?.1)),
            |call| transform_entries(call, Side::Key),
        ),
        on_entries(
            "transform_values",
            |values, lambdas| Ok(map_of(entry_types(&values[0])?.0, lambdas[0].clone())),
            |call| transform_entries(call, Side::Value),
        ),
        Definition {
            name: "map_zip_with",
            aliases: &[],
            values: &[Param::Map, Param::Map],
            unify: with_same_keys,
            parameters: |types| {
                let ((key, first), (_, second)) =
                    (entry_types(&types[0])?, entry_types(&types[1])?);
                Ok(vec![vec![key, first, second]])
            },
            returns: |values, lambdas| Ok(map_of(entry_types(&values[0])?.0, lambdas[0].clone())),
            body: zip,
        },
    ]
}

fn entry_types(map: &DataType) -> Result<(DataType, DataType)> {
    match parts(map) {
        Some(parts) => Ok(parts),
        None => plan_err!("expected a MAP, got {map}"),
    }
}

/// Gives the keys of two maps one type.
fn with_same_keys(types: Vec<DataType>) -> Result<Vec<DataType>> {
    let [first, second] = types.as_slice() else {
        return Ok(types);
    };
    let ((first_key, first_value), (second_key, second_value)) =
        (entry_types(first)?, entry_types(second)?);
    let key = common(&first_key, &second_key)?;
    Ok(vec![
        map_of(key.clone(), first_value),
        map_of(key, second_value),
    ])
}

/// The entries of all maps, with the rows that they belong to.
fn entries(map: &MapArray) -> (ArrayRef, ArrayRef, UInt32Array) {
    let offsets = map.value_offsets();
    let start = offsets
        .first()
        .map_or(0, |offset| offset.unsigned_abs() as usize);
    let end = offsets
        .last()
        .map_or(0, |offset| offset.unsigned_abs() as usize);
    let rows = (0..map.len()).flat_map(|row| {
        let row_number = u32::try_from(row).unwrap_or(u32::MAX);
        std::iter::repeat_n(row_number, map.value_length(row).unsigned_abs() as usize)
    });
    let rows = UInt32Array::from_iter_values(rows);
    (
        map.keys().slice(start, end - start),
        map.values().slice(start, end - start),
        rows,
    )
}

fn rebuild(
    call: &LambdaCall,
    lengths: Vec<usize>,
    columns: Vec<ArrayRef>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let DataType::Map(field, _) = &call.return_type else {
        return exec_err!("the result is no map");
    };
    if columns[0].logical_null_count() > 0 {
        return exec_err!("[NULL_MAP_KEY] a key of a map must not be null");
    }
    assemble(field, lengths, columns, nulls)
}

fn lengths(map: &MapArray) -> Vec<usize> {
    (0..map.len())
        .map(|row| map.value_length(row).unsigned_abs() as usize)
        .collect()
}

fn filter_entries(call: &LambdaCall) -> Result<ArrayRef> {
    let map = call.values[0].as_map();
    let (keys, values, rows) = entries(map);
    let results = call.evaluate(
        0,
        &[ArrayRef::clone(&keys), ArrayRef::clone(&values)],
        &rows,
    )?;
    let Some(conditions) = results.as_boolean_opt() else {
        return exec_err!(
            "the lambda must return a BOOLEAN, not {}",
            results.data_type()
        );
    };
    let mut lengths = vec![0; map.len()];
    for (index, row) in rows.values().iter().enumerate() {
        lengths[*row as usize] +=
            usize::from(conditions.is_valid(index) && conditions.value(index));
    }
    rebuild(
        call,
        lengths,
        vec![filter(&keys, conditions)?, filter(&values, conditions)?],
        map.nulls().cloned(),
    )
}

#[derive(Clone, Copy)]
enum Side {
    Key,
    Value,
}

fn transform_entries(call: &LambdaCall, side: Side) -> Result<ArrayRef> {
    let map = call.values[0].as_map();
    let (keys, values, rows) = entries(map);
    let results = call.evaluate(
        0,
        &[ArrayRef::clone(&keys), ArrayRef::clone(&values)],
        &rows,
    )?;
    let columns = match side {
        Side::Key => vec![results, values],
        Side::Value => vec![keys, results],
    };
    rebuild(call, lengths(map), columns, map.nulls().cloned())
}

/// An entry of a joined map: the positions of its values in the first and in the second map.
type Pair = (Option<usize>, Option<usize>);

/// Joins two maps by their keys; where one has no such key, its value is null.
fn zip(call: &LambdaCall) -> Result<ArrayRef> {
    let (first, second) = (call.values[0].as_map(), call.values[1].as_map());
    let second_keys = with_type(Arc::clone(second.keys()), first.keys().data_type())?;
    let converter = RowConverter::new(vec![SortField::new(first.keys().data_type().clone())])?;
    let first_rows = converter.convert_columns(&[Arc::clone(first.keys())])?;
    let second_rows = converter.convert_columns(&[Arc::clone(&second_keys)])?;
    let nulls = NullBuffer::union(first.nulls(), second.nulls());
    let mut pairs: Vec<Pair> = Vec::new();
    let (mut rows, mut lengths) = (Vec::new(), Vec::with_capacity(call.rows));
    for row in 0..call.rows {
        let start = pairs.len();
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            let mut indices = HashMap::new();
            for entry in entry_range(first, row) {
                indices.insert(first_rows.row(entry), pairs.len());
                pairs.push((Some(entry), None));
            }
            for entry in entry_range(second, row) {
                match indices.get(&second_rows.row(entry)) {
                    Some(index) => pairs[*index].1 = Some(entry),
                    None => pairs.push((None, Some(entry))),
                }
            }
        }
        let length = pairs.len() - start;
        rows.extend(std::iter::repeat_n(
            u32::try_from(row).unwrap_or(u32::MAX),
            length,
        ));
        lengths.push(length);
    }
    let sources: Vec<(usize, usize)> = pairs
        .iter()
        .map(|(first, second)| match (first, second) {
            (Some(entry), _) => (0, *entry),
            (None, entry) => (1, entry.unwrap_or(0)),
        })
        .collect();
    let keys = interleave(&[first.keys().as_ref(), second_keys.as_ref()], &sources)?;
    let positions = |side: fn(&Pair) -> Option<usize>| {
        UInt64Array::from_iter(
            pairs
                .iter()
                .map(|pair| side(pair).map(|entry| entry as u64)),
        )
    };
    let left = take(first.values(), &positions(|pair| pair.0), None)?;
    let right = take(second.values(), &positions(|pair| pair.1), None)?;
    let columns = [Arc::clone(&keys), left, right];
    let results = call.evaluate(0, &columns, &UInt32Array::from(rows))?;
    rebuild(call, lengths, vec![keys, results], nulls)
}
