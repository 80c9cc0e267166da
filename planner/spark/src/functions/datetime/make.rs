//! Functions that build dates, timestamps and times from their parts.

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{Result, plan_err};

use super::TIME;
use super::civil::{Civil, days_of, is_valid_date};
use crate::functions::convert::{self, DAY_MICROS, Zone};
use crate::functions::scalar::{Call, Function, OnInvalid, Param, Returns};

/// Year, month, day, hour, minute, second and zone; or a date, a time and a zone.
const TIMESTAMP_PARTS: &[Param] = &[Param::Any; 7];

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let parts = &[Param::Int, Param::Int, Param::Int];
    let local = Returns::Type(DataType::Timestamp(TimeUnit::Microsecond, None));
    let stamp = |name, returns, body| {
        Function::new(name, TIMESTAMP_PARTS, returns, body)
            .optional(6)
            .unify(check_parts)
    };
    vec![
        Function::new(
            "make_date",
            parts,
            Returns::Type(DataType::Date32),
            make_date,
        ),
        Function::new(
            "make_time",
            &[Param::Int, Param::Int, Param::Any],
            Returns::Type(TIME),
            make_time,
        ),
        stamp("make_timestamp", Returns::Instant, |call| {
            make_instant(call, OnInvalid::Fail)
        })
        .aliases(&["make_timestamp_ltz"]),
        stamp("try_make_timestamp", Returns::Instant, |call| {
            make_instant(call, OnInvalid::Null)
        })
        .aliases(&["try_make_timestamp_ltz"]),
        stamp("make_timestamp_ntz", local.clone(), |call| {
            make_local(call, OnInvalid::Fail)
        }),
        stamp("try_make_timestamp_ntz", local, |call| {
            make_local(call, OnInvalid::Null)
        }),
    ]
}

/// Checks that the arguments are a date, perhaps with a time and a zone, or six parts, perhaps with
/// a zone.
fn check_parts(types: &[DataType]) -> Result<Vec<DataType>> {
    let is_plausible = match types.len() {
        1..=3 => !types[0].is_numeric(),
        count => count >= 6,
    };
    match is_plausible {
        true => Ok(types.to_vec()),
        false => plan_err!(
            "a timestamp is made of a DATE, a TIME and a zone, or of year, month, day, hour, minute, second and a zone"
        ),
    }
}

fn make_date(call: &Call) -> Result<ArrayRef> {
    let (years, months, days) = (call.int(0), call.int(1), call.int(2));
    call.primitive::<Date32Type>(|row| {
        match date(years.value(row), months.value(row), days.value(row)) {
            Some(date) => Ok(Some(date)),
            None => call.fail(format!(
                "[DATETIME_FIELD_OUT_OF_BOUNDS] there is no day {:04}-{:02}-{:02}",
                years.value(row),
                months.value(row),
                days.value(row)
            )),
        }
    })
}

fn date(year: i32, month: i32, day: i32) -> Option<i32> {
    let civil = Civil {
        year,
        month: u32::try_from(month).ok()?,
        day: u32::try_from(day).ok()?,
    };
    is_valid_date(civil).then(|| days_of(civil))
}

/// Returns seconds with their fraction as microseconds.
fn micros_of_seconds(array: &ArrayRef) -> Result<ArrayRef> {
    let seconds = match convert::is_text(array.data_type()) {
        true => convert::to_double(array)?,
        false => ArrayRef::clone(array),
    };
    convert::cast_strictly(&seconds, &DataType::Decimal128(38, 6))
}

fn make_time(call: &Call) -> Result<ArrayRef> {
    let (hours, minutes) = (call.int(0), call.int(1));
    let micros = micros_of_seconds(&call.arrays[2])?;
    let micros = micros.as_primitive::<Decimal128Type>();
    call.primitive::<Time64MicrosecondType>(|row| {
        let time = time(hours.value(row), minutes.value(row), micros.value(row));
        match time.filter(|_| micros.value(row) < 60_000_000) {
            Some(time) => Ok(Some(time)),
            None => call.fail("[DATETIME_FIELD_OUT_OF_BOUNDS] there is no such time of day"),
        }
    })
}

/// Returns microseconds of a day; 60 seconds are the next minute.
fn time(hour: i32, minute: i32, second_micros: i128) -> Option<i64> {
    let is_valid = (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60_000_000).contains(&second_micros);
    let micros = i64::try_from(second_micros).ok()?;
    is_valid.then(|| i64::from(hour * 3600 + minute * 60) * 1_000_000 + micros)
}

/// Computes the wall clock of each row, and the column of zones if there is one.
fn walls(call: &Call, on_invalid: OnInvalid) -> Result<(Vec<Option<i64>>, Option<ArrayRef>)> {
    let count = call.arrays.len();
    let column = |index: usize, param| convert::convert(&call.arrays[index], param, &call.zone);
    let nulls = call.validity();
    let is_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let zone = |index: usize| {
        (count > index)
            .then(|| column(index, Param::Text))
            .transpose()
    };
    if count <= 3 {
        let dates = column(0, Param::Date)?;
        let times = (count > 1).then(|| column(1, Param::Wall)).transpose()?;
        let walls = (0..call.rows).map(|row| {
            if is_null(row) {
                return None;
            }
            let day = i64::from(dates.as_primitive::<Date32Type>().value(row)) * DAY_MICROS;
            let time = times.as_ref().map_or(0, |times| {
                times
                    .as_primitive::<TimestampMicrosecondType>()
                    .value(row)
                    .rem_euclid(DAY_MICROS)
            });
            Some(day + time)
        });
        return Ok((walls.collect(), zone(2)?));
    }
    let parts = (0..5)
        .map(|index| column(index, Param::Int))
        .collect::<Result<Vec<_>>>()?;
    let seconds = micros_of_seconds(&call.arrays[5])?;
    let mut walls = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if is_null(row) {
            walls.push(None);
            continue;
        }
        let part = |index: usize| {
            parts[index]
                .as_primitive::<datafusion::arrow::datatypes::Int32Type>()
                .value(row)
        };
        let day = date(part(0), part(1), part(2));
        let time = time(
            part(3),
            part(4),
            seconds.as_primitive::<Decimal128Type>().value(row),
        );
        let wall = day
            .zip(time)
            .map(|(day, time)| i64::from(day) * DAY_MICROS + time);
        if wall.is_none() && on_invalid == OnInvalid::Fail {
            return call.fail("[DATETIME_FIELD_OUT_OF_BOUNDS] there is no such day or time; the function with the prefix try_ returns NULL for it");
        }
        walls.push(wall);
    }
    Ok((walls, zone(6)?))
}

fn make_instant(call: &Call, on_invalid: OnInvalid) -> Result<ArrayRef> {
    let (walls, zones) = walls(call, on_invalid)?;
    call.primitive::<TimestampMicrosecondType>(|row| {
        let zone = match &zones {
            None => call.zone,
            Some(zones) => Zone::parse(zones.as_string::<i32>().value(row))?,
        };
        Ok(walls[row].map(|wall| zone.instant_of(wall)))
    })
}

fn make_local(call: &Call, on_invalid: OnInvalid) -> Result<ArrayRef> {
    let (walls, _) = walls(call, on_invalid)?;
    call.primitive::<TimestampMicrosecondType>(|row| Ok(walls[row]))
}
