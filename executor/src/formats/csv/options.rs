//! The options of CSV files.

use bytes::Bytes;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use encoding_rs::Encoding;
use faisca_planner::manifest::{OnMalformedRow, TextCompression, TextEncoding};
use serde::{Deserialize, Serialize};

use crate::formats::text::compression_type;

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
    /// Whether numbers have a decimal comma instead of a decimal point.
    pub decimal_comma: bool,
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
            decimal_comma: false,
            encoding: TextEncoding::Utf8,
            multi_line: false,
            on_malformed_row: OnMalformedRow::Fail,
            compression: TextCompression::None,
            infer_rows: 10_000,
            first_header: None,
        }
    }
}

impl CsvReadOptions {
    /// Returns DataFusion's name of the compression.
    #[must_use]
    pub(crate) fn compression_type(&self) -> FileCompressionType {
        compression_type(self.compression)
    }

    /// Converts a chunk to UTF-8. All supported encodings are UTF-8 or have one byte per character,
    /// so a chunk can be converted without its neighbours.
    pub(super) fn to_utf8(&self, chunk: Bytes) -> Bytes {
        let encoding: &'static Encoding = match self.encoding {
            TextEncoding::Utf8 => return chunk,
            // The encoding standard of the Web maps ISO-8859-1 to Windows-1252, which differs only in
            // control codes.
            TextEncoding::Iso8859_1 | TextEncoding::Windows1252 => encoding_rs::WINDOWS_1252,
        };
        if chunk.is_ascii() {
            return chunk;
        }
        Bytes::from(
            encoding
                .decode_without_bom_handling(&chunk)
                .0
                .into_owned()
                .into_bytes(),
        )
    }
}
