//! Casts as functions: `int(x)`, `string(x)`, `date(x)`.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::Result;

use super::convert::{self, cast_strictly, is_text};
use super::scalar::{Call, Function, Param, Returns};

/// Returns the casts.
pub(crate) fn functions() -> Vec<Function> {
    let mut functions = numbers();
    functions.extend(texts());
    functions.extend(times());
    functions
}

/// Returns the cast to a type to which the parameter is converted before.
fn plain(name: &'static str, params: &'static [Param], data_type: DataType) -> Function {
    Function::new(name, params, Returns::Type(data_type), |call: &Call| {
        Ok(Arc::clone(&call.arrays[0]))
    })
}

fn numbers() -> Vec<Function> {
    let integer =
        |name, data_type| Function::new(name, &[Param::Any], Returns::Type(data_type), to_integer);
    vec![
        integer("tinyint", DataType::Int8),
        integer("smallint", DataType::Int16),
        integer("int", DataType::Int32),
        integer("bigint", DataType::Int64),
        plain("double", &[Param::Double], DataType::Float64),
        Function::new(
            "float",
            &[Param::Double],
            Returns::Type(DataType::Float32),
            |call| Ok(cast(&call.arrays[0], &DataType::Float32)?),
        ),
        Function::new(
            "decimal",
            &[Param::Number],
            Returns::Type(DataType::Decimal128(10, 0)),
            |call| cast_strictly(&call.arrays[0], &DataType::Decimal128(10, 0)),
        ),
        Function::new(
            "try_to_double",
            &[Param::Text],
            Returns::Type(DataType::Float64),
            |call| {
                let texts = call.text(0);
                call.primitive::<Float64Type>(|row| Ok(convert::parse_double(texts.value(row))))
            },
        ),
        Function::new(
            "plain_number",
            &[Param::Text],
            Returns::Type(DataType::Utf8),
            |call| {
                let texts = call.text(0);
                let plain = texts.iter().map(|text| text.map(convert::plain_number));
                Ok(Arc::new(plain.collect::<StringArray>()))
            },
        ),
    ]
}

fn texts() -> Vec<Function> {
    vec![
        Function::new(
            "string",
            &[Param::Any],
            Returns::Type(DataType::Utf8),
            |call| convert::to_text(&call.arrays[0], &call.zone),
        ),
        Function::new(
            "boolean",
            &[Param::Any],
            Returns::Type(DataType::Boolean),
            |call| convert::convert(&call.arrays[0], Param::Boolean, &call.zone),
        ),
        Function::new(
            "try_to_boolean",
            &[Param::Text],
            Returns::Type(DataType::Boolean),
            |call| {
                let texts = call.text(0);
                call.booleans(|row| Ok(convert::parse_boolean(texts.value(row))))
            },
        ),
        plain("binary", &[Param::Binary], DataType::Binary),
    ]
}

fn times() -> Vec<Function> {
    let wall = Returns::Type(DataType::Timestamp(TimeUnit::Microsecond, None));
    vec![
        plain("date", &[Param::Date], DataType::Date32),
        Function::new("timestamp", &[Param::Any], Returns::Instant, |call| {
            super::datetime::instants_of(call)
        }),
        Function::new("to_wall_timestamp", &[Param::Any], wall.clone(), |call| {
            walls_of(call, &super::datetime::instants_of(call)?)
        }),
        Function::new("try_to_wall_timestamp", &[Param::Any], wall, |call| {
            walls_of(call, &super::datetime::try_instants_of(call)?)
        }),
    ]
}

/// Converts instants to wall clocks of the session's zone.
fn walls_of(call: &Call, instants: &ArrayRef) -> Result<ArrayRef> {
    // A wall clock that is skipped or repeated has no instant of its own.
    if let DataType::Timestamp(_, None) | DataType::Date32 = call.arrays[0].data_type() {
        return convert::convert(&call.arrays[0], Param::Wall, &call.zone);
    }
    let zone = call.zone;
    let instants = instants.as_primitive::<TimestampMicrosecondType>();
    Ok(Arc::new(instants.unary::<_, TimestampMicrosecondType>(
        |instant| zone.wall_of(instant),
    )))
}

fn to_integer(call: &Call) -> Result<ArrayRef> {
    let array = &call.arrays[0];
    match array.data_type() {
        data_type if is_text(data_type) => convert::to_integer(array, &call.return_type),
        // Seconds since 1970.
        DataType::Timestamp(..) => {
            let instants = convert::convert(array, Param::Instant, &call.zone)?;
            let micros = cast(&instants, &DataType::Int64)?;
            let micros = micros.as_primitive::<Int64Type>();
            let seconds: ArrayRef =
                Arc::new(micros.unary::<_, Int64Type>(|micros| micros.div_euclid(1_000_000)));
            cast_strictly(&seconds, &call.return_type)
        }
        _ => cast_strictly(array, &call.return_type),
    }
}
