//! Names of types, as Spark writes and reads them: `array<int>`, `a INT, b STRING`.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, TimeUnit};
use datafusion::common::{Result, plan_err};

use super::arrays::list_of;

/// Returns the type of a map.
pub(crate) fn map_of(key: DataType, value: DataType) -> DataType {
    let entries = Fields::from(vec![
        Field::new("key", key, false),
        Field::new("value", value, true),
    ]);
    DataType::Map(
        Arc::new(Field::new("entries", DataType::Struct(entries), false)),
        false,
    )
}

/// Returns the type of `TIMESTAMP`: an instant in microseconds.
///
/// Its zone is always UTC, as that of instants in Parquet files. Functions show and calculate with
/// it in the session's zone, so that the type does not depend on a setting.
#[must_use]
pub fn instant_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Returns Spark's name of a type, as `typeof` does.
pub fn name_of(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "void".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 | DataType::UInt8 => "smallint".to_owned(),
        DataType::Int32 | DataType::UInt16 => "int".to_owned(),
        DataType::Int64 | DataType::UInt32 => "bigint".to_owned(),
        DataType::UInt64 => "decimal(20,0)".to_owned(),
        DataType::Float16 | DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".to_owned(),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "binary".to_owned(),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamp".to_owned(),
        DataType::Timestamp(_, None) => "timestamp_ntz".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "time(6)".to_owned(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Interval(IntervalUnit::YearMonth) => "interval year to month".to_owned(),
        DataType::Interval(IntervalUnit::DayTime) | DataType::Duration(_) => {
            "interval day to second".to_owned()
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => "interval".to_owned(),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => format!("array<{}>", name_of(item.data_type())),
        DataType::Struct(fields) => {
            let fields = fields
                .iter()
                .map(|field| format!("{}:{}", field.name(), name_of(field.data_type())));
            format!("struct<{}>", fields.collect::<Vec<_>>().join(","))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                format!(
                    "map<{},{}>",
                    name_of(fields[0].data_type()),
                    name_of(fields[1].data_type())
                )
            }
            other => format!("map<{other}>"),
        },
        DataType::Dictionary(_, value) => name_of(value),
        other => other.to_string().to_lowercase(),
    }
}

/// Reads a type, or the columns of a table such as `a INT, b STRING`.
///
/// # Errors
/// If the text is neither.
pub(crate) fn parse(text: &str) -> Result<DataType> {
    let whole = Parser { rest: text.trim() };
    if let Some(data_type) = whole.clone().whole_type() {
        return Ok(data_type);
    }
    match whole.clone().columns() {
        Some(fields) => Ok(DataType::Struct(fields)),
        None => plan_err!(
            "[PARSE_SYNTAX_ERROR] '{text}' is no type; write one such as ARRAY<INT>, or columns such as a INT, b STRING"
        ),
    }
}

#[derive(Clone)]
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn whole_type(mut self) -> Option<DataType> {
        let data_type = self.data_type()?;
        self.rest.trim().is_empty().then_some(data_type)
    }

    fn columns(mut self) -> Option<Fields> {
        let fields = self.fields()?;
        self.rest.trim().is_empty().then_some(fields)
    }

    fn take(&mut self, target: char) -> bool {
        let trimmed = self.rest.trim_start();
        match trimmed.strip_prefix(target) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> Option<&'a str> {
        let trimmed = self.rest.trim_start();
        if let Some(quoted) = trimmed.strip_prefix('`') {
            let (name, rest) = quoted.split_once('`')?;
            self.rest = rest;
            return Some(name);
        }
        let end = trimmed
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(trimmed.len());
        let (word, rest) = trimmed.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    fn take_word(&mut self, target: &str) -> bool {
        let mut lookahead = self.clone();
        let is_next = lookahead
            .word()
            .is_some_and(|word| word.eq_ignore_ascii_case(target));
        if is_next {
            self.rest = lookahead.rest;
        }
        is_next
    }

    fn number(&mut self) -> Option<i64> {
        let is_negative = self.take('-');
        let number: i64 = self.word()?.parse().ok()?;
        Some(if is_negative { -number } else { number })
    }

    fn fields(&mut self) -> Option<Fields> {
        let mut fields: Vec<FieldRef> = Vec::new();
        loop {
            let name = self.word()?;
            self.take(':');
            let data_type = self.data_type()?;
            let is_required = self.take_word("NOT") && self.take_word("NULL");
            if self.take_word("COMMENT") {
                self.take('\'');
                self.rest = self.rest.split_once('\'')?.1;
            }
            fields.push(Arc::new(Field::new(name, data_type, !is_required)));
            if !self.take(',') {
                return Some(fields.into());
            }
        }
    }

    fn data_type(&mut self) -> Option<DataType> {
        Some(match self.word()?.to_ascii_uppercase().as_str() {
            "BOOLEAN" => DataType::Boolean,
            "TINYINT" | "BYTE" => DataType::Int8,
            "SMALLINT" | "SHORT" => DataType::Int16,
            "INT" | "INTEGER" => DataType::Int32,
            "BIGINT" | "LONG" => DataType::Int64,
            "FLOAT" | "REAL" => DataType::Float32,
            "DOUBLE" => DataType::Float64,
            "STRING" => DataType::Utf8,
            "CHAR" | "VARCHAR" => {
                self.take('(').then(|| self.number())??;
                self.take(')').then_some(DataType::Utf8)?
            }
            "BINARY" => DataType::Binary,
            "DATE" => DataType::Date32,
            "TIMESTAMP" | "TIMESTAMP_LTZ" => instant_type(),
            "TIMESTAMP_NTZ" => DataType::Timestamp(TimeUnit::Microsecond, None),
            "VOID" => DataType::Null,
            "DECIMAL" | "DEC" | "NUMERIC" => self.decimal()?,
            "ARRAY" => {
                let item = self.take('<').then(|| self.data_type())??;
                self.take('>').then(|| list_of(item))?
            }
            "MAP" => {
                let key = self.take('<').then(|| self.data_type())??;
                let value = self.take(',').then(|| self.data_type())??;
                self.take('>').then(|| map_of(key, value))?
            }
            "STRUCT" => {
                if !self.take('<') {
                    return None;
                }
                let fields = match self.take('>') {
                    true => return Some(DataType::Struct(Fields::empty())),
                    false => self.fields()?,
                };
                self.take('>').then_some(DataType::Struct(fields))?
            }
            _ => return None,
        })
    }

    fn decimal(&mut self) -> Option<DataType> {
        if !self.take('(') {
            return Some(DataType::Decimal128(10, 0));
        }
        let precision = u8::try_from(self.number()?)
            .ok()
            .filter(|precision| (1..=38).contains(precision))?;
        let scale = match self.take(',') {
            true => i8::try_from(self.number()?).ok()?,
            false => 0,
        };
        self.take(')')
            .then_some(DataType::Decimal128(precision, scale))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_and_written() {
        for (text, name) in [
            ("INT", "int"),
            (
                "array<map<string, decimal(5,2)>>",
                "array<map<string,decimal(5,2)>>",
            ),
            ("a INT, `b c` STRING NOT NULL", "struct<a:int,b c:string>"),
            (
                "STRUCT<x: DOUBLE, y: ARRAY<DATE>>",
                "struct<x:double,y:array<date>>",
            ),
            ("t TIMESTAMP COMMENT 'when'", "struct<t:timestamp>"),
        ] {
            assert_eq!(name_of(&parse(text).unwrap()), name);
        }
        assert!(parse("a NUMBER").is_err());
        assert!(parse("ARRAY<INT").is_err());
    }
}
