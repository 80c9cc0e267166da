//! Aggregates over the counts of values: `percentile`, `percentile_approx`, `percentile_disc`,
//! `mode`.
//!
//! A group keeps each of its values once, as Spark does for `percentile` and `mode`. Its memory
//! grows with the number of different values. `percentile_approx` is exact for the same reason.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::Accumulator;

use super::{Aggregate, Clauses, Create};
use crate::functions::arrays::{item_of, list_of};
use crate::functions::hash::{murmur3_of_bytes, murmur3_of_int};

/// Seed of the hash of a text that Spark keeps.
const TEXT_SEED: i32 = 42;
/// Places of Spark's hash table at first, and how full it gets before it doubles.
const TABLE_CAPACITY: u32 = 64;
const TABLE_LOAD: f64 = 0.7;

/// Returns the aggregates of this family.
pub(super) fn aggregates() -> Vec<Aggregate> {
    vec![
        Aggregate {
            name: "percentile",
            aliases: &[],
            arguments: (2, 3),
            returns: |types| Ok(result_type(&types[1], DataType::Float64)),
            coerce: |types| {
                let frequency = types.get(2).map(|_| DataType::Int64);
                [DataType::Float64, fractions_type(&types[1])]
                    .into_iter()
                    .chain(frequency)
                    .collect()
            },
            state: |types| state_types(&types[0]),
            create: |types, clauses| {
                Ok(Box::new(Counts::new(types, Statistic::Percentile, clauses)))
            },
        },
        Aggregate {
            name: "percentile_approx",
            aliases: &["approx_percentile"],
            arguments: (2, 3),
            returns: |types| Ok(result_type(&types[1], types[0].clone())),
            coerce: |types| {
                let accuracy = types.get(2).map(|_| DataType::Int64);
                let value = match crate::functions::convert::is_text(&types[0]) {
                    true => DataType::Float64,
                    false => types[0].clone(),
                };
                [value, fractions_type(&types[1])]
                    .into_iter()
                    .chain(accuracy)
                    .collect()
            },
            state: |types| state_types(&types[0]),
            create: |types, clauses| Ok(Box::new(Counts::new(types, Statistic::Element, clauses))),
        },
        discrete("percentile_disc", |types, clauses| {
            Ok(Box::new(Counts::new(types, Statistic::Element, clauses)))
        }),
        // The dialect calls it for `percentile_disc` of Spark before version 4.
        discrete("percentile_disc_cut", |types, clauses| {
            Ok(Box::new(Counts::new(types, Statistic::CutElement, clauses)))
        }),
        Aggregate {
            name: "mode",
            aliases: &[],
            arguments: (1, 2),
            returns: |types| Ok(types[0].clone()),
            coerce: |types| match types.len() {
                1 => types.to_vec(),
                _ => vec![types[0].clone(), DataType::Boolean],
            },
            state: |types| state_types(&types[0]),
            create: |types, clauses| Ok(Box::new(Counts::new(types, Statistic::Mode, clauses))),
        },
    ]
}

/// Returns where a value stands in the hash table of this many values with which Spark counts;
/// `None` for types whose hash is not known.
fn place_in_table(value: &ScalarValue, size: usize) -> Option<u32> {
    let folded = |bits: u64| i32::from_le_bytes(((bits ^ (bits >> 32)) as u32).to_le_bytes());
    let hash = match value {
        ScalarValue::Int8(value) => i32::from((*value)?),
        ScalarValue::Int16(value) => i32::from((*value)?),
        ScalarValue::Int32(value) | ScalarValue::Date32(value) => (*value)?,
        ScalarValue::Int64(value) | ScalarValue::TimestampMicrosecond(value, _) => {
            folded((*value)?.cast_unsigned())
        }
        ScalarValue::Float64(value) => folded((*value)?.to_bits()),
        ScalarValue::Float32(value) => (*value)?.to_bits().cast_signed(),
        ScalarValue::Boolean(value) => {
            if (*value)? {
                1231
            } else {
                1237
            }
        }
        other => murmur3_of_bytes(other.try_as_str().flatten()?.as_bytes(), TEXT_SEED),
    };
    let mut capacity = TABLE_CAPACITY;
    while size as f64 > f64::from(capacity) * TABLE_LOAD {
        capacity *= 2;
    }
    Some(murmur3_of_int(hash, 0).cast_unsigned() & (capacity - 1))
}

fn discrete(name: &'static str, create: Create) -> Aggregate {
    Aggregate {
        name,
        aliases: &[],
        arguments: (2, 2),
        returns: |types| Ok(result_type(&types[1], types[0].clone())),
        coerce: |types| {
            let value = match types[0].is_numeric() {
                true => DataType::Float64,
                false => types[0].clone(),
            };
            vec![value, fractions_type(&types[1])]
        },
        state: |types| state_types(&types[0]),
        create,
    }
}

fn fractions_type(data_type: &DataType) -> DataType {
    match item_of(data_type) {
        Some(_) => list_of(DataType::Float64),
        None => DataType::Float64,
    }
}

/// Returns the type of one result, or of an array of them if the fractions are an array.
fn result_type(fractions: &DataType, result: DataType) -> DataType {
    match item_of(fractions) {
        Some(_) => list_of(result),
        None => result,
    }
}

/// Returns the types of the state: values, their counts, and the fractions.
fn state_types(value: &DataType) -> Vec<DataType> {
    vec![
        list_of(value.clone()),
        list_of(DataType::Int64),
        list_of(DataType::Float64),
    ]
}

/// The result that is computed from the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Statistic {
    /// A value interpolated between its neighbours.
    Percentile,
    /// The smallest value for which the share of values up to it reaches the fraction.
    Element,
    /// The value at the position of the fraction, whose own fraction is cut off.
    CutElement,
    /// The most frequent value. Of several it is the first in the order, or, if the order says
    /// nothing, the one that Spark meets first in its hash table.
    Mode,
}

#[derive(Debug)]
struct Counts {
    result: Statistic,
    value_type: DataType,
    /// Whether the fractions are an array.
    is_array: bool,
    has_frequency: bool,
    is_descending: bool,
    /// Whether the least of the most frequent values is returned.
    is_ordered: bool,
    fractions: Vec<f64>,
    counts: HashMap<ScalarValue, i64>,
    bytes: usize,
}

impl Counts {
    fn new(types: &[DataType], result: Statistic, clauses: Clauses) -> Self {
        Self {
            result,
            value_type: types[0].clone(),
            is_array: types
                .get(1)
                .is_some_and(|data_type| item_of(data_type).is_some()),
            has_frequency: result == Statistic::Percentile && types.len() == 3,
            is_descending: clauses.is_descending,
            is_ordered: clauses.has_order,
            fractions: Vec::new(),
            counts: HashMap::new(),
            bytes: 0,
        }
    }

    fn add(&mut self, mut value: ScalarValue, count: i64) {
        value.compact();
        let size = value.size();
        let counts = self.counts.entry(value).or_insert_with(|| {
            self.bytes += size + size_of::<(ScalarValue, i64)>();
            0
        });
        *counts += count;
    }

    fn read_fractions(&mut self, column: &ArrayRef) -> Result<()> {
        if !self.fractions.is_empty() || column.is_empty() || self.result == Statistic::Mode {
            return Ok(());
        }
        self.fractions = match column.as_list_opt::<i32>() {
            Some(list) if list.is_valid(0) => list
                .value(0)
                .as_primitive::<Float64Type>()
                .values()
                .to_vec(),
            Some(_) => Vec::new(),
            None => column
                .as_primitive::<Float64Type>()
                .iter()
                .take(1)
                .flatten()
                .collect(),
        };
        match self
            .fractions
            .iter()
            .find(|fraction| !(0.0..=1.0).contains(*fraction))
        {
            Some(wrong) => exec_err!(
                "[DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE] a percentage is from 0 to 1, not {wrong}"
            ),
            None => Ok(()),
        }
    }

    fn sort_counts(&self) -> Vec<(&ScalarValue, i64)> {
        let mut sorted: Vec<_> = self
            .counts
            .iter()
            .map(|(value, count)| (value, *count))
            .collect();
        sorted.sort_by(|(a, _), (b, _)| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        if self.is_descending {
            sorted.reverse();
        }
        sorted
    }

    fn value_at(&self, sorted: &[(&ScalarValue, i64)], fraction: f64) -> ScalarValue {
        let total: i64 = sorted.iter().map(|(_, count)| count).sum();
        let value_at_rank = |rank: i64| {
            let mut cumulative = 0;
            let reached = sorted.iter().find(|(_, count)| {
                cumulative += count;
                cumulative > rank
            });
            reached.or(sorted.last()).map(|(value, _)| (*value).clone())
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rank of more than 2^53 values is not counted"
        )]
        let size = total as f64;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a rank is at most the number of values"
        )]
        let rank = |position: f64| position as i64;
        let value = match self.result {
            Statistic::Percentile => {
                let position = (size - 1.0) * fraction;
                let double = |rank| match value_at_rank(rank) {
                    Some(ScalarValue::Float64(Some(value))) => value,
                    _ => 0.0,
                };
                let (low, high) = (
                    double(rank(position.floor())),
                    double(rank(position.ceil())),
                );
                let share = position - position.floor();
                Some(ScalarValue::from(low + (high - low) * share))
            }
            Statistic::CutElement => value_at_rank(rank((size - 1.0) * fraction)),
            _ => value_at_rank(rank((size * fraction).ceil() - 1.0).max(0)),
        };
        value.unwrap_or(ScalarValue::Null)
    }

    fn list_of_values(values: &[ScalarValue], item: &DataType) -> ScalarValue {
        ScalarValue::List(ScalarValue::new_list(values, item, true))
    }
}

impl Accumulator for Counts {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        if let Some(fractions) = columns.get(1) {
            self.read_fractions(fractions)?;
            // `mode(x, true)`.
            let flag = fractions
                .as_boolean_opt()
                .and_then(|flags| flags.iter().next());
            self.is_ordered |= flag.flatten().unwrap_or(false);
        }
        let frequencies = match self.has_frequency {
            true => columns
                .get(2)
                .map(|column| column.as_primitive::<Int64Type>()),
            false => None,
        };
        let nulls = columns[0].logical_nulls();
        for row in 0..columns[0].len() {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                continue;
            }
            let count = match frequencies {
                None => 1,
                Some(counts) if counts.is_null(row) => 0,
                Some(counts) => counts.value(row),
            };
            if count < 0 {
                return exec_err!("percentile: a frequency must not be negative");
            }
            if count > 0 {
                self.add(ScalarValue::try_from_array(&columns[0], row)?, count);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let result = match self.result {
            Statistic::Percentile => DataType::Float64,
            _ => self.value_type.clone(),
        };
        let is_array = self.is_array && self.result != Statistic::Mode;
        if self.counts.is_empty() || (self.fractions.is_empty() && self.result != Statistic::Mode) {
            let result = if is_array { list_of(result) } else { result };
            return ScalarValue::try_from(&result);
        }
        let sorted = self.sort_counts();
        if self.result == Statistic::Mode {
            // Among equal counts, `max_by_key` returns the last one, so the order is reversed.
            let in_table = |value: &ScalarValue| match self.is_ordered {
                true => None,
                false => place_in_table(value, sorted.len()),
            };
            let mode = sorted
                .iter()
                .rev()
                .max_by_key(|(value, count)| (*count, std::cmp::Reverse(in_table(value))));
            return Ok(mode.map_or(ScalarValue::Null, |(value, _)| (*value).clone()));
        }
        let values: Vec<_> = self
            .fractions
            .iter()
            .map(|fraction| self.value_at(&sorted, *fraction))
            .collect();
        match is_array {
            true => Ok(Self::list_of_values(&values, &result)),
            false => Ok(values.into_iter().next().unwrap_or(ScalarValue::Null)),
        }
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.bytes
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let (values, counts): (Vec<_>, Vec<_>) = self
            .counts
            .drain()
            .map(|(value, count)| (value, ScalarValue::Int64(Some(count))))
            .unzip();
        let fractions: Float64Array = self.fractions.iter().copied().map(Some).collect();
        let offsets = datafusion::arrow::buffer::OffsetBuffer::from_lengths([fractions.len()]);
        let field = Arc::new(datafusion::arrow::datatypes::Field::new_list_field(
            DataType::Float64,
            true,
        ));
        let fractions = ListArray::try_new(field, offsets, Arc::new(fractions), None)?;
        Ok(vec![
            Self::list_of_values(&values, &self.value_type),
            Self::list_of_values(&counts, &DataType::Int64),
            ScalarValue::List(Arc::new(fractions)),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (values, counts) = (states[0].as_list::<i32>(), states[1].as_list::<i32>());
        self.read_fractions(&states[2])?;
        for row in 0..values.len() {
            let (values, counts) = (values.value(row), counts.value(row));
            let counts = counts.as_primitive::<Int64Type>();
            for index in 0..values.len() {
                self.add(
                    ScalarValue::try_from_array(&values, index)?,
                    counts.value(index),
                );
            }
        }
        Ok(())
    }
}
