//! Functions that return parts of dates, timestamps and intervals: `year`, `hour`, `date_part`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Int32Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Int32Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{Expr, lit};

use super::civil::{civil_of, day_of_year, iso_week, weekday};
use super::pattern::{MONTHS, WEEKDAYS};
use crate::functions::convert::{self, DAY_MICROS};
use crate::functions::scalar::{Call, CallSite, Function, Param, Returns};

/// Precision and scale of seconds with their fraction.
const SECONDS: DataType = DataType::Decimal128(8, 6);

/// A part of a wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Year,
    YearOfWeek,
    Quarter,
    Month,
    Week,
    Day,
    /// From 1 for Sunday.
    DayOfWeek,
    /// From 1 for Monday.
    IsoDayOfWeek,
    /// From 0 for Monday.
    Weekday,
    DayOfYear,
    Hour,
    Minute,
    /// Whole seconds.
    Second,
    /// Seconds with their fraction.
    ExactSecond,
}

impl Part {
    /// Reads the name of a part, as `EXTRACT` and `date_part` take it.
    fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "YEAR" | "Y" | "YEARS" | "YR" | "YRS" => Self::Year,
            "YEAROFWEEK" => Self::YearOfWeek,
            "QUARTER" | "QTR" => Self::Quarter,
            "MONTH" | "MON" | "MONS" | "MONTHS" => Self::Month,
            "WEEK" | "W" | "WEEKS" => Self::Week,
            "DAY" | "D" | "DAYS" => Self::Day,
            "DAYOFWEEK" | "DOW" => Self::DayOfWeek,
            "DAYOFWEEK_ISO" | "DOW_ISO" | "ISODOW" => Self::IsoDayOfWeek,
            "DOY" => Self::DayOfYear,
            "HOUR" | "H" | "HOURS" | "HR" | "HRS" => Self::Hour,
            "MINUTE" | "M" | "MIN" | "MINS" | "MINUTES" => Self::Minute,
            "SECOND" | "S" | "SEC" | "SECONDS" | "SECS" => Self::ExactSecond,
            _ => return None,
        })
    }

    /// Returns the part of a wall clock; microseconds for [`Part::ExactSecond`].
    fn in_wall(self, wall: i64) -> i64 {
        let days = wall.div_euclid(DAY_MICROS);
        let time = wall.rem_euclid(DAY_MICROS);
        match self {
            Self::Year => civil_of(days).year.into(),
            Self::YearOfWeek => iso_week(days).0.into(),
            Self::Quarter => i64::from((civil_of(days).month - 1) / 3 + 1),
            Self::Month => civil_of(days).month.into(),
            Self::Week => iso_week(days).1,
            Self::Day => civil_of(days).day.into(),
            Self::DayOfWeek => (weekday(days) + 1) % 7 + 1,
            Self::IsoDayOfWeek => weekday(days) + 1,
            Self::Weekday => weekday(days),
            Self::DayOfYear => day_of_year(days),
            Self::Hour => time / 3_600_000_000,
            Self::Minute => time / 60_000_000 % 60,
            Self::Second => time / 1_000_000 % 60,
            Self::ExactSecond => time % 60_000_000,
        }
    }

    /// Returns the part of an interval of months, days and microseconds; an interval has no weeks.
    fn in_interval(self, months: i32, days: i32, micros: i64) -> Option<i64> {
        Some(match self {
            Self::Year => i64::from(months / 12),
            Self::Month => i64::from(months % 12),
            Self::Day => i64::from(days) + micros / DAY_MICROS,
            Self::Hour => micros % DAY_MICROS / 3_600_000_000,
            Self::Minute => micros / 60_000_000 % 60,
            Self::Second => micros / 1_000_000 % 60,
            Self::ExactSecond => micros % 60_000_000,
            _ => return None,
        })
    }
}

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let wall = &[Param::Wall];
    let part = |name, body| Function::new(name, wall, Returns::Type(DataType::Int32), body);
    vec![
        part("year", |call| wall_part(call, Part::Year))
            .simplify(|args, context| simplify_field("YEAR", args, context)),
        part("quarter", |call| wall_part(call, Part::Quarter))
            .simplify(|args, context| simplify_field("QUARTER", args, context)),
        part("month", |call| wall_part(call, Part::Month))
            .simplify(|args, context| simplify_field("MONTH", args, context)),
        part("weekofyear", |call| wall_part(call, Part::Week))
            .simplify(|args, context| simplify_field("WEEK", args, context)),
        part("day", |call| wall_part(call, Part::Day))
            .aliases(&["dayofmonth"])
            .simplify(|args, context| simplify_field("DAY", args, context)),
        part("dayofweek", |call| wall_part(call, Part::DayOfWeek)),
        part("weekday", |call| wall_part(call, Part::Weekday)),
        part("dayofyear", |call| wall_part(call, Part::DayOfYear)),
        part("hour", |call| wall_part(call, Part::Hour)),
        part("minute", |call| wall_part(call, Part::Minute)),
        part("second", |call| wall_part(call, Part::Second)),
        Function::new("monthname", wall, Returns::Type(DataType::Utf8), |call| {
            name(call, Part::Month, &MONTHS, 1)
        }),
        Function::new("dayname", wall, Returns::Type(DataType::Utf8), |call| {
            name(call, Part::Weekday, &WEEKDAYS, 0)
        }),
        date_part(),
    ]
}

/// Returns the definition of `date_part`, which `EXTRACT` calls as well.
pub(crate) fn date_part() -> Function {
    let params = &[Param::Text, Param::Any];
    Function::new(
        "date_part",
        params,
        Returns::Computed(part_type),
        date_part_values,
    )
    .aliases(&["datepart", "extract"])
    .simplify(simplify_part)
}

/// Replaces a call by DataFusion's `date_part` where that returns the same: it is faster, and its
/// conditions become ranges, which skip files.
fn simplify_part(args: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
    let is_common = match args.first() {
        Some(Expr::Literal(part, _)) => matches!(
            part.try_as_str().flatten().and_then(Part::parse),
            Some(Part::Year | Part::Quarter | Part::Month | Part::Week | Part::Day)
        ),
        _ => false,
    };
    if !is_common || !has_no_zone(args.get(1), context)? {
        return Ok(ExprSimplifyResult::Original(args));
    }
    Ok(ExprSimplifyResult::Simplified(datafusion_part(args)))
}

/// As [`simplify_part`], for a function with the name of a part.
fn simplify_field(
    part: &str,
    mut args: Vec<Expr>,
    context: &SimplifyContext,
) -> Result<ExprSimplifyResult> {
    if !has_no_zone(args.first(), context)? {
        return Ok(ExprSimplifyResult::Original(args));
    }
    args.insert(0, lit(part));
    Ok(ExprSimplifyResult::Simplified(datafusion_part(args)))
}

/// Returns whether a value has no zone. DataFusion takes the parts of a timestamp in its zone,
/// Spark in the session's.
fn has_no_zone(value: Option<&Expr>, context: &SimplifyContext) -> Result<bool> {
    let Some(value) = value else { return Ok(false) };
    Ok(matches!(
        context.get_data_type(value)?,
        DataType::Date32 | DataType::Timestamp(_, None)
    ))
}

fn datafusion_part(args: Vec<Expr>) -> Expr {
    let function = datafusion::functions::datetime::date_part();
    Expr::ScalarFunction(ScalarFunction::new_udf(function, args))
}

fn wall_part(call: &Call, part: Part) -> Result<ArrayRef> {
    let walls = call.micros(0);
    let parts = walls.unary::<_, Int32Type>(|wall| i32::try_from(part.in_wall(wall)).unwrap_or(0));
    Ok(Arc::new(parts))
}

fn name(call: &Call, part: Part, names: &[&str], first: i64) -> Result<ArrayRef> {
    let walls = call.micros(0);
    call.texts(|row| {
        let index = usize::try_from(part.in_wall(walls.value(row)) - first).unwrap_or(0);
        Ok(Some(names[index][..3].to_owned()))
    })
}

fn part_type(site: &CallSite) -> Result<DataType> {
    let Some(name) = site.literal_text(0) else {
        return plan_err!("{}: the part must be a literal such as 'YEAR'", site.name);
    };
    match Part::parse(name) {
        Some(Part::ExactSecond) => Ok(SECONDS),
        Some(_) => Ok(DataType::Int32),
        None => plan_err!(
            "{}: '{name}' is no part of a date; use YEAR, MONTH, DAY, HOUR, MINUTE, SECOND, QUARTER, WEEK, DOW or DOY",
            site.name
        ),
    }
}

fn date_part_values(call: &Call) -> Result<ArrayRef> {
    let names = call.text(0);
    let part = match names.is_empty() || names.is_null(0) {
        true => None,
        false => Part::parse(names.value(0)),
    };
    let Some(part) = part else {
        return call.fail("the part must be a literal such as 'YEAR'");
    };
    let parts: Vec<Option<i64>> = match call.arrays[1].data_type() {
        DataType::Interval(_) | DataType::Duration(_) => interval_parts(&call.arrays[1], part)?,
        data_type if convert::is_accepted(Param::Wall, data_type) => {
            let walls = convert::convert(&call.arrays[1], Param::Wall, &call.zone)?;
            let walls =
                walls.as_primitive::<datafusion::arrow::datatypes::TimestampMicrosecondType>();
            walls
                .iter()
                .map(|wall| wall.map(|wall| part.in_wall(wall)))
                .collect()
        }
        other => return call.fail(format!("{other} has no parts of a date")),
    };
    if part == Part::ExactSecond {
        let micros = parts.into_iter().map(|part| part.map(i128::from));
        let seconds = Decimal128Array::from_iter(micros).with_data_type(SECONDS);
        return Ok(Arc::new(seconds));
    }
    let numbers = parts
        .into_iter()
        .map(|part| part.and_then(|part| i32::try_from(part).ok()));
    Ok(Arc::new(Int32Array::from_iter(numbers)))
}

fn interval_parts(array: &ArrayRef, part: Part) -> Result<Vec<Option<i64>>> {
    let array = match array.data_type() {
        // A duration counts days as well: it has no other unit for them.
        DataType::Duration(_) => {
            let micros = cast(array, &DataType::Duration(TimeUnit::Microsecond))?;
            let micros = cast(&micros, &DataType::Int64)?;
            let micros = micros.as_primitive::<datafusion::arrow::datatypes::Int64Type>();
            return Ok(micros
                .iter()
                .map(|micros| micros.and_then(|micros| part.in_interval(0, 0, micros)))
                .collect());
        }
        _ => cast(array, &DataType::Interval(IntervalUnit::MonthDayNano))?,
    };
    let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
    Ok(intervals
        .iter()
        .map(|value| value.and_then(|v| part.in_interval(v.months, v.days, v.nanoseconds / 1000)))
        .collect())
}
