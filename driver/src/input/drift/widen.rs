//! Finds the narrowest type that holds the values of two types.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Fields, TimeUnit};

/// Number of digits of the widest decimal that all readers of Parquet support.
const DECIMAL_DIGITS_MAX: u8 = 38;

/// Decides whether a type can hold the values of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TypeRule {
    /// For types that files declare: no value may change.
    Lossless,
    /// For types that were inferred from text: whole numbers and fractions become `DOUBLE`, and
    /// types without a common type become strings, as within one file.
    Text,
}

/// Returns the narrowest type that holds every value of both, if there is one.
pub(crate) fn widen(a: &DataType, b: &DataType, rule: TypeRule) -> Option<DataType> {
    if a == b {
        return Some(a.clone());
    }
    match (a, b) {
        (DataType::Null, other) | (other, DataType::Null) => return Some(other.clone()),
        (DataType::Dictionary(_, a), b) => return widen(a, b, rule),
        (a, DataType::Dictionary(_, b)) => return widen(a, b, rule),
        (DataType::RunEndEncoded(_, a), b) => return widen(a.data_type(), b, rule),
        (a, DataType::RunEndEncoded(_, b)) => return widen(a, b.data_type(), rule),
        _ => {}
    }
    widen_numbers(a, b, rule)
        .or_else(|| widen_times(a, b))
        .or_else(|| widen_texts(a, b))
        .or_else(|| widen_nested(a, b, rule))
}

/// Returns the number of bits of an integer type, and whether it has a sign.
fn integer_bits(data_type: &DataType) -> Option<(u8, bool)> {
    Some(match data_type {
        DataType::Int8 => (8, true),
        DataType::Int16 => (16, true),
        DataType::Int32 => (32, true),
        DataType::Int64 => (64, true),
        DataType::UInt8 => (8, false),
        DataType::UInt16 => (16, false),
        DataType::UInt32 => (32, false),
        DataType::UInt64 => (64, false),
        _ => return None,
    })
}

fn widen_numbers(a: &DataType, b: &DataType, rule: TypeRule) -> Option<DataType> {
    use DataType::{Float16, Float32, Float64, Int16, Int32, Int64, UInt16, UInt32, UInt64};
    match (integer_bits(a), integer_bits(b)) {
        (Some((x, signed_x)), Some((y, signed_y))) => {
            let bits = match (signed_x, signed_y) {
                (true, false) => x.max(y * 2),
                (false, true) => y.max(x.saturating_mul(2)),
                _ => x.max(y),
            };
            return match (bits, signed_x || signed_y) {
                (16, true) => Some(Int16),
                (32, true) => Some(Int32),
                (64, true) => Some(Int64),
                (16, false) => Some(UInt16),
                (32, false) => Some(UInt32),
                (64, false) => Some(UInt64),
                _ => None,
            };
        }
        (Some((bits, _)), None) | (None, Some((bits, _))) => {
            let other = if integer_bits(a).is_some() { b } else { a };
            if other.is_floating() {
                // A double holds whole numbers of up to 53 bits.
                let fits = bits <= 32 || rule != TypeRule::Lossless;
                return fits.then_some(Float64);
            }
        }
        (None, None) => {}
    }
    match (a, b) {
        (Float16, Float32) | (Float32, Float16) => return Some(Float32),
        (Float16 | Float32, Float64) | (Float64, Float16 | Float32) => return Some(Float64),
        _ => {}
    }
    let ((digits_a, scale_a), (digits_b, scale_b)) = (decimal_digits(a)?, decimal_digits(b)?);
    let scale = scale_a.max(scale_b);
    let digits =
        (i16::from(digits_a) - i16::from(scale_a)).max(i16::from(digits_b) - i16::from(scale_b));
    let precision = u8::try_from(digits + i16::from(scale)).ok()?;
    (precision <= DECIMAL_DIGITS_MAX).then_some(DataType::Decimal128(precision.max(1), scale))
}

/// Returns the digits and the scale of the decimal that holds a type of numbers.
fn decimal_digits(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal32(digits, scale)
        | DataType::Decimal64(digits, scale)
        | DataType::Decimal128(digits, scale) => Some((*digits, *scale)),
        other => {
            let (bits, _) = integer_bits(other)?;
            Some((
                match bits {
                    8 => 3,
                    16 => 5,
                    32 => 10,
                    _ => 20,
                },
                0,
            ))
        }
    }
}

fn widen_times(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{Date32, Date64, Time32, Time64, Timestamp};
    Some(match (a, b) {
        (Timestamp(x, zone), Timestamp(y, other)) => match (zone, other) {
            (zone, other) if zone == other => Timestamp(finer(*x, *y), zone.clone()),
            // An instant is the same in every zone. Only its display differs.
            (Some(_), Some(_)) => Timestamp(finer(*x, *y), Some("UTC".into())),
            _ => return None,
        },
        (Date32 | Date64, Timestamp(unit, None)) | (Timestamp(unit, None), Date32 | Date64) => {
            Timestamp(*unit, None)
        }
        (Date32, Date64) | (Date64, Date32) => Date32,
        (Time32(x) | Time64(x), Time32(y) | Time64(y)) => match finer(*x, *y) {
            unit @ (TimeUnit::Second | TimeUnit::Millisecond) => Time32(unit),
            unit => Time64(unit),
        },
        _ => return None,
    })
}

fn finer(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    let rank = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    if rank(&a) >= rank(&b) { a } else { b }
}

fn widen_texts(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{Binary, BinaryView, FixedSizeBinary, LargeBinary, LargeUtf8, Utf8, Utf8View};
    Some(match (a, b) {
        (Utf8View, Utf8 | LargeUtf8) | (Utf8 | LargeUtf8, Utf8View) => Utf8View,
        (Utf8, LargeUtf8) | (LargeUtf8, Utf8) => LargeUtf8,
        (BinaryView, Binary | LargeBinary | FixedSizeBinary(_))
        | (Binary | LargeBinary | FixedSizeBinary(_), BinaryView) => BinaryView,
        (LargeBinary, Binary | FixedSizeBinary(_)) | (Binary | FixedSizeBinary(_), LargeBinary) => {
            LargeBinary
        }
        (Binary | FixedSizeBinary(_), FixedSizeBinary(_)) | (FixedSizeBinary(_), Binary) => Binary,
        _ => return None,
    })
}

fn widen_nested(a: &DataType, b: &DataType, rule: TypeRule) -> Option<DataType> {
    use DataType::{FixedSizeList, LargeList, List, Map, Struct};
    match (a, b) {
        (Struct(a), Struct(b)) => widen_structs(a, b, rule).map(Struct),
        (List(a) | FixedSizeList(a, _), List(b) | FixedSizeList(b, _)) => {
            widen_fields(a, b, rule).map(List)
        }
        (
            List(a) | LargeList(a) | FixedSizeList(a, _),
            List(b) | LargeList(b) | FixedSizeList(b, _),
        ) => widen_fields(a, b, rule).map(LargeList),
        (Map(a, sorted), Map(b, other)) => {
            let (Struct(a_parts), Struct(b_parts)) = (a.data_type(), b.data_type()) else {
                return None;
            };
            // Writers name keys and values differently, so these are matched by position.
            let parts: Option<Fields> = a_parts
                .iter()
                .zip(b_parts)
                .map(|(a, b)| widen_fields(a, b, rule))
                .collect();
            let entries = a.as_ref().clone().with_data_type(Struct(parts?));
            Some(Map(Arc::new(entries), *sorted && *other))
        }
        _ => None,
    }
}

fn widen_fields(a: &FieldRef, b: &FieldRef, rule: TypeRule) -> Option<FieldRef> {
    let both = widen(a.data_type(), b.data_type(), rule)?;
    let nullable = a.is_nullable() || b.is_nullable();
    Some(Arc::new(
        a.as_ref()
            .clone()
            .with_data_type(both)
            .with_nullable(nullable),
    ))
}

/// Returns the fields of both: those of the first in its order, then those that only the second
/// has.
fn widen_structs(a: &Fields, b: &Fields, rule: TypeRule) -> Option<Fields> {
    let same = |x: &FieldRef, y: &FieldRef| x.name().to_lowercase() == y.name().to_lowercase();
    let mut fields: Vec<FieldRef> = vec![];
    for field in a {
        fields.push(match b.iter().find(|other| same(field, other)) {
            Some(other) => widen_fields(field, other, rule)?,
            None => Arc::new(field.as_ref().clone().with_nullable(true)),
        });
    }
    let added = b
        .iter()
        .filter(|field| !a.iter().any(|other| same(field, other)));
    fields.extend(added.map(|field| Arc::new(field.as_ref().clone().with_nullable(true))));
    Some(fields.into())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn a_type_that_holds_both_is_found_in_either_order_or_not_at_all() {
        use DataType::*;
        let us = TimeUnit::Microsecond;
        let cases = [
            (Int32, Int64, Some(Int64)),
            (UInt32, Int32, Some(Int64)),
            (UInt64, Int64, None),
            (UInt8, UInt16, Some(UInt16)),
            (Int32, Float32, Some(Float64)),
            (Int64, Float64, None),
            (Float32, Float64, Some(Float64)),
            (Decimal128(5, 2), Decimal128(6, 1), Some(Decimal128(7, 2))),
            (Decimal128(38, 0), Decimal128(5, 2), None),
            (Decimal128(5, 2), Int32, Some(Decimal128(12, 2))),
            (
                Timestamp(TimeUnit::Millisecond, None),
                Timestamp(us, None),
                Some(Timestamp(us, None)),
            ),
            (Timestamp(us, None), Timestamp(us, Some("UTC".into())), None),
            (Date32, Timestamp(us, None), Some(Timestamp(us, None))),
            (Utf8, Utf8View, Some(Utf8View)),
            (
                Dictionary(Box::new(Int32), Box::new(Utf8)),
                LargeUtf8,
                Some(LargeUtf8),
            ),
            (Utf8, Int64, None),
            (Boolean, Int32, None),
            (Binary, Utf8, None),
        ];
        for (a, b, expected) in cases {
            assert_eq!(widen(&a, &b, TypeRule::Lossless), expected, "{a} {b}");
            assert_eq!(widen(&b, &a, TypeRule::Lossless), expected, "{b} {a}");
        }
    }

    #[test]
    fn structs_take_the_fields_of_both() {
        let fields = |fields: &[(&str, DataType)]| {
            let field =
                |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
            DataType::Struct(fields.iter().map(field).collect())
        };
        let a = fields(&[("X", DataType::Int32), ("y", DataType::Utf8)]);
        let b = fields(&[("z", DataType::Date32), ("x", DataType::Int64)]);
        let both = fields(&[
            ("X", DataType::Int64),
            ("y", DataType::Utf8),
            ("z", DataType::Date32),
        ]);
        assert_eq!(widen(&a, &b, TypeRule::Lossless), Some(both));
    }
}
