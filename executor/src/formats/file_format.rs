//! Text formats as DataFusion's file formats: the entry into its listing tables.

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
use object_store::{ObjectMeta, ObjectStore};

use super::csv::{self, CsvReadOptions};
use super::json::{self, JsonReadOptions};
use super::source::{TextFileSource, TextFormat};
use super::text::compression_type;

/// CSV or ndjson with Faísca's options, as a file format of DataFusion.
#[derive(Debug, Clone)]
pub struct TextFileFormat(TextFormat);

impl TextFileFormat {
    /// Returns the format of CSV files.
    #[must_use]
    pub fn csv(options: CsvReadOptions) -> Self {
        Self(TextFormat::Csv(options))
    }

    /// Returns the format of files with one JSON object on each line.
    #[must_use]
    pub fn json(options: JsonReadOptions) -> Self {
        Self(TextFormat::Json(options))
    }

    fn compression(&self) -> FileCompressionType {
        compression_type(self.0.compression())
    }
}

#[async_trait]
impl FileFormat for TextFileFormat {
    fn get_ext(&self) -> String {
        match &self.0 {
            TextFormat::Csv(_) => "csv".to_owned(),
            TextFormat::Json(_) => "json".to_owned(),
        }
    }

    fn get_ext_with_compression(&self, compression: &FileCompressionType) -> Result<String> {
        Ok(format!("{}{}", self.get_ext(), compression.get_ext()))
    }

    fn compression_type(&self) -> Option<FileCompressionType> {
        Some(self.compression())
    }

    async fn infer_schema(
        &self,
        _state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        objects: &[ObjectMeta],
    ) -> Result<SchemaRef> {
        let schema = match &self.0 {
            TextFormat::Csv(options) => csv::infer_schema(options, store, objects).await?,
            TextFormat::Json(options) => json::infer_schema(options, store, objects).await?,
        };
        Ok(Arc::new(schema))
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
        state: &dyn Session,
        conf: FileScanConfig,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let zone = state.config_options().execution.time_zone.as_deref();
        let source = conf.file_source.downcast_ref::<TextFileSource>();
        let zoned = source
            .zip(zone)
            .map(|(source, zone)| source.with_time_zone(zone));
        let mut config =
            FileScanConfigBuilder::from(conf).with_file_compression_type(self.compression());
        if let Some(source) = zoned {
            config = config.with_source(Arc::new(source));
        }
        Ok(DataSourceExec::from_data_source(config.build()))
    }

    fn file_source(&self, table_schema: TableSchema) -> Arc<dyn FileSource> {
        Arc::new(TextFileSource::new(table_schema, self.0.clone()))
    }
}
