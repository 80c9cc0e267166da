//! Objects and arrays in columns of text: as in Spark, the value is their JSON, as it is written.
//!
//! Arrow's decoder refuses them, so they are quoted before they are decoded: `{"s":{"a": 1}}` becomes
//! `{"s":"{\\"a\\": 1}"}`. This is done only after a batch was refused.

use std::borrow::Cow;
use std::ops::Range;

use arrow::datatypes::{DataType, Fields};

/// Returns a line with the objects and arrays quoted that stand where `columns` have text. A line
/// that is not valid JSON stays as it is.
pub(super) fn quote_nested<'a>(line: &'a str, columns: &Fields) -> Cow<'a, str> {
    let mut scanner = Scanner {
        line,
        position: 0,
        nested: vec![],
    };
    let is_valid = scanner.object(|name| field_type(columns, name)).is_some();
    let nested = scanner.nested;
    if !is_valid || nested.is_empty() {
        return Cow::Borrowed(line);
    }
    let (mut quoted, mut copied) = (String::with_capacity(line.len() * 2), 0);
    for Range { start, end } in nested {
        quoted.push_str(&line[copied..start]);
        quoted.push_str(&serde_json::Value::from(&line[start..end]).to_string());
        copied = end;
    }
    quoted.push_str(&line[copied..]);
    Cow::Owned(quoted)
}

fn field_type<'a>(fields: &'a Fields, name: &str) -> Option<&'a DataType> {
    let (_, field) = fields.find(name)?;
    Some(field.data_type())
}

/// Finds nested values in a line. All methods return `None` where the line is not valid JSON.
struct Scanner<'a> {
    line: &'a str,
    position: usize,
    /// The values to quote, in their order.
    nested: Vec<Range<usize>>,
}

impl<'a> Scanner<'a> {
    /// Reads a value whose column has this type, if there is a column.
    fn value(&mut self, expected: Option<&DataType>) -> Option<()> {
        let start = self.skip_spaces();
        match (self.peek()?, expected) {
            (b'{', Some(DataType::Struct(fields))) => self.object(|name| field_type(fields, name)),
            (b'{', Some(DataType::Map(entries, _))) => {
                let value = match entries.data_type() {
                    DataType::Struct(pair) => pair.get(1).map(|value| value.data_type()),
                    _ => None,
                };
                self.object(|_| value)
            }
            (b'[', Some(DataType::List(item) | DataType::LargeList(item))) => {
                self.array(item.data_type())
            }
            (b'{' | b'[', expected) => {
                self.skip_nested()?;
                if expected.is_some_and(DataType::is_string) {
                    self.nested.push(start..self.position);
                }
                Some(())
            }
            (b'"', _) => self.string().map(|_| ()),
            _ => self.skip_word(),
        }
    }

    /// Reads an object whose values have the types that `type_of` returns for their names.
    fn object<'t>(&mut self, type_of: impl Fn(&str) -> Option<&'t DataType>) -> Option<()> {
        self.take(b'{')?;
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            self.skip_spaces();
            let name = self.string()?;
            self.take(b':')?;
            self.value(type_of(&name))?;
            if self.take(b',').is_none() {
                return self.take(b'}');
            }
        }
    }

    fn array(&mut self, item: &DataType) -> Option<()> {
        self.take(b'[')?;
        if self.take(b']').is_some() {
            return Some(());
        }
        loop {
            self.value(Some(item))?;
            if self.take(b',').is_none() {
                return self.take(b']');
            }
        }
    }

    /// Reads a string without its quotes and escapes.
    fn string(&mut self) -> Option<Cow<'a, str>> {
        let start = self.position;
        if self.peek()? != b'"' {
            return None;
        }
        self.position += 1;
        let mut has_escapes = false;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    has_escapes = true;
                    self.position += 2;
                }
                _ => self.position += 1,
            }
        }
        self.position += 1;
        let line = self.line;
        match has_escapes {
            true => serde_json::from_str(&line[start..self.position])
                .ok()
                .map(Cow::Owned),
            false => Some(Cow::Borrowed(&line[start + 1..self.position - 1])),
        }
    }

    /// Skips an object or an array, whatever is in it.
    fn skip_nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.position += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Skips a number, a boolean or null.
    fn skip_word(&mut self) -> Option<()> {
        let start = self.position;
        let is_end = |byte: u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
        while self.peek().is_some_and(|byte| !is_end(byte)) {
            self.position += 1;
        }
        (self.position > start).then_some(())
    }

    /// Skips spaces and this byte; `None` if another one is next.
    fn take(&mut self, byte: u8) -> Option<()> {
        self.skip_spaces();
        (self.peek()? == byte).then(|| self.position += 1)
    }

    fn skip_spaces(&mut self) -> usize {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.position += 1;
        }
        self.position
    }

    fn peek(&self) -> Option<u8> {
        self.line.as_bytes().get(self.position).copied()
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;

    fn columns() -> Fields {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let list = DataType::new_list(DataType::Utf8View, true);
        let inner = Fields::from(vec![text("t"), Field::new("n", DataType::Int64, true)]);
        Fields::from(vec![
            text("s"),
            Field::new("l", list, true),
            Field::new("o", DataType::Struct(inner), true),
        ])
    }

    #[test]
    fn nested_values_in_columns_of_text_are_quoted_as_they_are_written() {
        for (line, expected) in [
            (r#"{"s":{"a": [1, "}"]}}"#, r#"{"s":"{\"a\": [1, \"}\"]}"}"#),
            (
                r#"{ "s" : [1, 2] , "x": [3]}"#,
                r#"{ "s" : "[1, 2]" , "x": [3]}"#,
            ),
            (
                r#"{"l":["a",{"b":1},[]]}"#,
                r#"{"l":["a","{\"b\":1}","[]"]}"#,
            ),
            (
                r#"{"o":{"n":1,"t":{"k":"\"é"}},"s":"x"}"#,
                r#"{"o":{"n":1,"t":"{\"k\":\"\\\"é\"}"},"s":"x"}"#,
            ),
            (r#"{"\u0073":{}}"#, r#"{"\u0073":"{}"}"#),
        ] {
            assert_eq!(quote_nested(line, &columns()), expected);
        }
    }

    #[test]
    fn other_lines_stay() {
        for line in [
            r#"{"s":"{}","l":[],"o":null,"x":{"s":{}}}"#,
            r#"{"s":{"a":1}"#,
            r#"{"s":[1"#,
            r#"{"s":"\"#,
            "[{}]",
            "",
        ] {
            assert_eq!(quote_nested(line, &columns()), line);
        }
    }
}
