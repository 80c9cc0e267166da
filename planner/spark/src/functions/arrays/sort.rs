//! Functions that sort arrays, return their least and greatest items, and generate sequences.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use datafusion::arrow::compute::{SortOptions, cast};
use datafusion::arrow::datatypes::{
    DataType, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use datafusion::arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::{Result, plan_err};

use super::build::{Source, assemble};
use super::{item_of, items, list_of};
use crate::functions::convert::{self, DAY_MICROS};
use crate::functions::datetime::civil::add_months_to_wall;
use crate::functions::scalar::{Call, CallSite, Function, Param, Returns};
use crate::functions::types::instant_type;

/// Maximum number of items of a sequence.
const SEQUENCE_ITEMS_MAX: usize = 1 << 26;

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let item = || {
        Returns::Computed(|site: &CallSite| {
            Ok(item_of(&site.types[0]).cloned().unwrap_or(DataType::Null))
        })
    };
    vec![
        // Ascending with nulls last.
        Function::new("array_sort", &[Param::List], Returns::Argument(0), |call| {
            sort_items(call, |_| SortOptions::new(false, false))
        }),
        // Ascending with nulls first, or descending with nulls last.
        Function::new(
            "sort_array",
            &[Param::List, Param::Boolean],
            Returns::Argument(0),
            |call| {
                sort_items(call, |row| {
                    let is_ascending = !call.has_argument(1) || call.boolean(1).value(row);
                    SortOptions::new(!is_ascending, is_ascending)
                })
            },
        )
        .optional(1),
        Function::new("array_min", &[Param::List], item(), |call| {
            find_extreme(call, Extreme::Least)
        }),
        Function::new("array_max", &[Param::List], item(), |call| {
            find_extreme(call, Extreme::Greatest)
        }),
        Function::new(
            "sequence",
            &[Param::Any, Param::Any, Param::Any],
            Returns::Computed(sequence_type),
            sequence,
        )
        .optional(1),
    ]
}

fn comparable_rows(values: &ArrayRef) -> Result<Rows> {
    let converter = RowConverter::new(vec![SortField::new(values.data_type().clone())])?;
    Ok(converter.convert_columns(&[Arc::clone(values)])?)
}

fn sort_items(call: &Call, options: impl Fn(usize) -> SortOptions) -> Result<ArrayRef> {
    let list = call.list(0);
    let rows = comparable_rows(list.values())?;
    assemble(call, &[list.values()], |row| {
        let options = options(row);
        let (mut nulls, mut known): (Vec<_>, Vec<_>) =
            items(list, row).partition(|item| list.values().is_null(*item));
        known.sort_by(|a, b| match options.descending {
            true => rows.row(*b).cmp(&rows.row(*a)),
            false => rows.row(*a).cmp(&rows.row(*b)),
        });
        let order = match options.nulls_first {
            true => {
                nulls.append(&mut known);
                nulls
            }
            false => {
                known.append(&mut nulls);
                known
            }
        };
        Ok(Some(
            order
                .into_iter()
                .map(|item| Source::Item(0, item))
                .collect(),
        ))
    })
}

/// Which item of an array `array_min` and `array_max` look for.
#[derive(Clone, Copy)]
enum Extreme {
    Least,
    Greatest,
}

/// Returns the least or the greatest item of each array.
fn find_extreme(call: &Call, extreme: Extreme) -> Result<ArrayRef> {
    let list = call.list(0);
    let rows = comparable_rows(list.values())?;
    let positions = (0..call.rows).map(|row| {
        if list.is_null(row) {
            return None;
        }
        let known = items(list, row).filter(|item| list.values().is_valid(*item));
        let position = match extreme {
            Extreme::Greatest => known.max_by_key(|item| rows.row(*item)),
            Extreme::Least => known.min_by_key(|item| rows.row(*item)),
        };
        position.and_then(|position| u64::try_from(position).ok())
    });
    let positions = datafusion::arrow::array::UInt64Array::from_iter(positions);
    Ok(datafusion::arrow::compute::take(
        list.values(),
        &positions,
        None,
    )?)
}

fn sequence_type(site: &CallSite) -> Result<DataType> {
    let item = match (&site.types[0], &site.types[1]) {
        (DataType::Date32, _) => DataType::Date32,
        (DataType::Timestamp(_, None), _) => DataType::Timestamp(TimeUnit::Microsecond, None),
        (DataType::Timestamp(_, Some(_)), _) => instant_type(),
        (
            DataType::Int8 | DataType::Int16 | DataType::Int32,
            DataType::Int8 | DataType::Int16 | DataType::Int32,
        ) => DataType::Int32,
        (a, b) if (a.is_integer() || a.is_null()) && (b.is_integer() || b.is_null()) => {
            DataType::Int64
        }
        (a, _) => {
            return plan_err!(
                "{}: expected whole numbers, dates or timestamps, got {a}",
                site.name
            );
        }
    };
    Ok(list_of(item))
}

/// The step of a sequence.
#[derive(Debug, Clone, Copy)]
struct Step {
    months: i64,
    /// A number, or microseconds.
    size: i64,
}

impl Step {
    fn is_forward(self) -> bool {
        self.months > 0 || (self.months == 0 && self.size > 0)
    }

    fn is_zero(self) -> bool {
        self.months == 0 && self.size == 0
    }

    /// Returns the value after this many steps.
    fn after(self, start: i64, count: i64) -> i64 {
        let with_months = match self.months {
            0 => start,
            months => add_months_to_wall(start, months.saturating_mul(count)),
        };
        with_months.saturating_add(self.size.saturating_mul(count))
    }
}

/// What a sequence consists of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SequenceKind {
    Numbers,
    /// Dates or timestamps.
    Times,
}

impl SequenceKind {
    fn from_start(start: &DataType) -> Self {
        if start.is_integer() || start.is_null() {
            Self::Numbers
        } else {
            Self::Times
        }
    }
}

/// Returns values from a start to a stop. By default, the step is one, or one day, towards the
/// stop.
fn sequence(call: &Call) -> Result<ArrayRef> {
    let kind = SequenceKind::from_start(call.arrays[0].data_type());
    let bound = |index: usize| -> Result<Int64Array> {
        let convert = |param| convert::convert(&call.arrays[index], param, &call.zone);
        Ok(match kind {
            SequenceKind::Numbers => convert(Param::Long)?.as_primitive::<Int64Type>().clone(),
            SequenceKind::Times => convert(Param::Wall)?
                .as_primitive::<TimestampMicrosecondType>()
                .reinterpret_cast::<Int64Type>(),
        })
    };
    let (starts, stops) = (bound(0)?, bound(1)?);
    let steps = read_steps(call, kind)?;
    let nulls = call.validity();
    let mut values: Vec<i64> = Vec::new();
    let mut lengths = vec![0; call.rows];
    for (row, length) in lengths.iter_mut().enumerate() {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            continue;
        }
        let (start, stop) = (starts.value(row), stops.value(row));
        let unit = match kind {
            SequenceKind::Numbers => 1,
            SequenceKind::Times => DAY_MICROS,
        };
        let step = steps.as_ref().map_or(
            Step {
                months: 0,
                size: if start <= stop { unit } else { -unit },
            },
            |steps| steps[row],
        );
        if start != stop && (step.is_zero() || step.is_forward() != (start < stop)) {
            return call.fail(
                "[ILLEGAL_SEQUENCE_BOUNDARIES] the step does not lead from the start to the stop",
            );
        }
        let first = values.len();
        for count in 0.. {
            let value = step.after(start, count);
            let is_past = if start <= stop {
                value > stop
            } else {
                value < stop
            };
            if is_past {
                break;
            }
            values.push(value);
            if values.len() - first > SEQUENCE_ITEMS_MAX {
                return call.fail("the sequence would be too long");
            }
            if start == stop {
                break;
            }
        }
        *length = values.len() - first;
    }
    let item = item_of(&call.return_type)
        .cloned()
        .unwrap_or(DataType::Null);
    let items = cast_to_item_type(call, Int64Array::from(values), &item, kind)?;
    let field = Arc::new(datafusion::arrow::datatypes::Field::new_list_field(
        item, true,
    ));
    let offsets = datafusion::arrow::buffer::OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(datafusion::arrow::array::ListArray::try_new(
        field, offsets, items, nulls,
    )?))
}

fn read_steps(call: &Call, kind: SequenceKind) -> Result<Option<Vec<Step>>> {
    let Some(array) = call.arrays.get(2) else {
        return Ok(None);
    };
    if kind == SequenceKind::Numbers {
        let numbers = convert::convert(array, Param::Long, &call.zone)?;
        let numbers = numbers.as_primitive::<Int64Type>();
        return Ok(Some(
            numbers
                .values()
                .iter()
                .map(|size| Step {
                    months: 0,
                    size: *size,
                })
                .collect(),
        ));
    }
    let intervals = cast(array, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
    let step = |row: usize| {
        let value = intervals.value(row);
        Step {
            months: value.months.into(),
            size: i64::from(value.days) * DAY_MICROS + value.nanoseconds / 1000,
        }
    };
    Ok(Some((0..call.rows).map(step).collect()))
}

/// Converts numbers or wall clocks in microseconds to the type of a sequence's items.
fn cast_to_item_type(
    call: &Call,
    values: Int64Array,
    item: &DataType,
    kind: SequenceKind,
) -> Result<ArrayRef> {
    if kind == SequenceKind::Numbers {
        return convert::cast_strictly(&(Arc::new(values) as ArrayRef), item);
    }
    let walls: ArrayRef = Arc::new(values.reinterpret_cast::<TimestampMicrosecondType>());
    match item {
        DataType::Date32 => convert::convert(&walls, Param::Date, &call.zone),
        DataType::Timestamp(_, Some(_)) => {
            let instants = convert::convert(&walls, Param::Instant, &call.zone)?;
            convert::with_type(instants, item)
        }
        _ => Ok(walls),
    }
}
