//! The CSV format for DataFusion's listing tables.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DataFusionError, Result, Statistics};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::physical_plan::{FileScanConfig, FileSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_datasource::TableSchema;
use datafusion_datasource::file_scan_config::FileScanConfigBuilder;
use futures::{FutureExt, StreamExt};
use object_store::{ObjectMeta, ObjectStore};

use super::infer::{InferredColumns, infer, read_header};
use crate::formats::source::{TextFileSource, TextFormat};
use crate::protocol::CsvReadOptions;

/// Files whose schemas are inferred concurrently.
const INFERRED_AT_ONCE: usize = 16;

/// CSV with Faísca's options, as a file format of DataFusion.
#[derive(Debug, Clone)]
pub struct CsvFileFormat {
    options: CsvReadOptions,
}

impl CsvFileFormat {
    /// Creates the format.
    #[must_use]
    pub fn new(options: CsvReadOptions) -> Self {
        Self { options }
    }

    /// Returns the format for files whose headers must have the names of `columns`, in any order.
    #[must_use]
    pub fn with_first_header(mut self, columns: Vec<String>) -> Self {
        self.options.first_header = Some(columns);
        self
    }

    /// Reads the header of a file; `None` if the file is empty, or if files have no headers.
    ///
    /// # Errors
    /// If the file cannot be read or is not text.
    pub async fn read_header(
        &self,
        store: &Arc<dyn ObjectStore>,
        object: &ObjectMeta,
    ) -> Result<Option<Vec<String>>> {
        if !self.options.header {
            return Ok(None);
        }
        read_header(&self.options, store, object)
            .await
            .map_err(|e| in_file(e, object))
    }

    async fn infer_columns(
        &self,
        store: &Arc<dyn ObjectStore>,
        objects: &[ObjectMeta],
    ) -> Result<Option<InferredColumns>> {
        let mut columns: Option<InferredColumns> = None;
        let mut rows_left = if self.options.infer_rows == 0 {
            usize::MAX
        } else {
            self.options.infer_rows
        };
        let inferred: Vec<_> = objects
            .iter()
            .map(|object| infer(&self.options, store, object, rows_left).boxed())
            .collect();
        let mut inferred = futures::stream::iter(inferred)
            .buffered(INFERRED_AT_ONCE)
            .zip(futures::stream::iter(objects));
        while let Some((outcome, object)) = inferred.next().await {
            let Some(file_columns) = outcome.map_err(|e| in_file(e, object))? else {
                continue;
            };
            rows_left = rows_left.saturating_sub(file_columns.rows);
            match &mut columns {
                None => columns = Some(file_columns),
                Some(columns) => columns
                    .merge(&file_columns)
                    .map_err(|e| in_file(e, object))?,
            }
            if rows_left == 0 {
                break;
            }
        }
        Ok(columns)
    }
}

fn in_file(error: DataFusionError, object: &ObjectMeta) -> DataFusionError {
    DataFusionError::Context(format!("/{}", object.location), Box::new(error))
}

#[async_trait]
impl FileFormat for CsvFileFormat {
    fn get_ext(&self) -> String {
        "csv".to_owned()
    }

    fn get_ext_with_compression(&self, compression: &FileCompressionType) -> Result<String> {
        use datafusion::common::GetExt;
        Ok(format!("csv{}", compression.get_ext()))
    }

    fn compression_type(&self) -> Option<FileCompressionType> {
        Some(self.options.compression_type())
    }

    async fn infer_schema(
        &self,
        _state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        objects: &[ObjectMeta],
    ) -> Result<SchemaRef> {
        let columns = self.infer_columns(store, objects).await?;
        Ok(Arc::new(columns.map_or_else(Schema::empty, |c| c.schema())))
    }

    async fn infer_stats(
        &self,
        _state: &dyn Session,
        _store: &Arc<dyn ObjectStore>,
        table_schema: SchemaRef,
        _object: &ObjectMeta,
    ) -> Result<Statistics> {
        Ok(Statistics::new_unknown(&table_schema))
    }

    async fn create_physical_plan(
        &self,
        _state: &dyn Session,
        conf: FileScanConfig,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let config = FileScanConfigBuilder::from(conf)
            .with_file_compression_type(self.options.compression_type())
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn file_source(&self, table_schema: TableSchema) -> Arc<dyn FileSource> {
        Arc::new(TextFileSource::new(
            table_schema,
            TextFormat::Csv(self.options.clone()),
        ))
    }
}
