//! Creates the readers of file formats, with the options of a source.

use std::sync::Arc;

use datafusion::config::TableParquetOptions;
use datafusion::datasource::file_format::FileFormat as DfFileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use faisca_executor::formats::TextFileFormat;
use faisca_executor::formats::csv::CsvReadOptions;
use faisca_executor::formats::json::{JsonReadOptions, UnknownFields};
use faisca_planner::manifest::{FileFormat, Source, TextCompression};
use object_store::path::Path;

use crate::error::{Error, Result};

/// Default number of rows from which a JSON schema is inferred.
const JSON_INFER_ROWS: usize = 10_000;
/// Time zone of a format; each scan sets that of its session.
const UTC: &str = "UTC";

/// Properties that all files of a source must share.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Expected<'a> {
    /// The header that all CSV files must have, if it is known.
    pub(crate) csv_header: Option<&'a [String]>,
    /// How fields of ndjson that the schema does not contain are treated.
    pub(crate) unknown_fields: UnknownFields,
}

/// Returns the format that reads files of a source with this compression.
///
/// # Errors
/// Returns an error if an option is not a single ASCII character, as CSV requires.
pub(crate) fn file_format(
    source: &Source,
    compression: TextCompression,
    expected: Expected<'_>,
) -> Result<Arc<dyn DfFileFormat>> {
    Ok(match source.format {
        FileFormat::Parquet => Arc::new(parquet_format()),
        FileFormat::Csv => Arc::new(TextFileFormat::csv(CsvReadOptions {
            first_header: expected.csv_header.map(<[String]>::to_vec),
            ..csv_options(source, compression)?
        })),
        FileFormat::Ndjson => Arc::new(TextFileFormat::json(JsonReadOptions {
            compression,
            infer_rows: source.infer_rows.unwrap_or(JSON_INFER_ROWS),
            unknown_fields: expected.unknown_fields,
            time_zone: UTC.to_owned(),
        })),
    })
}

/// Returns DataFusion's format with INT96 as instants in microseconds: the years 1 to 9999, as Spark
/// writes them. Nanoseconds end in 2262, and DataFusion wraps dates beyond.
fn parquet_format() -> ParquetFormat {
    let mut options = TableParquetOptions::default();
    options.global.coerce_int96 = Some("us".to_owned());
    options.global.coerce_int96_tz = Some(UTC.to_owned());
    ParquetFormat::default().with_options(options)
}

/// Returns the compression of a file: that of the source's options, else that of the file's
/// extension, as in Spark.
pub(crate) fn compression_of(source: &Source, file: &Path) -> TextCompression {
    let extension = file.extension().map(str::to_lowercase);
    source.compression.unwrap_or(match extension.as_deref() {
        Some("gz" | "gzip") => TextCompression::Gzip,
        Some("bz2") => TextCompression::Bzip2,
        Some("xz") => TextCompression::Xz,
        Some("zst" | "zstd") => TextCompression::Zstd,
        _ => TextCompression::None,
    })
}

/// Converts the options of a source to those of the CSV reader, which works on bytes.
///
/// # Errors
/// Returns an error if a delimiter, quote, escape or comment is not an ASCII character.
pub(crate) fn csv_options(source: &Source, compression: TextCompression) -> Result<CsvReadOptions> {
    let byte = |character: Option<char>, option: &str| {
        let narrow = |c: char| {
            u8::try_from(c).ok().filter(u8::is_ascii).ok_or_else(|| {
                let invalid = Error::InvalidOption {
                    option: option.to_owned(),
                    value: c.to_string(),
                    expected: "one ASCII character".to_owned(),
                };
                invalid.at(format!("source `{}`", source.name))
            })
        };
        character.map(narrow).transpose()
    };
    let defaults = CsvReadOptions::default();
    Ok(CsvReadOptions {
        delimiter: byte(source.delimiter, "delimiter")?.unwrap_or(defaults.delimiter),
        header: source.header.unwrap_or(defaults.header),
        quote: byte(source.quote, "quote")?.unwrap_or(defaults.quote),
        escape: byte(source.escape, "escape")?,
        comment: byte(source.comment, "comment")?,
        null_value: source.null_value.clone(),
        decimal: source.decimal,
        encoding: source.encoding,
        multi_line: source.multi_line,
        on_malformed_row: source.on_malformed_row,
        compression,
        infer_rows: source.infer_rows.unwrap_or(defaults.infer_rows),
        first_header: None,
        time_zone: defaults.time_zone,
    })
}
