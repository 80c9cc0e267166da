//! A CSV source for real-world files: other encodings, decimal commas, malformed rows.
//!
//! DataFusion's own source reads only UTF-8 with decimal points, and does not report the line of a
//! malformed row. This source is as fast for plain files (the same Arrow decoder, the same splitting
//! into byte ranges), and parses field by field only if an option needs it.
//!
//! # Layout
//! - [`CsvReadOptions`]: the options of a user
//! - `format`: schema inference, and the entry into DataFusion's listing tables
//! - `source`, `decode`, `lenient`: bytes to batches; `locate`: errors with file and line
//! - `codec`: encodes the scan as part of a plan

pub(crate) mod codec;
mod decode;
mod format;
mod infer;
mod lenient;
mod locate;
mod options;
mod source;

pub use format::CsvFileFormat;
pub use options::CsvReadOptions;
