//! The Parquet format with statistics of columns whose names have another case in a file.
//!
//! Executors find such columns by their names in any case. DataFusion's statistics compare exact
//! names: it would state that the file has only nulls there, and a scan would believe it.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{Result, Statistics};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::physical_plan::{FileScanConfig, FileSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::physical_plan::ExecutionPlan;
use object_store::{ObjectMeta, ObjectStore};

/// The format of the Parquet files of a catalog table.
#[derive(Debug)]
pub(super) struct AnyCaseParquet(pub(super) ParquetFormat);

#[async_trait]
impl FileFormat for AnyCaseParquet {
    fn get_ext(&self) -> String {
        self.0.get_ext()
    }

    fn get_ext_with_compression(&self, compression: &FileCompressionType) -> Result<String> {
        self.0.get_ext_with_compression(compression)
    }

    fn compression_type(&self) -> Option<FileCompressionType> {
        self.0.compression_type()
    }

    async fn infer_schema(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        objects: &[ObjectMeta],
    ) -> Result<SchemaRef> {
        self.0.infer_schema(state, store, objects).await
    }

    async fn infer_stats(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        table_schema: SchemaRef,
        object: &ObjectMeta,
    ) -> Result<Statistics> {
        // The session caches the metadata of the file, so it is read once.
        let file = self
            .0
            .infer_schema(state, store, std::slice::from_ref(object));
        let spelled = spelled_as(&table_schema, file.await?.as_ref());
        self.0
            .infer_stats(state, store, Arc::new(spelled), object)
            .await
    }

    async fn create_physical_plan(
        &self,
        state: &dyn Session,
        config: FileScanConfig,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.create_physical_plan(state, config).await
    }

    fn file_source(&self, table_schema: TableSchema) -> Arc<dyn FileSource> {
        self.0.file_source(table_schema)
    }
}

/// Returns the schema of the table with its columns spelled as in the file. The exact name is
/// preferred; of several names in another case, none is taken.
fn spelled_as(table: &Schema, file: &Schema) -> Schema {
    let spelled = |column: &Arc<Field>| {
        if file.field_with_name(column.name()).is_ok() {
            return Arc::clone(column);
        }
        let lower = column.name().to_lowercase();
        let mut named = file
            .fields()
            .iter()
            .filter(|f| f.name().to_lowercase() == lower);
        match (named.next(), named.next()) {
            (Some(field), None) => Arc::new(Field::clone(column).with_name(field.name())),
            _ => Arc::clone(column),
        }
    };
    let fields: Vec<_> = table.fields().iter().map(spelled).collect();
    Schema::new_with_metadata(fields, table.metadata().clone())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn a_column_is_spelled_as_in_the_file_unless_that_is_ambiguous() {
        let schema = |names: &[&str]| {
            let field = |name: &&str| Field::new(*name, DataType::Int32, true);
            Schema::new(names.iter().map(field).collect::<Vec<_>>())
        };
        let names = |table: &[&str], file: &[&str]| {
            let spelled = spelled_as(&schema(table), &schema(file));
            spelled
                .fields()
                .iter()
                .map(|f| f.name().clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&["Nota", "b"], &["b", "nota"]), ["nota", "b"]);
        assert_eq!(names(&["Nota", "b"], &["Nota", "nota"]), ["Nota", "b"]);
        assert_eq!(names(&["aB"], &["ab", "AB"]), ["aB"]);
    }
}
