//! Where a written table is registered.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A table of a catalog, which a write creates or updates once its files are visible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CatalogTable {
    /// Kind of catalog.
    #[serde(rename = "type")]
    pub kind: CatalogKind,
    /// Database.
    pub database: String,
    /// Table. Default: the step's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Create the database if there is none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create_database: bool,
    /// What to do if the table has other columns.
    #[serde(default)]
    pub on_schema_change: OnSchemaChange,
    /// What the table holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// What its columns hold.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub column_comments: BTreeMap<String, String>,
    /// Further parameters of the table, say for partition projection (`projection.*`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Seconds that replaced files stay on an object store, for queries that still read them. A reader of the folder
    /// by its path, and not by the catalog, sees old rows beside new ones for that time. Default 3600; 0 with
    /// partition projection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_old_seconds: Option<u64>,
    /// Glue: keep no older version of the table's definition.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_archive: bool,
    /// Describe the columns: nulls, distinct values, least and greatest, lengths. Of a table that is
    /// overwritten and not partitioned. Costs time while it is written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub column_statistics: bool,
}

impl CatalogTable {
    /// Name of the table that a step of that name writes.
    #[must_use]
    pub fn table_of<'a>(&'a self, step: &'a str) -> &'a str {
        self.table.as_deref().unwrap_or(step)
    }

    /// The same as statements name it: catalog, database, table.
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

/// Kinds of catalog.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum CatalogKind {
    /// AWS Glue: what Athena reads.
    Glue,
    /// Files below the warehouse folder.
    Local,
}

impl CatalogKind {
    /// As statements name it.
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
    /// It fails, before the first byte is written.
    #[default]
    Fail,
    /// New columns are added; others must be as they were.
    AddColumns,
    /// The table takes the result's columns.
    Replace,
}
