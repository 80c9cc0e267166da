//! The functions `timestampadd` and `timestampdiff`, which `dateadd` and `datediff` with a unit
//! call as well.

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::Result;

use super::civil::{add_months_to_wall, civil_of};
use super::intervals::normalize_interval;
use crate::functions::convert::DAY_MICROS;
use crate::functions::scalar::{Call, CallSite, Function, Param, Returns};
use crate::functions::types::instant_type;

const NANOS_PER_MICRO: i64 = 1_000;

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Months(i64),
    /// Days, whose length differs when clocks are changed.
    Days(i64),
    Micros(i64),
}

impl Unit {
    fn parse(call: &Call, name: &str) -> Result<Self> {
        Ok(match name.to_ascii_uppercase().as_str() {
            "YEAR" => Self::Months(12),
            "QUARTER" => Self::Months(3),
            "MONTH" => Self::Months(1),
            "WEEK" => Self::Days(7),
            "DAY" | "DAYOFYEAR" => Self::Days(1),
            "HOUR" => Self::Micros(3_600_000_000),
            "MINUTE" => Self::Micros(60_000_000),
            "SECOND" => Self::Micros(1_000_000),
            "MILLISECOND" => Self::Micros(1000),
            "MICROSECOND" => Self::Micros(1),
            _ => {
                return call.fail(format!(
                    "'{name}' is no unit; use YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE, SECOND, MILLISECOND or \
                     MICROSECOND"
                ));
            }
        })
    }

    /// Returns the whole units between two wall clocks.
    fn between(self, start: i64, end: i64) -> i64 {
        match self {
            Self::Months(months) => months_between(start, end) / months,
            Self::Days(days) => (end - start) / (days * DAY_MICROS),
            Self::Micros(micros) => (end - start) / micros,
        }
    }
}

/// Returns the whole months between two wall clocks.
fn months_between(start: i64, end: i64) -> i64 {
    let (a, b) = (
        civil_of(start.div_euclid(DAY_MICROS)),
        civil_of(end.div_euclid(DAY_MICROS)),
    );
    let months = i64::from(b.year - a.year) * 12 + i64::from(b.month) - i64::from(a.month);
    let position_in_month = |wall: i64, day: u32| (day, wall.rem_euclid(DAY_MICROS));
    let (first, last) = (
        position_in_month(start, a.day),
        position_in_month(end, b.day),
    );
    // A month that has only begun does not count.
    match months {
        1.. if last < first => months - 1,
        ..=-1 if last > first => months + 1,
        _ => months,
    }
}

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let mut functions = sums();
    functions.extend([
        Function::new(
            "timestampadd",
            &[Param::Text, Param::Long, Param::Wall],
            Returns::Computed(result_type),
            add,
        ),
        Function::new(
            "timestampdiff",
            &[Param::Text, Param::Wall, Param::Wall],
            Returns::Type(DataType::Int64),
            |call| {
                let (units, starts, ends) = (call.text(0), call.micros(1), call.micros(2));
                call.primitive::<Int64Type>(|row| {
                    let unit = Unit::parse(call, units.value(row))?;
                    Ok(Some(unit.between(starts.value(row), ends.value(row))))
                })
            },
        ),
    ]);
    functions
}

/// Returns the functions of the operators `+` and `-` between an instant and an interval.
fn sums() -> Vec<Function> {
    let params = &[Param::Instant, Param::Any];
    let sum = |name, body| Function::new(name, params, Returns::Instant, body);
    vec![
        sum("instant_plus_interval", |call| add_intervals(call, 1)),
        sum("instant_minus_interval", |call| add_intervals(call, -1)),
    ]
}

/// Moves instants by months and days of the session's zone, and then by microseconds.
fn add_intervals(call: &Call, sign: i64) -> Result<ArrayRef> {
    let instants = call.micros(0);
    let interval_type = DataType::Interval(IntervalUnit::MonthDayNano);
    let intervals = cast(&call.arrays[1], &interval_type)?;
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
    call.primitive::<TimestampMicrosecondType>(|row| {
        // As in Spark, 24 hours are a day, whose length depends on the clocks.
        let interval = normalize_interval(intervals.value(row));
        let instant = instants.value(row);
        let moved = match (interval.months, interval.days) {
            (0, 0) => Some(instant),
            (months, days) => {
                let wall = call.zone.wall_of(instant);
                let wall = add_months_to_wall(wall, i64::from(months) * sign);
                let wall = wall.checked_add(i64::from(days) * sign * DAY_MICROS);
                wall.map(|wall| call.zone.instant_of(wall))
            }
        };
        let micros = interval.nanoseconds / NANOS_PER_MICRO * sign;
        match moved.and_then(|moved| moved.checked_add(micros)) {
            Some(moved) => Ok(Some(moved)),
            None => call.fail("[DATETIME_OVERFLOW] the timestamp is out of range"),
        }
    })
}

/// Returns the type of a moved timestamp: without zone for a wall clock.
fn result_type(site: &CallSite) -> Result<DataType> {
    Ok(match site.types.get(2) {
        Some(DataType::Timestamp(_, None)) => DataType::Timestamp(TimeUnit::Microsecond, None),
        _ => instant_type(),
    })
}

fn add(call: &Call) -> Result<ArrayRef> {
    let (units, counts, walls) = (call.text(0), call.long(1), call.micros(2));
    let is_instant = matches!(call.return_type, DataType::Timestamp(_, Some(_)));
    call.primitive::<TimestampMicrosecondType>(|row| {
        let (wall, count) = (walls.value(row), counts.value(row));
        let in_zone = |wall| match is_instant {
            true => call.zone.instant_of(wall),
            false => wall,
        };
        let moved = match Unit::parse(call, units.value(row))? {
            Unit::Months(months) => {
                let months = months.checked_mul(count);
                months.map(|months| in_zone(add_months_to_wall(wall, months)))
            }
            Unit::Days(days) => (days * DAY_MICROS)
                .checked_mul(count)
                .and_then(|micros| wall.checked_add(micros))
                .map(in_zone),
            Unit::Micros(micros) => micros
                .checked_mul(count)
                .and_then(|micros| in_zone(wall).checked_add(micros)),
        };
        match moved {
            Some(moved) => Ok(Some(moved)),
            None => call.fail("[DATETIME_OVERFLOW] the timestamp is out of range"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::convert::parse_wall;

    #[test]
    fn only_whole_units_count() {
        let wall = |text: &str| parse_wall(text).unwrap().0;
        for (unit, start, end, expected) in [
            (Unit::Months(1), "2020-01-31", "2020-02-29", 0),
            (Unit::Months(1), "2020-01-15", "2020-03-15", 2),
            (Unit::Months(1), "2020-03-15", "2020-01-16", -1),
            (Unit::Months(12), "2020-02-29", "2021-02-28", 0),
            (
                Unit::Days(1),
                "2020-01-01 12:00:00",
                "2020-01-03 11:00:00",
                1,
            ),
            (
                Unit::Micros(3_600_000_000),
                "2020-01-01 12:00:00",
                "2020-01-01 10:30:00",
                -1,
            ),
        ] {
            assert_eq!(
                unit.between(wall(start), wall(end)),
                expected,
                "{start} {end}"
            );
        }
    }
}
