//! Readers of text formats, from files to batches and as scans of a plan, and what DataFusion's
//! reader of Parquet lacks.

pub(crate) mod codec;
mod column_names;
pub mod csv;
pub mod json;
mod source;
mod text;

pub(crate) use column_names::ignore_case_of_columns;
