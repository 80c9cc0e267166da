//! Converts arguments as Spark's casts do in ANSI mode.

mod parse;
mod zone;

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Float64Array, Int64Array,
    StringArray, TimestampMicrosecondArray, make_array,
};
use datafusion::arrow::compute::{CastOptions, cast, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Date32Type, TimeUnit, TimestampMicrosecondType};
use datafusion::arrow::util::display::FormatOptions;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, exec_err};

use super::render;
use super::scalar::Param;

pub(crate) use parse::{
    parse_boolean, parse_date, parse_double, parse_long, parse_time, parse_timestamp, parse_wall,
    plain_number,
};
pub(crate) use zone::DAY_MICROS;
pub use zone::Zone;

impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any type",
            Self::Text => "STRING",
            Self::Binary => "BINARY",
            Self::Bytes => "STRING or BINARY",
            Self::Boolean => "BOOLEAN",
            Self::Int => "INT",
            Self::Long => "BIGINT",
            Self::Double => "DOUBLE",
            Self::Number => "a number",
            Self::Date => "DATE",
            Self::Instant | Self::Wall => "TIMESTAMP",
            Self::List => "ARRAY",
            Self::Map => "MAP",
        })
    }
}

/// Returns the session's time zone; `UTC` if none is set.
pub(crate) fn zone_name(config: &ConfigOptions) -> Arc<str> {
    Arc::from(config.execution.time_zone.as_deref().unwrap_or("UTC"))
}

/// Returns whether Spark converts this type to the parameter's without a cast in the statement.
pub(crate) fn is_accepted(param: Param, data_type: &DataType) -> bool {
    let data_type = value_type(data_type);
    let is_nested = data_type.is_nested();
    if data_type.is_null() {
        return true;
    }
    match param {
        Param::Any => true,
        Param::Text | Param::Bytes => !is_nested,
        Param::Binary => is_text(data_type) || is_binary(data_type),
        Param::Boolean => data_type == &DataType::Boolean || is_text(data_type),
        Param::Int | Param::Long | Param::Double | Param::Number => {
            data_type.is_numeric() || is_text(data_type)
        }
        Param::Date | Param::Instant | Param::Wall => data_type.is_temporal() || is_text(data_type),
        Param::List => matches!(
            data_type,
            DataType::List(_)
                | DataType::LargeList(_)
                | DataType::FixedSizeList(..)
                | DataType::ListView(_)
                | DataType::LargeListView(_)
        ),
        Param::Map => matches!(data_type, DataType::Map(..)),
    }
}

fn value_type(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, value) => value,
        DataType::RunEndEncoded(_, value) => value.data_type(),
        other => other,
    }
}

pub(crate) fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

pub(crate) fn is_binary(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
    )
}

/// Converts an argument to the type of its parameter.
///
/// # Errors
/// If a value does not fit, as in Spark's ANSI mode.
pub(crate) fn convert(array: &ArrayRef, param: Param, zone: &Zone) -> Result<ArrayRef> {
    let plain = value_type(array.data_type()).clone();
    let array = &match array.data_type() == &plain {
        true => Arc::clone(array),
        false => cast(array, &plain)?,
    };
    match param {
        Param::Any => Ok(Arc::clone(array)),
        Param::Text => to_text(array, zone),
        Param::Binary => to_binary(array),
        Param::Bytes if is_binary(&plain) => to_binary(array),
        Param::Bytes => to_text(array, zone),
        Param::Boolean => to_boolean(array),
        Param::Int => to_integer(array, &DataType::Int32),
        Param::Long => to_integer(array, &DataType::Int64),
        Param::Double => to_double(array),
        Param::Number if is_text(&plain) || plain.is_null() => to_double(array),
        Param::Number => Ok(Arc::clone(array)),
        Param::Date => to_date(array, zone),
        Param::Instant => to_micros(array, zone, Clock::Instant),
        Param::Wall => to_micros(array, zone, Clock::Wall),
        Param::List => to_list(array),
        Param::Map => Ok(Arc::clone(array)),
    }
}

/// Casts and fails on overflow.
pub(crate) fn cast_strictly(array: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    let options = CastOptions {
        safe: false,
        format_options: FormatOptions::default(),
    };
    cast_with_options(array, target, &options).or_else(|error| {
        exec_err!(
            "[CAST_OVERFLOW] a value does not fit into {target}: {error}; try_cast returns NULL for it"
        )
    })
}

/// Gives a result the type that was determined when the query was planned.
pub(crate) fn with_type(array: ArrayRef, target: &DataType) -> Result<ArrayRef> {
    if array.data_type() == target {
        return Ok(array);
    }
    // Only the zone differs, and the values are the same: a cast would shift them.
    if let (DataType::Timestamp(a, None), DataType::Timestamp(b, Some(_))) =
        (array.data_type(), target)
        && a == b
    {
        let data = array
            .to_data()
            .into_builder()
            .data_type(target.clone())
            .build()?;
        return Ok(make_array(data));
    }
    Ok(cast(&array, target)?)
}

/// Writes values as Spark's cast to STRING does.
pub(crate) fn to_text(array: &ArrayRef, zone: &Zone) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Utf8 => Ok(Arc::clone(array)),
        data_type if is_text(data_type) || data_type.is_integer() || data_type.is_null() => {
            Ok(cast(array, &DataType::Utf8)?)
        }
        _ => Ok(Arc::new(render::to_strings(array, zone)?)),
    }
}

fn to_binary(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Utf8View | DataType::LargeUtf8 => {
            Ok(cast(&cast(array, &DataType::Utf8)?, &DataType::Binary)?)
        }
        _ => Ok(cast(array, &DataType::Binary)?),
    }
}

fn to_boolean(array: &ArrayRef) -> Result<ArrayRef> {
    if !is_text(array.data_type()) {
        return Ok(cast(array, &DataType::Boolean)?);
    }
    let text = cast(array, &DataType::Utf8)?;
    let values = text.as_string::<i32>().iter().map(|text| {
        text.map(|text| parse_boolean(text).map_or_else(|| invalid(text, "BOOLEAN"), Ok))
            .transpose()
    });
    Ok(Arc::new(values.collect::<Result<BooleanArray>>()?))
}

/// Converts to an integer type; fractions are cut off.
pub(crate) fn to_integer(array: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    if !is_text(array.data_type()) {
        return cast_strictly(array, target);
    }
    let text = cast(array, &DataType::Utf8)?;
    let values = text.as_string::<i32>().iter().map(|text| {
        text.map(|text| parse_long(text).map_or_else(|| invalid(text, "a whole number"), Ok))
            .transpose()
    });
    let longs: ArrayRef = Arc::new(values.collect::<Result<Int64Array>>()?);
    cast_strictly(&longs, target)
}

/// Converts to `DOUBLE`.
pub(crate) fn to_double(array: &ArrayRef) -> Result<ArrayRef> {
    if !is_text(array.data_type()) {
        return Ok(cast(array, &DataType::Float64)?);
    }
    let text = cast(array, &DataType::Utf8)?;
    let values = text.as_string::<i32>().iter().map(|text| {
        text.map(|text| parse_double(text).map_or_else(|| invalid(text, "DOUBLE"), Ok))
            .transpose()
    });
    Ok(Arc::new(values.collect::<Result<Float64Array>>()?))
}

/// Fails with the error of a text that is not a value of a type.
pub(crate) fn invalid<T>(text: &str, target: &str) -> Result<T> {
    exec_err!(
        "[CAST_INVALID_INPUT] the value '{text}' is not {target}; try_cast and the try_ functions return NULL for it"
    )
}

fn to_date(array: &ArrayRef, zone: &Zone) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Date32 => Ok(Arc::clone(array)),
        DataType::Null | DataType::Date64 => Ok(cast(array, &DataType::Date32)?),
        data_type if is_text(data_type) => {
            let text = cast(array, &DataType::Utf8)?;
            let values = text.as_string::<i32>().iter().map(|text| {
                text.map(|text| parse_date(text).map_or_else(|| invalid(text, "DATE"), Ok))
                    .transpose()
            });
            Ok(Arc::new(values.collect::<Result<Date32Array>>()?))
        }
        _ => {
            let wall = to_micros(array, zone, Clock::Wall)?;
            let days = wall
                .as_primitive::<TimestampMicrosecondType>()
                .unary::<_, Date32Type>(|micros| {
                    i32::try_from(micros.div_euclid(DAY_MICROS)).unwrap_or(i32::MAX)
                });
            Ok(Arc::new(days))
        }
    }
}

/// Which clock the microseconds of a timestamp show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    Instant,
    Wall,
}

fn to_micros(array: &ArrayRef, zone: &Zone, clock: Clock) -> Result<ArrayRef> {
    let shift = |wall: i64| match clock {
        Clock::Wall => wall,
        Clock::Instant => zone.instant_of(wall),
    };
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    match array.data_type() {
        data_type if is_text(data_type) => {
            let text = cast(array, &DataType::Utf8)?;
            let values = text.as_string::<i32>().iter().map(|text| {
                let Some(text) = text else { return Ok(None) };
                let Some(parsed) = parse_timestamp(text, zone) else {
                    return invalid(text, "TIMESTAMP");
                };
                Ok(Some(match clock {
                    Clock::Wall => zone.wall_of(parsed),
                    Clock::Instant => parsed,
                }))
            });
            Ok(Arc::new(
                values.collect::<Result<TimestampMicrosecondArray>>()?,
            ))
        }
        DataType::Timestamp(_, Some(name)) => {
            let in_micros = DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(name)));
            let instants = cast_strictly(array, &in_micros)?;
            let instants = instants.as_primitive::<TimestampMicrosecondType>();
            Ok(Arc::new(match clock {
                Clock::Instant => instants.clone().with_timezone_opt(None::<Arc<str>>),
                Clock::Wall => {
                    instants.unary::<_, TimestampMicrosecondType>(|instant| zone.wall_of(instant))
                }
            }))
        }
        DataType::Null | DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, None) => {
            let wall = cast_strictly(array, &micros)?;
            let wall = wall.as_primitive::<TimestampMicrosecondType>();
            Ok(Arc::new(wall.unary::<_, TimestampMicrosecondType>(shift)))
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            let time = cast(array, &DataType::Time64(TimeUnit::Microsecond))?;
            Ok(cast(&cast(&time, &DataType::Int64)?, &micros)?)
        }
        other => exec_err!("{other} is not a date or a timestamp"),
    }
}

fn to_list(array: &ArrayRef) -> Result<ArrayRef> {
    let item = match array.data_type() {
        DataType::List(_) => return Ok(Arc::clone(array)),
        DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => Arc::clone(item),
        _ => Arc::new(datafusion::arrow::datatypes::Field::new_list_field(
            DataType::Null,
            true,
        )),
    };
    Ok(cast(array, &DataType::List(item))?)
}

/// Returns text or bytes as `Binary`, for functions that work on bytes.
pub(crate) fn bytes_of(array: &ArrayRef) -> BinaryArray {
    match array.as_any().downcast_ref::<StringArray>() {
        Some(text) => BinaryArray::from(text.clone()),
        None => array.as_binary::<i32>().clone(),
    }
}
