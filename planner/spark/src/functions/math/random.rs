//! Random numbers. A seed is accepted and ignored: a task reads its rows in batches of any size, and
//! may run twice.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type};
use datafusion::common::{Result, plan_err};

use crate::functions::convert::{to_double, to_integer};
use crate::functions::scalar::{Call, CallSite, Function, Param, Returns};

const LETTERS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let seed = &[Param::Long];
    let double = Returns::Type(DataType::Float64);
    let range = &[Param::Any, Param::Any, Param::Long];
    vec![
        Function::new("random", seed, double.clone(), |call| {
            doubles(call, fastrand::f64)
        })
        .optional(1)
        .aliases(&["rand"])
        .volatile(),
        Function::new("randn", seed, double, |call| doubles(call, normal))
            .optional(1)
            .volatile(),
        Function::new("uniform", range, Returns::Computed(uniform_type), uniform)
            .optional(1)
            .volatile(),
        Function::new(
            "randstr",
            &[Param::Int, Param::Long],
            Returns::Type(DataType::Utf8),
            |call| {
                let lengths = call.int(0);
                call.lenient::<datafusion::arrow::array::StringArray, String>(|row| {
                    let length = usize::try_from(lengths.value(row)).unwrap_or(0);
                    let letters = (0..length).map(|_| LETTERS[fastrand::usize(..LETTERS.len())]);
                    Ok(lengths
                        .is_valid(row)
                        .then(|| letters.map(char::from).collect()))
                })
            },
        )
        .optional(1)
        .volatile(),
    ]
}

fn doubles(call: &Call, value: impl Fn() -> f64) -> Result<ArrayRef> {
    call.lenient::<datafusion::arrow::array::Float64Array, f64>(|_| Ok(Some(value())))
}

/// Returns a number of the normal distribution, by the method of Box and Muller.
fn normal() -> f64 {
    let radius = (-2.0 * (1.0 - fastrand::f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * fastrand::f64()).cos()
}

fn uniform_type(site: &CallSite) -> Result<DataType> {
    match (&site.types[0], &site.types[1]) {
        (DataType::Int64, a) | (a, DataType::Int64) if a.is_integer() => Ok(DataType::Int64),
        (a, b) if a.is_integer() && b.is_integer() => Ok(DataType::Int32),
        (a, b) if a.is_numeric() && b.is_numeric() => Ok(DataType::Float64),
        (a, b) => plan_err!("{}: expected two numbers, got {a} and {b}", site.name),
    }
}

fn uniform(call: &Call) -> Result<ArrayRef> {
    if call.return_type == DataType::Float64 {
        let (lows, highs) = (to_double(&call.arrays[0])?, to_double(&call.arrays[1])?);
        let (lows, highs) = (
            lows.as_primitive::<Float64Type>(),
            highs.as_primitive::<Float64Type>(),
        );
        return call.primitive::<Float64Type>(|row| {
            Ok(Some(
                lows.value(row) + fastrand::f64() * (highs.value(row) - lows.value(row)),
            ))
        });
    }
    let low = to_integer(&call.arrays[0], &DataType::Int64)?;
    let high = to_integer(&call.arrays[1], &DataType::Int64)?;
    let (lows, highs) = (
        low.as_primitive::<Int64Type>(),
        high.as_primitive::<Int64Type>(),
    );
    let value = |row: usize| {
        let (low, high) = (lows.value(row), highs.value(row));
        if low >= high {
            low
        } else {
            fastrand::i64(low..high)
        }
    };
    match call.return_type {
        DataType::Int32 => call.primitive::<Int32Type>(|row| Ok(i32::try_from(value(row)).ok())),
        _ => call.primitive::<Int64Type>(|row| Ok(Some(value(row)))),
    }
}
