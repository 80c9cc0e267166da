//! A Parquet table of a catalog, without partition keys.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::datasource::TableType;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::prelude::SessionContext;
use faisca_planner::manifest::{FileFormat, Source};

use super::catalog_schema::catalog_schema;
use super::columns::TableColumns;
use super::folder_table::FolderTable;
use super::listing::Location;
use super::source::default_source;
use super::table_lookup::{LOOKUPS_MAX, TableLookup, TableState};
use crate::error::{Result, external};

/// The files of a table, with the columns that the catalog lists.
pub(super) struct UnpartitionedTable {
    /// A copy of the session's context, used only to open files.
    context: SessionContext,
    lookup: TableLookup,
    /// The table when it was opened.
    state: TableState,
    files: Arc<dyn TableProvider>,
}

impl UnpartitionedTable {
    /// Opens the files at the location of a table. `columns` are those of the catalog. Returns
    /// `None` if there are no files.
    ///
    /// # Errors
    /// Returns an error if the location or a file cannot be read.
    pub(super) async fn open(
        context: &SessionContext,
        lookup: &TableLookup,
        state: &TableState,
        columns: &Schema,
        source: &Source,
    ) -> Result<Option<Self>> {
        let files = open_catalog_files(context, source, columns).await?;
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
            // If no files, or not all listed files, are there, the table may have moved.
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

/// Opens the Parquet files at the location of a catalog table, with the columns of the catalog.
/// `None` if there are no files.
///
/// # Errors
/// Returns an error if the location is invalid, or the first file cannot be read.
async fn open_catalog_files(
    context: &SessionContext,
    source: &Source,
    columns: &Schema,
) -> Result<Option<Arc<dyn TableProvider>>> {
    let location = Location::resolve(context, &source.path).await?;
    let location = location.named_by_catalog();
    let Some(first) = location.list().await?.into_iter().next() else {
        return Ok(None);
    };
    let (schema, _) =
        catalog_schema(context, location.store(), first.meta, columns, source).await?;
    Ok(Some(parquet_table(location, source.clone(), &schema)))
}

/// Opens the Parquet files at another location of a catalog table, whose schema is known. `None` if
/// there are no files.
///
/// # Errors
/// Returns an error if the location is invalid, or cannot be listed.
async fn reopen_catalog_files(
    context: &SessionContext,
    path: &str,
    schema: &SchemaRef,
) -> Result<Option<Arc<dyn TableProvider>>> {
    let location = Location::resolve(context, path).await?;
    let location = location.named_by_catalog();
    if location.list().await?.is_empty() {
        return Ok(None);
    }
    let source = default_source("", path, FileFormat::Parquet);
    Ok(Some(parquet_table(location, source, schema)))
}

/// Returns the Parquet files at a location as a table. They are listed again when it is scanned.
fn parquet_table(location: Location, source: Source, schema: &SchemaRef) -> Arc<dyn TableProvider> {
    let columns = TableColumns {
        files: Arc::clone(schema),
        shown: schema.as_ref().clone(),
        keys: Arc::new(Schema::empty()),
        csv_header: None,
        unknown_fields: Default::default(),
    };
    Arc::new(FolderTable::new(location, source, columns))
}
