//! A source for ndjson: one JSON object on each line.
//!
//! Arrow's decoder reads the values. This source adds what it lacks: errors with file and line, a
//! limit of a line and of a sample, all streams of a compressed file, and types that hold every value
//! of a sample.
//!
//! # Layout
//! - [`JsonReadOptions`], [`JsonFileFormat`]: the entry into DataFusion's listing tables
//! - `infer`: the schema; `decode`: lines to batches; `lines`: text to lines
//! - `write`: batches to lines

mod decode;
mod format;
mod infer;
mod lines;
mod write;

pub(super) use decode::open;
pub use format::{JsonFileFormat, JsonReadOptions};
pub(crate) use write::to_json;
