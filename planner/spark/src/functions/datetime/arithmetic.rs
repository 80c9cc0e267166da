//! Calculations with dates: days and months added, differences, the last day of a month.

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Date32Type, Float64Type, Int32Type};
use datafusion::common::Result;

use super::civil::{Civil, add_months, civil_of, days_of, days_of_month, weekday};
use super::pattern::WEEKDAYS;
use crate::functions::convert::DAY_MICROS;
use crate::functions::scalar::{Call, Function, Param, Returns};

/// Seconds of a month as `months_between` counts them: 31 days.
const MONTH_SECONDS: f64 = 31.0 * 86_400.0;

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let date = Returns::Type(DataType::Date32);
    let shift = &[Param::Date, Param::Int];
    let walls = &[Param::Wall, Param::Wall, Param::Boolean];
    vec![
        Function::new("date_add", shift, date.clone(), |call| add_days(call, 1))
            .aliases(&["dateadd"]),
        Function::new("date_sub", shift, date.clone(), |call| add_days(call, -1)),
        Function::new("add_months", shift, date.clone(), shift_months),
        Function::new(
            "datediff",
            &[Param::Date, Param::Date],
            Returns::Type(DataType::Int32),
            |call| {
                let (end, start) = (call.date(0), call.date(1));
                call.primitive::<Int32Type>(|row| Ok(Some(end.value(row) - start.value(row))))
            },
        )
        .aliases(&["date_diff"]),
        Function::new(
            "months_between",
            walls,
            Returns::Type(DataType::Float64),
            months_between,
        )
        .optional(1),
        Function::new("last_day", &[Param::Date], date.clone(), last_day),
        Function::new(
            "next_day",
            &[Param::Date, Param::Text],
            date.clone(),
            next_day,
        ),
        Function::new("date_from_unix_date", &[Param::Int], date, |call| {
            let days = call.int(0);
            call.primitive::<Date32Type>(|row| Ok(Some(days.value(row))))
        }),
        Function::new(
            "unix_date",
            &[Param::Date],
            Returns::Type(DataType::Int32),
            |call| {
                let days = call.date(0);
                call.primitive::<Int32Type>(|row| Ok(Some(days.value(row))))
            },
        ),
    ]
}

fn add_days(call: &Call, sign: i32) -> Result<ArrayRef> {
    let (dates, days) = (call.date(0), call.int(1));
    call.primitive::<Date32Type>(|row| {
        let moved = days
            .value(row)
            .checked_mul(sign)
            .and_then(|days| dates.value(row).checked_add(days));
        moved.map_or_else(
            || call.fail("the date is out of range"),
            |date| Ok(Some(date)),
        )
    })
}

fn shift_months(call: &Call) -> Result<ArrayRef> {
    let (dates, months) = (call.date(0), call.int(1));
    call.primitive::<Date32Type>(|row| {
        let moved = add_months(dates.value(row).into(), months.value(row).into());
        i32::try_from(moved).map_or_else(
            |_| call.fail("the date is out of range"),
            |date| Ok(Some(date)),
        )
    })
}

fn months_between(call: &Call) -> Result<ArrayRef> {
    let (ends, starts) = (call.micros(0), call.micros(1));
    call.primitive::<Float64Type>(|row| {
        let is_rounded = !call.has_argument(2) || call.boolean(2).value(row);
        let months = months_of(ends.value(row), starts.value(row));
        Ok(Some(match is_rounded {
            true => (months * 1e8).round() / 1e8,
            false => months,
        }))
    })
}

/// Returns the months between two wall clocks; whole if both are the same day or the last of a
/// month.
fn months_of(end: i64, start: i64) -> f64 {
    let (end_days, start_days) = (end.div_euclid(DAY_MICROS), start.div_euclid(DAY_MICROS));
    let (a, b) = (civil_of(end_days), civil_of(start_days));
    let months = f64::from((a.year - b.year) * 12) + f64::from(a.month) - f64::from(b.month);
    let is_last = |civil: Civil| civil.day == days_of_month(civil.year, civil.month);
    if a.day == b.day || (is_last(a) && is_last(b)) {
        return months;
    }
    let seconds =
        |wall: i64| f64::from(i32::try_from(wall.rem_euclid(DAY_MICROS) / 1_000_000).unwrap_or(0));
    let days = f64::from(a.day) - f64::from(b.day);
    months + (days * 86_400.0 + seconds(end) - seconds(start)) / MONTH_SECONDS
}

fn last_day(call: &Call) -> Result<ArrayRef> {
    let dates = call.date(0);
    call.primitive::<Date32Type>(|row| {
        let civil = civil_of(dates.value(row).into());
        let day = days_of_month(civil.year, civil.month);
        Ok(Some(days_of(Civil { day, ..civil })))
    })
}

fn next_day(call: &Call) -> Result<ArrayRef> {
    let (dates, names) = (call.date(0), call.text(1));
    call.primitive::<Date32Type>(|row| {
        let Some(target) = weekday_named(names.value(row)) else {
            return call.fail(format!(
                "[ILLEGAL_DAY_OF_WEEK] '{}' is no day of the week; write one such as MO, Mon or Monday",
                names.value(row)
            ));
        };
        let date = i64::from(dates.value(row));
        let days_ahead = (target - weekday(date) + 6).rem_euclid(7) + 1;
        Ok(i32::try_from(date + days_ahead).ok())
    })
}

fn weekday_named(name: &str) -> Option<i64> {
    let name = name.trim();
    let is_day = |day: &str| {
        name.eq_ignore_ascii_case(day)
            || name.eq_ignore_ascii_case(&day[..3])
            || name.eq_ignore_ascii_case(&day[..2])
    };
    WEEKDAYS
        .iter()
        .position(|day| is_day(day))
        .and_then(|day| i64::try_from(day).ok())
}
