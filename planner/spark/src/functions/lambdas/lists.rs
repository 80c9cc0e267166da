//! Functions with lambdas on the items of arrays: `transform`, `filter`, `exists`, `forall`,
//! `zip_with`.

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
        on_items("filter", |values, _| Ok(values[0].clone()), filter_items),
        on_items(
            "exists",
            |_, _| Ok(DataType::Boolean),
            |call| test_items(call, Quantifier::Any),
        ),
        on_items(
            "forall",
            |_, _| Ok(DataType::Boolean),
            |call| test_items(call, Quantifier::All),
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

/// The items of all lists one after the other, with their rows and their positions in their lists.
struct FlatItems {
    values: ArrayRef,
    rows: UInt32Array,
    positions: ArrayRef,
    lengths: Vec<usize>,
    nulls: Option<NullBuffer>,
}

fn flatten(list: &ListArray) -> Result<FlatItems> {
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
    Ok(FlatItems {
        values: take(list.values(), &UInt64Array::from(sources), None)?,
        rows: UInt32Array::from(rows),
        positions: Arc::new(Int32Array::from(positions)),
        lengths,
        nulls: list.nulls().cloned(),
    })
}

fn build_list(
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
    let flat = flatten(call.values[0].as_list::<i32>())?;
    let results = call.evaluate(0, &[flat.values, flat.positions], &flat.rows)?;
    build_list(
        &item_type(&call.return_type),
        flat.lengths,
        results,
        flat.nulls,
    )
}

fn conditions(call: &LambdaCall, flat: &FlatItems) -> Result<BooleanArray> {
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

fn filter_items(call: &LambdaCall) -> Result<ArrayRef> {
    let mut flat = flatten(call.values[0].as_list::<i32>())?;
    let conditions = conditions(call, &flat)?;
    let is_kept = |index: usize| conditions.is_valid(index) && conditions.value(index);
    let mut start = 0;
    for length in &mut flat.lengths {
        let end = start + *length;
        *length = (start..end).filter(|index| is_kept(*index)).count();
        start = end;
    }
    let values = filter(&flat.values, &conditions)?;
    build_list(
        &item_type(&call.return_type),
        flat.lengths,
        values,
        flat.nulls,
    )
}

/// The items that must fulfil a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    Any,
    All,
}

/// Returns whether the items fulfil a condition; null if an unknown condition decides.
fn test_items(call: &LambdaCall, quantifier: Quantifier) -> Result<ArrayRef> {
    // One condition with this value decides the result.
    let decisive = quantifier == Quantifier::Any;
    let flat = flatten(call.values[0].as_list::<i32>())?;
    let conditions = conditions(call, &flat)?;
    let mut start = 0;
    let mut results = Vec::with_capacity(call.rows);
    for (row, length) in flat.lengths.iter().enumerate() {
        let range = start..start + length;
        start += length;
        let is_decided = range
            .clone()
            .any(|index| conditions.is_valid(index) && conditions.value(index) == decisive);
        let is_unknown = range.clone().any(|index| conditions.is_null(index));
        results.push(match is_decided {
            _ if flat.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) => None,
            true => Some(decisive),
            false if is_unknown => None,
            false => Some(!decisive),
        });
    }
    Ok(Arc::new(BooleanArray::from(results)))
}

/// Combines items at the same position; the shorter array is filled with nulls.
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
    build_list(&item_type(&call.return_type), lengths, results, nulls)
}
