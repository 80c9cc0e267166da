//! Numbers as text: `format_number`, `conv`.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::Result;

use crate::functions::convert::{self, Zone};
use crate::functions::scalar::{Call, Function, Param, Returns};

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let text = Returns::Type(DataType::Utf8);
    vec![
        Function::new(
            "format_number",
            &[Param::Number, Param::Any],
            text.clone(),
            format_number,
        ),
        Function::new("conv", &[Param::Text, Param::Int, Param::Int], text, conv),
    ]
}

/// Writes numbers without exponent, with all of their digits.
pub(super) fn plain_numbers(array: &ArrayRef, zone: &Zone) -> Result<StringArray> {
    match array.data_type() {
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            Ok(values
                .iter()
                .map(|value| value.map(|value| value.to_string()))
                .collect())
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            Ok(values
                .iter()
                .map(|value| value.map(|value| value.to_string()))
                .collect())
        }
        _ => Ok(convert::to_text(array, zone)?.as_string::<i32>().clone()),
    }
}

/// Rounds a plain number to a number of digits after the point, half to even.
fn round_digits(number: &str, scale: usize) -> String {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() <= scale {
        return match scale {
            0 => whole.to_owned(),
            _ => format!("{whole}.{fraction:0<scale$}"),
        };
    }
    let kept = format!("{whole}{}", &fraction[..scale]);
    let rest = &fraction[scale..];
    let is_odd = kept.bytes().last().is_some_and(|digit| digit % 2 == 1);
    let is_half = rest.starts_with('5') && rest[1..].bytes().all(|digit| digit == b'0');
    let is_up = rest.as_bytes()[0] >= b'5' && (!is_half || is_odd);
    let kept = if is_up { increment(&kept) } else { kept };
    let (whole, fraction) = kept.split_at(kept.len() - scale);
    match scale {
        0 => whole.to_owned(),
        _ => format!("{whole}.{fraction}"),
    }
}

/// Adds one to a row of digits.
pub(super) fn increment(digits: &str) -> String {
    let mut digits = digits.as_bytes().to_vec();
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return String::from_utf8_lossy(&digits).into_owned();
        }
        *digit = b'0';
    }
    format!("1{}", String::from_utf8_lossy(&digits))
}

/// Maximum number of digits after the point, as in Java.
const FRACTION_DIGITS_MAX: usize = 340;

/// How a number is written: a pattern of Java's `DecimalFormat`.
struct Format {
    prefix: String,
    suffix: String,
    /// Digits between two commas; 0 for none.
    group: usize,
    whole_min: usize,
    fraction_min: usize,
    fraction_max: usize,
}

impl Format {
    /// Returns the format with commas and this many digits after the point.
    fn with_scale(scale: usize) -> Self {
        Self {
            prefix: String::new(),
            suffix: String::new(),
            group: 3,
            whole_min: 1,
            fraction_min: scale,
            fraction_max: scale,
        }
    }

    fn parse(pattern: &str) -> Self {
        let is_digit = |c: char| "#0,.".contains(c);
        let positive = pattern.split(';').next().unwrap_or_default();
        let start = positive.find(is_digit).unwrap_or(positive.len());
        let end = positive.rfind(is_digit).map_or(start, |end| end + 1);
        let (whole, fraction) = positive[start..end]
            .split_once('.')
            .unwrap_or((&positive[start..end], ""));
        let zeros = |text: &str| text.bytes().filter(|b| *b == b'0').count();
        Self {
            prefix: positive[..start].replace('\'', ""),
            suffix: positive[end..].replace('\'', ""),
            group: whole.rfind(',').map_or(0, |at| whole.len() - at - 1),
            whole_min: zeros(whole),
            fraction_min: zeros(fraction),
            fraction_max: fraction.len(),
        }
    }

    fn write(&self, number: &str) -> String {
        let (sign, number) = match number.strip_prefix('-') {
            Some(number) => ("-", number),
            None => ("", number),
        };
        let rounded = round_digits(number, self.fraction_max);
        let (whole, fraction) = rounded.split_once('.').unwrap_or((&rounded, ""));
        let whole = whole.trim_start_matches('0');
        let whole = format!("{whole:0>width$}", width = self.whole_min);
        let kept = fraction.trim_end_matches('0').len().max(self.fraction_min);
        let fraction = &fraction[..kept];
        let is_zero = rounded.bytes().all(|b| b == b'0' || b == b'.');
        let sign = if is_zero { "" } else { sign };
        let mut text = format!("{sign}{}", self.prefix);
        for (index, digit) in whole.chars().enumerate() {
            let left = whole.len() - index;
            if index > 0 && self.group > 0 && left.is_multiple_of(self.group) {
                text.push(',');
            }
            text.push(digit);
        }
        if !fraction.is_empty() {
            text.push('.');
            text.push_str(fraction);
        }
        text + &self.suffix
    }
}

fn format_number(call: &Call) -> Result<ArrayRef> {
    let numbers = plain_numbers(&call.arrays[0], &call.zone)?;
    let is_pattern = convert::is_text(call.arrays[1].data_type());
    let param = if is_pattern { Param::Text } else { Param::Int };
    let formats = convert::convert(&call.arrays[1], param, &call.zone)?;
    call.texts(|row| {
        let format = match is_pattern {
            true => match formats.as_string::<i32>().value(row) {
                "" => Format::parse("#,###,###,###,###,###,##0"),
                pattern => Format::parse(pattern),
            },
            false => {
                let scale = formats
                    .as_primitive::<datafusion::arrow::datatypes::Int32Type>()
                    .value(row);
                match usize::try_from(scale) {
                    Ok(scale) => Format::with_scale(scale.min(FRACTION_DIGITS_MAX)),
                    Err(_) => return Ok(None),
                }
            }
        };
        Ok(Some(match numbers.value(row) {
            "NaN" => "NaN".to_owned(),
            "inf" => "∞".to_owned(),
            "-inf" => "-∞".to_owned(),
            number => format.write(number),
        }))
    })
}

/// Writes a number of one base in another. A negative target base writes negative numbers.
fn conv(call: &Call) -> Result<ArrayRef> {
    let (texts, from, to) = (call.text(0), call.int(1), call.int(2));
    call.texts(|row| convert_base(call, texts.value(row), from.value(row), to.value(row)))
}

fn convert_base(call: &Call, text: &str, from: i32, to: i32) -> Result<Option<String>> {
    let is_base = |base: i32| (2..=36).contains(&base.unsigned_abs());
    if !is_base(from) || from < 0 || !is_base(to) {
        return Ok(None);
    }
    let text = text.trim();
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if text.is_empty() {
        return Ok(None);
    }
    let base = from.unsigned_abs();
    // Reading stops at the first letter that is no digit of the base.
    let mut value = 0_u64;
    for digit in digits.chars().map_while(|c| c.to_digit(base)) {
        match value
            .checked_mul(base.into())
            .and_then(|value| value.checked_add(digit.into()))
        {
            Some(next) => value = next,
            None => return call.fail("[ARITHMETIC_OVERFLOW] the number has more than 64 bits"),
        }
    }
    let signed = value.cast_signed();
    let (sign, size) = match (is_negative, to < 0) {
        (true, true) => ("-", value),
        (true, false) => ("", signed.wrapping_neg().cast_unsigned()),
        (false, true) if signed < 0 => ("-", signed.unsigned_abs()),
        (false, _) => ("", value),
    };
    Ok(Some(format!(
        "{sign}{}",
        format_in_base(size, to.unsigned_abs())
    )))
}

fn format_in_base(mut value: u64, base: u32) -> String {
    let mut digits = Vec::new();
    loop {
        let digit = u32::try_from(value % u64::from(base)).unwrap_or(0);
        digits.extend(char::from_digit(digit, base));
        value /= u64::from(base);
        if value == 0 {
            break;
        }
    }
    digits.iter().rev().map(char::to_ascii_uppercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_half_to_even() {
        for (number, scale, text) in [
            ("0.125", 2, "0.12"),
            ("0.375", 2, "0.38"),
            ("9.996", 2, "10.00"),
            ("7", 2, "7.00"),
            ("2.5", 0, "2"),
            ("3.5", 0, "4"),
        ] {
            assert_eq!(round_digits(number, scale), text);
        }
    }

    #[test]
    fn patterns_of_numbers() {
        assert_eq!(Format::with_scale(1).write("-1234567.25"), "-1,234,567.2");
        assert_eq!(Format::parse("#,##0.00").write("1234.5"), "1,234.50");
        assert_eq!(Format::parse("$000.#").write("7.04"), "$007");
        assert_eq!(Format::parse("###").write("0.4"), "");
        assert_eq!(format_in_base(255, 16), "FF");
    }
}
