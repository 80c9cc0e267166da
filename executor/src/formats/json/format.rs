//! The ndjson format for DataFusion's listing tables.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{GetExt, Result, Statistics};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::physical_plan::{FileScanConfig, FileSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_datasource::TableSchema;
use datafusion_datasource::file_scan_config::FileScanConfigBuilder;
use faisca_planner::manifest::TextCompression;
use object_store::{ObjectMeta, ObjectStore};
use serde::{Deserialize, Serialize};

use super::infer::infer;
use crate::formats::source::{TextFileSource, TextFormat};
use crate::formats::text::compression_type;

/// How to read an ndjson file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsonReadOptions {
    /// Compression of the files.
    pub compression: TextCompression,
    /// Rows read at most to infer the schema.
    pub infer_rows: usize,
}

/// One JSON object on each line, as a file format of DataFusion.
#[derive(Debug, Clone)]
pub struct JsonFileFormat {
    options: JsonReadOptions,
}

impl JsonFileFormat {
    /// Creates the format.
    #[must_use]
    pub fn new(options: JsonReadOptions) -> Self {
        Self { options }
    }
}

#[async_trait]
impl FileFormat for JsonFileFormat {
    fn get_ext(&self) -> String {
        "json".to_owned()
    }

    fn get_ext_with_compression(&self, compression: &FileCompressionType) -> Result<String> {
        Ok(format!("json{}", compression.get_ext()))
    }

    fn compression_type(&self) -> Option<FileCompressionType> {
        Some(compression_type(self.options.compression))
    }

    async fn infer_schema(
        &self,
        _state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        objects: &[ObjectMeta],
    ) -> Result<SchemaRef> {
        Ok(Arc::new(infer(&self.options, store, objects).await?))
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
            .with_file_compression_type(compression_type(self.options.compression))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn file_source(&self, table_schema: TableSchema) -> Arc<dyn FileSource> {
        Arc::new(TextFileSource::new(
            table_schema,
            TextFormat::Json(self.options.clone()),
        ))
    }
}
