//! Lambdas on the items of arrays: `transform`, `filter`, `exists`, `forall`, `zip_with`.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListArray, UInt32Array, UInt64Array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::{filter, take};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, exec_err};

use super::{Definition, LambdaCall};
use crate::functions::arrays::{item_of, items, list_of};
use crate::functions::scalar::Param;

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Definition> {
    let on_items = |name, returns, body| Definition {
        name,
        aliases: &[],
        values: &[Param::List],
        unify: Ok,
        parameters: |types: &[DataType]| Ok(vec![vec![item_type(&types[0]), DataType::Int32]]),
        returns,
        body,
    };
    vec![
        on_items(
            "transform",
            |_, lambdas| Ok(list_of(lambdas[0].clone())),
            transform,
        ),
        on_items("filter", |values, _| Ok(values[0].clone()), keep),
        on_items(
            "exists",
            |_, _| Ok(DataType::Boolean),
            |call| test(call, true),
        ),
        on_items(
            "forall",
            |_, _| Ok(DataType::Boolean),
            |call| test(call, false),
        ),
        Definition {
            name: "zip_with",
            aliases: &[],
            values: &[Param::List, Param::List],
            unify: Ok,
            parameters: |types| Ok(vec![vec![item_type(&types[0]), item_type(&types[1])]]),
            returns: |_, lambdas| Ok(list_of(lambdas[0].clone())),
            body: zip_with,
        },
    ]
}

fn item_type(list: &DataType) -> DataType {
    item_of(list).cloned().unwrap_or(DataType::Null)
}

/// The items of all lists one after the other, with their rows and their places in their lists.
struct Flat {
    values: ArrayRef,
    rows: UInt32Array,
    positions: ArrayRef,
    lengths: Vec<usize>,
    nulls: Option<NullBuffer>,
}

fn flat(list: &ListArray) -> Result<Flat> {
    let (mut sources, mut rows, mut positions) = (Vec::new(), Vec::new(), Vec::new());
    let mut lengths = Vec::with_capacity(list.len());
    for row in 0..list.len() {
        let range = if list.is_null(row) {
            0..0
        } else {
            items(list, row)
        };
        lengths.push(range.len());
        for (position, item) in range.enumerate() {
            sources.push(item as u64);
            rows.push(u32::try_from(row).unwrap_or(u32::MAX));
            positions.push(i32::try_from(position).unwrap_or(i32::MAX));
        }
    }
    Ok(Flat {
        values: take(list.values(), &UInt64Array::from(sources), None)?,
        rows: UInt32Array::from(rows),
        positions: Arc::new(Int32Array::from(positions)),
        lengths,
        nulls: list.nulls().cloned(),
    })
}

fn list(
    item: &DataType,
    lengths: Vec<usize>,
    values: ArrayRef,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let field = Arc::new(Field::new_list_field(item.clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(field, offsets, values, nulls)?))
}

fn transform(call: &LambdaCall) -> Result<ArrayRef> {
    let flat = flat(call.values[0].as_list::<i32>())?;
    let results = call.evaluate(0, &[flat.values, flat.positions], &flat.rows)?;
    list(
        &item_type(&call.return_type),
        flat.lengths,
        results,
        flat.nulls,
    )
}

fn conditions(call: &LambdaCall, flat: &Flat) -> Result<BooleanArray> {
    let results = call.evaluate(
        0,
        &[
            ArrayRef::clone(&flat.values),
            ArrayRef::clone(&flat.positions),
        ],
        &flat.rows,
    )?;
    match results.as_boolean_opt() {
        Some(conditions) => Ok(conditions.clone()),
        None => exec_err!(
            "the lambda must return a BOOLEAN, not {}",
            results.data_type()
        ),
    }
}

fn keep(call: &LambdaCall) -> Result<ArrayRef> {
    let mut flat = flat(call.values[0].as_list::<i32>())?;
    let conditions = conditions(call, &flat)?;
    let is_kept = |at: usize| conditions.is_valid(at) && conditions.value(at);
    let mut start = 0;
    for length in &mut flat.lengths {
        let end = start + *length;
        *length = (start..end).filter(|at| is_kept(*at)).count();
        start = end;
    }
    let kept = filter(&flat.values, &conditions)?;
    list(
        &item_type(&call.return_type),
        flat.lengths,
        kept,
        flat.nulls,
    )
}

/// Whether one item, or all of them, fulfil a condition; unknown if an unknown one decides.
fn test(call: &LambdaCall, is_any: bool) -> Result<ArrayRef> {
    let flat = flat(call.values[0].as_list::<i32>())?;
    let conditions = conditions(call, &flat)?;
    let mut start = 0;
    let mut results = Vec::with_capacity(call.rows);
    for (row, length) in flat.lengths.iter().enumerate() {
        let range = start..start + length;
        start += length;
        let is_decided = range
            .clone()
            .any(|at| conditions.is_valid(at) && conditions.value(at) == is_any);
        let is_unknown = range.clone().any(|at| conditions.is_null(at));
        results.push(match is_decided {
            _ if flat.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) => None,
            true => Some(is_any),
            false if is_unknown => None,
            false => Some(!is_any),
        });
    }
    Ok(Arc::new(BooleanArray::from(results)))
}

/// Puts items with the same place together; the shorter array is filled with nulls.
fn zip_with(call: &LambdaCall) -> Result<ArrayRef> {
    let (first, second) = (
        call.values[0].as_list::<i32>(),
        call.values[1].as_list::<i32>(),
    );
    let nulls = NullBuffer::union(first.nulls(), second.nulls());
    let (mut rows, mut lengths) = (Vec::new(), Vec::with_capacity(call.rows));
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for row in 0..call.rows {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            lengths.push(0);
            continue;
        }
        let (a, b) = (items(first, row), items(second, row));
        let length = a.len().max(b.len());
        for position in 0..length {
            left.push((position < a.len()).then_some((a.start + position) as u64));
            right.push((position < b.len()).then_some((b.start + position) as u64));
            rows.push(u32::try_from(row).unwrap_or(u32::MAX));
        }
        lengths.push(length);
    }
    let left = take(first.values(), &UInt64Array::from(left), None)?;
    let right = take(second.values(), &UInt64Array::from(right), None)?;
    let results = call.evaluate(0, &[left, right], &UInt32Array::from(rows))?;
    list(&item_type(&call.return_type), lengths, results, nulls)
}
