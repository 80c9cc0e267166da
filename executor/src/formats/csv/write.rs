//! Batches to CSV text that a reader with given options reads back as it was.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{FieldRef, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::{Result, exec_datafusion_err, exec_err};
use faisca_planner::manifest::{Decimal, TextEncoding};

use super::values::decimal_mark;
use crate::protocol::CsvReadOptions;

/// Writes text for a reader with these options.
///
/// As in Spark and DuckDB, nothing between two delimiters is null, and `""` is an empty text. In a
/// file of one column, an empty line is null.
#[derive(Debug, Clone)]
pub(crate) struct CsvWriter {
    options: CsvReadOptions,
    /// Characters that a value without quotes cannot have.
    reserved: [char; 4],
}

impl CsvWriter {
    pub(crate) fn new(options: CsvReadOptions) -> Self {
        let reserved = [options.delimiter.into(), options.quote.into(), '\n', '\r'];
        Self { options, reserved }
    }

    /// Returns the first line of a file; it is empty if the reader expects no header.
    ///
    /// # Errors
    /// If the encoding lacks a character.
    pub(crate) fn header(&self, schema: &Schema) -> Result<Vec<u8>> {
        let mut out = String::new();
        if self.options.header {
            for (index, field) in schema.fields().iter().enumerate() {
                if index > 0 {
                    out.push(self.options.delimiter.into());
                }
                self.push(&mut out, field.name());
            }
            out.push('\n');
        }
        self.encode(out)
    }

    /// Returns the lines of a batch.
    ///
    /// # Errors
    /// For a value that the reader would not read back.
    pub(crate) fn rows(&self, batch: &RecordBatch) -> Result<Vec<u8>> {
        let options = FormatOptions::default();
        let schema = batch.schema();
        let columns = batch.columns().iter().zip(schema.fields());
        let columns = columns.map(|(values, field)| {
            Ok(Column {
                text: ArrayFormatter::try_new(values.as_ref(), &options)?,
                values,
                field,
            })
        });
        let columns: Vec<Column<'_>> = columns.collect::<Result<_>>()?;
        let mut out = String::new();
        let mut value = String::new();
        for row in 0..batch.num_rows() {
            for (index, column) in columns.iter().enumerate() {
                if index > 0 {
                    out.push(self.options.delimiter.into());
                }
                if column.values.is_valid(row) {
                    value.clear();
                    self.spell(column, row, &mut value)?;
                    self.push(&mut out, &value);
                }
            }
            out.push('\n');
        }
        self.encode(out)
    }

    /// Spells a value as the reader expects it, without quotes.
    fn spell(&self, column: &Column<'_>, row: usize, value: &mut String) -> Result<()> {
        let name = column.field.name();
        let written = column.text.value(row).write(value);
        written.map_err(|e| exec_datafusion_err!("column {name}: {e}"))?;
        if column.field.data_type().is_floating() {
            spell_infinity(value);
        }
        if decimal_mark(&self.options, column.field.data_type()) == Decimal::Comma {
            *value = value.replace('.', ",");
        }
        if !self.options.multi_line && value.contains('\n') {
            return exec_err!(
                "column {name}: a value has a line break, which this table would not read back; create the table with the option multiLine"
            );
        }
        if self.options.null_value.as_ref() == Some(value) {
            return exec_err!(
                "column {name}: the value `{value}` would be read back as null; create the table with another nullValue"
            );
        }
        Ok(())
    }

    /// Adds a value, in quotes where it needs them.
    fn push(&self, out: &mut String, text: &str) {
        let comment = self.options.comment.map(char::from);
        let is_comment = comment.is_some_and(|comment| text.starts_with(comment));
        if !text.is_empty() && !text.contains(self.reserved) && !is_comment {
            out.push_str(text);
            return;
        }
        let quote = char::from(self.options.quote);
        let escape = self.options.escape.map_or(quote, char::from);
        out.push(quote);
        for c in text.chars() {
            if c == quote || c == escape {
                out.push(escape);
            }
            out.push(c);
        }
        out.push(quote);
    }

    fn encode(&self, text: String) -> Result<Vec<u8>> {
        match self.options.encoding {
            TextEncoding::Utf8 => Ok(text.into_bytes()),
            TextEncoding::Iso8859_1 | TextEncoding::Windows1252 => {
                let (bytes, _, is_lossy) = encoding_rs::WINDOWS_1252.encode(&text);
                if is_lossy {
                    return exec_err!(
                        "a value has a character that the encoding of this table lacks; create the table with encoding utf-8"
                    );
                }
                Ok(bytes.into_owned())
            }
        }
    }
}

/// Spells infinity as Spark does.
fn spell_infinity(number: &mut String) {
    match number.as_str() {
        "inf" => "Infinity".clone_into(number),
        "-inf" => "-Infinity".clone_into(number),
        _ => {}
    }
}

struct Column<'a> {
    values: &'a ArrayRef,
    field: &'a FieldRef,
    text: ArrayFormatter<'a>,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, StringArray};
    use arrow::datatypes::{DataType, Field};

    use super::*;

    fn written(options: CsvReadOptions, text: Option<&str>) -> Result<String> {
        let schema = Schema::new(vec![
            Field::new("s", DataType::Utf8, true),
            Field::new("d", DataType::Float64, true),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![text])),
            Arc::new(Float64Array::from(vec![1.5])),
        ];
        let batch = RecordBatch::try_new(Arc::new(schema), columns)?;
        let writer = CsvWriter::new(options);
        let mut bytes = writer.header(&batch.schema())?;
        bytes.extend(writer.rows(&batch)?);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn values_are_written_as_the_options_of_the_reader_say() {
        let default = CsvReadOptions::default;
        for (options, text, expected) in [
            (default(), None, "s,d\n,1.5\n"),
            (default(), Some(""), "s,d\n\"\",1.5\n"),
            (default(), Some("a,\"b\""), "s,d\n\"a,\"\"b\"\"\",1.5\n"),
            (
                CsvReadOptions {
                    delimiter: b';',
                    header: false,
                    decimal: Decimal::Comma,
                    comment: Some(b'#'),
                    ..default()
                },
                Some("#a,b"),
                "\"#a,b\";1,5\n",
            ),
            (
                CsvReadOptions {
                    quote: b'\'',
                    escape: Some(b'\\'),
                    ..default()
                },
                Some("it's \\"),
                "s,d\n'it\\'s \\\\',1.5\n",
            ),
        ] {
            assert_eq!(written(options, text).unwrap(), expected);
        }
    }

    #[test]
    fn values_that_would_not_be_read_back_are_refused() {
        let refused = |options, text| written(options, Some(text)).unwrap_err().to_string();
        let null_value = CsvReadOptions {
            null_value: Some("NA".to_owned()),
            ..Default::default()
        };
        assert!(refused(null_value, "NA").contains("column s: the value `NA`"));
        assert!(refused(CsvReadOptions::default(), "a\nb").contains("multiLine"));
        let latin = CsvReadOptions {
            encoding: TextEncoding::Iso8859_1,
            ..Default::default()
        };
        assert!(refused(latin, "日本").contains("encoding"));
    }
}
