//! The types that a column may have, according to the values read so far.

use arrow::array::types::Date32Type;
use arrow::compute::kernels::cast_utils::{Parser, string_to_datetime};
use arrow::datatypes::{DataType, TimeUnit};
use chrono::Utc;
use faisca_planner::manifest::Decimal;
use faisca_spark::types::instant_type;

use super::values::exchange_decimal_marks;

/// A set of kinds of values. The kinds of two files are united before a type is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Kinds(u8);

const BOOLEAN: u8 = 1;
const INTEGER: u8 = 1 << 1;
/// Digits that are too many for a BIGINT. Alone they are text: they may be keys.
const LONG_INTEGER: u8 = 1 << 2;
const FLOAT: u8 = 1 << 3;
const DATE: u8 = 1 << 4;
const TIMESTAMP: u8 = 1 << 5;
const NANOSECONDS: u8 = 1 << 6;
const TEXT: u8 = 1 << 7;

/// Length of `2024-12-31 23:59:59`.
const SECONDS_LENGTH: usize = 19;

impl Kinds {
    /// Adds the kind of a value that is not null.
    pub(super) fn add(&mut self, value: &str, decimal: Decimal) {
        if self.0 & TEXT == 0 {
            self.0 |= kind(value, decimal);
        }
    }

    pub(super) fn unite(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// The type that holds all values seen. Without values it is text, as in Spark.
    pub(super) fn data_type(self) -> DataType {
        let is_among = |kinds: u8| self.0 & !kinds == 0;
        if self.0 == BOOLEAN {
            DataType::Boolean
        } else if self.0 == INTEGER {
            DataType::Int64
        } else if self.0 & FLOAT != 0 && is_among(INTEGER | LONG_INTEGER | FLOAT) {
            DataType::Float64
        } else if self.0 == DATE {
            DataType::Date32
        } else if self.0 & NANOSECONDS != 0 && is_among(DATE | TIMESTAMP | NANOSECONDS) {
            DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
        } else if self.0 & TIMESTAMP != 0 && is_among(DATE | TIMESTAMP) {
            instant_type()
        } else {
            DataType::Utf8
        }
    }
}

fn kind(value: &str, decimal: Decimal) -> u8 {
    if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") {
        return BOOLEAN;
    }
    let digits = value.strip_prefix('-').unwrap_or(value);
    if is_digits(digits) {
        let fits = value.parse::<i64>().is_ok();
        return if fits { INTEGER } else { LONG_INTEGER };
    }
    if is_float(value, decimal) {
        return FLOAT;
    }
    if is_date(value) && value.len() == 10 && Date32Type::parse(value).is_some() {
        return DATE;
    }
    timestamp_kind(value).unwrap_or(TEXT)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_float(value: &str, decimal: Decimal) -> bool {
    if decimal == Decimal::Comma && value.contains([',', '.']) {
        let mut exchanged = value.as_bytes().to_vec();
        exchange_decimal_marks(&mut exchanged);
        return String::from_utf8(exchanged).is_ok_and(|text| is_float(&text, Decimal::Point));
    }
    let unsigned = value.strip_prefix('-').unwrap_or(value);
    if matches!(value, "NaN" | "nan") || matches!(unsigned, "inf" | "Inf" | "Infinity") {
        return true;
    }
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    is_digits(&format!("{whole}{fraction}"))
        && exponent.is_none_or(|e| is_digits(e.strip_prefix(['-', '+']).unwrap_or(e)))
}

/// Whether a value begins as `2024-12-31`.
fn is_date(value: &str) -> bool {
    matches(value, b"dddd-dd-dd")
}

/// Whether a value begins with a pattern of digits (`d`), a `T` or space (`T`) and literals.
fn matches(value: &str, pattern: &[u8]) -> bool {
    value.len() >= pattern.len()
        && value
            .bytes()
            .zip(pattern)
            .all(|(byte, expected)| match expected {
                b'd' => byte.is_ascii_digit(),
                b'T' => byte == b'T' || byte == b' ',
                literal => byte == *literal,
            })
}

fn timestamp_kind(value: &str) -> Option<u8> {
    if !matches(value, b"dddd-dd-ddTdd:dd:dd") || string_to_datetime(&Utc, value).is_err() {
        return None;
    }
    let fraction = value.get(SECONDS_LENGTH..)?.strip_prefix('.').unwrap_or("");
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    // Microseconds are what Spark's timestamps have, and reach from year 1 to 9999.
    Some(if digits > 6 { NANOSECONDS } else { TIMESTAMP })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn infer(values: &[&str], decimal: Decimal) -> DataType {
        let mut kinds = Kinds::default();
        values.iter().for_each(|v| kinds.add(v, decimal));
        kinds.data_type()
    }

    #[test]
    fn a_type_holds_every_value_and_parses_each_of_them() {
        let microseconds = instant_type();
        for (values, expected) in [
            (&["true", "FALSE"][..], DataType::Boolean),
            (&["1", "-20"], DataType::Int64),
            (&["1", "2.5", "1e9", ".5", "nan"], DataType::Float64),
            (&["1", "true"], DataType::Utf8),
            (&["2024-02-29"], DataType::Date32),
            (&["2023-02-29"], DataType::Utf8),
            (&["2024-02-29", "2024-02-29 10:00:00"], microseconds.clone()),
            (
                &["9999-12-31T23:59:59", "2024-01-01 00:00:00.123456"],
                microseconds,
            ),
            (
                &["2024-01-01 00:00:00.1234567"],
                DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
            ),
            (&["2024-01-01 25:00:00"], DataType::Utf8),
            // A key of 44 digits, as on a Brazilian invoice.
            (
                &["35200114200166000187550010000000071123456789"],
                DataType::Utf8,
            ),
            (&["1,5"], DataType::Utf8),
            (&["e5"], DataType::Utf8),
            (&[], DataType::Utf8),
        ] {
            assert_eq!(infer(values, Decimal::Point), expected, "{values:?}");
        }
    }

    #[test]
    fn with_a_decimal_comma_a_point_is_no_decimal_mark() {
        assert_eq!(infer(&["1,5", "2"], Decimal::Comma), DataType::Float64);
        assert_eq!(infer(&["1.500"], Decimal::Comma), DataType::Utf8);
        assert_eq!(infer(&["1.500,25"], Decimal::Comma), DataType::Utf8);
    }
}
