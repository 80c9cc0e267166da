//! Methods that run a query, and methods that describe its columns.

use std::fmt::Write as _;

use arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::common::DataFusionError;
use datafusion::physical_plan::SendableRecordBatchStream;
use faisca_spark::columns::{join_list, quote_name};

use super::DataFrame;
use crate::error::Result;
use crate::session::columns::remove_marks;
use crate::session::sql_types::sql_type;
use crate::stack::plan_on_large_stack;

/// Maximum number of rows that [`DataFrame::show`] prints.
const SHOWN_ROWS: usize = 20;

impl DataFrame {
    /// Runs the query and returns all its rows, which must fit into the memory of this process.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// for batch in people.collect().await? {
    ///     println!("{} rows", batch.num_rows());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the query cannot be planned, or a task still fails after its retries.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        let schema = self.schema();
        let batches = plan_on_large_stack(self.frame.collect()).await?;
        if batches.iter().all(|batch| batch.schema() == schema) {
            return Ok(batches);
        }
        let named = batches.into_iter().map(|batch| {
            // Only the names of duplicates change; a batch keeps its types even if the plan's
            // differ.
            let schema = remove_marks(&batch.schema());
            let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            RecordBatch::try_new_with_options(schema, batch.columns().to_vec(), &rows)
                .map_err(DataFusionError::from)
        });
        Ok(named.collect::<Result<Vec<_>, _>>()?)
    }

    /// Runs the query and returns the number of its rows. The rows stay on the executors.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// println!("{} people", people.count().await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::collect`].
    pub async fn count(self) -> Result<usize> {
        Ok(plan_on_large_stack(self.frame.count()).await?)
    }

    /// Runs the query and prints its first 20 rows as a table to standard output.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// people.show().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::collect`].
    pub async fn show(self) -> Result<()> {
        Ok(plan_on_large_stack(self.frame.show_limit(SHOWN_ROWS)).await?)
    }

    /// Runs the query and prints its first `count` rows as a table to standard output.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// people.show_rows(5).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::collect`].
    pub async fn show_rows(self, count: usize) -> Result<()> {
        Ok(plan_on_large_stack(self.frame.show_limit(count)).await?)
    }

    /// Runs the query and returns its first `count` rows.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let batches = people.take(5).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::collect`].
    pub async fn take(self, count: usize) -> Result<Vec<RecordBatch>> {
        self.limit(count)?.collect().await
    }

    /// Runs the query and returns its first row, as a batch of one row; `None` if there is none.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// if let Some(row) = people.first().await? {
    ///     println!("{:?}", row.column(0));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::collect`].
    pub async fn first(self) -> Result<Option<RecordBatch>> {
        let batches = self.take(1).await?;
        Ok(batches.into_iter().find(|batch| batch.num_rows() > 0))
    }

    /// Runs the query and returns true if it has no rows.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// if people.is_empty().await? {
    ///     println!("no people");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::collect`].
    pub async fn is_empty(self) -> Result<bool> {
        Ok(self.first().await?.is_none())
    }

    /// Runs the query and returns its rows as they arrive, a batch at a time, so that they need not
    /// fit into memory. Dropping the stream stops the query.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// use futures::StreamExt;
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let mut batches = people.stream().await?;
    /// while let Some(batch) = batches.next().await {
    ///     println!("{} rows", batch?.num_rows());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::collect`].
    pub async fn stream(self) -> Result<SendableRecordBatchStream> {
        Ok(plan_on_large_stack(self.frame.execute_stream()).await?)
    }

    /// Returns the names of the columns.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// assert!(people.columns().contains(&"age".to_owned()));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn columns(&self) -> Vec<String> {
        let schema = self.schema();
        schema.fields().iter().map(|f| f.name().clone()).collect()
    }

    /// Converts each row to a JSON object, in a column `value` of strings.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// people.to_json()?.show().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn to_json(self) -> Result<Self> {
        let columns = join_list(self.columns().iter().map(|name| quote_name(name)));
        self.select_expr(&[&format!("to_json(struct({columns})) AS value")])
    }

    /// Returns the columns and their types as a tree.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// println!("{}", people.schema_text());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn schema_text(&self) -> String {
        let mut text = String::from("root\n");
        for field in self.schema().fields() {
            let data_type = sql_type(field.data_type())
                .map_or_else(|| field.data_type().to_string(), |name| name.to_lowercase());
            let nullable = field.is_nullable();
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                " |-- {}: {data_type} (nullable = {nullable})",
                field.name()
            );
        }
        text
    }

    /// Prints [`Self::schema_text`].
    #[expect(
        clippy::print_stdout,
        reason = "the purpose of the method, as in Spark"
    )]
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// people.print_schema();
    /// # Ok(())
    /// # }
    /// ```
    pub fn print_schema(&self) {
        print!("{}", self.schema_text());
    }
}
