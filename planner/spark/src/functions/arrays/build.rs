//! Functions that build arrays from arrays and values.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, ListArray, MutableArrayData, StringArray, StructArray,
    make_array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, plan_err};

use super::{common, item_of, items, list_and_item, list_of, same_lists};
use crate::functions::convert::{self, bytes_of, is_binary};
use crate::functions::scalar::{Call, CallSite, Function, Param, Returns};

/// Maximum number of items of an array whose length an argument states.
const ITEMS_MAX: usize = 1 << 26;

/// Where an item of a new array comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// An input, and the position in its values.
    Item(usize, usize),
    Null,
}

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let with_item = &[Param::List, Param::Any];
    vec![
        Function::new("array_append", with_item, Returns::Argument(0), |call| {
            add(call, End::Back)
        })
        .unify(list_and_item)
        .aliases(&["list_append"]),
        Function::new("array_prepend", with_item, Returns::Argument(0), |call| {
            add(call, End::Front)
        })
        .unify(list_and_item)
        .aliases(&["list_prepend"]),
        Function::new(
            "array_insert",
            &[Param::List, Param::Int, Param::Any],
            Returns::Argument(0),
            insert,
        )
        .unify(|types| {
            let unified = list_and_item(&[types[0].clone(), types[2].clone()])?;
            Ok(vec![
                unified[0].clone(),
                types[1].clone(),
                unified[1].clone(),
            ])
        }),
        Function::new(
            "array_repeat",
            &[Param::Any, Param::Int],
            Returns::Computed(list_of_first),
            repeat,
        ),
    ]
    .into_iter()
    .chain(array_functions())
    .collect()
}

/// Functions that keep or join the items of whole arrays.
fn array_functions() -> Vec<Function> {
    let text = Returns::Type(DataType::Utf8);
    vec![
        Function::new(
            "slice",
            &[Param::List, Param::Int, Param::Int],
            Returns::Argument(0),
            slice,
        ),
        Function::new(
            "flatten",
            &[Param::List],
            Returns::Computed(item_type),
            flatten,
        ),
        Function::new(
            "arrays_zip",
            &[Param::List],
            Returns::Computed(zip_type),
            zip,
        )
        .variadic(),
        Function::new(
            "array_join",
            &[Param::List, Param::Text, Param::Text],
            text,
            join,
        )
        .optional(1),
        Function::new(
            "concat",
            &[Param::Any],
            Returns::Computed(concat_type),
            concat,
        )
        .variadic()
        .unify(unify_concat),
        Function::new(
            "reverse",
            &[Param::Any],
            Returns::Computed(reverse_type),
            reverse,
        ),
    ]
}

/// Builds an array for each row from items of the inputs; a row with a null argument is null.
pub(super) fn assemble(
    call: &Call,
    inputs: &[&ArrayRef],
    sources: impl FnMut(usize) -> Result<Option<Vec<Source>>>,
) -> Result<ArrayRef> {
    let nulls = call.validity();
    assemble_where(call, inputs, nulls.as_ref(), sources)
}

/// As [`assemble`], but only the rows that `nulls` states are null.
pub(super) fn assemble_where(
    call: &Call,
    inputs: &[&ArrayRef],
    nulls: Option<&NullBuffer>,
    mut sources: impl FnMut(usize) -> Result<Option<Vec<Source>>>,
) -> Result<ArrayRef> {
    let DataType::List(field) = &call.return_type else {
        return call.fail("the result is no array");
    };
    let item = field.data_type();
    let inputs = inputs
        .iter()
        .map(|input| Ok(convert::with_type(Arc::clone(input), item)?.to_data()))
        .collect::<Result<Vec<_>>>()?;
    let mut values = MutableArrayData::new(inputs.iter().collect(), true, 0);
    let mut lengths = Vec::with_capacity(call.rows);
    let mut validity = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let items = match nulls {
            Some(nulls) if nulls.is_null(row) => None,
            _ => sources(row)?,
        };
        validity.push(items.is_some());
        let items = items.unwrap_or_default();
        lengths.push(items.len());
        for source in items {
            match source {
                Source::Item(input, position) => {
                    values.try_extend(input, position, position + 1)?
                }
                Source::Null => values.try_extend_nulls(1)?,
            }
        }
    }
    let list = ListArray::try_new(
        Arc::clone(field),
        OffsetBuffer::from_lengths(lengths),
        make_array(values.freeze()),
        Some(NullBuffer::from(validity)),
    )?;
    Ok(Arc::new(list))
}

/// Returns the items of a row of an input.
fn row_sources(list: &ListArray, input: usize, row: usize) -> Vec<Source> {
    items(list, row)
        .map(|item| Source::Item(input, item))
        .collect()
}

#[derive(Clone, Copy)]
enum End {
    Front,
    Back,
}

fn add(call: &Call, end: End) -> Result<ArrayRef> {
    let list = call.list(0);
    // Only a null array makes the result null: a null item is appended.
    let nulls = list.nulls().cloned();
    assemble_where(
        call,
        &[list.values(), &call.arrays[1]],
        nulls.as_ref(),
        |row| {
            let item = [Source::Item(1, row)];
            let rest = row_sources(list, 0, row);
            Ok(Some(match end {
                End::Front => [&item[..], &rest].concat(),
                End::Back => [&rest[..], &item].concat(),
            }))
        },
    )
}

/// Inserts an item at a position that counts from 1, or from the end; positions between are null.
fn insert(call: &Call) -> Result<ArrayRef> {
    let (list, positions) = (call.list(0), call.int(1));
    let nulls = NullBuffer::union(list.nulls(), positions.nulls());
    assemble_where(
        call,
        &[list.values(), &call.arrays[2]],
        nulls.as_ref(),
        |row| {
            let mut sources = row_sources(list, 0, row);
            let position = positions.value(row);
            let distance = position.unsigned_abs() as usize;
            if position == 0 {
                return call
                    .fail("[INVALID_INDEX_OF_ZERO] items count from 1, or from the end with -1");
            }
            if distance > ITEMS_MAX {
                return call.fail("the array would be too long");
            }
            let item = Source::Item(1, row);
            if position > 0 {
                while sources.len() < distance - 1 {
                    sources.push(Source::Null);
                }
                sources.insert(distance - 1, item);
            } else {
                while sources.len() < distance - 1 {
                    sources.insert(0, Source::Null);
                }
                sources.insert(sources.len() + 1 - distance, item);
            }
            Ok(Some(sources))
        },
    )
}

fn list_of_first(site: &CallSite) -> Result<DataType> {
    Ok(list_of(site.types[0].clone()))
}

fn repeat(call: &Call) -> Result<ArrayRef> {
    let counts = call.int(1);
    assemble_where(call, &[&call.arrays[0]], counts.nulls(), |row| {
        let count = usize::try_from(counts.value(row)).unwrap_or(0);
        match count <= ITEMS_MAX {
            true => Ok(Some(vec![Source::Item(0, row); count])),
            false => call.fail("the array would be too long"),
        }
    })
}

fn slice(call: &Call) -> Result<ArrayRef> {
    let (list, starts, lengths) = (call.list(0), call.int(1), call.int(2));
    assemble(call, &[list.values()], |row| {
        let range = items(list, row);
        let Ok(length) = usize::try_from(lengths.value(row)) else {
            return call.fail("[INVALID_PARAMETER_VALUE.LENGTH] the length must not be negative");
        };
        let distance = starts.value(row).unsigned_abs() as usize;
        let skipped =
            match starts.value(row) {
                0 => return call.fail(
                    "[INVALID_PARAMETER_VALUE.START] items count from 1, or from the end with -1",
                ),
                start if start > 0 => Some(distance - 1),
                _ => range.len().checked_sub(distance),
            };
        let range = match skipped {
            None => range.start..range.start,
            Some(skipped) => {
                let start = (range.start + skipped).min(range.end);
                start..start.saturating_add(length).min(range.end)
            }
        };
        Ok(Some(range.map(|item| Source::Item(0, item)).collect()))
    })
}

fn item_type(site: &CallSite) -> Result<DataType> {
    match item_of(&site.types[0]) {
        Some(inner) if item_of(inner).is_some() => Ok(inner.clone()),
        _ => plan_err!(
            "{}: expected an ARRAY of arrays, got {}",
            site.name,
            site.types[0]
        ),
    }
}

fn flatten(call: &Call) -> Result<ArrayRef> {
    let outer = call.list(0);
    let inner = convert::convert(outer.values(), Param::List, &call.zone)?;
    let inner = inner.as_list::<i32>();
    assemble(call, &[inner.values()], |row| {
        // If one array is null, the result is null.
        if items(outer, row).any(|list| inner.is_null(list)) {
            return Ok(None);
        }
        Ok(Some(
            items(outer, row)
                .flat_map(|list| row_sources(inner, 0, list))
                .collect(),
        ))
    })
}

fn zip_type(site: &CallSite) -> Result<DataType> {
    let fields: Fields = site
        .types
        .iter()
        .enumerate()
        .map(|(index, list)| {
            Field::new(
                index.to_string(),
                item_of(list).cloned().unwrap_or(DataType::Null),
                true,
            )
        })
        .collect();
    Ok(list_of(DataType::Struct(fields)))
}

/// Combines items at the same position to structs; shorter arrays are filled with nulls.
fn zip(call: &Call) -> Result<ArrayRef> {
    let lists: Vec<&ListArray> = (0..call.arrays.len())
        .map(|index| call.list(index))
        .collect();
    let DataType::List(field) = &call.return_type else {
        return call.fail("the result is no array");
    };
    let DataType::Struct(fields) = field.data_type() else {
        return call.fail("the result is no array of structs");
    };
    let nulls = call.validity();
    let is_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let longest = |row: usize| {
        lists
            .iter()
            .map(|list| items(list, row).len())
            .max()
            .unwrap_or(0)
    };
    let lengths: Vec<usize> = (0..call.rows)
        .map(|row| if is_null(row) { 0 } else { longest(row) })
        .collect();
    let mut columns = Vec::with_capacity(lists.len());
    for list in &lists {
        let data = list.values().to_data();
        let mut values = MutableArrayData::new(vec![&data], true, 0);
        for (row, length) in lengths.iter().enumerate() {
            let range = items(list, row);
            let count = range.len().min(*length);
            values.try_extend(0, range.start, range.start + count)?;
            values.try_extend_nulls(length - count)?;
        }
        columns.push(make_array(values.freeze()));
    }
    let total = lengths.iter().sum();
    let structs = StructArray::try_new_with_length(fields.clone(), columns, None, total)?;
    let list = ListArray::try_new(
        Arc::clone(field),
        OffsetBuffer::from_lengths(lengths),
        Arc::new(structs),
        nulls,
    )?;
    Ok(Arc::new(list))
}

/// Joins the items as text; nulls are left out, or written as the third argument.
fn join(call: &Call) -> Result<ArrayRef> {
    let (list, separators) = (call.list(0), call.text(1));
    let texts = convert::to_text(list.values(), &call.zone)?;
    let texts: &StringArray = texts.as_string();
    call.texts(|row| {
        let null_text = call.has_argument(2).then(|| call.text(2).value(row));
        let parts = items(list, row).filter_map(|item| match texts.is_null(item) {
            true => null_text,
            false => Some(texts.value(item)),
        });
        Ok(Some(parts.collect::<Vec<_>>().join(separators.value(row))))
    })
}

fn unify_concat(types: &[DataType]) -> Result<Vec<DataType>> {
    match types.iter().any(|data_type| item_of(data_type).is_some()) {
        true => same_lists(types),
        false => Ok(types.to_vec()),
    }
}

fn concat_type(site: &CallSite) -> Result<DataType> {
    let mut result = None;
    for data_type in site.types {
        result = Some(match (result, data_type) {
            (_, list) if item_of(list).is_some() => {
                return Ok(list_of(
                    site.types
                        .iter()
                        .try_fold(DataType::Null, |item, data_type| {
                            common(&item, item_of(data_type).unwrap_or(&DataType::Null))
                        })?,
                ));
            }
            (None | Some(DataType::Binary), data_type) if is_binary(data_type) => DataType::Binary,
            _ => DataType::Utf8,
        });
    }
    Ok(result.unwrap_or(DataType::Utf8))
}

/// Joins texts, bytes or arrays.
fn concat(call: &Call) -> Result<ArrayRef> {
    match &call.return_type {
        DataType::List(_) => {
            let lists: Vec<&ListArray> = (0..call.arrays.len())
                .map(|index| call.list(index))
                .collect();
            let values: Vec<&ArrayRef> = lists.iter().map(|list| list.values()).collect();
            assemble(call, &values, |row| {
                let sources = lists
                    .iter()
                    .enumerate()
                    .flat_map(|(index, list)| row_sources(list, index, row));
                Ok(Some(sources.collect()))
            })
        }
        DataType::Binary => {
            let bytes: Vec<BinaryArray> = call.arrays.iter().map(bytes_of).collect();
            call.strict::<BinaryArray, Vec<u8>>(|row| {
                Ok(Some(
                    bytes
                        .iter()
                        .flat_map(|bytes| bytes.value(row).to_vec())
                        .collect(),
                ))
            })
        }
        _ => {
            let texts = call
                .arrays
                .iter()
                .map(|array| convert::to_text(array, &call.zone))
                .collect::<Result<Vec<_>>>()?;
            let texts: Vec<&StringArray> = texts.iter().map(|array| array.as_string()).collect();
            call.texts(|row| Ok(Some(texts.iter().map(|texts| texts.value(row)).collect())))
        }
    }
}

fn reverse_type(site: &CallSite) -> Result<DataType> {
    Ok(match &site.types[0] {
        list if item_of(list).is_some() => {
            list_of(item_of(list).cloned().unwrap_or(DataType::Null))
        }
        data_type if is_binary(data_type) => DataType::Binary,
        _ => DataType::Utf8,
    })
}

fn reverse(call: &Call) -> Result<ArrayRef> {
    match &call.return_type {
        DataType::List(_) => {
            let list = convert::convert(&call.arrays[0], Param::List, &call.zone)?;
            let list = list.as_list::<i32>();
            assemble(call, &[list.values()], |row| {
                Ok(Some(
                    items(list, row)
                        .rev()
                        .map(|item| Source::Item(0, item))
                        .collect(),
                ))
            })
        }
        DataType::Binary => {
            let bytes = convert::convert(&call.arrays[0], Param::Binary, &call.zone)?;
            let bytes = bytes_of(&bytes);
            call.strict::<BinaryArray, Vec<u8>>(|row| {
                Ok(Some(bytes.value(row).iter().rev().copied().collect()))
            })
        }
        _ => {
            let texts = convert::to_text(&call.arrays[0], &call.zone)?;
            let texts: &StringArray = texts.as_string();
            call.texts(|row| Ok(Some(texts.value(row).chars().rev().collect())))
        }
    }
}
