//! Tables as catalogs know them, and what a catalog does.

use std::collections::BTreeMap;
use std::fmt::Debug;

use async_trait::async_trait;
use faisca_executor::sink::Values as ColumnValues;
use faisca_planner::manifest::FileFormat;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A column as catalogs know it: lower-case name, Hive type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableColumn {
    /// Name, in lower case.
    pub name: String,
    /// Hive type, say `array<int>`.
    pub hive_type: String,
    /// What it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A table of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDefinition {
    /// Name, in lower case.
    pub name: String,
    /// Columns in the files.
    pub columns: Vec<TableColumn>,
    /// Columns in the folders' names.
    pub partition_keys: Vec<TableColumn>,
    /// URL of the folder, with a slash at its end.
    pub location: String,
    /// Format of the files.
    pub format: FileFormat,
    /// What it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whatever else is said about it.
    pub parameters: BTreeMap<String, String>,
    /// How its files are written, in the words of Hive's SerDes: `field.delim`, `serialization.encoding`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub serde: BTreeMap<String, String>,
}

/// One partition of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TablePartition {
    /// Values of the partition keys, in their order.
    pub values: Vec<String>,
    /// URL of its folder, with a slash at its end.
    pub location: String,
}

/// What a column of a table holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnStatistics {
    /// Name, in lower case.
    pub column: String,
    /// Hive type.
    pub hive_type: String,
    /// Values that are null.
    pub nulls: u64,
    /// Different values, about.
    pub distinct: u64,
    /// Bounds and sizes, by the kind of the column.
    pub values: ColumnValues,
}

/// The state of a table's definition that an update is based on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableVersion(pub String);

/// Whether a change took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It did.
    Yes,
    /// Somebody was faster: look again.
    Conflict,
}

/// A place where tables are known by name. Names are in lower case.
#[async_trait]
pub trait Catalog: Debug + Send + Sync {
    /// Whether there is such a database.
    async fn database_exists(&self, database: &str) -> Result<bool>;
    /// Creates a database; one that is there is fine.
    async fn create_database(&self, database: &str) -> Result<()>;
    /// Names of a database's tables.
    async fn tables(&self, database: &str) -> Result<Vec<String>>;
    /// A table, if there is one.
    async fn table(
        &self,
        database: &str,
        table: &str,
    ) -> Result<Option<(TableDefinition, TableVersion)>>;
    /// Creates a table.
    async fn create_table(&self, database: &str, table: &TableDefinition) -> Result<Changed>;
    /// Replaces a table's definition, if it is still that version.
    async fn update_table(
        &self,
        database: &str,
        table: &TableDefinition,
        version: &TableVersion,
        skip_archive: bool,
    ) -> Result<Changed>;
    /// Describes columns of a table, in place of what was said about them.
    async fn put_statistics(
        &self,
        database: &str,
        table: &str,
        statistics: &[ColumnStatistics],
    ) -> Result<()>;
    /// All partitions of a table.
    async fn partitions(&self, database: &str, table: &str) -> Result<Vec<TablePartition>>;
    /// Creates or replaces partitions.
    async fn put_partitions(
        &self,
        database: &str,
        table: &TableDefinition,
        partitions: &[TablePartition],
    ) -> Result<()>;
    /// Forgets partitions; those that are not there are fine.
    async fn delete_partitions(
        &self,
        database: &str,
        table: &str,
        values: &[Vec<String>],
    ) -> Result<()>;
}

/// Parameters that Athena expects of each table of files.
pub(crate) fn file_parameters(format: FileFormat) -> BTreeMap<String, String> {
    let classification = match format {
        FileFormat::Parquet => "parquet",
        FileFormat::Csv => "csv",
        FileFormat::Ndjson => "json",
    };
    [
        ("classification", classification),
        ("typeOfData", "file"),
        ("EXTERNAL", "TRUE"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

/// A database and table name as a catalog takes it.
///
/// # Errors
/// For what Athena could not read.
pub(crate) fn checked_name(what: &str, name: &str) -> Result<String> {
    let lower = name.to_lowercase();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if lower.is_empty() || !lower.chars().all(fits) {
        return Err(Error::Write(format!(
            "catalog: `{name}` is not a {what} that Athena can read: letters, digits and _"
        )));
    }
    Ok(lower)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A table `t` of columns by name and Hive type.
    pub(in crate::catalog) fn table(columns: &[(&str, &str)]) -> TableDefinition {
        let column = |(name, hive): &(&str, &str)| TableColumn {
            name: (*name).to_owned(),
            hive_type: (*hive).to_owned(),
            comment: None,
        };
        TableDefinition {
            name: "t".to_owned(),
            columns: columns.iter().map(column).collect(),
            partition_keys: vec![],
            location: String::new(),
            format: FileFormat::Parquet,
            comment: None,
            parameters: BTreeMap::new(),
            serde: BTreeMap::new(),
        }
    }
}
