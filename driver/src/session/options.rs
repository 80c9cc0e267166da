//! Sets options of reads and writes by the names that Spark uses.

use faisca_planner::manifest::{
    Compression, Decimal, OnMalformedRow, PartitionOverwrite, SaveMode, Source, TextCompression,
    TextEncoding, Write,
};

use crate::error::{Error, NameKind, Result, nearest_or_all};

/// Names that errors suggest for an unknown option of a read. [`set_source_option`] accepts more
/// spellings.
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

/// Names that errors suggest for an unknown option of a write.
const WRITE_OPTIONS: [&str; 5] = [
    "compression",
    "targetFileSize",
    "mode",
    "partitionOverwriteMode",
    "successFile",
];

/// Names of an option's values, in lower case. Of several names of one value, the first is the
/// usual one.
type Choices<T> = [(&'static str, T)];

const COMPRESSIONS: &Choices<Compression> = &[
    ("none", Compression::None),
    ("uncompressed", Compression::None),
    ("snappy", Compression::Snappy),
    ("gzip", Compression::Gzip),
    ("gz", Compression::Gzip),
    ("zstd", Compression::Zstd),
    ("zst", Compression::Zstd),
    ("lz4", Compression::Lz4),
];
const SAVE_MODES: &Choices<SaveMode> = &[
    ("overwrite", SaveMode::Overwrite),
    ("append", SaveMode::Append),
    ("ignore", SaveMode::Ignore),
    ("errorifexists", SaveMode::ErrorIfExists),
    ("error", SaveMode::ErrorIfExists),
];
const PARTITION_OVERWRITES: &Choices<PartitionOverwrite> = &[
    ("static", PartitionOverwrite::Static),
    ("dynamic", PartitionOverwrite::Dynamic),
];
const TEXT_COMPRESSIONS: &Choices<TextCompression> = &[
    ("none", TextCompression::None),
    ("uncompressed", TextCompression::None),
    ("gzip", TextCompression::Gzip),
    ("gz", TextCompression::Gzip),
    ("bzip2", TextCompression::Bzip2),
    ("xz", TextCompression::Xz),
    ("zstd", TextCompression::Zstd),
    ("zst", TextCompression::Zstd),
];
const ENCODINGS: &Choices<TextEncoding> = &[
    ("utf-8", TextEncoding::Utf8),
    ("utf8", TextEncoding::Utf8),
    ("iso-8859-1", TextEncoding::Iso8859_1),
    ("latin1", TextEncoding::Iso8859_1),
    ("windows-1252", TextEncoding::Windows1252),
    ("cp1252", TextEncoding::Windows1252),
];
const MALFORMED_ROWS: &Choices<OnMalformedRow> = &[
    ("failfast", OnMalformedRow::Fail),
    ("fail", OnMalformedRow::Fail),
    ("dropmalformed", OnMalformedRow::Drop),
    ("drop", OnMalformedRow::Drop),
    ("permissive", OnMalformedRow::Nulls),
    ("nulls", OnMalformedRow::Nulls),
];
const DECIMALS: &Choices<Decimal> = &[(".", Decimal::Point), (",", Decimal::Comma)];
const FLAGS: &Choices<bool> = &[("true", true), ("false", false)];

/// An option as the user wrote it.
struct Setting<'a> {
    name: &'a str,
    value: &'a str,
}

impl Setting<'_> {
    fn invalid(&self, expected: impl Into<String>) -> Error {
        Error::InvalidOption {
            option: self.name.to_owned(),
            value: self.value.to_owned(),
            expected: expected.into(),
        }
    }

    fn unknown(&self, kind: NameKind, known: &[&str]) -> Error {
        Error::UnknownName {
            kind,
            name: self.name.to_owned(),
            help: nearest_or_all(self.name, known.iter().copied(), "known:"),
        }
    }

    /// Returns the value named `text`, in any case.
    fn choose<T: Copy + PartialEq>(&self, choices: &Choices<T>, text: &str) -> Result<T> {
        let text = text.to_lowercase();
        match choices.iter().find(|(name, _)| *name == text) {
            Some((_, value)) => Ok(*value),
            None => {
                let mut usual = choices.to_vec();
                usual.dedup_by_key(|(_, value)| *value);
                let names: Vec<String> =
                    usual.iter().map(|(name, _)| format!("`{name}`")).collect();
                Err(self.invalid(format!("one of {}", names.join(", "))))
            }
        }
    }

    fn character(&self) -> Result<char> {
        let mut characters = self.value.chars();
        match (self.value, characters.next(), characters.next()) {
            // In a manifest or in SQL, a tab is often written as these two characters.
            ("\\t", ..) => Ok('\t'),
            (_, Some(character), None) => Ok(character),
            _ => Err(self.invalid("one character")),
        }
    }
}

/// Sets one option of a write by its name, in any case.
///
/// # Errors
/// Returns an error for an unknown name, which suggests the nearest, and for an invalid value.
pub(crate) fn set_write_option(write: &mut Write, name: &str, value: &str) -> Result<()> {
    let setting = Setting { name, value };
    match name.to_lowercase().as_str() {
        "compression" => {
            // A compression level in parentheses, as in `zstd(3)`, is ignored.
            let codec = value.split('(').next().unwrap_or_default();
            write.compression = Some(setting.choose(COMPRESSIONS, codec)?);
        }
        "targetfilesize" => write.target_file_size = Some(value.to_owned()),
        "mode" => write.mode = setting.choose(SAVE_MODES, value)?,
        "partitionoverwritemode" => {
            write.partition_overwrite = setting.choose(PARTITION_OVERWRITES, value)?;
        }
        "successfile" | "mapreduce.fileoutputcommitter.marksuccessfuljobs" => {
            write.success_file = setting.choose(FLAGS, value)?;
        }
        // Written CSV files always have a header, so only `true` is valid.
        "has_header" | "header" if value.eq_ignore_ascii_case("true") => {}
        "has_header" | "header" => return Err(setting.invalid("`true`")),
        _ => return Err(setting.unknown(NameKind::WriteOption, &WRITE_OPTIONS)),
    }
    Ok(())
}

/// Sets one option of a source by its name, in any case.
///
/// # Errors
/// Returns an error for an unknown name, which suggests the nearest, and for an invalid value.
pub(crate) fn set_source_option(source: &mut Source, name: &str, value: &str) -> Result<()> {
    let setting = Setting { name, value };
    match name.to_lowercase().as_str() {
        "delimiter" | "sep" => source.delimiter = Some(setting.character()?),
        "header" | "has_header" => source.header = Some(setting.choose(FLAGS, value)?),
        "quote" => source.quote = Some(setting.character()?),
        "escape" => source.escape = Some(setting.character()?),
        "comment" => source.comment = Some(setting.character()?),
        "nullvalue" | "null_value" => source.null_value = Some(value.to_owned()),
        "decimal" => source.decimal = setting.choose(DECIMALS, value)?,
        "encoding" | "charset" => source.encoding = setting.choose(ENCODINGS, value)?,
        "multiline" | "newlines_in_values" => source.multi_line = setting.choose(FLAGS, value)?,
        "mode" | "onmalformedrow" => {
            source.on_malformed_row = setting.choose(MALFORMED_ROWS, value)?;
        }
        "inferrows" | "schema_infer_max_rec" => {
            source.infer_rows = Some(value.parse().map_err(|_| setting.invalid("a number"))?);
        }
        // The value has no effect: a schema is always inferred if none is given.
        "inferschema" => drop(setting.choose(FLAGS, value)?),
        "compression" => {
            source.compression = Some(setting.choose(TEXT_COMPRESSIONS, value)?);
        }
        _ => return Err(setting.unknown(NameKind::ReadOption, &SOURCE_OPTIONS)),
    }
    Ok(())
}
