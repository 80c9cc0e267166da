//! Tables as catalogs describe them, and the operations of a catalog.

use std::collections::BTreeMap;
use std::fmt::Debug;

use async_trait::async_trait;
use faisca_executor::sink::Values as ColumnValues;
use faisca_planner::manifest::FileFormat;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A column as a catalog describes it: a name in lower case and a Hive type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableColumn {
    /// Name, in lower case.
    pub name: String,
    /// Hive type, such as `array<int>`.
    pub hive_type: String,
    /// Comment of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A table that consists of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDefinition {
    /// Name, in lower case.
    pub name: String,
    /// Columns that the files contain.
    pub columns: Vec<TableColumn>,
    /// Columns whose values are in the names of the folders, outermost folder first.
    pub partition_keys: Vec<TableColumn>,
    /// URL of the folder, with a slash at the end.
    pub location: String,
    /// Format of the files.
    pub format: FileFormat,
    /// Comment of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// All other properties, such as `classification` or those of partition projection.
    pub parameters: BTreeMap<String, String>,
    /// Parameters of the Hive SerDe that reads the files, such as `field.delim` or
    /// `serialization.encoding`. Empty except for text files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub serde: BTreeMap<String, String>,
}

/// One partition of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TablePartition {
    /// Values of the partition keys, in the order of the keys.
    pub values: Vec<String>,
    /// URL of the folder, with a slash at the end.
    pub location: String,
}

/// Statistics of one column of a table. Query planners use them; no result depends on them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnStatistics {
    /// Name of the column, in lower case.
    pub column: String,
    /// Hive type of the column.
    pub hive_type: String,
    /// Number of nulls.
    pub nulls: u64,
    /// Approximate number of distinct values.
    pub distinct: u64,
    /// Bounds or sizes of the values, depending on the type of the column.
    pub values: ColumnValues,
}

/// Version of a table's definition, as its catalog reports it. An update names the version that it
/// is based on. Versions can be compared for equality only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableVersion(pub String);

/// What happens to the definition of a table that an update replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldVersion {
    /// A catalog that archives versions archives it.
    Archived,
    /// No catalog archives it.
    Discarded,
}

/// Result of a conditional change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// The change was made.
    Applied,
    /// Another writer changed the table first, and nothing was changed now. Read the table again
    /// before the next attempt.
    Conflict,
}

/// A catalog of tables by name.
///
/// **Names.** Databases, tables and columns are in lower case, in arguments and in results. A
/// caller that has a name from a user converts it first. Implementations do not check this.
///
/// **Atomicity.** [`Self::create_table`] and [`Self::update_table`] are atomic and conditional:
/// readers see the old definition or the new one, and of two concurrent writers only one succeeds.
/// The methods that take lists may work in batches. An error, or a dropped future, can leave some
/// batches done.
///
/// **Idempotency.** All other methods that change something can be repeated with the same result. A
/// repeated `create_table` or `update_table` returns [`ChangeOutcome::Conflict`], after which the
/// caller reads the table and decides again. A registration can therefore run any number of times,
/// in any process.
///
/// **Errors.** A conflict and a missing table are results of the methods that can report them.
/// Every other failure is an error that names the object and, where known, how to fix it.
/// Implementations repeat throttled requests themselves; callers repeat only conflicts.
///
/// **Callers.** The planner of a write and the crawler read the present table. The name resolution
/// of SQL lists and reads tables. Only [`Catalogs::register`](super::Catalogs) changes a catalog:
/// as part of a commit, of its recovery, or of a crawl.
#[async_trait]
pub trait Catalog: Debug + Send + Sync {
    /// Returns true if the database exists.
    ///
    /// Called when a write is planned, and before a registration creates a database.
    async fn database_exists(&self, database: &str) -> Result<bool>;
    /// Creates a database. Succeeds if it exists already.
    ///
    /// Called by a registration that may create its database.
    async fn create_database(&self, database: &str) -> Result<()>;
    /// Returns the names of the tables of a database. Empty if the database does not exist.
    ///
    /// Called by the name resolution of SQL, to suggest a name in place of an unknown one.
    async fn tables(&self, database: &str) -> Result<Vec<String>>;
    /// Returns a table and its version. `None` if the table or its database does not exist.
    ///
    /// Called before every write, registration and crawl of the table, and when a query names it.
    async fn table(
        &self,
        database: &str,
        table: &str,
    ) -> Result<Option<(TableDefinition, TableVersion)>>;
    /// Creates a table. Returns [`ChangeOutcome::Conflict`] if it exists already.
    ///
    /// Called by a registration if the table does not exist.
    ///
    /// # Errors
    /// If the database does not exist.
    async fn create_table(&self, database: &str, table: &TableDefinition) -> Result<ChangeOutcome>;
    /// Replaces the definition of a table if `version` is still its version; returns
    /// [`ChangeOutcome::Conflict`] if it is not. Partitions and statistics stay.
    ///
    /// `old` says what happens to the definition that is replaced. Called by a registration that
    /// changes an existing table.
    ///
    /// # Errors
    /// If the catalog reports that the table is missing. The local catalog reports this as a
    /// conflict.
    async fn update_table(
        &self,
        database: &str,
        table: &TableDefinition,
        version: &TableVersion,
        old: OldVersion,
    ) -> Result<ChangeOutcome>;
    /// Replaces the statistics of all columns. Columns without new statistics have none afterwards.
    ///
    /// Called by a registration, which logs a failure and continues.
    ///
    /// # Errors
    /// If the table does not exist.
    async fn replace_statistics(
        &self,
        database: &str,
        table: &TableDefinition,
        statistics: &[ColumnStatistics],
    ) -> Result<()>;
    /// Returns all partitions of a table, in any order.
    ///
    /// Called for tables that exist and are partitioned: by queries, the planner of a write, the
    /// crawler, and a registration that removes the other partitions.
    ///
    /// # Errors
    /// If the catalog reports that the table is missing. The local catalog returns an empty list.
    async fn partitions(&self, database: &str, table: &str) -> Result<Vec<TablePartition>>;
    /// Creates partitions, or replaces those with the same values.
    ///
    /// `table` is the definition that is registered now. Glue stores a copy of it with each
    /// partition. Called by a registration, after the definition of the table.
    ///
    /// # Errors
    /// If the table does not exist.
    async fn put_partitions(
        &self,
        database: &str,
        table: &TableDefinition,
        partitions: &[TablePartition],
    ) -> Result<()>;
    /// Removes partitions by their values, in the order of the keys. Ignores those that do not
    /// exist. The files stay.
    ///
    /// Called by a registration after [`Self::put_partitions`], so that no reader misses a
    /// partition that was only moved.
    ///
    /// # Errors
    /// If the table does not exist.
    async fn delete_partitions(
        &self,
        database: &str,
        table: &str,
        values: &[Vec<String>],
    ) -> Result<()>;
}

/// Returns the parameters that Athena expects on every table of files.
pub(crate) fn file_parameters(format: FileFormat) -> BTreeMap<String, String> {
    let classification = match format {
        FileFormat::Parquet => "parquet",
        FileFormat::Csv => "csv",
        FileFormat::Ndjson => "json",
    };
    [
        ("classification", classification),
        ("typeOfData", "file"),
        // Marks the table as external: engines such as Hive then never delete its files.
        ("EXTERNAL", "TRUE"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

/// Returns the name of a database or table in lower case, as catalogs need it. The error calls it
/// `kind`: `database name` or `table name`.
///
/// # Errors
/// Returns an error if Athena could not read the name: it allows letters, digits and underscores.
pub(crate) fn checked_name(kind: &str, name: &str) -> Result<String> {
    let lower = name.to_lowercase();
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if lower.is_empty() || !lower.chars().all(is_allowed) {
        return Err(Error::Write(format!(
            "catalog: `{name}` is not a {kind} that Athena can read: letters, digits and _"
        )));
    }
    Ok(lower)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns a table `t` with these columns, each given by its name and Hive type.
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
