//! A source for ndjson: one JSON object on each line.
//!
//! Arrow's decoder reads the values. This source adds what it lacks: errors with file and line, a
//! limit of a line and of a sample, all streams of a compressed file, and types that hold every
//! value of a sample.
//!
//! # Layout
//! - [`JsonReadOptions`]: the options of a user
//! - `infer`: the schema; `decode`: lines to batches; `lines`: text to lines
//! - `texts`: values that are decoded as texts; `big_numbers`: whole numbers beyond BIGINT, in a
//!   sample
//! - `spelling`: names of nested fields in another case than those of the schema
//! - `unknown_fields`: fields that an inferred schema lacks
//! - `write`: batches to lines

mod big_numbers;
mod decode;
mod infer;
mod lines;
mod nested_texts;
mod options;
mod spelling;
mod texts;
mod unknown_fields;
mod write;

pub(super) use decode::open;
pub(super) use infer::infer_schema;
pub use options::{JsonReadOptions, UnknownFields};
pub(crate) use write::to_json;
