//! Rows that commands such as DESCRIBE and SHOW return, and names in them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::DataFusionError;
use faisca_planner::manifest::FileFormat;

use super::dataframe::DataFrame;
use crate::error::Result;
use crate::input::TableFiles;
use crate::services::Services;

/// Returns the name of the format of a table's files in SQL.
pub(super) fn format_name(files: &TableFiles) -> &'static str {
    match files.source.format {
        FileFormat::Parquet => "parquet",
        FileFormat::Csv => "csv",
        FileFormat::Ndjson => "json",
    }
}

/// Returns a DataFrame of one column of text.
pub(super) fn text_rows(
    services: &Arc<Services>,
    column: &str,
    values: Vec<String>,
) -> Result<DataFrame> {
    let values: ArrayRef = Arc::new(StringArray::from(values));
    rows(services, [(column, values)])
}

/// Returns a DataFrame of names and values.
pub(super) fn pair_rows(
    services: &Arc<Services>,
    columns: [&str; 2],
    pairs: Vec<(String, String)>,
) -> Result<DataFrame> {
    let (names, values): (Vec<String>, Vec<String>) = pairs.into_iter().unzip();
    let [names, values]: [ArrayRef; 2] =
        [names, values].map(|texts| Arc::new(StringArray::from(texts)) as ArrayRef);
    rows(services, [(columns[0], names), (columns[1], values)])
}

/// Returns the columns of a registered table.
pub(super) fn table_schema(services: &Services, name: &str) -> SchemaRef {
    let provider = services.tables.provider(name);
    provider.map_or_else(|| Arc::new(Schema::empty()), |provider| provider.schema())
}

/// Returns a DataFrame of these columns, which are in memory.
pub(super) fn rows<'a>(
    services: &Arc<Services>,
    columns: impl IntoIterator<Item = (&'a str, ArrayRef)>,
) -> Result<DataFrame> {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns
        .into_iter()
        .map(|(name, array)| {
            let field = Field::new(name, array.data_type().clone(), array.is_nullable());
            (field, array)
        })
        .unzip();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays);
    let frame = services
        .context
        .read_batch(batch.map_err(DataFusionError::from)?)?;
    Ok(DataFrame::new(Arc::clone(services), frame))
}
