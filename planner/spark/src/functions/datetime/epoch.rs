//! Functions that convert between timestamps and numbers since 1970, and between time zones.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{Result, exec_err};

use crate::functions::convert::{self, Zone};
use crate::functions::scalar::{Call, Function, Param, Returns};

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let number = &[Param::Number];
    let long = &[Param::Long];
    let instant = &[Param::Instant];
    let wall_and_zone = &[Param::Wall, Param::Text];
    let since_epoch =
        |name, body| Function::new(name, instant, Returns::Type(DataType::Int64), body);
    let local = Returns::Type(DataType::Timestamp(TimeUnit::Microsecond, None));
    vec![
        Function::new("timestamp_seconds", number, Returns::Instant, |call| {
            from_seconds(&call.arrays[0])
        }),
        Function::new("timestamp_millis", long, Returns::Instant, |call| {
            from_units(call, 1000)
        }),
        Function::new("timestamp_micros", long, Returns::Instant, |call| {
            from_units(call, 1)
        }),
        since_epoch("unix_seconds", |call| to_units(call, 1_000_000)),
        since_epoch("unix_millis", |call| to_units(call, 1000)),
        since_epoch("unix_micros", |call| to_units(call, 1)),
        Function::new(
            "from_utc_timestamp",
            wall_and_zone,
            Returns::Instant,
            |call| shift(call, Direction::FromUtc),
        ),
        Function::new(
            "to_utc_timestamp",
            wall_and_zone,
            Returns::Instant,
            |call| shift(call, Direction::ToUtc),
        ),
        Function::new(
            "convert_timezone",
            &[Param::Any, Param::Any, Param::Any],
            local,
            convert_timezone,
        )
        .optional(1),
    ]
}

/// Reads numbers as seconds since 1970.
pub(super) fn from_seconds(array: &ArrayRef) -> Result<ArrayRef> {
    let micros: ArrayRef = match array.data_type() {
        DataType::Float64 | DataType::Float32 => {
            let seconds = cast(array, &DataType::Float64)?;
            let seconds = seconds.as_primitive::<Float64Type>();
            // NaN has no instant.
            Arc::new(seconds.unary_opt::<_, TimestampMicrosecondType>(|seconds| {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "the cast saturates, as Java's does"
                )]
                seconds.is_finite().then_some((seconds * 1e6) as i64)
            }))
        }
        DataType::Decimal128(..) => {
            let micros = convert::cast_strictly(array, &DataType::Decimal128(38, 6))?;
            let micros = micros.as_primitive::<Decimal128Type>();
            Arc::new(
                micros
                    .unary_opt::<_, TimestampMicrosecondType>(|micros| i64::try_from(micros).ok()),
            )
        }
        _ => {
            let seconds = convert::cast_strictly(array, &DataType::Int64)?;
            Arc::new(scale_to_micros(
                seconds.as_primitive::<Int64Type>(),
                1_000_000,
            )?)
        }
    };
    Ok(micros)
}

fn scale_to_micros(
    numbers: &datafusion::arrow::array::Int64Array,
    micros: i64,
) -> Result<datafusion::arrow::array::TimestampMicrosecondArray> {
    let scaled =
        numbers.iter().map(
            |number| match number.map(|number| number.checked_mul(micros)) {
                Some(None) => exec_err!("[ARITHMETIC_OVERFLOW] a timestamp is out of range"),
                value => Ok(value.flatten()),
            },
        );
    scaled.collect()
}

fn from_units(call: &Call, micros: i64) -> Result<ArrayRef> {
    Ok(Arc::new(scale_to_micros(call.long(0), micros)?))
}

fn to_units(call: &Call, micros: i64) -> Result<ArrayRef> {
    let instants = call.micros(0);
    Ok(Arc::new(instants.unary::<_, Int64Type>(|instant| {
        instant.div_euclid(micros)
    })))
}

#[derive(Clone, Copy)]
enum Direction {
    FromUtc,
    ToUtc,
}

/// Moves a wall clock between UTC and a zone. The result is the instant with that wall clock in the
/// session's zone.
fn shift(call: &Call, direction: Direction) -> Result<ArrayRef> {
    let (walls, zones) = (call.micros(0), call.text(1));
    call.primitive::<TimestampMicrosecondType>(|row| {
        let zone = Zone::parse(zones.value(row))?;
        let wall = walls.value(row);
        let moved = match direction {
            Direction::FromUtc => zone.wall_of(wall),
            Direction::ToUtc => zone.instant_of(wall),
        };
        Ok(Some(call.zone.instant_of(moved)))
    })
}

/// Computes `convert_timezone([source,] target, wall)`; without `source`, the wall clock is of the
/// session's zone.
fn convert_timezone(call: &Call) -> Result<ArrayRef> {
    let last = call.arrays.len() - 1;
    let walls = convert::convert(&call.arrays[last], Param::Wall, &call.zone)?;
    let walls = walls.as_primitive::<TimestampMicrosecondType>();
    let zones = call.arrays[..last]
        .iter()
        .map(|names| convert::convert(names, Param::Text, &call.zone))
        .collect::<Result<Vec<_>>>()?;
    call.primitive::<TimestampMicrosecondType>(|row| {
        let zone = |index: usize| Zone::parse(zones[index].as_string::<i32>().value(row));
        let (from, to) = match last {
            1 => (call.zone, zone(0)?),
            _ => (zone(0)?, zone(1)?),
        };
        Ok(Some(to.wall_of(from.instant_of(walls.value(row)))))
    })
}
