//! Writes rows in the formats of `--format`.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use clap::ValueEnum;
use faisca_spark::text::Zone;
use serde::Deserialize;

use super::cells::{BinaryText, Cells, write_json_text};
use super::table::{Screen, Table, TextRow, cut};

/// Number of rows of a table that are written together; the first ones set the widths of the
/// columns, which later ones may widen.
const TABLE_PART_ROWS: usize = 10_000;

/// Format of results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// A box of aligned columns, for people.
    #[default]
    Table,
    /// Values separated by commas, with a header. Null is empty, empty text is "".
    Csv,
    /// Values separated by tabs, with a header. Null is \N; tabs and line breaks are escaped.
    Tsv,
    /// An array of objects.
    Json,
    /// An object on each line.
    Ndjson,
    /// A table of Markdown.
    Markdown,
    /// A line for each value, for people.
    Vertical,
}

impl Format {
    /// Returns true if people read the output. All other formats contain rows and nothing else.
    pub(super) fn is_for_people(self) -> bool {
        matches!(self, Self::Table | Self::Vertical)
    }
}

/// A column of a result.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    /// Numbers are aligned to the right.
    pub(super) is_number: bool,
}

/// Returns the columns of a result.
pub(super) fn result_columns(schema: &Schema) -> Vec<Column> {
    let column = |field: &arrow::datatypes::FieldRef| Column {
        name: field.name().clone(),
        is_number: is_number(field.data_type()),
    };
    schema.fields().iter().map(column).collect()
}

fn is_number(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, value) => is_number(value),
        other => other.is_numeric(),
    }
}

/// Writes a result, batch by batch.
pub(super) struct RowWriter<'a> {
    format: Format,
    columns: Vec<Column>,
    zone: Zone,
    screen: Screen,
    out: &'a mut dyn Write,
    rows: u64,
    table: Table,
    /// Rows of a table that are not written yet.
    pending: Vec<TextRow>,
}

/// Summary of a written result.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) rows: u64,
    /// Describes what the terminal did not show.
    pub(super) note: Option<String>,
}

impl<'a> RowWriter<'a> {
    /// Creates the writer, and writes the header.
    pub(super) fn new(
        format: Format,
        columns: Vec<Column>,
        zone: Zone,
        screen: Screen,
        out: &'a mut dyn Write,
    ) -> io::Result<Self> {
        let texts = columns.iter().map(|column| Some(column.name.clone()));
        let header: TextRow = texts.collect();
        match format {
            Format::Csv => writeln!(out, "{}", csv_line(&header))?,
            Format::Tsv => writeln!(out, "{}", tsv_line(&header))?,
            Format::Markdown => {
                let rules: Vec<&str> = columns
                    .iter()
                    .map(|column| if column.is_number { "---:" } else { "---" })
                    .collect();
                writeln!(out, "{}\n| {} |", markdown_line(&header), rules.join(" | "))?;
            }
            Format::Json => write!(out, "[")?,
            Format::Table | Format::Ndjson | Format::Vertical => {}
        }
        Ok(Self {
            format,
            zone,
            screen,
            out,
            rows: 0,
            table: Table::new(columns.clone(), screen),
            columns,
            pending: vec![],
        })
    }

    /// Writes the rows of a batch.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let binary = match self.format.is_for_people() {
            true => BinaryText::Utf8,
            false => BinaryText::Hexadecimal,
        };
        let cells = batch
            .columns()
            .iter()
            .map(|array| Cells::new(array, self.zone, binary));
        let cells = cells
            .collect::<Result<Vec<_>, _>>()
            .map_err(io::Error::other)?;
        for row in 0..batch.num_rows() {
            match self.format {
                Format::Json | Format::Ndjson => self.write_object(&cells, row)?,
                _ => self.write_texts(cells.iter().map(|cell| cell.text(row)).collect())?,
            }
            self.rows += 1;
        }
        Ok(())
    }

    /// Returns the number of rows written so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    fn write_object(&mut self, cells: &[Cells], row: usize) -> io::Result<()> {
        let mut text = String::from("{");
        for (index, (cell, column)) in cells.iter().zip(&self.columns).enumerate() {
            text.push_str(if index > 0 { "," } else { "" });
            write_json_text(&column.name, &mut text);
            text.push(':');
            cell.write_json(row, &mut text);
        }
        text.push('}');
        match (self.format, self.rows) {
            (Format::Json, 0) => write!(self.out, "\n{text}"),
            (Format::Json, _) => write!(self.out, ",\n{text}"),
            _ => writeln!(self.out, "{text}"),
        }
    }

    fn write_texts(&mut self, texts: TextRow) -> io::Result<()> {
        match self.format {
            Format::Csv => writeln!(self.out, "{}", csv_line(&texts)),
            Format::Tsv => writeln!(self.out, "{}", tsv_line(&texts)),
            Format::Markdown => writeln!(self.out, "{}", markdown_line(&texts)),
            Format::Vertical => self.write_record(&texts),
            _ => {
                self.pending.push(texts);
                if self.pending.len() < TABLE_PART_ROWS {
                    return Ok(());
                }
                let rows = std::mem::take(&mut self.pending);
                self.table.write(&rows, self.out)
            }
        }
    }

    fn write_record(&mut self, texts: &TextRow) -> io::Result<()> {
        use unicode_width::UnicodeWidthStr;
        let names = self.columns.iter().map(|column| column.name.width());
        let name_width = names.max().unwrap_or(0);
        writeln!(self.out, "-[ record {} ]-", self.rows + 1)?;
        for (column, text) in self.columns.iter().zip(texts) {
            let padding = " ".repeat(name_width - column.name.width());
            let text = text.as_deref().unwrap_or("NULL");
            let line = format!("{}{padding} | {text}", column.name);
            match self.screen.width {
                Some(width) => writeln!(self.out, "{}", cut(&line.replace('\n', "\\n"), width))?,
                None => writeln!(self.out, "{line}")?,
            }
        }
        Ok(())
    }

    /// Writes the end of the result.
    pub(super) fn finish(mut self) -> io::Result<Written> {
        let mut note = None;
        match (self.format, self.rows) {
            (Format::Json, 0) => writeln!(self.out, "]")?,
            (Format::Json, _) => writeln!(self.out, "\n]")?,
            (Format::Table, _) => {
                if !self.pending.is_empty() {
                    self.table.write(&self.pending, self.out)?;
                }
                note = self.table.finish(self.out)?;
            }
            _ => {}
        }
        self.out.flush()?;
        Ok(Written {
            rows: self.rows,
            note,
        })
    }
}

/// Formats a line of CSV. Null is empty, and an empty text is quoted, so that readers can
/// distinguish them.
fn csv_line(row: &TextRow) -> String {
    let value = |text: &Option<String>| match text {
        None => String::new(),
        Some(text) if text.is_empty() || text.contains([',', '"', '\n', '\r']) => {
            format!("\"{}\"", text.replace('"', "\"\""))
        }
        Some(text) => text.clone(),
    };
    row.iter().map(value).collect::<Vec<_>>().join(",")
}

fn tsv_line(row: &TextRow) -> String {
    let value = |text: &Option<String>| match text {
        None => "\\N".to_owned(),
        Some(text) => text
            .replace('\\', "\\\\")
            .replace('\t', "\\t")
            .replace('\n', "\\n")
            .replace('\r', "\\r"),
    };
    row.iter().map(value).collect::<Vec<_>>().join("\t")
}

fn markdown_line(row: &TextRow) -> String {
    let value = |text: &Option<String>| match text {
        None => "NULL".to_owned(),
        Some(text) => text
            .replace('\\', "\\\\")
            .replace('|', "\\|")
            .replace("\r\n", "<br>")
            .replace('\n', "<br>"),
    };
    format!(
        "| {} |",
        row.iter().map(value).collect::<Vec<_>>().join(" | ")
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, StringArray};

    use super::*;

    fn written(format: Format, batches: &[RecordBatch]) -> String {
        let mut out = vec![];
        let columns = result_columns(&batches[0].schema());
        let mut writer =
            RowWriter::new(format, columns, Zone::UTC, Screen::default(), &mut out).unwrap();
        for batch in batches {
            writer.write(batch).unwrap();
        }
        writer.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    fn batch() -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a,\"b\"|"), Some(""), None]));
        RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).unwrap()
    }

    #[test]
    fn null_and_empty_text_differ_in_every_format_for_programs() {
        let expected = [
            (Format::Csv, "n,t\n1,\"a,\"\"b\"\"|\"\n,\"\"\n3,\n"),
            (Format::Tsv, "n\tt\n1\ta,\"b\"|\n\\N\t\n3\t\\N\n"),
            (
                Format::Ndjson,
                "{\"n\":1,\"t\":\"a,\\\"b\\\"|\"}\n{\"n\":null,\"t\":\"\"}\n{\"n\":3,\"t\":null}\n",
            ),
            (
                Format::Markdown,
                "| n | t |\n| ---: | --- |\n| 1 | a,\"b\"\\| |\n| NULL |  |\n| 3 | NULL |\n",
            ),
            (
                Format::Vertical,
                "-[ record 1 ]-\nn | 1\nt | a,\"b\"|\n-[ record 2 ]-\nn | NULL\nt | \n-[ record 3 ]-\nn | 3\nt | NULL\n",
            ),
        ];
        for (format, text) in expected {
            assert_eq!(written(format, &[batch()]), text, "{format:?}");
        }
    }

    #[test]
    fn json_is_one_array_over_all_batches() {
        let text = written(Format::Json, &[batch(), batch()]);
        let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(rows.len(), 6);
        assert_eq!(written(Format::Json, &[batch().slice(0, 0)]), "[]\n");
    }

    #[test]
    fn line_breaks_stay_within_a_line_of_tsv_and_markdown() {
        let row = vec![Some("a\tb\nc\\".to_owned())];
        assert_eq!(tsv_line(&row), "a\\tb\\nc\\\\");
        assert_eq!(markdown_line(&row), "| a\tb<br>c\\\\ |");
        assert_eq!(csv_line(&row), "\"a\tb\nc\\\"");
    }
}
