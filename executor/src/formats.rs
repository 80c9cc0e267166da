//! Text formats with readers of our own: files to batches, and the scan as part of a plan.

pub(crate) mod codec;
pub mod csv;
pub mod json;
mod source;
mod text;
