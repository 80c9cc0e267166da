//! A Parquet table of a catalog without partition keys.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::prelude::SessionContext;
use faisca_executor::storage::known_scheme;
use faisca_planner::manifest::Source;

use super::any_case_parquet::AnyCaseParquet;
use super::catalog_schema::catalog_schema;
use super::source::{common_ending, locate, parquet_format};
use super::table_lookup::{LOOKUPS_MAX, TableLookup, TableState};
use crate::error::{Result, external};

/// The files of a table, with the columns that the catalog lists.
pub(super) struct UnpartitionedTable {
    /// A copy of the session's context, which is used only to open files.
    context: SessionContext,
    lookup: TableLookup,
    /// The table when it was opened.
    state: TableState,
    files: Arc<dyn TableProvider>,
}

impl UnpartitionedTable {
    /// Opens the files at the location of a table. `columns` are those of the catalog. `None` if
    /// there are no files.
    ///
    /// # Errors
    /// If the location or a file cannot be read.
    pub(super) async fn open(
        context: &SessionContext,
        lookup: &TableLookup,
        state: &TableState,
        columns: &Schema,
        described: &Source,
    ) -> Result<Option<Self>> {
        let files = open_catalog_files(context, described, columns).await?;
        Ok(files.map(|files| Self {
            context: context.clone(),
            lookup: lookup.clone(),
            state: state.clone(),
            files,
        }))
    }
}

impl fmt::Debug for UnpartitionedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lookup.fmt(f)
    }
}

#[async_trait]
impl TableProvider for UnpartitionedTable {
    fn schema(&self) -> SchemaRef {
        self.files.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DfResult<Vec<TableProviderFilterPushDown>> {
        self.files.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let (mut files, mut state) = (Arc::clone(&self.files), self.state.clone());
        for _ in 1..LOOKUPS_MAX {
            let plan = files.scan(session, projection, filters, limit).await;
            // Without files, or without one of those that were listed, the table may have moved.
            if plan.as_ref().is_ok_and(|plan| !plan.is::<EmptyExec>()) {
                return plan;
            }
            match self.lookup.moved_since(&state).await.map_err(external)? {
                Some(moved) => state = moved,
                None => return plan,
            }
            let location = &state.definition.location;
            let moved = reopen_catalog_files(&self.context, location, &self.schema()).await;
            if let Some(moved) = moved.map_err(external)? {
                files = moved;
            }
        }
        files.scan(session, projection, filters, limit).await
    }
}

/// Opens the Parquet files at the location of a catalog table, with the columns of the catalog. `None`
/// if there are no files.
///
/// # Errors
/// Returns an error if the location is invalid, or the first file cannot be read.
async fn open_catalog_files(
    context: &SessionContext,
    source: &Source,
    columns: &Schema,
) -> Result<Option<Arc<dyn TableProvider>>> {
    let url = ListingTableUrl::parse(known_scheme(&source.path))?;
    let store = context.runtime_env().object_store(&url)?;
    let (url, files) = locate(&store, url).await?;
    let ending = common_ending(&files);
    let Some(first) = files.into_iter().next() else {
        return Ok(None);
    };
    let (schema, _) = catalog_schema(context, &store, first, columns, source).await?;
    parquet_table(context, url, ending, schema).map(Some)
}

/// Opens the Parquet files at another location of a catalog table, whose schema is known. `None` if
/// there are no files.
///
/// # Errors
/// Returns an error if the location is invalid, or cannot be listed.
async fn reopen_catalog_files(
    context: &SessionContext,
    location: &str,
    schema: &SchemaRef,
) -> Result<Option<Arc<dyn TableProvider>>> {
    let url = ListingTableUrl::parse(known_scheme(location))?;
    let store = context.runtime_env().object_store(&url)?;
    let (url, files) = locate(&store, url).await?;
    if files.is_empty() {
        return Ok(None);
    }
    parquet_table(context, url, common_ending(&files), Arc::clone(schema)).map(Some)
}

/// Returns the Parquet files below `url` whose names end in `ending` as a table. They are listed
/// again when it is scanned.
fn parquet_table(
    context: &SessionContext,
    url: ListingTableUrl,
    ending: String,
    schema: SchemaRef,
) -> Result<Arc<dyn TableProvider>> {
    let options =
        ListingOptions::new(Arc::new(AnyCaseParquet(parquet_format()))).with_file_extension(ending);
    let config = ListingTableConfig::new(url)
        .with_listing_options(options)
        .with_schema(schema);
    let table = ListingTable::try_new(config)?;
    let cache = context
        .runtime_env()
        .cache_manager
        .get_file_statistic_cache();
    Ok(Arc::new(table.with_cache(cache)))
}
