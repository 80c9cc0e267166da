//! Scans CSV files, or byte ranges of them, with DataFusion's file streams.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileOpenFuture, FileOpener, FileScanConfig, FileSource,
};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, PhysicalExpr};
use datafusion_datasource::TableSchema;
use datafusion_datasource::boundary_stream::AlignedBoundaryStream;
use datafusion_datasource::decoder::{DecoderDeserializer, deserialize_stream};
use datafusion_datasource::projection::{ProjectionOpener, SplitProjection};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt};

use super::decode::{RowDecoder, without_byte_order_mark};
use super::locate::locate;
use super::options::CsvReadOptions;

/// Scans CSV files with Faísca's options.
#[derive(Debug, Clone)]
pub(super) struct CsvFileSource {
    pub(super) options: CsvReadOptions,
    table_schema: TableSchema,
    projection: SplitProjection,
    batch_rows: usize,
    metrics: ExecutionPlanMetricsSet,
}

impl CsvFileSource {
    pub(super) fn new(table_schema: TableSchema, options: CsvReadOptions) -> Self {
        let projection = SplitProjection::unprojected(&table_schema);
        Self {
            options,
            projection,
            table_schema,
            batch_rows: 8192,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl FileSource for CsvFileSource {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        _config: &FileScanConfig,
        _partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let opener = Arc::new(CsvOpener {
            source: self.clone(),
            store,
        });
        ProjectionOpener::try_new(
            self.projection.clone(),
            opener,
            self.table_schema.file_schema(),
        )
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
        "csv"
    }

    fn supports_repartitioning(&self) -> bool {
        !self.options.multi_line
    }

    fn fmt_extra(&self, _t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            ", delimiter={}",
            char::from(self.options.delimiter).escape_default()
        )
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        datafusion::physical_plan::apply_expression_roots(self.projection.source.iter(), f)
    }
}

struct CsvOpener {
    source: CsvFileSource,
    store: Arc<dyn ObjectStore>,
}

impl FileOpener for CsvOpener {
    /// Opens a file or a byte range. A range has the lines that begin in it, as in DataFusion.
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let (source, store) = (self.source.clone(), Arc::clone(&self.store));
        Ok(Box::pin(async move {
            let start = file
                .range
                .as_ref()
                .map_or(0, |r| u64::try_from(r.start).unwrap_or(0));
            let header = source.options.header && start == 0;
            let schema = Arc::clone(source.table_schema.file_schema());
            let decoder = RowDecoder::new(
                &source.options,
                schema,
                header,
                source.projection.file_indices.clone(),
                source.batch_rows,
            );
            let options = source.options.clone();
            let bytes = read_bytes(&source.options, &store, &file).await?;
            let bytes = if start == 0 {
                without_byte_order_mark(bytes)
            } else {
                bytes
            };
            let text = bytes.map_ok(move |chunk| options.to_utf8(chunk)).fuse();
            let batches = deserialize_stream(text, DecoderDeserializer::new(decoder));
            let located = batches.or_else(move |error| {
                let (store, file, options) =
                    (Arc::clone(&store), file.clone(), source.options.clone());
                async move { Err(locate(error.into(), &options, &store, &file, start).await) }
            });
            Ok(located.boxed())
        }))
    }
}

/// Streams the uncompressed bytes of a file, or the complete lines of a byte range.
async fn read_bytes(
    options: &CsvReadOptions,
    store: &Arc<dyn ObjectStore>,
    file: &PartitionedFile,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    let meta = &file.object_meta;
    match &file.range {
        Some(range) => {
            let (start, end) = (
                u64::try_from(range.start).unwrap_or(0),
                u64::try_from(range.end).unwrap_or(u64::MAX),
            );
            let lines = AlignedBoundaryStream::new(
                Arc::clone(store),
                meta.location.clone(),
                start,
                end,
                meta.size,
                b'\n',
            )
            .await?;
            Ok(lines.map_err(DataFusionError::from).boxed())
        }
        None => {
            let stream = store
                .get(&meta.location)
                .await?
                .into_stream()
                .map_err(DataFusionError::from);
            options.compression_type().convert_stream(stream.boxed())
        }
    }
}
