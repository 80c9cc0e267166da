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
}
