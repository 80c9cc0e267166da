//! Functions that round down: `trunc`, `date_trunc`.

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Date32Type, TimeUnit, TimestampMicrosecondType};
use datafusion::common::Result;

use super::civil::{Civil, civil_of, days_of, weekday};
use crate::functions::convert::{DAY_MICROS, Zone, convert};
use crate::functions::scalar::{Call, CallSite, Function, Param, Returns};
use crate::functions::types::instant_type;

/// The unit to which a date or a timestamp is rounded down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Year,
    Quarter,
    Month,
    Week,
    /// A number of microseconds that divides a day.
    Micros(i64),
}

impl Unit {
    fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "YEAR" | "YYYY" | "YY" => Self::Year,
            "QUARTER" => Self::Quarter,
            "MONTH" | "MM" | "MON" => Self::Month,
            "WEEK" => Self::Week,
            "DAY" | "DD" => Self::Micros(DAY_MICROS),
            "HOUR" => Self::Micros(3_600_000_000),
            "MINUTE" => Self::Micros(60_000_000),
            "SECOND" => Self::Micros(1_000_000),
            "MILLISECOND" => Self::Micros(1000),
            "MICROSECOND" => Self::Micros(1),
            _ => return None,
        })
    }

    /// Rounds days since 1970 down to the first day of the unit.
    fn first_day(self, days: i64) -> i64 {
        let civil = civil_of(days);
        let first = |month| {
            i64::from(days_of(Civil {
                month,
                day: 1,
                ..civil
            }))
        };
        match self {
            Self::Year => first(1),
            Self::Quarter => first((civil.month - 1) / 3 * 3 + 1),
            Self::Month => first(civil.month),
            Self::Week => days - weekday(days),
            Self::Micros(_) => days,
        }
    }
}

impl Unit {
    /// Rounds a wall clock in microseconds down.
    fn truncate_wall(self, wall: i64) -> i64 {
        match self {
            Self::Micros(micros) => wall - wall.rem_euclid(micros),
            unit => unit.first_day(wall.div_euclid(DAY_MICROS)) * DAY_MICROS,
        }
    }

    /// Rounds an instant in microseconds down, as the clocks of a zone show it.
    fn truncate_instant(self, instant: i64, zone: Zone) -> i64 {
        let wall = zone.wall_of(instant);
        match self {
            Self::Micros(micros) if micros < DAY_MICROS => instant - wall.rem_euclid(micros),
            unit => zone.instant_of(unit.truncate_wall(wall)),
        }
    }
}

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let date = Returns::Type(DataType::Date32);
    // An instant keeps its offset: the hour that a change of clocks repeats is two hours.
    let instant = &[Param::Text, Param::Any];
    vec![
        Function::new("trunc", &[Param::Date, Param::Text], date, trunc),
        Function::new(
            "date_trunc",
            instant,
            Returns::Computed(result_type),
            date_trunc,
        ),
    ]
}

/// Returns the type of a truncated timestamp: without zone for a wall clock.
fn result_type(site: &CallSite) -> Result<DataType> {
    Ok(match site.types[1] {
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        _ => instant_type(),
    })
}

fn trunc(call: &Call) -> Result<ArrayRef> {
    let (dates, names) = (call.date(0), call.text(1));
    call.primitive::<Date32Type>(|row| {
        // For a unit below a week, or an unknown one, the result is NULL.
        Ok(match Unit::parse(names.value(row)) {
            None | Some(Unit::Micros(_)) => None,
            Some(unit) => i32::try_from(unit.first_day(dates.value(row).into())).ok(),
        })
    })
}

fn date_trunc(call: &Call) -> Result<ArrayRef> {
    let is_instant = matches!(call.return_type, DataType::Timestamp(_, Some(_)));
    let param = if is_instant {
        Param::Instant
    } else {
        Param::Wall
    };
    let (names, times) = (call.text(0), convert(&call.arrays[1], param, &call.zone)?);
    let times = times.as_primitive::<TimestampMicrosecondType>();
    call.primitive::<TimestampMicrosecondType>(|row| {
        let time = times.value(row);
        let Some(unit) = Unit::parse(names.value(row)) else {
            return Ok(None);
        };
        Ok(Some(match is_instant {
            true => unit.truncate_instant(time, call.zone),
            false => unit.truncate_wall(time),
        }))
    })
}
