//! Registers the output folder of a write as a table.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use faisca_planner::manifest::{FileFormat, PartitionOverwrite, SaveMode, Source, Write};

use super::sql_types::{column_definition, sql_type};
use crate::error::Result;
use crate::input::source::{count_files, open_with_key_types, written_source};
use crate::input::{Ownership, TableFiles, reorder_columns};
use crate::services::Services;

/// Registers the output folder of a write under a name. `columns` are those of the rows that were
/// written.
///
/// # Errors
/// Returns an error if the folder cannot be read.
pub(crate) async fn register_output(
    services: &Services,
    name: &str,
    write: &Write,
    columns: &SchemaRef,
    ownership: Ownership,
) -> Result<()> {
    let source = Source {
        schema: schema_of_text(write, columns),
        ..written_source(name, &write.path, write.format)
    };
    let provider = open_written(&services.context, &source, columns).await?;
    let files = TableFiles {
        source,
        partition_by: write.partition_by.clone(),
        ownership,
    };
    services.register_table(name, provider, Some(files))
}

/// Opens the output folder of a write, with the columns in the order of `columns`.
///
/// # Errors
/// Returns an error if the folder cannot be read.
pub(super) async fn open_written(
    context: &SessionContext,
    source: &Source,
    columns: &SchemaRef,
) -> Result<Arc<dyn TableProvider>> {
    // Without rows there may be no file to read the columns from.
    if count_files(context, source).await?.count == 0 {
        let empty = MemTable::try_new(Arc::clone(columns), vec![vec![]])?;
        return Ok(Arc::new(empty));
    }
    reorder_columns(
        columns,
        open_with_key_types(context, source, columns).await?,
    )
}

/// Returns the columns as a schema in SQL if the files are text, which stores no types: inferred
/// types would depend on the values. Returns `None` if the schema must be inferred, because the
/// folder may also contain files of earlier writes.
fn schema_of_text(write: &Write, columns: &Schema) -> Option<String> {
    let replaces_all = matches!(write.mode, SaveMode::Overwrite | SaveMode::ErrorIfExists)
        && write.partition_overwrite == PartitionOverwrite::Static;
    if write.format == FileFormat::Parquet || !replaces_all {
        return None;
    }
    let fields = columns.fields().iter();
    let columns = fields.map(|field| {
        let sql_type = sql_type(field.data_type())?;
        Some(column_definition(field.name(), &sql_type))
    });
    Some(columns.collect::<Option<Vec<String>>>()?.join(", "))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, TimeUnit};

    use super::*;

    #[test]
    fn text_that_replaces_a_folder_is_read_with_the_types_of_its_rows() {
        let schema = |data_type: DataType, write: &Write| {
            schema_of_text(
                write,
                &Schema::new(vec![Field::new("a b", data_type, true)]),
            )
        };
        let write = |format, mode| Write {
            format,
            mode,
            ..Write::to("out")
        };
        let csv = write(FileFormat::Csv, SaveMode::Overwrite);
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
        assert_eq!(schema(timestamp, &csv).unwrap(), "`a b` TIMESTAMP_NTZ");
        assert_eq!(
            schema(DataType::new_list(DataType::Int32, true), &csv),
            None
        );
        for other in [
            write(FileFormat::Csv, SaveMode::Append),
            write(FileFormat::Parquet, SaveMode::Overwrite),
        ] {
            assert_eq!(schema(DataType::Utf8, &other), None);
        }
    }
}
