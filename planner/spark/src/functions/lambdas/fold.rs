//! The function `aggregate`, which folds the items of an array into one value.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, UInt32Array, UInt64Array};
use datafusion::arrow::compute::{interleave, take};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;

use super::{Definition, LambdaCall};
use crate::functions::arrays::{item_of, items};
use crate::functions::convert::cast_strictly;
use crate::functions::scalar::Param;

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Definition> {
    vec![Definition {
        name: "aggregate",
        aliases: &["reduce"],
        values: &[Param::List, Param::Any],
        unify: Ok,
        parameters: |types| {
            let item = item_of(&types[0]).cloned().unwrap_or(DataType::Null);
            Ok(vec![vec![types[1].clone(), item], vec![types[1].clone()]])
        },
        // Without a lambda that finishes, the result has the type of the start value.
        returns: |values, lambdas| Ok(lambdas.get(1).unwrap_or(&values[1]).clone()),
        body: fold,
    }]
}

/// Merges the first items of all rows, then the second ones, and so on: as many evaluations as the
/// longest array has items.
fn fold(call: &LambdaCall) -> Result<ArrayRef> {
    let list = call.values[0].as_list::<i32>();
    let mut accumulated = ArrayRef::clone(&call.values[1]);
    let length = |row: usize| {
        if list.is_null(row) {
            0
        } else {
            items(list, row).len()
        }
    };
    let longest = (0..call.rows).map(length).max().unwrap_or(0);
    for position in 0..longest {
        let rows: Vec<usize> = (0..call.rows)
            .filter(|row| position < length(*row))
            .collect();
        let positions = rows
            .iter()
            .map(|row| (items(list, *row).start + position) as u64);
        let values = take(
            list.values(),
            &UInt64Array::from_iter_values(positions),
            None,
        )?;
        let numbers =
            UInt32Array::from_iter_values(rows.iter().filter_map(|row| u32::try_from(*row).ok()));
        let before = take(&accumulated, &numbers, None)?;
        let merged = call.evaluate(0, &[before, values], &numbers)?;
        let merged = cast_strictly(&merged, accumulated.data_type())?;
        // Rows whose array has no more items keep their value.
        let mut sources: Vec<(usize, usize)> = (0..call.rows).map(|row| (0, row)).collect();
        for (index, row) in rows.iter().enumerate() {
            sources[*row] = (1, index);
        }
        accumulated = interleave(&[accumulated.as_ref(), merged.as_ref()], &sources)?;
    }
    // The result for a null array is null.
    let known = (0..call.rows).map(|row| list.is_valid(row).then_some(row as u64));
    let accumulated = take(&accumulated, &UInt64Array::from_iter(known), None)?;
    if call.lambdas.len() < 2 {
        return Ok(accumulated);
    }
    let rows =
        UInt32Array::from_iter_values((0..call.rows).filter_map(|row| u32::try_from(row).ok()));
    let finished = call.evaluate(1, &[accumulated], &rows)?;
    let known = (0..call.rows).map(|row| list.is_valid(row).then_some(row as u64));
    Ok(take(&finished, &UInt64Array::from_iter(known), None)?)
}
