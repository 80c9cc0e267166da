//! The columns of a catalog table, with the names and types of its files.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::datasource::file_format::FileFormat as DfFileFormat;
use datafusion::prelude::SessionContext;
use faisca_planner::manifest::{FileFormat, Source};
use object_store::{ObjectMeta, ObjectStore};

use super::formats::{Expected, compression_of, file_format};
use crate::catalog::hive_type;
use crate::error::Result;

/// Returns the columns of a catalog table, with names spelled as in the file `first`, and the
/// format that reads the files.
///
/// All columns are nullable: other files may lack them. A column has the Arrow type of the first
/// file if that maps to the Hive type of the catalog, and otherwise the type of the catalog.
///
/// # Errors
/// Returns an error if the file cannot be read.
pub(super) async fn catalog_schema(
    context: &SessionContext,
    store: &Arc<dyn ObjectStore>,
    first: ObjectMeta,
    columns: &Schema,
    source: &Source,
) -> Result<(SchemaRef, Arc<dyn DfFileFormat>)> {
    let compression = compression_of(source, &first.location);
    let format = file_format(source, compression, Expected::default())?;
    let in_file = format
        .infer_schema(&context.state(), store, &[first])
        .await?;
    let fields = columns
        .fields()
        .iter()
        .map(|column| respell(column, &in_file, source.format));
    Ok((Arc::new(Schema::new(fields.collect::<Vec<_>>())), format))
}

/// Returns a column of the catalog with the spelling of a file, and with the file's Arrow type if
/// both map to the same Hive type.
fn respell(column: &Arc<Field>, file: &Schema, format: FileFormat) -> Arc<Field> {
    let has_name =
        |field: &&Arc<Field>| field.name().to_lowercase() == column.name().to_lowercase();
    let Some(field) = file.fields().iter().find(has_name) else {
        return Arc::clone(column);
    };
    // Parquet files store their types. The types of text files are only inferred, so the catalog
    // decides.
    let stores_types = format == FileFormat::Parquet;
    let is_same = stores_types && hive_type(field.data_type()) == hive_type(column.data_type());
    Arc::new(if is_same {
        Field::clone(field).with_nullable(true)
    } else {
        Field::clone(column).with_name(field.name())
    })
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, TimeUnit};

    use super::*;

    #[test]
    fn a_column_takes_its_name_from_the_file_and_its_type_if_it_is_the_same() {
        let file = Schema::new(vec![
            Field::new("Nota", DataType::LargeUtf8, false),
            Field::new("MÉDIA", DataType::Int32, false),
            Field::new(
                "at",
                DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
                true,
            ),
        ]);
        let column = |name: &str, data_type: DataType, format: FileFormat| {
            let column = Arc::new(Field::new(name, data_type, true));
            let field = respell(&column, &file, format);
            assert!(field.is_nullable());
            (field.name().clone(), field.data_type().clone())
        };
        let nota = |data_type| ("Nota".to_owned(), data_type);
        assert_eq!(
            column("nota", DataType::Utf8, FileFormat::Parquet),
            nota(DataType::LargeUtf8)
        );
        assert_eq!(
            column("nota", DataType::Utf8, FileFormat::Csv),
            nota(DataType::Utf8)
        );
        assert_eq!(
            column("nota", DataType::Int64, FileFormat::Parquet),
            nota(DataType::Int64)
        );
        assert_eq!(
            column("média", DataType::Int64, FileFormat::Parquet).0,
            "MÉDIA"
        );
        assert_eq!(
            column("média", DataType::Int64, FileFormat::Parquet).1,
            DataType::Int64
        );
        let naive = DataType::Timestamp(TimeUnit::Microsecond, None);
        assert_eq!(
            &column("at", naive, FileFormat::Parquet).1,
            file.field(2).data_type()
        );
        assert_eq!(
            column("new", DataType::Date32, FileFormat::Parquet).0,
            "new"
        );
    }
}
