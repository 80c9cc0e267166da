//! Writes values as text, as Spark's cast to STRING does.

use std::fmt::Write;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder, StructArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, DecimalType, Float32Type, Float64Type,
    IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{Result, exec_err};

use super::convert::{DAY_MICROS, Zone};
use super::datetime::civil::civil_of;

/// Writes a column as text.
pub(crate) fn to_strings(array: &ArrayRef, zone: &Zone) -> Result<StringArray> {
    let renderer = Renderer::new(array, zone)?;
    let mut builder = StringBuilder::with_capacity(array.len(), array.len() * 8);
    let mut text = String::new();
    for row in 0..array.len() {
        if renderer.is_null(row) {
            builder.append_null();
        } else {
            text.clear();
            renderer.write(row, &mut text);
            builder.append_value(&text);
        }
    }
    Ok(builder.finish())
}

/// Writes the values of one column; nested columns contain the renderers of their children.
pub(crate) enum Renderer {
    Text(ArrayRef),
    Binary(ArrayRef),
    Double(ArrayRef),
    Float(ArrayRef),
    Decimal(ArrayRef),
    Date(ArrayRef),
    /// Microseconds of the wall clock.
    Wall(ArrayRef),
    Time(ArrayRef),
    List(ArrayRef, Box<Self>),
    Struct(ArrayRef, Vec<Self>),
    Map(ArrayRef, Box<Self>, Box<Self>),
}

impl Renderer {
    /// Prepares a column.
    ///
    /// # Errors
    /// If Spark has no such type.
    pub(crate) fn new(array: &ArrayRef, zone: &Zone) -> Result<Self> {
        let array = Arc::clone(array);
        Ok(match array.data_type() {
            DataType::Binary => Self::Binary(array),
            DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::Binary(cast(&array, &DataType::Binary)?)
            }
            DataType::Float64 => Self::Double(array),
            DataType::Float32 | DataType::Float16 => Self::Float(cast(&array, &DataType::Float32)?),
            DataType::Decimal32(..) | DataType::Decimal64(..) => {
                let (precision, scale) = decimal_parts(array.data_type());
                Self::Decimal(cast(&array, &DataType::Decimal128(precision, scale))?)
            }
            DataType::Decimal128(..) | DataType::Decimal256(..) => Self::Decimal(array),
            DataType::Date32 | DataType::Date64 => Self::Date(cast(&array, &DataType::Date32)?),
            DataType::Timestamp(_, zoned) => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, zoned.clone());
                let micros = cast(&array, &micros)?;
                let wall = match zoned {
                    None => micros,
                    Some(_) => Arc::new(
                        micros
                            .as_primitive::<TimestampMicrosecondType>()
                            .unary::<_, TimestampMicrosecondType>(|instant| zone.wall_of(instant)),
                    ),
                };
                Self::Wall(wall)
            }
            DataType::Time32(_) | DataType::Time64(_) => {
                Self::Time(cast(&array, &DataType::Time64(TimeUnit::Microsecond))?)
            }
            DataType::List(_) => {
                let items = Self::new(array.as_list::<i32>().values(), zone)?;
                Self::List(array, Box::new(items))
            }
            DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                Self::new(&cast(&array, &DataType::List(Arc::clone(item)))?, zone)?
            }
            DataType::Struct(_) => {
                let fields: &StructArray = array.as_struct();
                let fields = fields
                    .columns()
                    .iter()
                    .map(|column| Self::new(column, zone));
                let fields = fields.collect::<Result<_>>()?;
                Self::Struct(array, fields)
            }
            DataType::Map(..) => {
                let keys = Self::new(array.as_map().keys(), zone)?;
                let values = Self::new(array.as_map().values(), zone)?;
                Self::Map(array, Box::new(keys), Box::new(values))
            }
            DataType::Interval(unit) => Self::Text(Arc::new(intervals(&array, *unit)?)),
            DataType::Dictionary(_, value) => Self::new(&cast(&array, value)?, zone)?,
            DataType::Duration(_) => return exec_err!("{} has no text form", array.data_type()),
            _ => Self::Text(cast(&array, &DataType::Utf8)?),
        })
    }

    fn array(&self) -> &ArrayRef {
        match self {
            Self::Text(array)
            | Self::Binary(array)
            | Self::Double(array)
            | Self::Float(array)
            | Self::Decimal(array)
            | Self::Date(array)
            | Self::Wall(array)
            | Self::Time(array)
            | Self::List(array, _)
            | Self::Struct(array, _)
            | Self::Map(array, ..) => array,
        }
    }

    /// Returns whether the value of a row is null.
    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.array().is_null(row)
    }

    /// Writes the value of a row that is not null.
    pub(crate) fn write(&self, row: usize, out: &mut String) {
        match self {
            Self::Text(array) => out.push_str(array.as_string::<i32>().value(row)),
            Self::Binary(array) => {
                out.push_str(&String::from_utf8_lossy(
                    array.as_binary::<i32>().value(row),
                ));
            }
            Self::Double(array) => {
                out.push_str(&double(array.as_primitive::<Float64Type>().value(row)));
            }
            Self::Float(array) => {
                out.push_str(&float(array.as_primitive::<Float32Type>().value(row)));
            }
            Self::Decimal(array) => write_decimal(array, row, out),
            Self::Date(array) => {
                write_date(array.as_primitive::<Date32Type>().value(row).into(), out);
            }
            Self::Wall(array) => {
                write_wall(
                    array.as_primitive::<TimestampMicrosecondType>().value(row),
                    out,
                );
            }
            Self::Time(array) => {
                write_time(
                    array.as_primitive::<Time64MicrosecondType>().value(row),
                    out,
                );
            }
            Self::List(array, items) => {
                let offsets = array.as_list::<i32>().value_offsets();
                let range =
                    offsets[row].unsigned_abs() as usize..offsets[row + 1].unsigned_abs() as usize;
                out.push('[');
                write_separated(range, out, |item, out| items.write_or_null(item, out));
                out.push(']');
            }
            Self::Struct(_, fields) => {
                out.push('{');
                write_separated(0..fields.len(), out, |field, out| {
                    fields[field].write_or_null(row, out);
                });
                out.push('}');
            }
            Self::Map(array, keys, values) => {
                let offsets = array.as_map().value_offsets();
                let range =
                    offsets[row].unsigned_abs() as usize..offsets[row + 1].unsigned_abs() as usize;
                out.push('{');
                write_separated(range, out, |entry, out| {
                    keys.write_or_null(entry, out);
                    out.push_str(" -> ");
                    values.write_or_null(entry, out);
                });
                out.push('}');
            }
        }
    }

    fn write_or_null(&self, row: usize, out: &mut String) {
        match self.is_null(row) {
            true => out.push_str("null"),
            false => self.write(row, out),
        }
    }
}

fn write_separated(
    range: std::ops::Range<usize>,
    out: &mut String,
    mut write: impl FnMut(usize, &mut String),
) {
    let start = range.start;
    for index in range {
        if index > start {
            out.push_str(", ");
        }
        write(index, out);
    }
}

fn decimal_parts(data_type: &DataType) -> (u8, i8) {
    match data_type {
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            (*precision, *scale)
        }
        _ => (38, 0),
    }
}

fn write_decimal(array: &ArrayRef, row: usize, out: &mut String) {
    match array.data_type() {
        DataType::Decimal256(precision, scale) => {
            let value = array.as_primitive::<Decimal256Type>().value(row);
            out.push_str(&Decimal256Type::format_decimal(value, *precision, *scale));
        }
        DataType::Decimal128(precision, scale) => {
            let value = array.as_primitive::<Decimal128Type>().value(row);
            out.push_str(&Decimal128Type::format_decimal(value, *precision, *scale));
        }
        _ => {}
    }
}

/// Writes a double as Java does: without an exponent from 0.001 to 10,000,000, else with one.
pub fn double(value: f64) -> String {
    java_number(value, &format!("{value:e}"), value.abs())
}

/// Writes a float as Java does.
pub fn float(value: f32) -> String {
    java_number(
        f64::from(value),
        &format!("{value:e}"),
        f64::from(value.abs()),
    )
}

fn java_number(value: f64, scientific: &str, size: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    if size == 0.0 {
        return if value.is_sign_negative() {
            "-0.0"
        } else {
            "0.0"
        }
        .to_owned();
    }
    if !(1e-3..1e7).contains(&size) {
        let point = if mantissa.contains('.') { "" } else { ".0" };
        return format!("{mantissa}{point}E{exponent}");
    }
    // The digits of the shortest form, with the point moved by the exponent.
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if mantissa.starts_with('-') { "-" } else { "" };
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    if exponent < 0 {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        return format!("{sign}0.{zeros}{digits}");
    }
    let whole = exponent.unsigned_abs() as usize + 1;
    let padded = format!("{digits:0<whole$}");
    let (whole, fraction) = padded.split_at(whole);
    let fraction = if fraction.is_empty() { "0" } else { fraction };
    format!("{sign}{whole}.{fraction}")
}

/// Writes a date of days since 1970.
pub fn write_date(days: i64, out: &mut String) {
    let civil = civil_of(days);
    let sign = match civil.year {
        year if year < 0 => "-",
        year if year > 9999 => "+",
        _ => "",
    };
    let year = civil.year.unsigned_abs();
    // Writing to a String does not fail.
    let _ = write!(out, "{sign}{year:04}-{:02}-{:02}", civil.month, civil.day);
}

/// Writes a wall clock in microseconds; the fraction has no zeros at its end.
pub fn write_wall(micros: i64, out: &mut String) {
    write_date(micros.div_euclid(DAY_MICROS), out);
    out.push(' ');
    write_time(micros.rem_euclid(DAY_MICROS), out);
}

/// Writes a time of day in microseconds.
pub fn write_time(micros: i64, out: &mut String) {
    let seconds = micros / 1_000_000;
    let _ = write!(
        out,
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    write_fraction(micros % 1_000_000, out);
}

fn write_fraction(micros: i64, out: &mut String) {
    if micros > 0 {
        let digits = format!("{micros:06}");
        let _ = write!(out, ".{}", digits.trim_end_matches('0'));
    }
}

/// Writes intervals with all of their units, like Spark's `INTERVAL` type.
fn intervals(array: &ArrayRef, unit: IntervalUnit) -> Result<StringArray> {
    let parts: ArrayRef = match unit {
        IntervalUnit::MonthDayNano => Arc::clone(array),
        _ => cast(array, &DataType::Interval(IntervalUnit::MonthDayNano))?,
    };
    let parts = parts.as_primitive::<datafusion::arrow::datatypes::IntervalMonthDayNanoType>();
    Ok(parts
        .iter()
        .map(|value| {
            value.map(|value| interval(value.months, value.days, value.nanoseconds / 1000))
        })
        .collect())
}

/// Writes an interval: `1 years 2 months 3 days 4 hours 5 minutes 6.5 seconds`.
pub fn interval(months: i32, days: i32, micros: i64) -> String {
    let seconds = micros / 1_000_000;
    let mut parts = Vec::new();
    let units = [
        (i64::from(months / 12), "years"),
        (i64::from(months % 12), "months"),
        (i64::from(days), "days"),
        (seconds / 3600, "hours"),
        (seconds / 60 % 60, "minutes"),
    ];
    for (count, name) in units {
        if count != 0 {
            parts.push(format!("{count} {name}"));
        }
    }
    let rest = micros % 60_000_000;
    if rest != 0 {
        let mut text = String::from(if rest < 0 { "-" } else { "" });
        let _ = write!(text, "{}", rest.abs() / 1_000_000);
        write_fraction(rest.abs() % 1_000_000, &mut text);
        parts.push(format!("{text} seconds"));
    }
    match parts.is_empty() {
        true => "0 seconds".to_owned(),
        false => parts.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_written_as_java_writes_them() {
        for (value, text) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.001, "0.001"),
            (0.000_12, "1.2E-4"),
            (123_456.75, "123456.75"),
            (1e7, "1.0E7"),
            (1.5e300, "1.5E300"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(double(value), text);
        }
        assert_eq!(float(0.1), "0.1");
    }

    #[test]
    fn clocks_and_intervals_have_no_zeros_at_the_end() {
        let mut text = String::new();
        write_wall(1_500_000, &mut text);
        assert_eq!(text, "1970-01-01 00:00:01.5");
        assert_eq!(
            interval(14, 3, 3_661_500_000),
            "1 years 2 months 3 days 1 hours 1 minutes 1.5 seconds"
        );
        assert_eq!(interval(0, 0, 0), "0 seconds");
    }
}
