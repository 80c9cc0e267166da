//! The reader that `session.read()` returns, with the option names of Spark.

use std::fmt;
use std::sync::Arc;

use faisca_planner::manifest::{FileFormat, Source};

use super::dataframe::DataFrame;
use super::options::set_source_option;
use crate::error::{Error, Result};
use crate::input::source::{default_source, open};
use crate::services::Services;

/// Reads files into DataFrames; [`Session::read`] returns it.
///
/// A path names a file, a folder or a glob, on this machine or in an object store. Creating the
/// DataFrame lists the files and infers their schema; running it reads their rows. Names that begin
/// with `.` or `_`, and empty files, are skipped as in Spark. `key=value` folders become columns of
/// strings.
///
/// ```no_run
/// use faisca_driver::{DataFrame, Session};
///
/// # async fn example(session: &Session) -> faisca_driver::Result<DataFrame> {
/// session
///     .read()
///     .option("delimiter", ";")
///     .option("header", true)
///     .schema("name STRING, age INT")
///     .csv("data/people-*.csv")
///     .await
/// # }
/// ```
///
/// [`Session::read`]: super::Session::read
#[must_use]
pub struct DataFrameReader {
    services: Arc<Services>,
    source: Source,
    /// The first invalid option. The read methods return it, so that calls can be chained.
    problem: Option<Error>,
}

impl fmt::Debug for DataFrameReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataFrameReader")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl DataFrameReader {
    pub(super) fn new(services: Arc<Services>) -> Self {
        Self {
            services,
            source: default_source("read", "", FileFormat::Parquet),
            problem: None,
        }
    }

    /// Sets one option of CSV or JSON. An unknown option or an invalid value is reported when a
    /// read method is called.
    ///
    /// - `delimiter` (or `sep`), `quote`, `escape`, `comment`: one ASCII character
    /// - `header`: `true` if the first line of each file contains the column names
    /// - `nullValue`: the text that stands for null
    /// - `decimal`: the decimal separator, `.` or `,`
    /// - `encoding`: `utf-8`, `iso-8859-1` or `windows-1252`
    /// - `multiLine`: `true` if quoted values may contain line breaks
    /// - `mode`: for malformed rows, `FAILFAST`, `DROPMALFORMED` or `PERMISSIVE`
    /// - `inferRows`: number of rows from which a schema is inferred; 0 means all rows
    /// - `compression`: `none`, `gzip`, `bzip2`, `xz` or `zstd`; default: from the file extension
    /// - `inferSchema`: accepted for compatibility and ignored; see [`Self::schema`]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "`option(\"header\", true)` reads better than a reference"
    )]
    ///
    /// ```no_run
    /// # use faisca_driver::{Result, Session};
    /// # async fn example(session: &Session) -> Result<()> {
    /// let people = session.read().option("delimiter", ";").csv("people.csv").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn option(mut self, key: &str, value: impl ToString) -> Self {
        if let Err(error) = set_source_option(&mut self.source, key, &value.to_string()) {
            self.problem.get_or_insert(error);
        }
        self
    }

    /// Sets the names and types of the columns, written as in CREATE TABLE: `a INT, b STRING`.
    /// Default: they are inferred from the files. A text that cannot be parsed is reported when a
    /// read method is called.
    ///
    /// ```no_run
    /// # use faisca_driver::{Result, Session};
    /// # async fn example(session: &Session) -> Result<()> {
    /// let people = session.read().schema("name STRING, age INT").csv("people.csv").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn schema(mut self, schema: &str) -> Self {
        self.source.schema = Some(schema.to_owned());
        self
    }

    /// Reads CSV files. `path` is a file, folder or glob.
    ///
    /// ```no_run
    /// # use faisca_driver::{Result, Session};
    /// # async fn example(session: &Session) -> Result<()> {
    /// let people = session.read().option("header", true).csv("people.csv").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if there are no files at the path, a file is damaged, an option or the
    /// schema is invalid, or two columns differ only by case.
    pub async fn csv(self, path: &str) -> Result<DataFrame> {
        self.load(FileFormat::Csv, path).await
    }

    /// Reads Parquet files. `path` is a file, folder or glob.
    ///
    /// ```no_run
    /// # use faisca_driver::{Result, Session};
    /// # async fn example(session: &Session) -> Result<()> {
    /// let people = session.read().parquet("lake/people/").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::csv`].
    pub async fn parquet(self, path: &str) -> Result<DataFrame> {
        self.load(FileFormat::Parquet, path).await
    }

    /// Reads files with one JSON object per line. `path` is a file, folder or glob.
    ///
    /// ```no_run
    /// # use faisca_driver::{Result, Session};
    /// # async fn example(session: &Session) -> Result<()> {
    /// let people = session.read().json("people.ndjson").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::csv`].
    pub async fn json(self, path: &str) -> Result<DataFrame> {
        self.load(FileFormat::Ndjson, path).await
    }

    async fn load(mut self, format: FileFormat, path: &str) -> Result<DataFrame> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        self.source.format = format;
        self.source.path = path.to_owned();
        let provider = open(&self.services.context, &self.source).await?;
        let schema = provider.schema();
        let names = schema.fields().iter().map(|field| field.name().as_str());
        if let Some((a, b)) = faisca_planner::names::clash(names) {
            let clash = Error::DuplicateColumns {
                first: a.to_owned(),
                second: b.to_owned(),
                help: "give a schema",
            };
            return Err(clash.at(path));
        }
        let frame = self.services.context.read_table(provider)?;
        Ok(DataFrame::new(self.services, frame))
    }
}
