//! The most frequent values: `approx_top_k` and its parts.
//!
//! A state is a struct of the values, their counts and the most values that it keeps. It is exact
//! until there are more different values; then the counts of all shrink by the same number, and
//! those at zero are dropped.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StructArray};
use datafusion::arrow::datatypes::{DataType, Field, Fields, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::Accumulator;

use crate::functions::aggregates::Aggregate;
use crate::functions::arrays::{item_of, list_of};
use crate::functions::scalar::{Call, CallSite, Function, Param, Returns};

/// Values that are returned without an argument.
const TOP: i64 = 5;
/// Different values that are counted without an argument.
const TRACKED: i64 = 10_000;
const TRACKED_MAX: i64 = 1_000_000;
/// Places of the hash table of Spark's library at first.
const TABLE_PLACES: u64 = 8;

fn state_type(item: &DataType) -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("items", list_of(item.clone()), true),
        Field::new("counts", list_of(DataType::Int64), true),
        Field::new("tracked", DataType::Int64, true),
    ]))
}

fn result_type(item: &DataType) -> DataType {
    list_of(DataType::Struct(Fields::from(vec![
        Field::new("item", item.clone(), true),
        Field::new("count", DataType::Int64, true),
    ])))
}

/// Returns the type of the values of a state.
fn item_of_state(state: &DataType) -> Result<DataType> {
    let item = match state {
        DataType::Struct(fields) if fields.len() == 3 => item_of(fields[0].data_type()),
        _ => None,
    };
    match item {
        Some(item) => Ok(item.clone()),
        None => plan_err!("expected the result of approx_top_k_accumulate, got {state}"),
    }
}

/// Returns the aggregates of this family.
pub(super) fn aggregates() -> Vec<Aggregate> {
    let with_numbers = |types: &[DataType]| {
        let numbers = types.iter().skip(1).map(|_| DataType::Int64);
        types.iter().take(1).cloned().chain(numbers).collect()
    };
    vec![
        Aggregate {
            name: "approx_top_k",
            aliases: &[],
            arguments: (1, 3),
            returns: |types| Ok(result_type(&types[0])),
            coerce: with_numbers,
            state: |types| vec![state_type(&types[0])],
            create: |types, _| Ok(Box::new(Frequent::new(&types[0], Output::Top))),
        },
        Aggregate {
            name: "approx_top_k_accumulate",
            aliases: &[],
            arguments: (1, 2),
            returns: |types| Ok(state_type(&types[0])),
            coerce: with_numbers,
            state: |types| vec![state_type(&types[0])],
            create: |types, _| Ok(Box::new(Frequent::new(&types[0], Output::State))),
        },
        Aggregate {
            name: "approx_top_k_combine",
            aliases: &[],
            arguments: (1, 2),
            returns: |types| item_of_state(&types[0]).map(|item| state_type(&item)),
            coerce: with_numbers,
            state: |types| types[..1].to_vec(),
            create: |types, _| {
                let item = item_of_state(&types[0])?;
                Ok(Box::new(Frequent::new(&item, Output::Combined)))
            },
        },
    ]
}

/// What an aggregate takes and returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    /// Takes values, and returns the most frequent ones.
    Top,
    /// Takes values, and returns a state.
    State,
    /// Takes states, and returns a state.
    Combined,
}

#[derive(Debug)]
struct Frequent {
    item: DataType,
    output: Output,
    top: i64,
    tracked: i64,
    counts: HashMap<ScalarValue, i64>,
    bytes: usize,
}

impl Frequent {
    fn new(item: &DataType, output: Output) -> Self {
        Self {
            item: item.clone(),
            output,
            top: TOP,
            tracked: TRACKED,
            counts: HashMap::new(),
            bytes: 0,
        }
    }

    fn read_numbers(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let number = |index: usize| {
            let column = columns.get(index)?.as_primitive::<Int64Type>();
            column.iter().next().flatten()
        };
        match self.output {
            Output::Top => {
                self.top = number(1).unwrap_or(self.top);
                self.tracked = number(2).unwrap_or(self.tracked);
            }
            Output::State | Output::Combined => self.tracked = number(1).unwrap_or(self.tracked),
        }
        if self.top < 1 || !(1..=TRACKED_MAX).contains(&self.tracked) || self.top > self.tracked {
            return exec_err!(
                "[APPROX_TOP_K_NON_POSITIVE_ARG] {} values of {} that are counted: both are positive, the first is not \
                 larger, and the second is at most {TRACKED_MAX}",
                self.top,
                self.tracked
            );
        }
        Ok(())
    }

    fn add(&mut self, mut value: ScalarValue, count: i64) {
        value.compact();
        let size = value.size() + size_of::<(ScalarValue, i64)>();
        let counted = self.counts.entry(value).or_insert_with(|| {
            self.bytes += size;
            0
        });
        *counted += count;
        if i64::try_from(self.counts.len()).is_ok_and(|kept| kept > self.tracked) {
            self.shrink();
        }
    }

    /// Lowers all counts by the median, so that about half of the values stay.
    fn shrink(&mut self) {
        let mut counts: Vec<i64> = self.counts.values().copied().collect();
        let middle = counts.len() / 2;
        let (_, median, _) = counts.select_nth_unstable(middle);
        let median = *median;
        self.counts.retain(|_, count| {
            *count -= median;
            *count > 0
        });
        self.bytes = self
            .counts
            .keys()
            .map(|value| value.size() + size_of::<i64>())
            .sum();
    }

    fn add_state(&mut self, state: &StructArray, row: usize) -> Result<()> {
        if state.is_null(row) {
            return Ok(());
        }
        let items = state.column(0).as_list::<i32>().value(row);
        let counts = state.column(1).as_list::<i32>().value(row);
        let counts = counts.as_primitive::<Int64Type>();
        for index in 0..items.len() {
            self.add(
                ScalarValue::try_from_array(&items, index)?,
                counts.value(index),
            );
        }
        Ok(())
    }

    fn state_value(&self) -> Result<ScalarValue> {
        let (items, counts): (Vec<_>, Vec<_>) = self
            .counts
            .iter()
            .map(|(value, count)| (value.clone(), ScalarValue::from(*count)))
            .unzip();
        let DataType::Struct(fields) = state_type(&self.item) else {
            return exec_err!("a state is no struct");
        };
        let columns: Vec<ArrayRef> = vec![
            ScalarValue::new_list(&items, &self.item, true),
            ScalarValue::new_list(&counts, &DataType::Int64, true),
            ScalarValue::from(self.tracked).to_array()?,
        ];
        let state = StructArray::try_new(fields, columns, None)?;
        Ok(ScalarValue::Struct(Arc::new(state)))
    }
}

impl Accumulator for Frequent {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.read_numbers(columns)?;
        if self.output == Output::Combined {
            let states = columns[0].as_struct();
            return (0..states.len()).try_for_each(|row| self.add_state(states, row));
        }
        let nulls = columns[0].logical_nulls();
        for row in 0..columns[0].len() {
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                self.add(ScalarValue::try_from_array(&columns[0], row)?, 1);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.output != Output::Top {
            return self.state_value();
        }
        let counts = self
            .counts
            .iter()
            .map(|(value, count)| (value.clone(), *count));
        top(counts.collect(), self.top, &self.item)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.bytes
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        // What a partial aggregate has read of its arguments is in the state, too.
        Ok(vec![self.state_value()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let states = states[0].as_struct();
        for row in 0..states.len() {
            if let Some(tracked) = states.column(2).as_primitive_opt::<Int64Type>()
                && tracked.is_valid(row)
            {
                self.tracked = tracked.value(row);
            }
            self.add_state(states, row)?;
        }
        Ok(())
    }
}

/// Returns the most frequent values, each with its count.
fn top(mut counts: Vec<(ScalarValue, i64)>, number: i64, item: &DataType) -> Result<ScalarValue> {
    let table = table_places(counts.len());
    counts.sort_by(|(a, count_a), (b, count_b)| {
        let positions = || position_in_table(a, table).cmp(&position_in_table(b, table));
        let values = || a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal);
        count_b.cmp(count_a).then_with(positions).then_with(values)
    });
    counts.truncate(usize::try_from(number).unwrap_or(usize::MAX));
    let DataType::List(field) = result_type(item) else {
        return exec_err!("a result is no array");
    };
    let DataType::Struct(fields) = field.data_type() else {
        return exec_err!("an item of a result is no struct");
    };
    let rows = counts.into_iter().map(|(value, count)| {
        let columns = vec![value.to_array()?, ScalarValue::from(count).to_array()?];
        let row = StructArray::try_new(fields.clone(), columns, None)?;
        Ok(ScalarValue::Struct(Arc::new(row)))
    });
    let rows = rows.collect::<Result<Vec<_>>>()?;
    Ok(ScalarValue::List(ScalarValue::new_list(
        &rows,
        field.data_type(),
        true,
    )))
}

fn table_places(count: usize) -> u64 {
    let mut places = TABLE_PLACES;
    while count as u64 * 4 > places * 3 {
        places *= 2;
    }
    places
}

/// Where Spark's library meets a value when it lists those of one count; `None` for types whose
/// hash is not known.
fn position_in_table(value: &ScalarValue, places: u64) -> Option<u64> {
    let hash = match value {
        ScalarValue::Int32(value) => i64::from((*value)?),
        ScalarValue::Int64(value) => {
            let value = (*value)?;
            i64::from(((value ^ (value.cast_unsigned() >> 32).cast_signed()) & 0xFFFF_FFFF) as i32)
        }
        other => {
            let text = other.try_as_str().flatten()?;
            let hash = text.encode_utf16().fold(0_i32, |hash, unit| {
                hash.wrapping_mul(31).wrapping_add(unit.into())
            });
            hash.into()
        }
    };
    let mut mixed = hash.cast_unsigned();
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    let index = (mixed ^ (mixed >> 33)) & (places - 1);
    // The table is read with a stride of about the golden ratio.
    let stride = (places * 618 / 1000) | 1;
    (0..places).find(|step| step.wrapping_mul(stride) & (places - 1) == index)
}

/// Returns the functions of one row of this family.
pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new(
            "approx_top_k_estimate",
            &[Param::Any, Param::Long],
            Returns::Computed(|site: &CallSite| {
                item_of_state(&site.types[0]).map(|item| result_type(&item))
            }),
            estimate,
        )
        .optional(1),
    ]
}

fn estimate(call: &Call) -> Result<ArrayRef> {
    let item = item_of_state(call.arrays[0].data_type())?;
    let states = call.arrays[0].as_struct();
    let results = (0..call.rows).map(|row| {
        let mut frequent = Frequent::new(&item, Output::Top);
        frequent.tracked = TRACKED_MAX;
        frequent.add_state(states, row)?;
        let number = match call.has_argument(1) {
            true => call.long(1).value(row),
            false => TOP,
        };
        let counts = frequent.counts.into_iter().collect();
        top(counts, number, &item)
    });
    let results = results.collect::<Result<Vec<_>>>()?;
    match results.is_empty() {
        true => Ok(datafusion::arrow::array::new_empty_array(&call.return_type)),
        false => ScalarValue::iter_to_array(results),
    }
}
