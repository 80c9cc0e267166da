//! Readers of text formats, from files to batches and as scans of a plan.
//!
//! - `csv`, `json`: what is specific to each format, and their writers
//! - `file_format`: the entry into DataFusion; `source`: the scan; `codec`: the scan as bytes
//! - `instants`: texts of timestamps in the session's zone
//! - `text`: the bytes of files, decompressed

pub(crate) mod codec;
pub mod csv;
mod file_format;
mod instants;
pub mod json;
mod source;
mod text;

pub use file_format::TextFileFormat;
