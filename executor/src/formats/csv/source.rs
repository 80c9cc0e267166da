//! Scans CSV files, or byte ranges of them, with DataFusion's file streams.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
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
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;

use super::decode::{DecodeError, RowDecoder};
use super::header::FileColumns;
use super::infer::read_header;
use super::locate::locate;
use super::options::CsvReadOptions;
use super::records::Start;
use crate::formats::text::{Chunks, read_bytes};

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
            let first_byte = file
                .range
                .as_ref()
                .map_or(0, |r| u64::try_from(r.start).unwrap_or(0));
            let start = match first_byte {
                0 => Start::File,
                _ => Start::Line,
            };
            let schema = source.table_schema.file_schema();
            let columns = source.find_columns(&store, &file).await?;
            let decoder = RowDecoder::new(
                &source.options,
                schema,
                &columns,
                start,
                &source.projection.file_indices,
                source.batch_rows,
            );
            let options = source.options.clone();
            let bytes = read_bytes(options.compression, &store, &file).await?;
            let text = bytes.map_ok(move |chunk| options.to_utf8(chunk)).boxed();
            let located = decode(text, decoder).or_else(move |error| {
                let (store, file, options) =
                    (Arc::clone(&store), file.clone(), source.options.clone());
                async move { Err(locate(error, &options, &store, &file, first_byte).await) }
            });
            Ok(located.boxed())
        }))
    }
}

impl CsvFileSource {
    /// Where the columns of the table are in a file. A range that does not begin the file has no
    /// header of its own, but its columns are in the order of the file's header.
    async fn find_columns(
        &self,
        store: &Arc<dyn ObjectStore>,
        file: &PartitionedFile,
    ) -> Result<FileColumns> {
        let fields = self.table_schema.file_schema().fields();
        let meta = &file.object_meta;
        let header = match self.options.header {
            true => read_header(&self.options, store, meta).await,
            false => Ok(None),
        };
        let columns: Vec<String> = fields.iter().map(|f| f.name().clone()).collect();
        let found = match header {
            Ok(Some(header)) => {
                FileColumns::find(&columns, self.options.first_header.as_deref(), &header)
            }
            Ok(None) => Ok(FileColumns::in_order(columns.len())),
            Err(error) => Err(error),
        };
        found.map_err(|e| e.context(format!("/{}", meta.location)))
    }
}

/// Decodes text batch by batch.
fn decode(
    text: Chunks,
    decoder: RowDecoder,
) -> BoxStream<'static, Result<RecordBatch, DecodeError>> {
    let state = (text, decoder, false);
    futures::stream::try_unfold(state, async |(mut text, mut decoder, mut is_over)| {
        loop {
            if let Some(batch) = decoder.decode()? {
                return Ok(Some((batch, (text, decoder, is_over))));
            }
            if is_over {
                let rest = decoder.flush()?;
                return Ok(rest.map(|batch| (batch, (text, decoder, is_over))));
            }
            match text.next().await {
                Some(chunk) => decoder.push(&chunk?)?,
                None => {
                    decoder.end()?;
                    is_over = true;
                }
            }
        }
    })
    .boxed()
}
