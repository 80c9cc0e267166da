//! The table of a catalog that a write registers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A table of a catalog, which a write creates or updates once its files are visible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CatalogTable {
    /// Catalog that has the table: `glue` (AWS Glue, which Athena and Trino read) or `local`
    /// (files below the warehouse folder).
    #[serde(rename = "type")]
    pub kind: CatalogKind,
    /// Name of the database, in lower-case letters, digits and `_`.
    pub database: String,
    /// Name of the table, in lower-case letters, digits and `_`. Default: the name of the
    /// step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Whether to create the database if it does not exist.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create_database: bool,
    /// What the write does if the table exists and has other columns. Default: it fails
    /// before anything is written.
    #[serde(default)]
    pub on_schema_change: OnSchemaChange,
    /// Comment of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Comments of columns, by the names of the columns.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub column_comments: BTreeMap<String, String>,
    /// Further parameters of the table, for example those of partition projection
    /// (`projection.*`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Seconds for which replaced files stay on an object store, for queries that still read
    /// them. A reader that uses the path of the folder, and not the catalog, sees old rows
    /// beside new ones for that time. Default: 3600; 0 with partition projection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_old_seconds: Option<u64>,
    /// Whether Glue archives no older version of the table's definition.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_archive: bool,
    /// Whether to store statistics of the columns: nulls, distinct values, minimum, maximum
    /// and lengths. Only for tables that are overwritten and not partitioned; the write takes
    /// longer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub column_statistics: bool,
}

impl CatalogTable {
    /// Returns the name of the table that the step `step` writes.
    #[must_use]
    pub fn table_of<'a>(&'a self, step: &'a str) -> &'a str {
        self.table.as_deref().unwrap_or(step)
    }

    /// Returns the name of the table in SQL: catalog, database and table.
    #[must_use]
    pub fn full_name(&self, step: &str) -> String {
        format!(
            "{}.{}.{}",
            self.kind.name(),
            self.database,
            self.table_of(step)
        )
    }
}

/// Catalogs that a write can register a table in.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum CatalogKind {
    /// AWS Glue, which Athena reads.
    Glue,
    /// Files below the warehouse folder.
    Local,
}

impl CatalogKind {
    /// Returns the name of the catalog in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Glue => "glue",
            Self::Local => "local",
        }
    }
}

/// What a write does to a table whose columns differ from the result's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnSchemaChange {
    /// The write fails, before the first byte is written.
    #[default]
    Fail,
    /// New columns are added. Existing columns must keep their types.
    AddColumns,
    /// The table gets the columns of the result.
    Replace,
}
