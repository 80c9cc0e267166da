//! `session.read()`, with the option names that Spark's users know.

use faisca_planner::manifest::{
    Decimal, FileFormat, OnMalformedRow, Source, TextEncoding, nearest,
};

use super::Session;
use crate::error::{Error, Result};
use crate::input::source::default_source;
use crate::session::dataframe::DataFrame;

/// Options that [`DataFrameReader::option`] and CREATE EXTERNAL TABLE know.
const OPTIONS: [&str; 16] = [
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

/// Reads files into DataFrames.
#[must_use]
pub struct DataFrameReader {
    session: Session,
    source: Source,
    problem: Option<Error>,
}

impl DataFrameReader {
    pub(crate) fn new(session: Session) -> Self {
        Self {
            session,
            source: default_source("read", "", FileFormat::Parquet),
            problem: None,
        }
    }

    /// A CSV option: `delimiter`, `header`, `quote`, `escape`, `comment`, `nullValue`, `decimal`,
    /// `encoding`, `multiLine`, `mode` (FAILFAST, DROPMALFORMED, PERMISSIVE), `inferRows`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "`option(\"header\", true)` reads better than a reference"
    )]
    pub fn option(mut self, key: &str, value: impl ToString) -> Self {
        if let Err(error) = set_option(&mut self.source, key, &value.to_string()) {
            self.problem.get_or_insert(error);
        }
        self
    }

    /// Columns as in CREATE TABLE, say `a INT, b STRING`; inferred when not given.
    pub fn schema(mut self, schema: &str) -> Self {
        self.source.schema = Some(schema.to_owned());
        self
    }

    /// Reads CSV: a file, folder or glob.
    ///
    /// # Errors
    /// If nothing is there, or an option is unknown.
    pub async fn csv(self, path: &str) -> Result<DataFrame> {
        self.load(FileFormat::Csv, path).await
    }

    /// Reads Parquet: a file, folder or glob.
    ///
    /// # Errors
    /// As [`Self::csv`].
    pub async fn parquet(self, path: &str) -> Result<DataFrame> {
        self.load(FileFormat::Parquet, path).await
    }

    /// Reads one JSON object a line: a file, folder or glob.
    ///
    /// # Errors
    /// As [`Self::csv`].
    pub async fn json(self, path: &str) -> Result<DataFrame> {
        self.load(FileFormat::Ndjson, path).await
    }

    async fn load(mut self, format: FileFormat, path: &str) -> Result<DataFrame> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        self.source.format = format;
        self.source.path = path.to_owned();
        let provider = crate::input::source::open(self.session.context(), &self.source).await?;
        let names = provider.schema();
        if let Some((a, b)) =
            faisca_planner::names::clash(names.fields().iter().map(|f| f.name().as_str()))
        {
            return Err(Error::Plan(format!(
                "{path}: the columns `{a}` and `{b}` differ only by case; give a schema"
            )));
        }
        let frame = self.session.context().read_table(provider)?;
        Ok(DataFrame::new(self.session, frame))
    }
}

/// Sets one option of a source by name.
///
/// # Errors
/// For an unknown name, with the nearest, and for a value that does not fit.
pub(crate) fn set_option(source: &mut Source, key: &str, value: &str) -> Result<()> {
    let invalid =
        |expected: &str| Error::Plan(format!("option {key}: `{value}` is not {expected}"));
    let character = || match value {
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
        // Schemas are always inferred where none is given.
        "inferschema" => drop(flag()?),
        "compression" => {
            use faisca_planner::manifest::TextCompression;
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
            let help = nearest(key, OPTIONS).map_or_else(
                || format!("known: {}", OPTIONS.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(Error::Plan(format!("unknown option `{key}`; {help}")));
        }
    }
    Ok(())
}
