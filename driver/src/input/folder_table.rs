//! A table of the files at a path. Each scan lists the files again, by the rules of
//! [`super::listing`].

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result as DfResult, project_schema};
use datafusion::datasource::TableType;
use datafusion::execution::cache::SchemaFingerprint;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use faisca_planner::manifest::{FileFormat, Source};
use faisca_spark::text::Zone;

use super::columns::TableColumns;
use super::file_scan::{FileScan, KeyedFile};
use super::listing::{DataFile, Location};
use super::partition_keys::{filter_pushdown, is_on_keys, matching_rows, parse_values};

/// Files at a path, of one format, with one schema.
#[derive(Debug)]
pub(crate) struct FolderTable {
    location: Location,
    source: Source,
    columns: TableColumns,
    /// Columns that the table shows: those of the files, possibly renamed, then the partition keys.
    schema: SchemaRef,
    /// Identifies the schema of the files in the cache of statistics.
    fingerprint: Arc<SchemaFingerprint>,
}

impl FolderTable {
    /// Creates the table. It lists its files for each scan.
    pub(super) fn new(location: Location, source: Source, columns: TableColumns) -> Self {
        let fields = columns.shown.fields().iter().chain(columns.keys.fields());
        Self {
            schema: Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>())),
            fingerprint: Arc::new(SchemaFingerprint::from_schema(&columns.files)),
            location,
            source,
            columns,
        }
    }

    /// Returns true if the files are text, which a scan parses completely even for a few columns.
    pub(super) fn is_text(&self) -> bool {
        self.source.format != FileFormat::Parquet
    }

    /// Returns the files that match filters on keys, with the values of their keys.
    fn select_files(
        &self,
        files: Vec<DataFile>,
        filters: &[Expr],
        zone: Zone,
    ) -> DfResult<Vec<KeyedFile>> {
        let keys = &self.columns.keys;
        let rows = files
            .iter()
            .map(|file| parse_values(file, keys, zone))
            .collect::<DfResult<Vec<_>>>()?;
        let matching = matching_rows(&rows, keys, filters)?;
        let files = files.into_iter().zip(rows).zip(matching.values().iter());
        Ok(files
            .filter(|(_, is_matching)| *is_matching)
            .map(|((file, values), _)| (file.meta, values))
            .collect())
    }
}

#[async_trait]
impl TableProvider for FolderTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DfResult<Vec<TableProviderFilterPushDown>> {
        Ok(filter_pushdown(&self.columns.keys, filters))
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let zone = Zone::of_session(state.config_options())?;
        let (on_keys, on_rows): (Vec<_>, Vec<_>) = filters
            .iter()
            .cloned()
            .partition(|filter| is_on_keys(&self.columns.keys, filter));
        let files = self
            .location
            .list_matching(&self.columns.keys, &on_keys, zone)
            .await?;
        let files = self.select_files(files, &on_keys, zone)?;
        if files.is_empty() {
            let schema = project_schema(&self.schema, projection)?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let scan = FileScan {
            state,
            source: &self.source,
            location: &self.location,
            columns: &self.columns,
            schema: &self.schema,
            fingerprint: &self.fingerprint,
            projection,
            // Rows that a filter removes do not count towards the limit.
            limit: limit.filter(|_| on_rows.is_empty()),
        };
        scan.plan(files).await
    }
}
