//! Adds file, line and remedy to a decoder's error.
//!
//! A decoder counts lines from the start of its byte range. The lines before the range are counted
//! only after an error.

use std::sync::Arc;

use datafusion::common::{DataFusionError, exec_datafusion_err};
use datafusion::datasource::listing::PartitionedFile;
use faisca_planner::manifest::TextCompression;
use futures::StreamExt;
use object_store::{GetOptions, GetRange, ObjectStore};

use super::decode::DecodeError;
use super::options::CsvReadOptions;

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
    let before = if options.compression == TextCompression::None {
        lines_before(store, file, start).await
    } else {
        0
    };
    let problem: String = error.what.chars().take(QUOTE_CHARS_MAX).collect();
    exec_datafusion_err!(
        "/{name} line {}: {problem}. {}",
        before + error.line,
        error.advice
    )
}

async fn lines_before(store: &Arc<dyn ObjectStore>, file: &PartitionedFile, start: u64) -> u64 {
    if start == 0 {
        return 0;
    }
    // A range begins with the first line that starts in it: the newline at `start - 1` counts.
    let options = GetOptions {
        range: Some(GetRange::Bounded(0..start)),
        ..Default::default()
    };
    let Ok(result) = store.get_opts(&file.object_meta.location, options).await else {
        return 0;
    };
    let mut stream = result.into_stream();
    let mut lines = 0;
    let mut last = b'\n';
    while let Some(Ok(chunk)) = stream.next().await {
        lines += chunk.iter().filter(|b| **b == b'\n').count() as u64;
        last = chunk.last().copied().unwrap_or(last);
    }
    if last == b'\n' { lines } else { lines + 1 }
}
