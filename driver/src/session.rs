//! The session: entry to everything, as in Spark.

mod builder;
mod dataframe;
mod reader;
mod settings;
mod sql;

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;
use faisca_executor::stores::Stores as ObjectStores;
use faisca_planner::manifest::{FileFormat, Source};

use crate::catalog::Catalogs;
use crate::engine::Message;
use crate::engine::progress::{Progress, Snapshot};
use crate::error::Result;
use crate::input::TableFiles;
use crate::input::source::default_source;
use crate::services::Services;

pub use builder::SessionBuilder;
pub use dataframe::{DataFrame, DataFrameWriter, GroupedData};
pub use reader::DataFrameReader;
pub use sql::Outcome;

/// An open session. Cheap to clone.
#[derive(Clone)]
pub struct Session {
    pub(crate) services: Arc<Services>,
}

impl Session {
    /// Reads files.
    pub fn read(&self) -> DataFrameReader {
        DataFrameReader::new(self.clone())
    }

    /// Runs a statement, or plans a query. Names are without regard to case.
    ///
    /// # Errors
    /// If it cannot be planned; for statements that act at once, if they fail.
    pub async fn sql(&self, sql: &str) -> Result<DataFrame> {
        sql::run(self, sql).await
    }

    /// A registered table.
    ///
    /// # Errors
    /// If there is none of that name.
    pub async fn table(&self, name: &str) -> Result<DataFrame> {
        match self.services.tables.provider(name) {
            Some(provider) => Ok(DataFrame::new(
                self.clone(),
                self.services.context.read_table(provider)?,
            )),
            None => Err(sql::unknown_table(self, name)),
        }
    }

    /// Registers any DataFusion table under a name.
    ///
    /// # Errors
    /// If two of its columns differ only by case.
    pub fn register_table(&self, name: &str, provider: Arc<dyn TableProvider>) -> Result<()> {
        self.services
            .tables
            .register(&self.services.context, name, provider, None)
    }

    /// Registers files as a table.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn register_source(&self, source: &Source) -> Result<()> {
        let provider = crate::input::source::open(&self.services.context, source).await?;
        let files = TableFiles {
            path: source.path.clone(),
            format: source.format,
            partition_by: vec![],
        };
        self.services
            .tables
            .register(&self.services.context, &source.name, provider, Some(files))
    }

    /// Registers a written folder of Parquet or other files under a name.
    pub(crate) async fn register_output(
        &self,
        name: &str,
        path: &str,
        format: FileFormat,
    ) -> Result<()> {
        let header = (format == FileFormat::Csv).then_some(true);
        self.register_source(&Source {
            header,
            ..default_source(name, path, format)
        })
        .await
    }

    /// The catalogs that writes register tables in.
    #[must_use]
    pub fn catalogs(&self) -> &Arc<Catalogs> {
        &self.services.catalogs
    }

    /// Object stores by URL.
    #[must_use]
    pub fn object_stores(&self) -> &Arc<ObjectStores> {
        &self.services.object_stores
    }

    /// DataFusion's own context, for whatever is not offered here; it runs on the same executors.
    #[must_use]
    pub fn context(&self) -> &SessionContext {
        &self.services.context
    }

    /// Waits until there is an executor.
    pub async fn ready(&self) {
        self.services.cluster.engine.first_executor().await;
    }

    /// What runs at the moment and what ran.
    #[must_use]
    pub fn progress(&self) -> Snapshot {
        self.services.cluster.engine.progress.snapshot()
    }

    /// The same, shared, for a progress display that outlives borrows.
    #[must_use]
    pub fn progress_handle(&self) -> Arc<Progress> {
        Arc::clone(&self.services.cluster.engine.progress)
    }

    /// Stops everything and waits for the executors' end. What still runs fails.
    pub async fn stop(&self) {
        // The fleet is told first, so that it takes no ended child for a lost one.
        let cluster = &self.services.cluster;
        let _ = futures::join!(cluster.fleet.stop(), cluster.engine.send(Message::Shutdown));
        if let Some(helper) = &self.services.cluster.helper {
            helper.stop().await;
        }
        cluster.engine.ended().await;
        crate::output::write::end_abandoned_writes().await;
        if let Some(reporter) = &self.services.reporter {
            reporter.following.abort();
            reporter.platform.ended(&self.progress()).await;
        }
    }
}
