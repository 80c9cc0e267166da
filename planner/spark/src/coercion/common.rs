//! Common types of values of different types.

use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};

/// Returns the common type of several values; `None` if they have one already, or DataFusion's
/// rules are Spark's.
pub(crate) fn common_type(types: &[DataType]) -> Option<DataType> {
    let mut known = types.iter().filter(|data_type| !data_type.is_null());
    let first = known.next()?.clone();
    let mut differs = false;
    let common = known.try_fold(first, |common, data_type| {
        differs |= common != *data_type;
        wider_type(&common, data_type)
    })?;
    differs.then_some(common)
}

/// Returns the type in which two values are compared; `None` where DataFusion's rules are Spark's.
pub(super) fn comparison_type(left: &DataType, right: &DataType) -> Option<DataType> {
    let is_decimal = |data_type: &DataType| matches!(data_type, DataType::Decimal128(..));
    match (left, right) {
        (float, decimal) | (decimal, float) if float.is_floating() && is_decimal(decimal) => {
            Some(DataType::Float64)
        }
        (text, number) | (number, text) if text.is_string() => type_for_text(number),
        _ => common_time(left, right),
    }
}

/// Returns the type that holds dates, wall clocks and instants together: an instant if one of both
/// is one. DataFusion compares dates and instants as wall clocks of UTC.
fn common_time(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType::{Date32, Timestamp};
    match (left, right) {
        (Date32 | Timestamp(_, None), instant @ Timestamp(_, Some(_)))
        | (instant @ Timestamp(_, Some(_)), Date32 | Timestamp(_, None)) => Some(instant.clone()),
        (Date32, wall @ Timestamp(_, None)) | (wall @ Timestamp(_, None), Date32) => {
            Some(wall.clone())
        }
        _ => None,
    }
}

/// Returns the type as which text is read beside a value of another type.
fn type_for_text(other: &DataType) -> Option<DataType> {
    match other {
        other if other.is_integer() => Some(DataType::Int64),
        other if other.is_numeric() => Some(DataType::Float64),
        DataType::Boolean | DataType::Date32 | DataType::Timestamp(..) => Some(other.clone()),
        _ => None,
    }
}

/// Returns the narrowest type that holds the values of both; `None` where DataFusion's rules are
/// Spark's.
fn wider_type(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType::{BinaryView, Decimal128, Float32, Float64};
    if left == right {
        return Some(left.clone());
    }
    if left.is_string() != right.is_string() {
        let other = if left.is_string() { right } else { left };
        return type_for_text(other);
    }
    match (left, right) {
        // Files are read as views, and functions return plain bytes.
        (BinaryView, bytes) | (bytes, BinaryView) if bytes.is_binary() => Some(BinaryView),
        (Float64, other) | (other, Float64) if other.is_numeric() => Some(Float64),
        (Float32, Decimal128(..)) | (Decimal128(..), Float32) => Some(Float64),
        (Float32, other) | (other, Float32) if other.is_integer() => Some(Float32),
        _ if left.is_signed_integer() && right.is_signed_integer() => {
            Some(match left.primitive_width() > right.primitive_width() {
                true => left.clone(),
                false => right.clone(),
            })
        }
        _ => common_time(left, right).or_else(|| {
            let ((p1, s1), (p2, s2)) = (precision_and_scale(left)?, precision_and_scale(right)?);
            let scale = s1.max(s2);
            let whole = (p1 - s1).max(p2 - s2);
            Some(decimal(whole, scale))
        }),
    }
}

/// Returns the decimal type with these digits before and after the point. Beyond 38 digits in all,
/// digits after the point are dropped.
fn decimal(whole: i16, scale: i16) -> DataType {
    let precision_max = i16::from(DECIMAL128_MAX_PRECISION);
    let whole = whole.min(precision_max);
    let scale = scale.min(precision_max - whole);
    let precision = u8::try_from(whole + scale).unwrap_or(DECIMAL128_MAX_PRECISION);
    DataType::Decimal128(precision.max(1), i8::try_from(scale).unwrap_or(0))
}

/// Returns precision and scale of the decimal type that holds all values of an integer or decimal
/// type.
pub(crate) fn precision_and_scale(data_type: &DataType) -> Option<(i16, i16)> {
    Some(match data_type {
        DataType::Int8 => (3, 0),
        DataType::Int16 => (5, 0),
        DataType::Int32 => (10, 0),
        DataType::Int64 => (20, 0),
        DataType::Decimal128(precision, scale) => (i16::from(*precision), i16::from(*scale)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_types_are_those_of_spark() {
        use DataType::{
            Binary, BinaryView, Boolean, Decimal128, Float32, Float64, Int16, Int32, Int64, Null,
            Utf8,
        };
        for (types, expected) in [
            (vec![Int32, Int64, Int16], Some(Int64)),
            (vec![Int32, Null], None),
            (vec![Int32, Decimal128(2, 1)], Some(Decimal128(11, 1))),
            (
                vec![Decimal128(38, 2), Decimal128(10, 5)],
                Some(Decimal128(38, 2)),
            ),
            (vec![Float32, Decimal128(2, 1)], Some(Float64)),
            (vec![Float32, Int64], Some(Float32)),
            (vec![Utf8, Int32], Some(Int64)),
            (vec![Decimal128(2, 1), Utf8], Some(Float64)),
            (vec![Utf8, Boolean], Some(Boolean)),
            (vec![Binary, BinaryView], Some(BinaryView)),
            (vec![Utf8, Utf8], None),
        ] {
            assert_eq!(common_type(&types), expected, "{types:?}");
        }
    }
}
