//! The writer that `frame.write()` returns, with the option names of Spark.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::dataframe::DataFrame as DfDataFrame;
use faisca_planner::manifest::{CatalogTable, FileFormat, SaveMode, Write};

use super::options::set_write_option;
use super::output_table::register_output;
use crate::engine::progress::WriteSummary;
use crate::error::{Error, Result};
use crate::input::Ownership;
use crate::output::write::write;
use crate::services::Services;

/// Writes the rows of a DataFrame to files; [`DataFrame::write`] returns it.
///
/// Each write is one commit: readers see either the old files or the new files, and a failed write
/// leaves the folder unchanged.
///
/// ```no_run
/// use faisca_driver::{DataFrame, WriteSummary};
/// use faisca_planner::manifest::SaveMode;
///
/// # async fn example(frame: DataFrame) -> faisca_driver::Result<WriteSummary> {
/// frame
///     .write()
///     .mode(SaveMode::Overwrite)
///     .partition_by(["year"])
///     .option("compression", "zstd")
///     .parquet("s3://lake/sales")
///     .await
/// # }
/// ```
///
/// [`DataFrame::write`]: super::DataFrame::write
#[must_use]
pub struct DataFrameWriter {
    services: Arc<Services>,
    frame: DfDataFrame,
    write: Write,
    /// The first invalid option. The write methods return it, so that calls can be chained.
    problem: Option<Error>,
}

impl fmt::Debug for DataFrameWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataFrameWriter")
            .field("plan", self.frame.logical_plan())
            .field("write", &self.write)
            .finish_non_exhaustive()
    }
}

impl DataFrameWriter {
    pub(super) fn new(services: Arc<Services>, frame: DfDataFrame) -> Self {
        Self {
            services,
            frame,
            write: Write::to(""),
            problem: None,
        }
    }

    /// Sets what happens to existing files of the folder. Default: the write fails if there are
    /// any.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # use faisca_planner::manifest::SaveMode;
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// people.write().mode(SaveMode::Overwrite).parquet("lake/people/").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn mode(mut self, mode: SaveMode) -> Self {
        self.write.mode = mode;
        self
    }

    /// Writes the rows of each combination of values of these columns to their own `key=value`
    /// folder. The files themselves do not contain these columns.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// people.write().partition_by(["state"]).parquet("lake/people/").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn partition_by<I: IntoIterator<Item = S>, S: Into<String>>(mut self, columns: I) -> Self {
        self.write.partition_by = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Registers the output as a table of a catalog, in the same commit as the files.
    pub fn catalog(mut self, table: CatalogTable) -> Self {
        self.write.catalog = Some(table);
        self
    }

    /// Sets one option. An unknown option or an invalid value is reported when a write method is
    /// called.
    ///
    /// - `compression`: `none`, `snappy`, `gzip`, `zstd` or `lz4`
    /// - `targetFileSize`: size of each file, in bytes or with a unit, such as `128Mi`
    /// - `mode`: as [`Self::mode`]: `overwrite`, `append`, `ignore` or `errorifexists`
    /// - `partitionOverwriteMode`: `static` or `dynamic`
    /// - `successFile`: whether a `_SUCCESS` file is written, `true` or `false`
    #[expect(
        clippy::needless_pass_by_value,
        reason = "`option(\"header\", true)` reads better than a reference"
    )]
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// people.write().option("compression", "zstd").parquet("lake/people/").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn option(mut self, key: &str, value: impl ToString) -> Self {
        if let Err(error) = set_write_option(&mut self.write, key, &value.to_string()) {
            self.problem.get_or_insert(error);
        }
        self
    }

    /// Runs the query and writes its rows as Parquet files into the folder `path`.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// people.write().parquet("lake/people/").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if an option is invalid, the query cannot be planned, a task still fails
    /// after its retries, or the commit fails. The folder is then unchanged.
    pub async fn parquet(self, path: &str) -> Result<WriteSummary> {
        self.save(FileFormat::Parquet, path).await
    }

    /// Runs the query and writes its rows as CSV files with a header into the folder `path`.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// people.write().csv("out/people/").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::parquet`].
    pub async fn csv(self, path: &str) -> Result<WriteSummary> {
        self.save(FileFormat::Csv, path).await
    }

    /// Runs the query and writes its rows into the folder `path`, as files with one JSON object per
    /// line.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// people.write().json("out/people/").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::parquet`].
    pub async fn json(self, path: &str) -> Result<WriteSummary> {
        self.save(FileFormat::Ndjson, path).await
    }

    /// Writes Parquet files into the folder `name` of the warehouse, in lower case, and registers
    /// that folder as a table `name` of the session.
    ///
    /// The setting `faisca.warehouse` (or `spark.sql.warehouse.dir`) is the path of the warehouse;
    /// its default is `spark-warehouse`.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// people.write().save_as_table("people").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::parquet`]. If only the registration fails, the files stay.
    pub async fn save_as_table(self, name: &str) -> Result<WriteSummary> {
        let services = Arc::clone(&self.services);
        let columns: SchemaRef = Arc::new(self.frame.schema().as_arrow().clone());
        let format = self.write.format;
        let warehouse = services.warehouse.trim_end_matches('/');
        let path = format!("{warehouse}/{}", name.to_lowercase());
        let write = Write {
            path: path.clone(),
            ..self.write.clone()
        };
        let summary = self.save(format, &path).await?;
        register_output(&services, name, &write, &columns, Ownership::External).await?;
        Ok(summary)
    }

    async fn save(mut self, format: FileFormat, path: &str) -> Result<WriteSummary> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        self.write.format = format;
        self.write.path = path.to_owned();
        let label = format!("write {path}");
        write(&self.services, self.frame, &self.write, label).await
    }
}
