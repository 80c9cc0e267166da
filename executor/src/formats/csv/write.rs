//! Batches to CSV text that the reader reads back as it was.

use arrow::array::{Array, RecordBatch};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Result;

/// Returns a batch as CSV, with a header if it is the first of its file.
///
/// As in Spark and DuckDB, nothing between two commas is null, and `""` is an empty text. In a file
/// of one column, an empty line is null.
///
/// # Errors
/// For nested types, which CSV does not have.
pub(crate) fn to_csv(batch: &RecordBatch, header: bool) -> Result<Vec<u8>> {
    let mut out = String::new();
    if header {
        for (index, field) in batch.schema().fields().iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            push_text(&mut out, field.name());
        }
        out.push('\n');
    }
    let options = FormatOptions::default();
    let mut formatters = Vec::with_capacity(batch.num_columns());
    for (column, field) in batch.columns().iter().zip(batch.schema().fields()) {
        if column.data_type().is_nested() {
            return Err(ArrowError::CsvError(format!(
                "column {}: CSV has no nested type {}",
                field.name(),
                column.data_type()
            ))
            .into());
        }
        formatters.push(ArrayFormatter::try_new(column.as_ref(), &options)?);
    }
    let mut value = String::new();
    for row in 0..batch.num_rows() {
        for (index, (column, formatter)) in batch.columns().iter().zip(&formatters).enumerate() {
            if index > 0 {
                out.push(',');
            }
            if column.is_null(row) {
                continue;
            }
            value.clear();
            formatter
                .value(row)
                .write(&mut value)
                .map_err(|e| ArrowError::CsvError(e.to_string()))?;
            push_text(&mut out, &value);
        }
        out.push('\n');
    }
    Ok(out.into_bytes())
}

fn push_text(out: &mut String, text: &str) {
    if !text.is_empty() && !text.contains([',', '"', '\n', '\r']) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for (index, part) in text.split('"').enumerate() {
        if index > 0 {
            out.push_str("\"\"");
        }
        out.push_str(part);
    }
    out.push('"');
}
