//! A CSV source for real-world files: other encodings, decimal commas, malformed rows.
//!
//! DataFusion's own source reads only UTF-8 with decimal points, and does not report the line of a
//! malformed row. This source has one reader for all options. Inference, header checks and scans
//! share it, so they agree about records, nulls, numbers and encodings.
//!
//! ```text
//! file, byte range ─► to_utf8 ─► Records ─┬─► Kinds: inferred types
//!                                         ├─► FileColumns: where a file has the table's columns
//!                                         └─► RowDecoder: text columns ─► cast ─► batches
//! ```
//!
//! # Layout
//! - [`CsvReadOptions`]: the options of a user; `encoding`: text in UTF-8 of the file's encoding
//! - `schema`: the columns of several files; `infer`, `kind`, `header`: those of one
//! - `scan`, `decode`: bytes to batches; `records`, `values`: rules that all share
//! - `write`: batches to text
//! - `error`, `locate`: errors with file and line

mod decode;
mod encoding;
mod error;
mod header;
mod infer;
mod kind;
mod locate;
mod records;
mod scan;
mod schema;
mod values;
mod write;

pub use crate::protocol::CsvReadOptions;
pub(super) use scan::open;
pub(super) use schema::infer_schema;
pub use schema::read_csv_header;
pub(super) use values::{convert, type_name, without_exponent};
pub(crate) use write::CsvWriter;
