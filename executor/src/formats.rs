//! Readers of text formats, from files to batches and as scans of a plan.

pub(crate) mod codec;
pub mod csv;
pub mod json;
mod source;
mod text;
