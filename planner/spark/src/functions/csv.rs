//! Functions of CSV in a text: `from_csv`, `to_csv`, `schema_of_csv`.

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, StringArray, StructArray, TimestampMicrosecondArray,
};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, plan_err};
use std::sync::Arc;

use super::convert;
use super::datetime::{self, pattern::Pattern, pattern::TIMESTAMP_PATTERN};
use super::json::{ddl, option, schema};
use super::scalar::{Call, CallSite, Function, Param, Returns};

/// Returns the functions of CSV.
pub(crate) fn functions() -> Vec<Function> {
    let text = Returns::Type(DataType::Utf8);
    vec![
        Function::new(
            "from_csv",
            &[Param::Text, Param::Text, Param::Map],
            Returns::Computed(struct_type),
            from_csv,
        )
        .optional(1),
        Function::new(
            "schema_of_csv",
            &[Param::Text, Param::Map],
            text.clone(),
            |call| {
                let format = Format::of_call(call)?;
                call.texts(|row| {
                    Ok(Some(ddl(&infer_type(
                        &format.split(call.text(0).value(row)),
                    ))))
                })
            },
        )
        .optional(1),
        Function::new("to_csv", &[Param::Any, Param::Map], text, to_csv).optional(1),
    ]
}

fn struct_type(site: &CallSite) -> Result<DataType> {
    match schema(site)? {
        DataType::Struct(fields) if !fields.iter().any(|field| field.data_type().is_nested()) => {
            Ok(DataType::Struct(fields))
        }
        _ => plan_err!(
            "{}: the schema must be a literal of columns without nested types, such as 'a INT, b STRING'",
            site.name
        ),
    }
}

/// The format of a line.
struct Format {
    separator: String,
    quote: char,
    escape: char,
    null: String,
}

impl Format {
    fn of_call(call: &Call) -> Result<Self> {
        let separator = match option(call, "sep")? {
            Some(separator) => Some(separator),
            None => option(call, "delimiter")?,
        };
        let letter = |name, default| -> Result<char> {
            Ok(option(call, name)?
                .and_then(|text| text.chars().next())
                .unwrap_or(default))
        };
        Ok(Self {
            separator: separator
                .filter(|text| !text.is_empty())
                .unwrap_or_else(|| ",".to_owned()),
            quote: letter("quote", '"')?,
            escape: letter("escape", '\\')?,
            null: option(call, "nullValue")?.unwrap_or_default(),
        })
    }

    /// Splits a line; a value without quotes that stands for null is `None`.
    fn split(&self, line: &str) -> Vec<Option<String>> {
        let mut values = Vec::new();
        let mut rest = line;
        loop {
            let (value, after) = self.value(rest);
            values.push(value);
            match after.strip_prefix(self.separator.as_str()) {
                Some(next) => rest = next,
                None => return values,
            }
        }
    }

    /// Takes one value, up to a separator.
    fn value<'a>(&self, text: &'a str) -> (Option<String>, &'a str) {
        let Some(quoted) = text.strip_prefix(self.quote) else {
            let end = text.find(&self.separator).unwrap_or(text.len());
            let value = &text[..end];
            return ((value != self.null).then(|| value.to_owned()), &text[end..]);
        };
        let mut value = String::new();
        let mut letters = quoted.char_indices().peekable();
        while let Some((offset, c)) = letters.next() {
            let is_next = |letters: &mut std::iter::Peekable<std::str::CharIndices>, target| {
                letters.next_if(|(_, next)| *next == target).is_some()
            };
            if c == self.escape && is_next(&mut letters, self.quote) {
                value.push(self.quote);
            } else if c == self.quote && !is_next(&mut letters, self.quote) {
                let after = &quoted[offset + c.len_utf8()..];
                let end = after.find(&self.separator).unwrap_or(after.len());
                return (Some(value), &after[end..]);
            } else {
                value.push(c);
            }
        }
        (Some(value), "")
    }

    fn write(&self, value: &str, out: &mut String) {
        let is_plain = !value.is_empty()
            && !value.contains(&self.separator)
            && !value.contains([self.quote, '\n', '\r']);
        if is_plain {
            return out.push_str(value);
        }
        out.push(self.quote);
        for c in value.chars() {
            if c == self.quote {
                out.push(self.escape);
            }
            out.push(c);
        }
        out.push(self.quote);
    }
}

fn from_csv(call: &Call) -> Result<ArrayRef> {
    let DataType::Struct(fields) = &call.return_type else {
        return call.fail("the result is no struct");
    };
    let format = Format::of_call(call)?;
    let pattern = |name| -> Result<Option<Pattern>> {
        let text = option(call, name)?;
        text.map(|text| Pattern::compile_for_reading(&text))
            .transpose()
    };
    let (timestamp, date) = (pattern("timestampFormat")?, pattern("dateFormat")?);
    let texts = call.text(0);
    let lines: Vec<Vec<Option<String>>> = texts
        .iter()
        .map(|text| text.map_or_else(Vec::new, |text| format.split(text)))
        .collect();
    let columns = fields.iter().enumerate().map(|(index, field)| {
        let values = lines
            .iter()
            .map(|line| line.get(index).and_then(Option::as_deref));
        let pattern = match field.data_type() {
            DataType::Date32 => date.as_ref(),
            _ => timestamp.as_ref(),
        };
        parse_column(call, values, field.data_type(), pattern)
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let fields: Fields = fields
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect();
    let nulls = NullBuffer::from_iter(texts.iter().map(|text| text.is_some()));
    Ok(Arc::new(StructArray::try_new_with_length(
        fields,
        columns,
        Some(nulls),
        call.rows,
    )?))
}

/// Parses the values of a column; text that is not a value of its type becomes null.
fn parse_column<'a>(
    call: &Call,
    values: impl Iterator<Item = Option<&'a str>>,
    data_type: &DataType,
    pattern: Option<&Pattern>,
) -> Result<ArrayRef> {
    let instant = |text: &str| match pattern {
        Some(pattern) => pattern
            .parse(text)
            .map(|(wall, zone)| zone.unwrap_or(call.zone).instant_of(wall)),
        None => convert::parse_timestamp(text, &call.zone),
    };
    Ok(match data_type {
        DataType::Boolean => {
            let flags = values.map(|text| text.and_then(|text| text.to_lowercase().parse().ok()));
            Arc::new(BooleanArray::from_iter(flags))
        }
        DataType::Date32 | DataType::Timestamp(..) => {
            let instants = values.map(|text| text.and_then(instant));
            let instants = TimestampMicrosecondArray::from_iter(instants).with_timezone("UTC");
            let param = match data_type {
                DataType::Date32 => Param::Date,
                DataType::Timestamp(_, None) => Param::Wall,
                _ => Param::Instant,
            };
            let values = convert::convert(&(Arc::new(instants) as ArrayRef), param, &call.zone)?;
            convert::with_type(values, data_type)?
        }
        DataType::Utf8 => Arc::new(StringArray::from_iter(values)),
        _ => {
            let trimmed = values.map(|text| text.map(str::trim));
            let texts: ArrayRef = Arc::new(StringArray::from_iter(trimmed));
            datafusion::arrow::compute::cast(&texts, data_type)?
        }
    })
}

fn infer_type(values: &[Option<String>]) -> DataType {
    let data_type = |value: &Option<String>| match value.as_deref() {
        None => DataType::Utf8,
        Some(text) if text.parse::<i32>().is_ok() => DataType::Int32,
        Some(text) if text.parse::<i64>().is_ok() => DataType::Int64,
        Some(text) if convert::parse_double(text).is_some() => DataType::Float64,
        Some(text) if convert::parse_date(text).is_some() && text.len() == 10 => DataType::Date32,
        Some(text) if convert::parse_wall(text).is_some() => DataType::Timestamp(
            datafusion::arrow::datatypes::TimeUnit::Microsecond,
            Some("UTC".into()),
        ),
        Some(text) if text.to_lowercase().parse::<bool>().is_ok() => DataType::Boolean,
        Some(_) => DataType::Utf8,
    };
    let fields = values.iter().enumerate();
    let fields =
        fields.map(|(index, value)| Field::new(format!("_c{index}"), data_type(value), true));
    DataType::Struct(fields.collect())
}

fn to_csv(call: &Call) -> Result<ArrayRef> {
    let Some(row) = call.arrays[0].as_struct_opt() else {
        return call.fail(format!(
            "expected a STRUCT, got {}",
            call.arrays[0].data_type()
        ));
    };
    let has_options = call.has_argument(1);
    let pattern = |name: &str, default: &str| -> Result<Pattern> {
        let text = match has_options {
            true => option(call, name)?,
            false => None,
        };
        Pattern::compile(text.as_deref().unwrap_or(default))
    };
    let (timestamp, date) = (
        pattern("timestampFormat", TIMESTAMP_PATTERN)?,
        pattern("dateFormat", "yyyy-MM-dd")?,
    );
    let format = Format::of_call(call)?;
    let columns = row.columns().iter().map(|column| match column.data_type() {
        DataType::Timestamp(..) => format_column(call, column, &timestamp),
        DataType::Date32 => format_column(call, column, &date),
        data_type if data_type.is_nested() => call.fail(format!("{data_type} has no form in CSV")),
        _ => convert::to_text(column, &call.zone),
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    call.texts(|row| {
        let mut line = String::new();
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                line.push_str(&format.separator);
            }
            match column.is_null(row) {
                true => line.push_str(&format.null),
                false => format.write(column.as_string::<i32>().value(row), &mut line),
            }
        }
        Ok(Some(line))
    })
}

fn format_column(call: &Call, column: &ArrayRef, pattern: &Pattern) -> Result<ArrayRef> {
    let instants = convert::convert(column, Param::Instant, &call.zone)?;
    let instants =
        instants.as_primitive::<datafusion::arrow::datatypes::TimestampMicrosecondType>();
    let texts = instants
        .iter()
        .map(|instant| instant.map(|instant| datetime::format(pattern, instant, call.zone)));
    Ok(Arc::new(StringArray::from_iter(texts)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_outside_of_quotes() {
        let format = Format {
            separator: ",".to_owned(),
            quote: '"',
            escape: '\\',
            null: String::new(),
        };
        let split = |line| {
            format
                .split(line)
                .into_iter()
                .map(|v| v.unwrap_or("-".to_owned()))
                .collect::<Vec<_>>()
        };
        assert_eq!(split("1,abc"), ["1", "abc"]);
        assert_eq!(
            split(r#""a,b",,"c""d","e\"f""#),
            ["a,b", "-", "c\"d", "e\"f"]
        );
        let mut line = String::new();
        format.write("a\"b", &mut line);
        assert_eq!(line, r#""a\"b""#);
    }
}
