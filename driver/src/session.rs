//! The session: creates dataframes, runs SQL, reads and writes, as Spark's session does.

mod alter_table;
mod builder;
mod columns;
mod command_rows;
mod commands;
mod create_table;
mod dataframe;
mod describe;
mod existing;
mod insert;
mod insert_statement;
mod lateral_aliases;
mod options;
mod output_table;
mod path_tables;
mod reader;
mod settings;
mod show;
mod sql;
mod sql_types;
mod start;
mod store_assignment;
mod struct_fields;
mod unknown_names;
mod variables;
mod wildcard;
mod writer;

use std::fmt;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::dataframe::DataFrame as DfDataFrame;
use datafusion::prelude::SessionContext;
use faisca_executor::storage::ObjectStores;
use faisca_planner::manifest::Source;

use crate::catalog::Catalogs;
use crate::engine::progress::{Progress, Snapshot};
use crate::error::Result;
use crate::services::Services;
use crate::stack::plan_on_large_stack;

pub use builder::SessionBuilder;
pub use dataframe::grouped::{GroupedData, PivotedData};
pub use dataframe::missing::FillValue;
pub use dataframe::sets::MissingColumns;
pub use dataframe::{DataFrame, SortKey, Term};
pub(crate) use output_table::register_output;
pub use reader::DataFrameReader;
pub use sql::Outcome;
pub use writer::DataFrameWriter;

/// An open session: reads files, runs SQL, and owns the executors. Cheap to clone.
///
/// Names of tables and columns are case-insensitive, as in Spark.
///
/// ```no_run
/// use faisca_driver::{Session, SessionBuilder};
///
/// # async fn example() -> faisca_driver::Result<()> {
/// let session: Session = SessionBuilder::default().get_or_create().await?;
/// let people = session.read().option("header", true).csv("people.csv").await?;
/// people.create_or_replace_temp_view("people")?;
/// session.sql("SELECT count(*) FROM people").await?.show().await?;
/// session.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Session {
    pub(crate) services: Arc<Services>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("cluster", &self.services.cluster)
            .field("tables", &self.services.tables.names())
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Returns a reader of files, with default options.
    ///
    /// ```no_run
    /// # use faisca_driver::{Result, Session};
    /// # async fn example(session: &Session) -> Result<()> {
    /// let people = session.read().option("header", true).csv("people.csv").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn read(&self) -> DataFrameReader {
        DataFrameReader::new(Arc::clone(&self.services))
    }

    /// Plans a query, or runs any other statement at once. A query runs when its rows are needed;
    /// other statements return no rows.
    ///
    /// ```no_run
    /// # use faisca_driver::{Result, Session};
    /// # async fn example(session: &Session) -> Result<()> {
    /// session.sql("SELECT city, count(*) FROM people GROUP BY city").await?.show().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the statement cannot be planned, or fails while it runs.
    pub async fn sql(&self, sql: &str) -> Result<DataFrame> {
        plan_on_large_stack(sql::run(&self.services, sql)).await
    }

    /// Plans a query, or runs any other statement and returns what it wrote.
    ///
    /// ```no_run
    /// # use faisca_driver::{Result, Session};
    /// use faisca_driver::Outcome;
    /// # async fn example(session: &Session) -> Result<()> {
    /// match session.statement("INSERT INTO people SELECT * FROM new_people").await? {
    ///     Outcome::Rows(rows) => rows.show().await?,
    ///     Outcome::Done(written) => println!("{written:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::sql`].
    pub async fn statement(&self, sql: &str) -> Result<Outcome> {
        plan_on_large_stack(sql::statement(&self.services, sql)).await
    }

    /// Returns a registered table. Its columns keep the spelling of the data.
    ///
    /// ```no_run
    /// # use faisca_driver::{Result, Session};
    /// # async fn example(session: &Session) -> Result<()> {
    /// let people = session.table("people").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if no table has that name; it suggests the nearest name.
    pub async fn table(&self, name: &str) -> Result<DataFrame> {
        match self.services.tables.provider(name) {
            Some(provider) => Ok(DataFrame::new(
                Arc::clone(&self.services),
                self.services.context.read_table(provider)?,
            )),
            None => Err(existing::unknown_table(&self.services, name)),
        }
    }

    /// Returns the names of the registered tables and views, sorted.
    ///
    /// ```no_run
    /// # use faisca_driver::{Result, Session};
    /// # async fn example(session: &Session) -> Result<()> {
    /// for name in session.table_names() {
    ///     println!("{name}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn table_names(&self) -> Vec<String> {
        self.services.tables.names()
    }

    /// Registers any DataFusion table under a name, and replaces a table or view of the same name.
    ///
    /// ```no_run
    /// # use faisca_driver::{Result, Session};
    /// # async fn example(session: &Session, provider: std::sync::Arc<dyn datafusion::catalog::TableProvider>) -> Result<()> {
    /// session.register_table("people", provider)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if two of its columns differ only by case.
    pub fn register_table(&self, name: &str, provider: Arc<dyn TableProvider>) -> Result<()> {
        self.services.register_table(name, provider, None)
    }

    /// Registers the files of a source as a table with the source's name.
    ///
    /// # Errors
    /// Returns an error if the files cannot be read, or two columns differ only by case.
    pub async fn register_source(&self, source: &Source) -> Result<()> {
        self.services.register_source(source).await
    }

    /// Returns the catalogs that writes register tables in.
    #[must_use]
    pub fn catalogs(&self) -> &Arc<Catalogs> {
        &self.services.catalogs
    }

    /// Returns the object stores, by URL.
    #[must_use]
    pub fn object_stores(&self) -> &Arc<ObjectStores> {
        &self.services.object_stores
    }

    /// Returns DataFusion's context, for features that this type does not offer. Its queries run on
    /// the same executors.
    #[must_use]
    pub fn context(&self) -> &SessionContext {
        &self.services.context
    }

    /// Waits until the first executor has connected. Returns at once if tasks run in this process.
    ///
    /// ```no_run
    /// # use faisca_driver::{Result, Session};
    /// # async fn example(session: &Session) -> Result<()> {
    /// session.ready().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ready(&self) {
        self.services.cluster.engine.first_executor().await;
    }

    /// Returns a copy of the progress: queries that run, and totals since the start.
    ///
    /// ```no_run
    /// # use faisca_driver::{Result, Session};
    /// # async fn example(session: &Session) -> Result<()> {
    /// for query in session.progress().queries.values() {
    ///     println!("{query:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn progress(&self) -> Snapshot {
        self.services.cluster.engine.progress.snapshot()
    }

    /// Returns a shared handle to the progress, for a display that outlives this borrow.
    #[must_use]
    pub fn progress_handle(&self) -> Arc<Progress> {
        Arc::clone(&self.services.cluster.engine.progress)
    }

    /// Stops everything and waits until the executors have ended. Running queries fail, and writes
    /// that were abandoned abort their uploads.
    ///
    /// A session that is dropped instead ends as well: its executors are killed, its journal is
    /// completed, and the platform gets the final progress. Only `stop` waits for the executors, and
    /// only it lets them end by themselves.
    ///
    /// ```no_run
    /// # use faisca_driver::{Result, Session};
    /// # async fn example(session: Session) -> Result<()> {
    /// session.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stop(&self) {
        self.services.stop().await;
    }
}

impl DataFrame {
    /// Wraps a DataFusion DataFrame of this session's [context](Session::context).
    #[must_use]
    pub fn from_inner(session: &Session, frame: DfDataFrame) -> Self {
        Self::new(Arc::clone(&session.services), frame)
    }
}
