//! The schema that holds the rows of several CSV files, and the header of one.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::{DataFusionError, Result};
use futures::{FutureExt, StreamExt};
use object_store::{ObjectMeta, ObjectStore};

use super::infer::{InferredColumns, infer, read_header};
use crate::protocol::CsvReadOptions;

/// Files whose schemas are inferred concurrently.
const INFERRED_AT_ONCE: usize = 16;

/// Reads the header of a file; `None` if the file is empty, or if files have no headers.
///
/// # Errors
/// If the file cannot be read or is not text.
pub async fn read_csv_header(
    options: &CsvReadOptions,
    store: &Arc<dyn ObjectStore>,
    object: &ObjectMeta,
) -> Result<Option<Vec<String>>> {
    if !options.header {
        return Ok(None);
    }
    read_header(options, store, object)
        .await
        .map_err(|e| in_file(e, object))
}

/// Infers the schema from the first rows of the files. It has no columns if all files are empty.
pub(in crate::formats) async fn infer_schema(
    options: &CsvReadOptions,
    store: &Arc<dyn ObjectStore>,
    objects: &[ObjectMeta],
) -> Result<Schema> {
    let mut columns: Option<InferredColumns> = None;
    let mut rows_left = if options.infer_rows == 0 {
        usize::MAX
    } else {
        options.infer_rows
    };
    let inferred: Vec<_> = objects
        .iter()
        .map(|object| infer(options, store, object, rows_left).boxed())
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
    Ok(columns.map_or_else(Schema::empty, |columns| columns.schema()))
}

fn in_file(error: DataFusionError, object: &ObjectMeta) -> DataFusionError {
    DataFusionError::Context(format!("/{}", object.location), Box::new(error))
}
