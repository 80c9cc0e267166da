//! Parses text to values: which text is null, how a number is spelled, what a type accepts.
//!
//! Inference and scans share these rules.

use std::borrow::Cow;

use arrow::array::{ArrayRef, StringArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use faisca_planner::manifest::Decimal;
use faisca_spark::text::Zone;

use super::records::Field;
use crate::formats::instants::{depends_on_zone, parse_instants};
use crate::protocol::CsvReadOptions;

/// Longest exponent of a decimal that is written out; longer ones are out of any decimal's range.
const EXPONENT_MAX: i32 = 200;

/// Whether a field is null: nothing between two delimiters, or the text that means null.
///
/// As in Spark and DuckDB, `""` is an empty text, and null where the column has no texts.
pub(super) fn is_null(options: &CsvReadOptions, field: &Field<'_>, column_is_text: bool) -> bool {
    let is_empty = field.bytes.is_empty() && !(field.is_quoted && column_is_text);
    is_empty
        || options
            .null_value
            .as_ref()
            .is_some_and(|null| null.as_bytes() == field.bytes.as_ref())
}

pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// Returns the decimal mark with which values of a type are written.
pub(super) fn decimal_mark(options: &CsvReadOptions, data_type: &DataType) -> Decimal {
    if data_type.is_floating() || data_type.is_decimal() {
        options.decimal
    } else {
        // Texts and dates stay as they are.
        Decimal::Point
    }
}

/// Exchanges comma and point: a number with the other mark becomes one that does not parse.
pub(super) fn exchange_decimal_marks(text: &mut [u8]) {
    for byte in text {
        match *byte {
            b',' => *byte = b'.',
            b'.' => *byte = b',',
            _ => {}
        }
    }
}

/// The texts of a column, one batch long.
#[derive(Debug)]
pub(super) struct TextColumn {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
    is_valid: Vec<bool>,
}

impl TextColumn {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![],
            offsets: vec![0],
            is_valid: vec![],
        }
    }

    /// Adds a text. The caller keeps a batch within the range of an `i32`.
    pub(super) fn push(&mut self, text: Option<&[u8]>) {
        self.bytes.extend_from_slice(text.unwrap_or_default());
        self.offsets
            .push(i32::try_from(self.bytes.len()).unwrap_or(i32::MAX));
        self.is_valid.push(text.is_some());
    }

    pub(super) fn byte_count(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the texts, with a decimal point in numbers, and leaves the column empty.
    ///
    /// # Errors
    /// If a text is not UTF-8.
    pub(super) fn finish(&mut self, decimal: Decimal) -> Result<StringArray, ArrowError> {
        let capacity = self.bytes.len();
        let mut bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(capacity));
        if decimal == Decimal::Comma {
            exchange_decimal_marks(&mut bytes);
        }
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let valid = NullBuffer::from(std::mem::take(&mut self.is_valid));
        StringArray::try_new(
            OffsetBuffer::new(offsets.into()),
            bytes.into(),
            (valid.null_count() > 0).then_some(valid),
        )
    }
}

/// Casts texts to a type. What is not a value of that type becomes null. Surplus digits of
/// decimals are rounded, halves away from zero. A timestamp without an offset is in `zone`.
///
/// # Errors
/// If texts cannot be cast to that type at all.
pub(in crate::formats) fn convert(
    text: &StringArray,
    to: &DataType,
    zone: Zone,
) -> Result<ArrayRef, ArrowError> {
    if depends_on_zone(to, zone) {
        return parse_instants(text, to, zone);
    }
    let options = CastOptions {
        safe: true,
        ..Default::default()
    };
    let has_exponents = to.is_decimal() && text.value_data().iter().any(|b| b"eE".contains(b));
    if has_exponents {
        let plain: StringArray = text.iter().map(|v| v.map(without_exponent)).collect();
        return cast_with_options(&plain, to, &options);
    }
    cast_with_options(text, to, &options)
}

/// `1.5e2` as `150`. Text that is not such a number stays as it is.
pub(in crate::formats) fn without_exponent(text: &str) -> Cow<'_, str> {
    let unchanged = Cow::Borrowed(text);
    let Some((number, exponent)) = text.split_once(['e', 'E']) else {
        return unchanged;
    };
    let Some(exponent) = exponent
        .parse::<i32>()
        .ok()
        .filter(|e| e.abs() <= EXPONENT_MAX)
    else {
        return unchanged;
    };
    let (sign, number) = match number.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return unchanged;
    }
    let point = i32::try_from(whole.len()).unwrap_or(i32::MAX) + exponent;
    let plain = match usize::try_from(point) {
        Ok(point) if point >= digits.len() => format!("{sign}{digits:0<point$}"),
        Ok(point) => format!("{sign}{}.{}", &digits[..point], &digits[point..]),
        Err(_) => {
            let zeros = "0".repeat(usize::try_from(-point).unwrap_or_default());
            format!("{sign}0.{zeros}{digits}")
        }
    };
    Cow::Owned(plain)
}

/// The name of a type in SQL, for messages.
pub(in crate::formats) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "a BOOLEAN".to_owned(),
        DataType::Int8 => "a TINYINT".to_owned(),
        DataType::Int16 => "a SMALLINT".to_owned(),
        DataType::Int32 => "an INT".to_owned(),
        DataType::Int64 => "a BIGINT".to_owned(),
        DataType::Float32 => "a FLOAT".to_owned(),
        DataType::Float64 => "a DOUBLE".to_owned(),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            format!("a DECIMAL({precision}, {scale})")
        }
        DataType::Date32 => "a DATE, such as 2024-12-31".to_owned(),
        DataType::Timestamp(..) => "a TIMESTAMP, such as 2024-12-31 23:59:59".to_owned(),
        other => format!("of type {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use arrow::datatypes::Decimal128Type;

    #[test]
    fn decimals_round_halves_away_from_zero_and_take_exponents() {
        let text = StringArray::from(vec![
            "1.239", "-1.239", "1.235", "-1.235", "1.2349", "1e1", "-2.5E-1", ".5", "5.",
            "999.995", "1e400", "x",
        ]);
        let values = convert(&text, &DataType::Decimal128(5, 2), Zone::UTC).unwrap();
        let values: Vec<Option<i128>> = values.as_primitive::<Decimal128Type>().iter().collect();
        let expected = [
            Some(124),
            Some(-124),
            Some(124),
            Some(-124),
            Some(123),
            Some(1000),
            Some(-25),
            Some(50),
            Some(500),
            None,
            None,
            None,
        ];
        assert_eq!(values, expected);
    }
}
