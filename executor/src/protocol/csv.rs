//! The options of CSV files, for scans and for sinks.

use faisca_planner::manifest::{Decimal, OnMalformedRow, TextCompression, TextEncoding};
use serde::{Deserialize, Serialize};

/// How to read a CSV file. The defaults are Spark's, with a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsvReadOptions {
    /// Separator of values.
    pub delimiter: u8,
    /// Whether the first line has the names of the columns.
    pub header: bool,
    /// Quote around values that contain delimiters.
    pub quote: u8,
    /// Escapes a quote inside quotes. With `None`, a quote is escaped by doubling it.
    pub escape: Option<u8>,
    /// Lines that start with this byte are skipped.
    pub comment: Option<u8>,
    /// Text that means null, in addition to the empty field.
    pub null_value: Option<String>,
    /// Decimal mark of numbers.
    pub decimal: Decimal,
    /// Encoding of the text.
    pub encoding: TextEncoding,
    /// Whether quoted values may span lines; such files are not split.
    pub multi_line: bool,
    /// What to do with a row that does not match the schema.
    pub on_malformed_row: OnMalformedRow,
    /// Compression of the files.
    pub compression: TextCompression,
    /// Rows read to infer the schema; 0 for all.
    pub infer_rows: usize,
    /// Header of the table's first file, with which those of all files are compared. With `None`,
    /// they are compared with the table's columns.
    pub first_header: Option<Vec<String>>,
    /// Time zone of timestamps without an offset.
    pub time_zone: String,
}

impl Default for CsvReadOptions {
    fn default() -> Self {
        Self {
            delimiter: b',',
            header: true,
            quote: b'"',
            escape: None,
            comment: None,
            null_value: None,
            decimal: Decimal::Point,
            encoding: TextEncoding::Utf8,
            multi_line: false,
            on_malformed_row: OnMalformedRow::Fail,
            compression: TextCompression::None,
            infer_rows: 10_000,
            first_header: None,
            time_zone: "UTC".to_owned(),
        }
    }
}
