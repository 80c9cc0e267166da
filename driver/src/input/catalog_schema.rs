//! The columns of a catalog table, as its files spell and store them.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::datasource::file_format::FileFormat as DfFileFormat;
use datafusion::prelude::SessionContext;
use faisca_planner::manifest::{FileFormat, Source};
use object_store::{ObjectMeta, ObjectStore};

use super::formats::{Expected, compression_of, file_format};
use crate::catalog::hive_type;
use crate::error::Result;

/// Returns the columns of a catalog with names spelled as in the file `first`, and the format that
/// reads the files.
///
/// All columns are nullable: other files may lack them. A column has the type of the first file if
/// that is the type of the catalog, and the catalog's own type otherwise.
///
/// # Errors
/// If the file cannot be read.
pub(super) async fn catalog_schema(
    context: &SessionContext,
    store: &Arc<dyn ObjectStore>,
    first: ObjectMeta,
    columns: &Schema,
    described: &Source,
) -> Result<(SchemaRef, Arc<dyn DfFileFormat>)> {
    let compression = compression_of(described, &first.location);
    let format = file_format(described, compression, Expected::default())?;
    let in_file = format
        .infer_schema(&context.state(), store, &[first])
        .await?;
    let fields = columns
        .fields()
        .iter()
        .map(|column| as_in_file(column, &in_file, described.format));
    Ok((Arc::new(Schema::new(fields.collect::<Vec<_>>())), format))
}

/// Returns a column of the catalog with the name that a file spells, and with the file's type if
/// that is another form of the same type.
fn as_in_file(column: &Arc<Field>, file: &Schema, format: FileFormat) -> Arc<Field> {
    let named = |field: &&Arc<Field>| field.name().to_lowercase() == column.name().to_lowercase();
    let Some(field) = file.fields().iter().find(named) else {
        return Arc::clone(column);
    };
    // Parquet files state their types; those of text files are inferred, so the catalog's count.
    let states_types = format == FileFormat::Parquet;
    let is_same = states_types && hive_type(field.data_type()) == hive_type(column.data_type());
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
            let field = as_in_file(&column, &file, format);
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
