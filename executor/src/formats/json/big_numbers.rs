//! Whole numbers beyond BIGINT in a sample.
//!
//! Arrow infers DOUBLE for them, which keeps 15 of their digits. As in Spark, they are decimals
//! with all of their digits.

use std::collections::BTreeMap;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, Fields};
use serde_json::Value;

/// Beginning of the text that stands for a number while a line is parsed.
const MARK: &str = "\u{1}whole number of ";
/// Digits of the decimal that holds every BIGINT, as in Spark.
const DIGITS_MIN: usize = 20;

/// The numbers of a sample: the path of their field, and the most digits.
#[derive(Debug, Default)]
pub(super) struct BigNumbers(BTreeMap<Vec<String>, usize>);

impl BigNumbers {
    /// Parses a line. Whole numbers beyond BIGINT are 0 in the result.
    pub(super) fn parse(&mut self, line: &str) -> serde_json::Result<Value> {
        let Some(marked) = mark(line) else {
            return serde_json::from_str(line);
        };
        let mut value = serde_json::from_str(&marked)?;
        self.collect(&mut value, &mut vec![]);
        Ok(value)
    }

    fn collect(&mut self, value: &mut Value, path: &mut Vec<String>) {
        match value {
            Value::String(text) => {
                let digits: Option<usize> = text
                    .strip_prefix(MARK)
                    .and_then(|digits| digits.parse().ok());
                if let Some(digits) = digits {
                    let most = self.0.entry(path.clone()).or_insert(DIGITS_MIN);
                    *most = digits.max(*most);
                    *value = Value::from(0);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.collect(item, path)),
            Value::Object(fields) => {
                for (name, field) in fields {
                    path.push(name.clone());
                    self.collect(field, path);
                    path.pop();
                }
            }
            _ => {}
        }
    }

    /// Returns the fields with decimals where BIGINT does not hold the numbers. A field with
    /// fractions stays DOUBLE, and one with texts stays text.
    pub(super) fn widen(&self, fields: &Fields) -> Fields {
        match self.0.is_empty() {
            true => fields.clone(),
            false => self.widen_fields(fields, &mut vec![]),
        }
    }

    fn widen_fields(&self, fields: &Fields, path: &mut Vec<String>) -> Fields {
        let fields = fields.iter().map(|field| {
            path.push(field.name().clone());
            let widened = self.widen_field(field, path);
            path.pop();
            widened
        });
        fields.collect()
    }

    fn widen_field(&self, field: &FieldRef, path: &mut Vec<String>) -> FieldRef {
        let data_type = match field.data_type() {
            DataType::Int64 => match self
                .0
                .get(path)
                .and_then(|digits| u8::try_from(*digits).ok())
            {
                Some(digits) if digits <= DECIMAL128_MAX_PRECISION => {
                    DataType::Decimal128(digits, 0)
                }
                // No number type holds it.
                Some(_) => DataType::Utf8,
                None => DataType::Int64,
            },
            DataType::List(item) => DataType::List(self.widen_field(item, path)),
            DataType::Struct(fields) => DataType::Struct(self.widen_fields(fields, path)),
            other => other.clone(),
        };
        std::sync::Arc::new(Field::clone(field).with_data_type(data_type))
    }
}

/// Puts texts in the place of whole numbers beyond BIGINT; `None` if the line has none.
fn mark(line: &str) -> Option<String> {
    let mut marked = String::new();
    let (mut copied, mut position, mut is_text) = (0, 0, false);
    let bytes = line.as_bytes();
    while let Some(byte) = bytes.get(position) {
        match byte {
            b'\\' if is_text => position += 1,
            b'"' => is_text = !is_text,
            b'-' | b'0'..=b'9' if !is_text => {
                let rest = &line[position..];
                let is_part =
                    |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
                let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                let number = &rest[..end];
                let digits = number.strip_prefix('-').unwrap_or(number);
                let is_whole = digits.bytes().all(|digit| digit.is_ascii_digit());
                if is_whole && !digits.is_empty() && number.parse::<i64>().is_err() {
                    let text = format!("{MARK}{}", digits.len());
                    marked.push_str(&line[copied..position]);
                    marked.push_str(&Value::from(text).to_string());
                    copied = position + end;
                }
                position += end;
                continue;
            }
            _ => {}
        }
        position += 1;
    }
    (copied > 0).then(|| marked + &line[copied..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_beyond_bigint_are_marked() {
        for line in [
            r#"{"a":9223372036854775807,"b":-9223372036854775808,"c":1.5e300}"#,
            r#"{"a":"12345678901234567890","b\"":"\\"}"#,
            r#"{"a":12345678901234567890.0}"#,
        ] {
            assert_eq!(mark(line), None, "{line}");
        }
        let mut numbers = BigNumbers::default();
        let line = r#"{"t":"\"1","a":9223372036854775808,"s":[{"b":-123456789012345678901}]}"#;
        let value = numbers.parse(line).unwrap();
        assert_eq!(value.to_string(), r#"{"a":0,"s":[{"b":0}],"t":"\"1"}"#);
        let path = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(numbers.0[&path(&["a"])], 20);
        assert_eq!(numbers.0[&path(&["s", "b"])], 21);
    }
}
