//! Adds file, line and remedy to a decoder's error.
//!
//! A decoder counts lines from the start of its byte range. The lines before the range are counted
//! only after an error.

use std::sync::Arc;

use datafusion::common::{DataFusionError, exec_datafusion_err};
use datafusion::datasource::listing::PartitionedFile;
use futures::StreamExt;
use object_store::{GetOptions, GetRange, ObjectStore};

use super::options::CsvReadOptions;

/// Most characters of a message, which may quote the data.
const QUOTE_CHARS_MAX: usize = 160;

/// Returns the error with the line in the whole file. `start` is the first byte of the range.
/// Errors without a line are returned unchanged.
pub(super) async fn locate(
    error: DataFusionError,
    options: &CsvReadOptions,
    store: &Arc<dyn ObjectStore>,
    file: &PartitionedFile,
    start: u64,
) -> DataFusionError {
    let DataFusionError::ArrowError(arrow, _) = &error else {
        return error;
    };
    let text = arrow.to_string();
    let Some((problem, line)) = split_line(&text) else {
        return error;
    };
    // Arrow counts lines from 0 for values that do not parse, and from 1 for other errors.
    let line = if text.contains("Error while parsing value") {
        line + 1
    } else {
        line
    };
    let before = if start > 0 && options.compression_type().is_compressed() {
        0
    } else {
        lines_before(store, file, start).await
    };
    let name = &file.object_meta.location;
    let problem: String = problem
        .trim_start_matches("Csv error: ")
        .trim_start_matches("Parser error: ")
        .chars()
        .take(QUOTE_CHARS_MAX)
        .collect();
    let problem = problem
        .trim_end_matches(" for ")
        .trim_end_matches(" at ")
        .trim_end_matches(" on ");
    let expectation = expectation(&text).unwrap_or_default();
    exec_datafusion_err!(
        "/{name} line {}: {problem}{expectation}. Check delimiter ({:?}), quote and schema, or set onMalformedRow to `drop` or `nulls`",
        before + line,
        char::from(options.delimiter)
    )
}

/// Splits a message into the part before `line N`, and N.
fn split_line(text: &str) -> Option<(&str, u64)> {
    let at = text
        .rfind("line ")
        .filter(|at| text[at + 5..].starts_with(|c: char| c.is_ascii_digit()))
        .or_else(|| text.find("line "))?;
    let digits = &text[at + 5..];
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    Some((&text[..at], digits[..end].parse().ok()?))
}

/// Returns the part after the line number, in which Arrow gives the expected number of fields.
fn expectation(text: &str) -> Option<String> {
    text.find(", expected ").map(|at| text[at..].to_owned())
}

/// Counts the lines before a byte range; 0 if they cannot be read, so that the error is reported
/// anyway.
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
