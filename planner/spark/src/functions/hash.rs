//! `hash` and `xxhash64`, bit for bit as Spark computes them.
//!
//! The hash of each value is the seed of the next one; null leaves the seed as it is.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{Result, exec_err};

use super::arrays::items;
use super::convert::{bytes_of, is_binary, is_text};
use super::scalar::{Call, Function, Param, Returns};

/// The seed of the first value.
const SEED: i64 = 42;

/// Returns the hash functions.
pub(crate) fn functions() -> Vec<Function> {
    let any = &[Param::Any];
    vec![
        Function::new("hash", any, Returns::Type(DataType::Int32), |call| {
            let columns = prepare(call)?;
            call.lenient::<datafusion::arrow::array::Int32Array, i32>(|row| {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "the seed of 32 bits is kept in 64"
                )]
                Ok(Some(fold::<Murmur3>(&columns, row)? as i32))
            })
        })
        .variadic(),
        Function::new("xxhash64", any, Returns::Type(DataType::Int64), |call| {
            let columns = prepare(call)?;
            call.lenient::<datafusion::arrow::array::Int64Array, i64>(|row| {
                fold::<Xxh64>(&columns, row).map(Some)
            })
        })
        .variadic(),
    ]
}

/// How words and bytes are hashed.
trait Algorithm {
    fn int(value: i32, seed: i64) -> i64;
    fn long(value: i64, seed: i64) -> i64;
    fn bytes(value: &[u8], seed: i64) -> i64;
}

/// Converts the columns to the few types that are hashed.
fn prepare(call: &Call) -> Result<Vec<ArrayRef>> {
    call.arrays.iter().map(cast_to_hashed_type).collect()
}

fn cast_to_hashed_type(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        data_type if is_text(data_type) => cast(array, &DataType::Utf8)?,
        data_type if is_binary(data_type) => cast(array, &DataType::Binary)?,
        DataType::Timestamp(_, zone) => {
            let micros = cast(
                array,
                &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            )?;
            cast(&micros, &DataType::Timestamp(TimeUnit::Microsecond, None))?
        }
        DataType::Interval(_) => cast(array, &DataType::Interval(IntervalUnit::MonthDayNano))?,
        DataType::UInt8 => cast(array, &DataType::Int16)?,
        DataType::UInt16 => cast(array, &DataType::Int32)?,
        DataType::UInt32 | DataType::UInt64 => cast(array, &DataType::Int64)?,
        _ => ArrayRef::clone(array),
    })
}

fn fold<A: Algorithm>(columns: &[ArrayRef], row: usize) -> Result<i64> {
    columns
        .iter()
        .try_fold(SEED, |seed, column| value::<A>(column, row, seed))
}

fn value<A: Algorithm>(array: &ArrayRef, row: usize, seed: i64) -> Result<i64> {
    if array.is_null(row) {
        return Ok(seed);
    }
    Ok(match array.data_type() {
        DataType::Null => seed,
        DataType::Boolean => A::int(array.as_boolean().value(row).into(), seed),
        DataType::Int8 => A::int(array.as_primitive::<Int8Type>().value(row).into(), seed),
        DataType::Int16 => A::int(array.as_primitive::<Int16Type>().value(row).into(), seed),
        DataType::Int32 => A::int(array.as_primitive::<Int32Type>().value(row), seed),
        DataType::Date32 => A::int(array.as_primitive::<Date32Type>().value(row), seed),
        DataType::Int64 => A::long(array.as_primitive::<Int64Type>().value(row), seed),
        DataType::Timestamp(TimeUnit::Microsecond, None) => A::long(
            array.as_primitive::<TimestampMicrosecondType>().value(row),
            seed,
        ),
        DataType::Float32 => {
            let number = array.as_primitive::<Float32Type>().value(row);
            // Minus zero is zero.
            let number = if number == 0.0 { 0.0 } else { number };
            A::int(number.to_bits().cast_signed(), seed)
        }
        DataType::Float64 => {
            let number = array.as_primitive::<Float64Type>().value(row);
            let number = if number == 0.0 { 0.0 } else { number };
            A::long(number.to_bits().cast_signed(), seed)
        }
        DataType::Decimal128(precision, _) => {
            let digits = array.as_primitive::<Decimal128Type>().value(row);
            match i64::try_from(digits) {
                Ok(digits) if *precision <= 18 => A::long(digits, seed),
                _ => A::bytes(trim_sign_bytes(&digits.to_be_bytes()), seed),
            }
        }
        DataType::Utf8 | DataType::Binary => {
            A::bytes(bytes_of(&array.slice(row, 1)).value(0), seed)
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let interval = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            let time = A::long(interval.nanoseconds / 1000, seed);
            A::int(interval.months, A::int(interval.days, time))
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let values = cast_to_hashed_type(list.values())?;
            items(list, row).try_fold(seed, |seed, item| value::<A>(&values, item, seed))?
        }
        DataType::Struct(_) => {
            let columns = array.as_struct().columns();
            columns.iter().try_fold(seed, |seed, column| {
                value::<A>(&cast_to_hashed_type(column)?, row, seed)
            })?
        }
        DataType::Map(..) => {
            return exec_err!(
                "[DATATYPE_MISMATCH.HASH_MAP_TYPE] a MAP has no hash; map_entries makes an array of it"
            );
        }
        other => return exec_err!("{other} has no hash"),
    })
}

/// Removes bytes that only repeat the sign, as Java's `BigInteger` does.
fn trim_sign_bytes(bytes: &[u8]) -> &[u8] {
    let mut bytes = bytes;
    while let [first @ (0x00 | 0xFF), second, ..] = bytes
        && (first >> 7) == (second >> 7)
    {
        bytes = &bytes[1..];
    }
    bytes
}

/// Murmur3 of 32 bits, with Spark's way of hashing the last bytes.
struct Murmur3;

impl Murmur3 {
    fn mix(hash: u32, word: u32) -> u32 {
        let word = word
            .wrapping_mul(0xcc9e_2d51)
            .rotate_left(15)
            .wrapping_mul(0x1b87_3593);
        (hash ^ word)
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64)
    }

    fn finish(hash: u32, length: usize) -> i64 {
        let mut hash = hash ^ u32::try_from(length).unwrap_or(u32::MAX);
        hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
        hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
        (hash ^ (hash >> 16)).cast_signed().into()
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the seed has 32 bits"
    )]
    fn seed(seed: i64) -> u32 {
        seed as u32
    }
}

impl Algorithm for Murmur3 {
    fn int(value: i32, seed: i64) -> i64 {
        Self::finish(Self::mix(Self::seed(seed), value.cast_unsigned()), 4)
    }

    fn long(value: i64, seed: i64) -> i64 {
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        let low = Self::mix(Self::seed(seed), u32::from_le_bytes([a, b, c, d]));
        Self::finish(Self::mix(low, u32::from_le_bytes([e, f, g, h])), 8)
    }

    fn bytes(value: &[u8], seed: i64) -> i64 {
        let words = value.chunks_exact(4);
        let rest = words.remainder();
        let hash = words.fold(Self::seed(seed), |hash, word| {
            Self::mix(
                hash,
                u32::from_le_bytes([word[0], word[1], word[2], word[3]]),
            )
        });
        // Each of the last bytes is a word of its own, with its sign.
        let hash = rest.iter().fold(hash, |hash, byte| {
            Self::mix(hash, i32::from(byte.cast_signed()).cast_unsigned())
        });
        Self::finish(hash, value.len())
    }
}

/// Returns Spark's `xxhash64` of a value.
///
/// # Errors
/// If values of the type have no hash.
pub(crate) fn xxhash64_of_row(array: &ArrayRef, row: usize) -> Result<i64> {
    value::<Xxh64>(&cast_to_hashed_type(array)?, row, SEED)
}

/// Returns Spark's Murmur3 of a number of 32 bits.
pub(crate) fn murmur3_of_int(value: i32, seed: i32) -> i32 {
    i32::try_from(Murmur3::int(value, seed.into())).unwrap_or(0)
}

/// Returns Spark's Murmur3 of bytes.
pub(crate) fn murmur3_of_bytes(bytes: &[u8], seed: i32) -> i32 {
    i32::try_from(Murmur3::bytes(bytes, seed.into())).unwrap_or(0)
}

/// XXH64.
struct Xxh64;

const PRIME_1: u64 = 0x9E37_79B1_85EB_CA87;
const PRIME_2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const PRIME_3: u64 = 0x1656_67B1_9E37_79F9;
const PRIME_4: u64 = 0x85EB_CA77_C2B2_AE63;
const PRIME_5: u64 = 0x27D4_EB2F_1656_67C5;

impl Xxh64 {
    fn round(hash: u64, word: u64) -> u64 {
        hash.wrapping_add(word.wrapping_mul(PRIME_2))
            .rotate_left(31)
            .wrapping_mul(PRIME_1)
    }

    fn with_long(hash: u64, word: u64) -> u64 {
        (hash ^ Self::round(0, word))
            .rotate_left(27)
            .wrapping_mul(PRIME_1)
            .wrapping_add(PRIME_4)
    }

    fn with_int(hash: u64, word: u32) -> u64 {
        (hash ^ u64::from(word).wrapping_mul(PRIME_1))
            .rotate_left(23)
            .wrapping_mul(PRIME_2)
            .wrapping_add(PRIME_3)
    }

    fn finish(mut hash: u64) -> i64 {
        hash = (hash ^ (hash >> 33)).wrapping_mul(PRIME_2);
        hash = (hash ^ (hash >> 29)).wrapping_mul(PRIME_3);
        (hash ^ (hash >> 32)).cast_signed()
    }

    fn start(seed: i64, length: usize) -> u64 {
        seed.cast_unsigned()
            .wrapping_add(PRIME_5)
            .wrapping_add(length as u64)
    }
}

fn word_of(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |word, byte| word << 8 | u64::from(*byte))
}

impl Algorithm for Xxh64 {
    fn int(value: i32, seed: i64) -> i64 {
        Self::finish(Self::with_int(Self::start(seed, 4), value.cast_unsigned()))
    }

    fn long(value: i64, seed: i64) -> i64 {
        Self::finish(Self::with_long(Self::start(seed, 8), value.cast_unsigned()))
    }

    fn bytes(value: &[u8], seed: i64) -> i64 {
        let blocks = value.chunks_exact(32);
        let rest = blocks.remainder();
        let start = seed.cast_unsigned();
        let mut hash = match value.len() >= 32 {
            false => Self::start(seed, value.len()),
            true => {
                let mut lanes = [
                    start.wrapping_add(PRIME_1).wrapping_add(PRIME_2),
                    start.wrapping_add(PRIME_2),
                    start,
                    start.wrapping_sub(PRIME_1),
                ];
                for block in blocks {
                    for (lane, word) in lanes.iter_mut().zip(block.chunks_exact(8)) {
                        *lane = Self::round(*lane, word_of(word));
                    }
                }
                let turned = lanes
                    .iter()
                    .zip([1, 7, 12, 18])
                    .map(|(lane, by)| lane.rotate_left(by));
                let joined = turned.fold(0, u64::wrapping_add);
                let merged = lanes.iter().fold(joined, |hash, lane| {
                    (hash ^ Self::round(0, *lane))
                        .wrapping_mul(PRIME_1)
                        .wrapping_add(PRIME_4)
                });
                merged.wrapping_add(value.len() as u64)
            }
        };
        let longs = rest.chunks_exact(8);
        let mut rest = longs.remainder();
        hash = longs.fold(hash, |hash, word| Self::with_long(hash, word_of(word)));
        if let Some((word, after)) = rest.split_first_chunk::<4>() {
            hash = Self::with_int(hash, u32::from_le_bytes(*word));
            rest = after;
        }
        let hash = rest.iter().fold(hash, |hash, byte| {
            (hash ^ u64::from(*byte).wrapping_mul(PRIME_5))
                .rotate_left(11)
                .wrapping_mul(PRIME_1)
        });
        Self::finish(hash)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Int32Array, ListArray, StringArray};

    use super::*;

    /// The examples of Spark's documentation.
    #[test]
    fn hashes_are_those_of_spark() {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec!["Spark"])),
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some([
                Some(123),
            ])])),
            Arc::new(Int32Array::from(vec![2])),
        ];
        assert_eq!(fold::<Murmur3>(&columns, 0).unwrap(), -1_321_691_492);
        assert_eq!(
            fold::<Xxh64>(&columns, 0).unwrap(),
            5_602_566_077_635_097_486
        );
    }

    #[test]
    fn long_texts_are_hashed_as_the_reference_does() {
        // Of the reference implementation, with seed 0.
        assert_eq!(Xxh64::bytes(b"", 0).cast_unsigned(), 0xef46_db37_51d8_e999);
        assert_eq!(
            Xxh64::bytes(b"abc", 0).cast_unsigned(),
            0x44bc_2cf5_ad77_0999
        );
        assert_eq!(trim_sign_bytes(&[0xFF, 0xFF, 0x80]), [0x80]);
        assert_eq!(trim_sign_bytes(&[0, 0, 0x80]), [0, 0x80]);
        assert_eq!(trim_sign_bytes(&[0, 0]), [0]);
    }
}
