//! Scans text files, or byte ranges of them, with DataFusion's file streams.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileOpenFuture, FileOpener, FileScanConfig, FileSource,
};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, PhysicalExpr};
use datafusion_datasource::TableSchema;
use datafusion_datasource::projection::{ProjectionOpener, SplitProjection};
use faisca_planner::manifest::TextCompression;
use futures::StreamExt;
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};

use super::csv::{self, CsvReadOptions};
use super::json::{self, JsonReadOptions};

/// A format of text with its options.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum TextFormat {
    Csv(CsvReadOptions),
    Json(JsonReadOptions),
}

impl TextFormat {
    pub(super) fn compression(&self) -> TextCompression {
        match self {
            Self::Csv(options) => options.compression,
            Self::Json(options) => options.compression,
        }
    }

    /// Sets the time zone of timestamps without an offset.
    fn set_time_zone(&mut self, zone: &str) {
        let time_zone = match self {
            Self::Csv(options) => &mut options.time_zone,
            Self::Json(options) => &mut options.time_zone,
        };
        zone.clone_into(time_zone);
    }
}

/// What a scan reads of each file.
#[derive(Debug, Clone)]
pub(super) struct ScannedColumns {
    pub(super) file_schema: SchemaRef,
    /// The columns of `file_schema`, and those whose values are in the names of folders.
    pub(super) table_schema: SchemaRef,
    /// Positions in `file_schema`, in the order of the result.
    pub(super) projected: Vec<usize>,
    pub(super) batch_rows: usize,
}

/// Scans files of one format.
#[derive(Debug, Clone)]
pub(super) struct TextFileSource {
    pub(super) format: TextFormat,
    table_schema: TableSchema,
    projection: SplitProjection,
    batch_rows: usize,
    metrics: ExecutionPlanMetricsSet,
}

impl TextFileSource {
    pub(super) fn new(table_schema: TableSchema, format: TextFormat) -> Self {
        let projection = SplitProjection::unprojected(&table_schema);
        Self {
            format,
            projection,
            table_schema,
            batch_rows: 8192,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// Reads timestamps without an offset in this time zone.
    pub(super) fn with_time_zone(&self, zone: &str) -> Self {
        let mut source = self.clone();
        source.format.set_time_zone(zone);
        source
    }
}

impl FileSource for TextFileSource {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        _config: &FileScanConfig,
        _partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let opener = Arc::new(TextOpener {
            source: self.clone(),
            store,
        });
        let opener = ProjectionOpener::try_new(
            self.projection.clone(),
            opener,
            self.table_schema.file_schema(),
        )?;
        let table = self.table_schema.table_schema();
        let schema = Arc::new(self.projection.source.project_schema(table)?);
        Ok(Arc::new(DeclaredOpener { opener, schema }))
    }

    fn table_schema(&self) -> &TableSchema {
        &self.table_schema
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Arc::new(Self {
            batch_rows: batch_size,
            ..self.clone()
        })
    }

    fn try_pushdown_projection(
        &self,
        projection: &ProjectionExprs,
    ) -> Result<Option<Arc<dyn FileSource>>> {
        let merged = self.projection.source.try_merge(projection)?;
        let projection = SplitProjection::new(self.table_schema.file_schema(), &merged);
        Ok(Some(Arc::new(Self {
            projection,
            ..self.clone()
        })))
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        Some(&self.projection.source)
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &'static str {
        match &self.format {
            TextFormat::Csv(_) => "csv",
            TextFormat::Json(_) => "json",
        }
    }

    fn supports_repartitioning(&self) -> bool {
        match &self.format {
            TextFormat::Csv(options) => !options.multi_line,
            TextFormat::Json(_) => true,
        }
    }

    fn fmt_extra(&self, _t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.format {
            TextFormat::Csv(options) => write!(
                f,
                ", delimiter={}",
                char::from(options.delimiter).escape_default()
            ),
            TextFormat::Json(_) => Ok(()),
        }
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        datafusion::physical_plan::apply_expression_roots(self.projection.source.iter(), f)
    }
}

struct TextOpener {
    source: TextFileSource,
    store: Arc<dyn ObjectStore>,
}

impl FileOpener for TextOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let (format, store) = (self.source.format.clone(), Arc::clone(&self.store));
        let scanned = ScannedColumns {
            file_schema: Arc::clone(self.source.table_schema.file_schema()),
            table_schema: Arc::clone(self.source.table_schema.table_schema()),
            projected: self.source.projection.file_indices.clone(),
            batch_rows: self.source.batch_rows,
        };
        Ok(Box::pin(async move {
            match format {
                TextFormat::Csv(options) => csv::open(options, &scanned, store, file).await,
                TextFormat::Json(options) => json::open(options, &scanned, store, file).await,
            }
        }))
    }
}

/// Returns the batches of another opener with the schema that the plan declares.
///
/// DataFusion replaces a partition key by the literal of each file, so a key with a value is not
/// nullable in the schema of its file's batches. An operator or a writer that takes the schema of
/// its first batch would then lose the nulls of later files.
struct DeclaredOpener {
    opener: Arc<dyn FileOpener>,
    schema: SchemaRef,
}

impl FileOpener for DeclaredOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let (opening, schema) = (self.opener.open(file)?, Arc::clone(&self.schema));
        Ok(Box::pin(async move {
            let batches = opening.await?;
            Ok(batches
                .map(move |batch| with_schema(&batch?, &schema))
                .boxed())
        }))
    }
}

/// Returns a batch with a schema that differs from its own only in what may be null.
fn with_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| match field.data_type() {
        same if same == column.data_type() => Ok(Arc::clone(column)),
        // A struct of a key says within its type whether the key may be null.
        declared => cast(column, declared),
    });
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}

/// The first byte of a file that a scan reads.
pub(super) fn first_byte(file: &PartitionedFile) -> u64 {
    let range = file.range.as_ref();
    range.map_or(0, |r| u64::try_from(r.start).unwrap_or(0))
}
