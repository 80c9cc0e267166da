//! Functions of random numbers. With a seed, they return Spark's numbers: a task draws them row by
//! row, from the seed plus its partition.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, StringArray};
use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Float64Type};
use datafusion::common::{Result, plan_err};

use super::generators::XorShift;
use crate::functions::convert::{cast_strictly, to_double};
use crate::functions::scalar::{Call, CallSite, Function, Param, Returns};

/// Digits and letters of random text.
const LETTERS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let seed = &[Param::Long];
    let double = Returns::Type(DataType::Float64);
    let range = &[Param::Any, Param::Any, Param::Long];
    vec![
        Function::new("random", seed, double.clone(), |call| {
            doubles(call, XorShift::next_double)
        })
        .optional(1)
        .aliases(&["rand"])
        .sequence(),
        Function::new("randn", seed, double, |call| {
            doubles(call, XorShift::next_normal)
        })
        .optional(1)
        .sequence(),
        Function::new("uniform", range, Returns::Computed(uniform_type), uniform)
            .optional(1)
            .sequence(),
        Function::new(
            "randstr",
            &[Param::Int, Param::Long],
            Returns::Type(DataType::Utf8),
            randstr,
        )
        .optional(1)
        .sequence(),
    ]
}

fn doubles(call: &Call, next: fn(&mut XorShift) -> f64) -> Result<ArrayRef> {
    call.draw(0, |sequence, seed| {
        let generator = sequence.xor_shift(seed);
        call.lenient::<Float64Array, f64>(|_| Ok(Some(next(generator))))
    })
}

/// Maximum number of characters that `randstr` returns for a row.
const RANDOM_TEXT_MAX: usize = 1 << 20;

fn randstr(call: &Call) -> Result<ArrayRef> {
    let lengths = call.int(0);
    call.draw(1, |sequence, seed| {
        let generator = sequence.xor_shift(seed);
        call.lenient::<StringArray, String>(|row| {
            if lengths.is_null(row) {
                return Ok(None);
            }
            let length = usize::try_from(lengths.value(row));
            let Some(length) = length.ok().filter(|length| *length <= RANDOM_TEXT_MAX) else {
                return call.fail(format!(
                    "the length must not be negative, nor above {RANDOM_TEXT_MAX}"
                ));
            };
            let letters = (0..length).map(|_| {
                let index = (generator.next_int() % 62).unsigned_abs() as usize;
                char::from(LETTERS[index])
            });
            Ok(Some(letters.collect()))
        })
    })
}

/// Returns the type that holds both bounds: the larger one of whole numbers, a decimal with the
/// larger scale, else a fraction.
fn uniform_type(site: &CallSite) -> Result<DataType> {
    use DataType::{Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, Null};
    Ok(match (&site.types[0], &site.types[1]) {
        (Null, Null) => Int32,
        (Null, other) | (other, Null) if other.is_numeric() => other.clone(),
        (Float64, b) if b.is_numeric() => Float64,
        (a, Float64) if a.is_numeric() => Float64,
        (Float32, b) if b.is_numeric() => Float32,
        (a, Float32) if a.is_numeric() => Float32,
        (Decimal128(p1, s1), Decimal128(p2, s2)) => {
            let scale = *s1.max(s2);
            let whole = |precision: u8, scale: i8| i16::from(precision) - i16::from(scale);
            let digits = whole(*p1, *s1).max(whole(*p2, *s2)) + i16::from(scale);
            let digits = u8::try_from(digits).unwrap_or(DECIMAL128_MAX_PRECISION);
            Decimal128(digits.min(DECIMAL128_MAX_PRECISION), scale)
        }
        (decimal @ Decimal128(..), other) | (other, decimal @ Decimal128(..))
            if other.is_integer() =>
        {
            decimal.clone()
        }
        (a, b) if a.is_integer() && b.is_integer() => [Int64, Int32, Int16, Int8]
            .into_iter()
            .find(|data_type| data_type == a || data_type == b)
            .unwrap_or(Int64),
        (a, b) => return plan_err!("{}: expected two numbers, got {a} and {b}", site.name),
    })
}

fn uniform(call: &Call) -> Result<ArrayRef> {
    let (lows, highs) = (to_double(&call.arrays[0])?, to_double(&call.arrays[1])?);
    let (lows, highs) = (
        lows.as_primitive::<Float64Type>(),
        highs.as_primitive::<Float64Type>(),
    );
    let fractions = call.draw(2, |sequence, seed| {
        let generator = sequence.xor_shift(seed);
        call.lenient::<Float64Array, f64>(|row| {
            let fraction = generator.next_double();
            let is_known = lows.is_valid(row) && highs.is_valid(row);
            Ok(is_known.then(|| lows.value(row) + (highs.value(row) - lows.value(row)) * fraction))
        })
    })?;
    match &call.return_type {
        DataType::Float64 => Ok(fractions),
        whole if whole.is_integer() => {
            let fractions = fractions.as_primitive::<Float64Type>();
            let whole_part: ArrayRef =
                std::sync::Arc::new(fractions.unary::<_, Float64Type>(f64::trunc));
            cast_strictly(&whole_part, whole)
        }
        other => cast_strictly(&fractions, other),
    }
}
