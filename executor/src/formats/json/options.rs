//! Options of ndjson files.

use faisca_planner::manifest::TextCompression;
use serde::{Deserialize, Serialize};

/// How to read an ndjson file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsonReadOptions {
    /// Compression of the files.
    pub compression: TextCompression,
    /// Number of rows from which the schema is inferred; 0 means all rows.
    pub infer_rows: usize,
    /// What to do with fields that the schema lacks.
    pub unknown_fields: UnknownFields,
    /// Time zone of timestamps without an offset.
    pub time_zone: String,
}

/// What a scan does with fields of an object that are not in the schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnknownFields {
    /// Leaves them out: the user gave the schema.
    #[default]
    Ignore,
    /// Fails: the schema was inferred from some rows, and the field is only in others.
    Refuse,
}
