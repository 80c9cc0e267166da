//! Functions that treat arrays as sets. Nulls equal each other.

use std::collections::HashSet;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use datafusion::common::Result;

use super::build::{Source, assemble};
use super::element::equality;
use super::{items, list_and_item, same_lists};
use crate::functions::scalar::{Call, Function, Param, Returns};

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let two = &[Param::List, Param::List];
    let set = |name, body| Function::new(name, two, Returns::Argument(0), body).unify(same_lists);
    vec![
        Function::new(
            "array_distinct",
            &[Param::List],
            Returns::Argument(0),
            |call| combine(call, |first, _| first),
        ),
        set("array_union", |call| {
            combine(call, |first, second| [first, second].concat())
        }),
        set("array_intersect", |call| combine(call, intersection)),
        set("array_except", |call| combine(call, difference)),
        Function::new(
            "arrays_overlap",
            two,
            Returns::Type(DataType::Boolean),
            overlap,
        )
        .unify(same_lists),
        Function::new(
            "array_remove",
            &[Param::List, Param::Any],
            Returns::Argument(0),
            |call| {
                let list = call.list(0);
                let is_removed = equality(list.values(), &call.arrays[1])?;
                assemble(call, &[list.values()], |row| {
                    let kept = items(list, row).filter(|item| !is_removed(row, *item));
                    Ok(Some(kept.map(|item| Source::Item(0, item)).collect()))
                })
            },
        )
        .unify(list_and_item),
        Function::new(
            "array_compact",
            &[Param::List],
            Returns::Argument(0),
            |call| {
                let list = call.list(0);
                assemble(call, &[list.values()], |row| {
                    let kept = items(list, row).filter(|item| list.values().is_valid(*item));
                    Ok(Some(kept.map(|item| Source::Item(0, item)).collect()))
                })
            },
        ),
    ]
}

/// An item of an array: its value in a comparable form, and its source.
type Item = (OwnedRow, Source);

/// Returns the values of arrays in a form in which they can be compared and hashed.
fn comparable_rows(values: &[&ArrayRef]) -> Result<Vec<Rows>> {
    let Some(first) = values.first() else {
        return Ok(Vec::new());
    };
    let converter = RowConverter::new(vec![SortField::new(first.data_type().clone())])?;
    values
        .iter()
        .map(|values| Ok(converter.convert_columns(&[ArrayRef::clone(values)])?))
        .collect()
}

/// Builds an array from the items of the arguments, without duplicates.
fn combine(call: &Call, choose: impl Fn(Vec<Item>, Vec<Item>) -> Vec<Item>) -> Result<ArrayRef> {
    let count = call.arrays.len();
    let values: Vec<&ArrayRef> = (0..count).map(|index| call.list(index).values()).collect();
    let rows = comparable_rows(&values)?;
    assemble(call, &values, |row| {
        let list_items = |index: usize| -> Vec<Item> {
            if index >= count {
                return Vec::new();
            }
            let range = items(call.list(index), row);
            range
                .map(|item| (rows[index].row(item).owned(), Source::Item(index, item)))
                .collect()
        };
        let mut seen = HashSet::new();
        let chosen = choose(list_items(0), list_items(1));
        Ok(Some(
            chosen
                .into_iter()
                .filter(|(key, _)| seen.insert(key.clone()))
                .map(|(_, source)| source)
                .collect(),
        ))
    })
}

fn intersection(first: Vec<Item>, second: Vec<Item>) -> Vec<Item> {
    let keys: HashSet<OwnedRow> = second.into_iter().map(|(key, _)| key).collect();
    first
        .into_iter()
        .filter(|(key, _)| keys.contains(key))
        .collect()
}

fn difference(first: Vec<Item>, second: Vec<Item>) -> Vec<Item> {
    let keys: HashSet<OwnedRow> = second.into_iter().map(|(key, _)| key).collect();
    first
        .into_iter()
        .filter(|(key, _)| !keys.contains(key))
        .collect()
}

/// Returns whether two arrays have a value in common; null if only a null could be common.
fn overlap(call: &Call) -> Result<ArrayRef> {
    let (first, second) = (call.list(0), call.list(1));
    let rows = comparable_rows(&[first.values(), second.values()])?;
    call.booleans(|row| {
        let known: HashSet<_> = items(first, row)
            .filter(|item| first.values().is_valid(*item))
            .map(|item| rows[0].row(item))
            .collect();
        let is_shared = items(second, row)
            .any(|item| second.values().is_valid(item) && known.contains(&rows[1].row(item)));
        let has_null = items(first, row).any(|item| first.values().is_null(item))
            || items(second, row).any(|item| second.values().is_null(item));
        let is_empty = items(first, row).is_empty() || items(second, row).is_empty();
        Ok(match is_shared {
            true => Some(true),
            false if has_null && !is_empty => None,
            false => Some(false),
        })
    })
}
