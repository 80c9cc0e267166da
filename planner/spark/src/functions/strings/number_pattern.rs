//! `to_char` and `to_number`: numbers with a pattern such as `99G999D00`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};

use crate::functions::convert::{self, is_binary};
use crate::functions::datetime::{self, pattern::Pattern};
use crate::functions::scalar::{Call, CallSite, Function, OnInvalid, Param, Returns};

use super::binary::encode_base64;
use super::number_format::plain_numbers;

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let read = &[Param::Text, Param::Text];
    let number = || Returns::Computed(number_type);
    vec![
        Function::new(
            "to_char",
            &[Param::Any, Param::Text],
            Returns::Type(DataType::Utf8),
            to_char,
        )
        .aliases(&["to_varchar"]),
        Function::new("to_number", read, number(), |call| {
            to_number(call, OnInvalid::Fail)
        }),
        Function::new("try_to_number", read, number(), |call| {
            to_number(call, OnInvalid::Null)
        }),
    ]
}

/// Where a pattern has its sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    None,
    /// `S`: plus or minus.
    Both,
    /// `MI`: minus or a space.
    Minus,
}

/// A place of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// `9`: a digit, or a space before the first digit of the number.
    Digit,
    /// `0`: a digit, or a zero before the first digit of the number.
    PaddedDigit,
    /// `,` or `G`: a comma between groups of digits.
    Group,
}

/// A pattern of `to_char` and `to_number`.
#[derive(Debug, PartialEq, Eq)]
struct NumberPattern {
    before: Sign,
    after: Sign,
    has_dollar: bool,
    has_brackets: bool,
    whole: Vec<Slot>,
    /// Digits after the point; `None` without a point.
    scale: Option<usize>,
}

impl NumberPattern {
    fn parse(text: &str) -> Result<Self> {
        match Self::parse_parts(text) {
            Some(pattern) => Ok(pattern),
            None => exec_err!(
                "[INVALID_FORMAT] '{text}' is no pattern of a number; it is made of S or MI, $, digits 0 or 9 with , or G between them, . or D, and PR"
            ),
        }
    }

    fn parse_parts(text: &str) -> Option<Self> {
        let upper = text.to_ascii_uppercase();
        let mut rest = upper.as_str();
        let mut take = |prefix: &str| match rest.strip_prefix(prefix) {
            Some(after) => {
                rest = after;
                true
            }
            None => false,
        };
        let mut before = Sign::None;
        if take("S") {
            before = Sign::Both;
        } else if take("MI") {
            before = Sign::Minus;
        }
        let has_dollar = take("$");
        let (mut rest, mut after, mut has_brackets) = (rest, Sign::None, false);
        if let Some(head) = rest.strip_suffix("PR") {
            (rest, has_brackets) = (head, true);
        } else if let Some(head) = rest.strip_suffix("MI") {
            (rest, after) = (head, Sign::Minus);
        } else if let Some(head) = rest.strip_suffix('S') {
            (rest, after) = (head, Sign::Both);
        }
        let (whole, fraction) = match rest.split_once(['.', 'D']) {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (rest, None),
        };
        let slots = |text: &str| {
            text.chars()
                .map(|c| match c {
                    '0' => Some(Slot::PaddedDigit),
                    '9' => Some(Slot::Digit),
                    ',' | 'G' => Some(Slot::Group),
                    _ => None,
                })
                .collect::<Option<Vec<_>>>()
        };
        let whole = slots(whole)?;
        let fraction = match fraction {
            Some(fraction) => Some(slots(fraction)?),
            None => None,
        };
        let has_digits = whole
            .iter()
            .chain(fraction.iter().flatten())
            .any(|p| *p != Slot::Group);
        let is_plain = fraction
            .as_ref()
            .is_none_or(|slots| !slots.contains(&Slot::Group));
        let is_signed_once = before == Sign::None || (after == Sign::None && !has_brackets);
        (has_digits && is_plain && is_signed_once).then(|| Self {
            before,
            after,
            has_dollar,
            has_brackets,
            whole,
            scale: fraction.map(|slots| slots.len()),
        })
    }

    fn whole_digits(&self) -> usize {
        self.whole
            .iter()
            .filter(|slot| **slot != Slot::Group)
            .count()
    }

    /// Writes a plain number; `#` at each place if it has too many digits.
    fn write(&self, number: &str) -> String {
        let (is_negative, number) = match number.strip_prefix('-') {
            Some(number) => (true, number),
            None => (false, number),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let whole = whole.trim_start_matches('0');
        let is_over = whole.len() > self.whole_digits();
        let mut digits = format!("{whole:>width$}", width = self.whole_digits())
            .chars()
            .collect::<Vec<_>>()
            .into_iter();
        let last = self.whole.iter().rposition(|slot| *slot != Slot::Group);
        let mut has_begun = false;
        let mut text = String::new();
        for (index, slot) in self.whole.iter().enumerate() {
            let c = match slot {
                _ if is_over => {
                    if *slot == Slot::Group {
                        ','
                    } else {
                        '#'
                    }
                }
                Slot::Group => {
                    if has_begun {
                        ','
                    } else {
                        ' '
                    }
                }
                Slot::Digit | Slot::PaddedDigit => match digits.next() {
                    Some(' ') | None
                        if *slot == Slot::PaddedDigit || has_begun || Some(index) == last =>
                    {
                        '0'
                    }
                    Some(digit) => digit,
                    None => ' ',
                },
            };
            has_begun |= c.is_ascii_digit();
            text.push(c);
        }
        if let Some(scale) = self.scale {
            text.push('.');
            match is_over {
                true => text.push_str(&"#".repeat(scale)),
                false => text.push_str(&format!("{fraction:0<scale$}")[..scale]),
            }
        }
        self.with_sign(&text, is_negative)
    }

    fn with_sign(&self, digits: &str, is_negative: bool) -> String {
        let sign = |sign: Sign| match (sign, is_negative) {
            (Sign::None, _) => "",
            (_, true) => "-",
            (Sign::Both, false) => "+",
            (Sign::Minus, false) => " ",
        };
        // Spaces before the first digit stand before the sign and the dollar.
        let trimmed = digits.trim_start();
        let spaces = &digits[..digits.len() - trimmed.len()];
        let dollar = if self.has_dollar { "$" } else { "" };
        let text = format!(
            "{spaces}{}{dollar}{trimmed}{}",
            sign(self.before),
            sign(self.after)
        );
        match (self.has_brackets, is_negative) {
            (false, _) => text,
            (true, true) => format!("{spaces}<{}>", text.trim_start()),
            (true, false) => format!("{text}  "),
        }
    }

    /// Reads a number; returns its digits without point, as scaled by the pattern.
    fn read(&self, text: &str) -> Option<i128> {
        let mut rest = text.trim();
        let mut is_negative = false;
        if self.has_brackets
            && let Some(inner) = rest
                .strip_prefix('<')
                .and_then(|rest| rest.strip_suffix('>'))
        {
            (rest, is_negative) = (inner, true);
        }
        if self.before != Sign::None {
            if let Some(after) = rest.strip_prefix('-') {
                (rest, is_negative) = (after, true);
            } else if self.before == Sign::Both {
                rest = rest.strip_prefix('+').unwrap_or(rest);
            }
        }
        if self.has_dollar {
            rest = rest.strip_prefix('$')?;
        }
        if self.after != Sign::None {
            if let Some(before) = rest.strip_suffix('-') {
                (rest, is_negative) = (before, true);
            } else if self.after == Sign::Both {
                rest = rest.strip_suffix('+').unwrap_or(rest);
            }
        }
        let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
        let scale = self.scale.unwrap_or(0);
        if fraction.len() > scale || (rest.contains('.') && self.scale.is_none()) {
            return None;
        }
        let digits = self.read_whole(whole)?;
        let digits = format!("{digits}{fraction:0<scale$}");
        let value: i128 = digits.parse().ok()?;
        Some(if is_negative { -value } else { value })
    }

    /// Checks that the commas stand where the pattern has them; returns the digits.
    fn read_whole(&self, text: &str) -> Option<String> {
        let mut slots = self.whole.iter().rev();
        let mut digits = Vec::new();
        for c in text.chars().rev() {
            match (slots.next()?, c) {
                (Slot::Group, ',') => {}
                (Slot::Digit | Slot::PaddedDigit, c) if c.is_ascii_digit() => digits.push(c),
                _ => return None,
            }
        }
        // A digit that the pattern writes as 0 must be there.
        let is_complete = slots.all(|slot| *slot != Slot::PaddedDigit);
        is_complete.then(|| digits.iter().rev().collect())
    }
}

fn number_type(site: &CallSite) -> Result<DataType> {
    let Some(text) = site.literal_text(1) else {
        return plan_err!("{}: the pattern must be a literal", site.name);
    };
    let pattern = NumberPattern::parse(text)?;
    let scale = pattern.scale.unwrap_or(0);
    let precision = pattern.whole_digits() + scale;
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision @ 1..=38), Ok(scale)) => Ok(DataType::Decimal128(precision, scale)),
        _ => plan_err!("{}: a number has at most 38 digits", site.name),
    }
}

fn to_number(call: &Call, on_invalid: OnInvalid) -> Result<ArrayRef> {
    let (texts, patterns) = (call.text(0), call.text(1));
    let nulls = call.validity();
    let mut values = Vec::with_capacity(call.rows);
    let mut last: Option<(String, NumberPattern)> = None;
    for row in 0..call.rows {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            values.push(None);
            continue;
        }
        let format = patterns.value(row);
        let pattern = match last.take() {
            Some((text, pattern)) if text == format => pattern,
            _ => NumberPattern::parse(format)?,
        };
        let value = pattern.read(texts.value(row));
        if value.is_none() && on_invalid == OnInvalid::Fail {
            return call.fail(format!(
                "[INVALID_FORMAT.MISMATCH_INPUT] '{}' does not match the pattern '{format}'",
                texts.value(row)
            ));
        }
        values.push(value);
        last = Some((format.to_owned(), pattern));
    }
    let decimals = Decimal128Array::from(values).with_data_type(call.return_type.clone());
    Ok(Arc::new(decimals))
}

/// Writes a number, a date or bytes with a pattern.
fn to_char(call: &Call) -> Result<ArrayRef> {
    let formats = call.text(1);
    let value = &call.arrays[0];
    let data_type = value.data_type();
    if is_binary(data_type) {
        let bytes = convert::convert(value, Param::Binary, &call.zone)?;
        let bytes = bytes.as_binary::<i32>();
        return call
            .texts(|row| format_bytes(call, bytes.value(row), formats.value(row)).map(Some));
    }
    if data_type.is_temporal() {
        let instants = convert::convert(value, Param::Instant, &call.zone)?;
        let instants =
            instants.as_primitive::<datafusion::arrow::datatypes::TimestampMicrosecondType>();
        return call.texts(|row| {
            let pattern = Pattern::compile(formats.value(row))?;
            Ok(Some(datetime::format(
                &pattern,
                instants.value(row),
                call.zone,
            )))
        });
    }
    let numbers = convert::convert(value, Param::Number, &call.zone)?;
    let numbers = plain_numbers(&numbers, &call.zone)?;
    call.texts(|row| {
        Ok(Some(
            NumberPattern::parse(formats.value(row))?.write(numbers.value(row)),
        ))
    })
}

fn format_bytes(call: &Call, bytes: &[u8], format: &str) -> Result<String> {
    match format.to_ascii_lowercase().as_str() {
        "base64" => Ok(encode_base64(bytes)),
        "hex" => Ok(bytes.iter().map(|byte| format!("{byte:02X}")).collect()),
        "utf-8" | "utf8" => Ok(String::from_utf8_lossy(bytes).into_owned()),
        _ => call.fail(format!(
            "'{format}' is no format of bytes; use base64, hex or utf-8"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_with_their_pattern() {
        for (number, pattern, text) in [
            ("1234.5", "9G999D00", "1,234.50"),
            ("-3.1", "99.9MI", " 3.1-"),
            ("42", "0000", "0042"),
            ("42", "9999", "  42"),
            ("42", "S999", " +42"),
            ("-42", "999PR", " <42>"),
            ("123", "99", "##"),
            ("7.999", "$9.99", "$7.99"),
            ("0", "99", " 0"),
        ] {
            let pattern = NumberPattern::parse(pattern).unwrap();
            assert_eq!(pattern.write(number), text, "{number}");
        }
    }

    #[test]
    fn numbers_are_read_with_their_pattern() {
        for (text, pattern, value) in [
            ("1,234.5", "9,999.99", Some(123_450)),
            ("12", "9G999", Some(12)),
            ("-7", "S9", Some(-7)),
            ("7-", "9S", Some(-7)),
            ("<7>", "9PR", Some(-7)),
            ("$7", "$9", Some(7)),
            ("7", "$9", None),
            ("1234", "9,999", None),
            ("7", "00", None),
            ("x", "9", None),
        ] {
            let pattern = NumberPattern::parse(pattern).unwrap();
            assert_eq!(pattern.read(text), value, "{text}");
        }
        assert!(NumberPattern::parse("9X").is_err());
    }
}
