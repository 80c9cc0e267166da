//! Functions that build intervals from their parts, and functions of times of day.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, make_array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    IntervalUnit, IntervalYearMonthType, Time64MicrosecondType, TimestampMicrosecondType,
};
use datafusion::common::Result;

use super::TIME;
use crate::functions::convert::{self, DAY_MICROS};
use crate::functions::scalar::{Call, Function, OnInvalid, Param, Returns};

const DAY_NANOS: i128 = DAY_MICROS as i128 * 1_000;
/// Years, months, weeks, days, hours, minutes and seconds.
const INTERVAL_PARTS: &[Param] = &[
    Param::Int,
    Param::Int,
    Param::Int,
    Param::Int,
    Param::Int,
    Param::Int,
    Param::Any,
];

/// The function that brings intervals into their normal form.
pub(crate) const NORMALIZE_INTERVAL: &str = "normalize_interval";

/// Returns the interval with as many whole days as it has.
///
/// Arrow compares months, then days, then nanoseconds, so that 24 hours would differ from a day. In
/// the normal form, intervals of the same length are the same, and longer ones are greater.
pub(crate) fn normalize_interval(interval: IntervalMonthDayNano) -> IntervalMonthDayNano {
    let nanos = i128::from(interval.days) * DAY_NANOS + i128::from(interval.nanoseconds);
    match (
        i32::try_from(nanos / DAY_NANOS),
        i64::try_from(nanos % DAY_NANOS),
    ) {
        (Ok(days), Ok(nanoseconds)) => {
            IntervalMonthDayNano::new(interval.months, days, nanoseconds)
        }
        // More days than an interval can hold.
        _ => interval,
    }
}

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let interval = Returns::Type(DataType::Interval(IntervalUnit::MonthDayNano));
    vec![
        Function::new(
            NORMALIZE_INTERVAL,
            &[Param::Any],
            interval.clone(),
            |call| {
                let intervals = cast(&call.arrays[0], &call.return_type)?;
                let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
                call.primitive::<IntervalMonthDayNanoType>(|row| {
                    Ok(Some(normalize_interval(intervals.value(row))))
                })
            },
        ),
        Function::new("make_interval", INTERVAL_PARTS, interval.clone(), |call| {
            make_interval(call, OnInvalid::Fail)
        })
        .optional(7),
        Function::new("try_make_interval", INTERVAL_PARTS, interval, |call| {
            make_interval(call, OnInvalid::Null)
        })
        .optional(7),
        Function::new(
            "make_ym_interval",
            &[Param::Int, Param::Int],
            Returns::Type(DataType::Interval(IntervalUnit::YearMonth)),
            make_ym_interval,
        )
        .optional(2),
    ]
    .into_iter()
    .chain(times())
    .collect()
}

fn times() -> Vec<Function> {
    let seconds = Returns::Type(DataType::Decimal128(14, 6));
    let part =
        |name, body| Function::new(name, &[Param::Wall], Returns::Type(DataType::Int64), body);
    let time = |name, params, body| Function::new(name, params, Returns::Type(TIME), body);
    vec![
        Function::new(
            "time_diff",
            &[Param::Text, Param::Wall, Param::Wall],
            Returns::Type(DataType::Int64),
            time_diff,
        ),
        Function::new(
            "time_trunc",
            &[Param::Text, Param::Wall],
            Returns::Type(TIME),
            time_trunc,
        ),
        Function::new("time_to_seconds", &[Param::Wall], seconds, time_to_seconds),
        part("time_to_millis", |call| {
            let times = call.micros(0);
            call.primitive::<Int64Type>(|row| Ok(Some(times.value(row) / 1000)))
        }),
        part("time_to_micros", |call| {
            let times = call.micros(0);
            call.primitive::<Int64Type>(|row| Ok(Some(times.value(row))))
        }),
        time("time_from_seconds", &[Param::Number], |call| {
            let micros = super::epoch::from_seconds(&call.arrays[0])?;
            let micros = micros.as_primitive::<TimestampMicrosecondType>().clone();
            time_column(call, |row| micros.value(row))
        }),
        time("time_from_millis", &[Param::Long], |call| {
            let millis = call.long(0);
            time_column(call, |row| millis.value(row).saturating_mul(1000))
        }),
        time("time_from_micros", &[Param::Long], |call| {
            let micros = call.long(0);
            time_column(call, |row| micros.value(row))
        }),
    ]
}

fn time_to_seconds(call: &Call) -> Result<ArrayRef> {
    let times = call.micros(0);
    let micros = call.primitive::<Decimal128Type>(|row| Ok(Some(times.value(row).into())))?;
    let decimals = micros.to_data().into_builder();
    let decimals = decimals.data_type(DataType::Decimal128(14, 6)).build()?;
    Ok(make_array(decimals))
}

fn time_column(call: &Call, micros: impl Fn(usize) -> i64) -> Result<ArrayRef> {
    call.primitive::<Time64MicrosecondType>(|row| match micros(row) {
        time if (0..DAY_MICROS).contains(&time) => Ok(Some(time)),
        _ => call.fail("[DATETIME_FIELD_OUT_OF_BOUNDS] a time of day is less than 24 hours"),
    })
}

/// Computes `make_interval(years, months, weeks, days, hours, minutes, seconds)`.
fn make_interval(call: &Call, on_invalid: OnInvalid) -> Result<ArrayRef> {
    let seconds = match call.arrays.get(6) {
        None => None,
        Some(array) if convert::is_text(array.data_type()) => Some(convert::to_double(array)?),
        Some(array) => Some(ArrayRef::clone(array)),
    };
    let seconds = seconds
        .map(|array| convert::cast_strictly(&array, &DataType::Decimal128(38, 6)))
        .transpose()?;
    call.primitive::<IntervalMonthDayNanoType>(|row| {
        let part = |index: usize| match call.has_argument(index) {
            true => i64::from(call.int(index).value(row)),
            false => 0,
        };
        let micros = seconds
            .as_ref()
            .map_or(0, |array| array.as_primitive::<Decimal128Type>().value(row));
        let nanos = (i128::from(part(4) * 3600 + part(5) * 60) * 1_000_000 + micros) * 1000;
        let months = i32::try_from(part(0) * 12 + part(1)).ok();
        let days = i32::try_from(part(2) * 7 + part(3)).ok();
        match (months, days, i64::try_from(nanos)) {
            (Some(months), Some(days), Ok(nanoseconds)) => Ok(Some(IntervalMonthDayNano {
                months,
                days,
                nanoseconds,
            })),
            _ if on_invalid == OnInvalid::Null => Ok(None),
            _ => call.fail("[ARITHMETIC_OVERFLOW] the interval is too long"),
        }
    })
}

fn make_ym_interval(call: &Call) -> Result<ArrayRef> {
    call.primitive::<IntervalYearMonthType>(|row| {
        let part = |index: usize| match call.has_argument(index) {
            true => i64::from(call.int(index).value(row)),
            false => 0,
        };
        match i32::try_from(part(0) * 12 + part(1)) {
            Ok(months) => Ok(Some(months)),
            Err(_) => call.fail("[ARITHMETIC_OVERFLOW] the interval is too long"),
        }
    })
}

/// Returns the microseconds of a unit of a time of day.
fn unit_micros(call: &Call, name: &str) -> Result<i64> {
    Ok(match name.to_ascii_uppercase().as_str() {
        "HOUR" => 3_600_000_000,
        "MINUTE" => 60_000_000,
        "SECOND" => 1_000_000,
        "MILLISECOND" => 1000,
        "MICROSECOND" => 1,
        _ => {
            return call.fail(format!(
                "'{name}' is no unit of a time; use HOUR, MINUTE, SECOND, MILLISECOND or MICROSECOND"
            ));
        }
    })
}

fn time_diff(call: &Call) -> Result<ArrayRef> {
    let (units, starts, ends) = (call.text(0), call.micros(1), call.micros(2));
    call.primitive::<Int64Type>(|row| {
        let unit = unit_micros(call, units.value(row))?;
        Ok(Some((ends.value(row) - starts.value(row)) / unit))
    })
}

fn time_trunc(call: &Call) -> Result<ArrayRef> {
    let (units, times) = (call.text(0), call.micros(1));
    call.primitive::<Time64MicrosecondType>(|row| {
        let unit = unit_micros(call, units.value(row))?;
        let time = times.value(row).rem_euclid(DAY_MICROS);
        Ok(Some(time - time % unit))
    })
}
