//! Adds file, line and remedy to a decoder's error.
//!
//! A decoder counts lines from the start of its byte range. The lines before the range are counted
//! only after an error.

use std::sync::Arc;

use datafusion::common::{DataFusionError, exec_datafusion_err};
use datafusion::datasource::listing::PartitionedFile;
use object_store::ObjectStore;

use super::decode::DecodeError;
use crate::formats::text::lines_before;
use crate::protocol::CsvReadOptions;

/// Most characters of a message, which may quote the data.
const QUOTE_CHARS_MAX: usize = 160;

/// Returns the error with the line in the whole file. `start` is the first byte of the range.
pub(super) async fn locate(
    error: DecodeError,
    options: &CsvReadOptions,
    store: &Arc<dyn ObjectStore>,
    file: &PartitionedFile,
    start: u64,
) -> DataFusionError {
    let name = &file.object_meta.location;
    let error = match error {
        DecodeError::Text(error) => error,
        DecodeError::Arrow(error) => {
            return DataFusionError::from(error).context(format!("/{name}"));
        }
        DecodeError::Read(error) => return error,
    };
    let before = lines_before(options.compression, store, file, start).await;
    let problem: String = error.problem.chars().take(QUOTE_CHARS_MAX).collect();
    exec_datafusion_err!(
        "/{name} line {}: {problem}. {}",
        before + error.line,
        error.advice
    )
}
