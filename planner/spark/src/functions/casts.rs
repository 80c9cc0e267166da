//! Casts as functions: `int(x)`, `string(x)`, `date(x)`.

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;

use super::convert::{self, cast_strictly, is_text};
use super::scalar::{Call, Function, Param, Returns};

/// Returns the casts.
pub(crate) fn functions() -> Vec<Function> {
    let integer =
        |name, data_type| Function::new(name, &[Param::Any], Returns::Type(data_type), to_integer);
    let plain = |name, params, data_type| {
        Function::new(name, params, Returns::Type(data_type), |call: &Call| {
            Ok(Arc::clone(&call.arrays[0]))
        })
    };
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
        plain("binary", &[Param::Binary], DataType::Binary),
        plain("date", &[Param::Date], DataType::Date32),
        Function::new("timestamp", &[Param::Any], Returns::Instant, |call| {
            super::datetime::instants_of(call)
        }),
    ]
}

fn to_integer(call: &Call) -> Result<ArrayRef> {
    let array = &call.arrays[0];
    match array.data_type() {
        data_type if is_text(data_type) => convert::to_integer(array, &call.return_type),
        // Seconds since 1970.
        DataType::Timestamp(..) => {
            let instants = convert::convert(array, Param::Instant, &call.zone)?;
            let micros = cast(&instants, &DataType::Int64)?;
            let micros = datafusion::arrow::array::AsArray::as_primitive::<
                datafusion::arrow::datatypes::Int64Type,
            >(&micros);
            let seconds: ArrayRef = Arc::new(
                micros.unary::<_, datafusion::arrow::datatypes::Int64Type>(|micros| {
                    micros.div_euclid(1_000_000)
                }),
            );
            cast_strictly(&seconds, &call.return_type)
        }
        _ => cast_strictly(array, &call.return_type),
    }
}
