//! Functions of time windows: `window` is planned as `explode(time_windows(…))`, and `window_time`
//! returns the last moment of a window.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, StructArray};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{
    DataType, Field, Fields, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{Result, plan_err};

use crate::functions::arrays::list_of;
use crate::functions::convert::{self, DAY_MICROS};
use crate::functions::scalar::{Call, CallSite, Function, Param, Returns};
use crate::functions::types::instant_type;

/// Maximum number of windows that contain one moment.
const WINDOWS_MAX: i64 = 10_000;

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new(
            "time_windows",
            &[Param::Any, Param::Text, Param::Text, Param::Text],
            Returns::Computed(|site| Ok(list_of(window_type(site)))),
            time_windows,
        )
        .optional(2),
        Function::new(
            "window_time",
            &[Param::Any],
            Returns::Computed(end_type),
            window_time,
        ),
    ]
}

/// Returns the type of a window: without zone for wall clocks.
fn window_type(site: &CallSite) -> DataType {
    let moment = match site.types.first() {
        Some(DataType::Timestamp(_, None)) => DataType::Timestamp(TimeUnit::Microsecond, None),
        _ => instant_type(),
    };
    let fields = ["start", "end"].map(|name| Field::new(name, moment.clone(), true));
    DataType::Struct(Fields::from(fields.to_vec()))
}

fn end_type(site: &CallSite) -> Result<DataType> {
    match site.types.first() {
        Some(DataType::Struct(fields)) if fields.len() == 2 => Ok(fields[1].data_type().clone()),
        _ => plan_err!("{}: expected a window of time", site.name),
    }
}

/// Reads a duration such as `1 hour 30 minutes`, in microseconds.
fn parse_duration(text: &str) -> Option<i64> {
    let lower = text.trim().to_lowercase();
    let mut words = lower
        .strip_prefix("interval ")
        .unwrap_or(&lower)
        .split_whitespace();
    let mut micros: i64 = 0;
    let mut is_empty = true;
    while let Some(count) = words.next() {
        let unit = match words.next()?.trim_end_matches('s') {
            "microsecond" => 1,
            "millisecond" => 1000,
            "second" => 1_000_000,
            "minute" => 60_000_000,
            "hour" => 3_600_000_000,
            "day" => DAY_MICROS,
            "week" => 7 * DAY_MICROS,
            _ => return None,
        };
        micros = micros.checked_add(count.parse::<i64>().ok()?.checked_mul(unit)?)?;
        is_empty = false;
    }
    (!is_empty).then_some(micros)
}

fn time_windows(call: &Call) -> Result<ArrayRef> {
    let DataType::List(item) = &call.return_type else {
        return call.fail("the result is no array");
    };
    let DataType::Struct(fields) = item.data_type() else {
        return call.fail("the result is no array of structs");
    };
    let param = match fields[0].data_type() {
        DataType::Timestamp(_, None) => Param::Wall,
        _ => Param::Instant,
    };
    let moments = convert::convert(&call.arrays[0], param, &call.zone)?;
    let moments = moments.as_primitive::<TimestampMicrosecondType>();
    let nulls = call.validity();
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    let mut lengths = vec![0; call.rows];
    for (row, length) in lengths.iter_mut().enumerate() {
        // A null moment is in no window.
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            continue;
        }
        let (duration, slide, offset) = durations(call, row)?;
        let moment = moments.value(row);
        let last = moment - (moment - offset).rem_euclid(slide);
        for number in (0..(duration + slide - 1) / slide).rev() {
            let start = last - number * slide;
            if start + duration > moment {
                starts.push(start);
                ends.push(start + duration);
                *length += 1;
            }
        }
    }
    let column = |values: Vec<i64>, field: &Field| {
        let values = Int64Array::from(values).reinterpret_cast::<TimestampMicrosecondType>();
        convert::with_type(Arc::new(values), field.data_type())
    };
    let columns = vec![column(starts, &fields[0])?, column(ends, &fields[1])?];
    let windows = StructArray::try_new(fields.clone(), columns, None)?;
    Ok(Arc::new(ListArray::try_new(
        Arc::clone(item),
        OffsetBuffer::from_lengths(lengths),
        Arc::new(windows),
        None,
    )?))
}

/// Returns the duration of a window, the distance of two starts, and the offset of the first start.
fn durations(call: &Call, row: usize) -> Result<(i64, i64, i64)> {
    let duration_of = |argument: usize, default: i64| {
        if !call.has_argument(argument) {
            return Ok(default);
        }
        let text = call.text(argument).value(row);
        match parse_duration(text) {
            Some(micros) => Ok(micros),
            None => call.fail(format!(
                "'{text}' is no duration; write one such as '10 minutes', without months and years"
            )),
        }
    };
    let duration = duration_of(1, 0)?;
    let (slide, offset) = (duration_of(2, duration)?, duration_of(3, 0)?);
    if duration <= 0 || slide <= 0 || slide > duration || duration / slide > WINDOWS_MAX {
        return call.fail(
            "the duration and the slide must be above zero, the slide at most the duration, and a moment in at most \
             10,000 windows",
        );
    }
    Ok((duration, slide, offset))
}

fn window_time(call: &Call) -> Result<ArrayRef> {
    let windows = call.arrays[0].as_struct();
    let ends = datafusion::arrow::compute::cast(windows.column(1), &DataType::Int64)?;
    let ends = ends.as_primitive::<Int64Type>();
    let last = ends.unary::<_, TimestampMicrosecondType>(|end| end - 1);
    let nulls = windows.nulls();
    let last = last
        .iter()
        .enumerate()
        .map(|(row, end)| end.filter(|_| nulls.is_none_or(|nulls| nulls.is_valid(row))));
    let last = datafusion::arrow::array::TimestampMicrosecondArray::from_iter(last);
    convert::with_type(Arc::new(last), &call.return_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_of_fixed_length() {
        assert_eq!(parse_duration("5 minutes"), Some(300_000_000));
        assert_eq!(
            parse_duration("INTERVAL 1 hour 1 second"),
            Some(3_601_000_000)
        );
        assert_eq!(parse_duration("1 month"), None);
        assert_eq!(parse_duration(""), None);
    }
}
