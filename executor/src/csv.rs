//! CSV as it is found in the wild: other encodings, decimal commas, malformed rows.
//!
//! DataFusion's own CSV source reads UTF-8 with decimal points and fails on a bad row without
//! telling where in the file it stands. This one keeps its speed for plain files (the same Arrow
//! decoder, the same splitting by byte ranges), and goes field by field only where it must.
//!
//! # Layout
//! - [`CsvReadOptions`] — what a user can say of a file
//! - `format`: schema inference, and the entry into DataFusion's listing tables
//! - `source`, `decode`, `lenient`: bytes to batches
//! - `codec`: the scan as bytes

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
