//! File formats with a reader of our own.

pub mod csv;
mod text;
