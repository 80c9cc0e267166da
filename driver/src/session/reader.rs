//! `session.read()`, with the option names that Spark's users know.

use std::fmt;
use std::sync::Arc;

use faisca_planner::manifest::{FileFormat, Source};

use super::dataframe::DataFrame;
use super::options::set_source_option;
use crate::error::{Error, Result};
use crate::input::source::{default_source, open};
use crate::services::Services;

/// Reads files into dataframes; [`Session::read`] returns it.
///
/// A path names a file, a folder or a glob, on this machine or in an object store. The files are
/// listed and their schema is inferred when the dataframe is made; their rows are read when it runs.
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
    /// The first invalid option; the read reports it.
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

    /// Sets one option of CSV or JSON: `delimiter`, `header`, `quote`, `escape`, `comment`,
    /// `nullValue`, `decimal`, `encoding`, `multiLine`, `mode` (FAILFAST, DROPMALFORMED,
    /// PERMISSIVE), `inferRows` or `compression`. The read reports an unknown option or value.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "`option(\"header\", true)` reads better than a reference"
    )]
    pub fn option(mut self, key: &str, value: impl ToString) -> Self {
        if let Err(error) = set_source_option(&mut self.source, key, &value.to_string()) {
            self.problem.get_or_insert(error);
        }
        self
    }

    /// Sets the columns, written as in CREATE TABLE: `a INT, b STRING`. Default: they are inferred.
    pub fn schema(mut self, schema: &str) -> Self {
        self.source.schema = Some(schema.to_owned());
        self
    }

    /// Reads CSV: a file, folder or glob.
    ///
    /// # Errors
    /// If no file is at the path, an option is invalid, or two columns differ only by case.
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

    /// Reads one JSON object per line: a file, folder or glob.
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
        let provider = open(&self.services.context, &self.source).await?;
        let schema = provider.schema();
        let names = schema.fields().iter().map(|field| field.name().as_str());
        if let Some((a, b)) = faisca_planner::names::clash(names) {
            return Err(Error::Plan(format!(
                "{path}: the columns `{a}` and `{b}` differ only by case; give a schema"
            )));
        }
        let frame = self.services.context.read_table(provider)?;
        Ok(DataFrame::new(self.services, frame))
    }
}
