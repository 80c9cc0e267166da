//! Sets options of reads and writes by the names that Spark uses.

use faisca_planner::manifest::{
    Compression, Decimal, OnMalformedRow, PartitionOverwrite, SaveMode, Source, TextCompression,
    TextEncoding, Write,
};

use crate::error::{Error, Result, did_you_mean};

/// Options that `DataFrameReader::option` and CREATE EXTERNAL TABLE accept.
const SOURCE_OPTIONS: [&str; 16] = [
    "delimiter",
    "sep",
    "header",
    "has_header",
    "quote",
    "escape",
    "comment",
    "nullValue",
    "decimal",
    "encoding",
    "multiLine",
    "mode",
    "inferRows",
    "schema_infer_max_rec",
    "inferSchema",
    "compression",
];

/// Sets one option of a write by its name, in any case.
///
/// # Errors
/// Returns an error for an unknown name, which suggests the nearest, and for an invalid value.
pub(crate) fn set_write_option(write: &mut Write, key: &str, value: &str) -> Result<()> {
    match key.to_lowercase().as_str() {
        "compression" => {
            write.compression = Some(
                // A compression level in parentheses, as in `zstd(3)`, is ignored.
                match value.to_lowercase().split('(').next().unwrap_or_default() {
                    "none" | "uncompressed" => Compression::None,
                    "snappy" => Compression::Snappy,
                    "gzip" | "gz" => Compression::Gzip,
                    "zstd" | "zst" => Compression::Zstd,
                    "lz4" => Compression::Lz4,
                    _ => {
                        return Err(Error::Plan(format!(
                            "compression: `{value}` is not one of none, snappy, gzip, zstd, lz4"
                        )));
                    }
                },
            );
        }
        "targetfilesize" => write.target_file_size = Some(value.to_owned()),
        "mode" => {
            write.mode = match value.to_lowercase().as_str() {
                "overwrite" => SaveMode::Overwrite,
                "append" => SaveMode::Append,
                "ignore" => SaveMode::Ignore,
                "error" | "errorifexists" => SaveMode::ErrorIfExists,
                _ => {
                    return Err(Error::Plan(format!(
                        "mode: `{value}` is not one of overwrite, append, ignore, errorifexists"
                    )));
                }
            }
        }
        "partitionoverwritemode" => {
            write.partition_overwrite = match value.to_lowercase().as_str() {
                "static" => PartitionOverwrite::Static,
                "dynamic" => PartitionOverwrite::Dynamic,
                _ => {
                    return Err(Error::Plan(format!(
                        "partitionOverwriteMode: `{value}` is not one of static, dynamic"
                    )));
                }
            }
        }
        "successfile" | "mapreduce.fileoutputcommitter.marksuccessfuljobs" => {
            write.success_file = value
                .parse()
                .map_err(|_| Error::Plan(format!("{key}: `{value}` is not true or false")))?;
        }
        // Written CSV files always have a header, so only `true` is valid.
        "has_header" | "header" if value.eq_ignore_ascii_case("true") => {}
        _ => {
            let known = [
                "compression",
                "targetFileSize",
                "mode",
                "partitionOverwriteMode",
                "successFile",
            ];
            let help = did_you_mean(key, known.into_iter(), "known:");
            return Err(Error::Plan(format!(
                "unknown write option `{key}` with value `{value}`; {help}"
            )));
        }
    }
    Ok(())
}

/// Sets one option of a source by its name, in any case.
///
/// # Errors
/// Returns an error for an unknown name, which suggests the nearest, and for an invalid value.
pub(crate) fn set_source_option(source: &mut Source, key: &str, value: &str) -> Result<()> {
    let invalid =
        |expected: &str| Error::Plan(format!("option {key}: `{value}` is not {expected}"));
    let character = || match value {
        // In a manifest or in SQL, a tab is often written as these two characters.
        "\\t" => Ok('\t'),
        _ => value
            .chars()
            .next()
            .filter(|_| value.chars().count() == 1)
            .ok_or_else(|| invalid("one character")),
    };
    let flag = || match value.to_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid("true or false")),
    };
    match key.to_lowercase().as_str() {
        "delimiter" | "sep" => source.delimiter = Some(character()?),
        "header" | "has_header" => source.header = Some(flag()?),
        "quote" => source.quote = Some(character()?),
        "escape" => source.escape = Some(character()?),
        "comment" => source.comment = Some(character()?),
        "nullvalue" | "null_value" => source.null_value = Some(value.to_owned()),
        "decimal" => {
            source.decimal = match value {
                "." => Decimal::Point,
                "," => Decimal::Comma,
                _ => return Err(invalid("`.` or `,`")),
            }
        }
        "encoding" | "charset" => {
            source.encoding = match value.to_lowercase().as_str() {
                "utf-8" | "utf8" => TextEncoding::Utf8,
                "iso-8859-1" | "latin1" => TextEncoding::Iso8859_1,
                "windows-1252" | "cp1252" => TextEncoding::Windows1252,
                _ => return Err(invalid("utf-8, iso-8859-1 or windows-1252")),
            }
        }
        "multiline" | "newlines_in_values" => source.multi_line = flag()?,
        "mode" | "onmalformedrow" => {
            source.on_malformed_row = match value.to_lowercase().as_str() {
                "failfast" | "fail" => OnMalformedRow::Fail,
                "dropmalformed" | "drop" => OnMalformedRow::Drop,
                "permissive" | "nulls" => OnMalformedRow::Nulls,
                _ => return Err(invalid("FAILFAST, DROPMALFORMED or PERMISSIVE")),
            }
        }
        "inferrows" | "schema_infer_max_rec" => {
            source.infer_rows = Some(value.parse().map_err(|_| invalid("a number"))?)
        }
        // The value has no effect: a schema is always inferred if none is given.
        "inferschema" => drop(flag()?),
        "compression" => {
            source.compression = Some(match value.to_lowercase().as_str() {
                "none" | "uncompressed" => TextCompression::None,
                "gzip" | "gz" => TextCompression::Gzip,
                "bzip2" => TextCompression::Bzip2,
                "xz" => TextCompression::Xz,
                "zstd" | "zst" => TextCompression::Zstd,
                _ => return Err(invalid("none, gzip, bzip2, xz or zstd")),
            });
        }
        _ => {
            let help = did_you_mean(key, SOURCE_OPTIONS.into_iter(), "known:");
            return Err(Error::Plan(format!("unknown option `{key}`; {help}")));
        }
    }
    Ok(())
}
