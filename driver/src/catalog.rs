//! Catalogs: where tables are known by name, and which files are theirs.
//!
//! Written tables are registered after their files are visible, in one step of the commit; readers
//! by name see the old table or the new one. Glue is what Athena reads; the local catalog is the
//! same for a machine without one.

mod changes;
mod glue;
mod glue_statistics;
mod hive;
mod local;
mod projection;
mod provider;
mod registration;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use faisca_planner::manifest::{CatalogKind, FileFormat, OnSchemaChange};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

pub use changes::TableOutlook;
pub(crate) use changes::{PlannedTable, compatible, outlook};
pub use faisca_executor::sink::Values as ColumnValues;
pub use glue::GlueSettings;
pub use hive::{arrow_type, hive_type, storage_type};
pub(crate) use provider::register_catalogs;
pub(crate) use registration::{PartitionChange, Registration};

use crate::error::{Error, Result};
use glue::GlueCatalog;
use local::LocalCatalog;

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
    /// What a kind of column tells besides.
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

/// The catalogs of a session, opened when they are first used.
#[derive(Debug)]
pub struct Catalogs {
    warehouse: PathBuf,
    glue_settings: GlueSettings,
    glue: OnceCell<Arc<dyn Catalog>>,
    /// Tables that a job that is only looked at would make.
    expected: RwLock<HashMap<ExpectedName, Arc<dyn TableProvider>>>,
}

/// Catalog, database and table.
type ExpectedName = (CatalogKind, String, String);

impl Catalogs {
    pub(crate) fn new(warehouse: &str, glue_settings: GlueSettings) -> Self {
        Self {
            warehouse: PathBuf::from(warehouse),
            glue_settings,
            glue: OnceCell::new(),
            expected: RwLock::default(),
        }
    }

    /// Answers that name with a table that is not there yet.
    pub(crate) fn expect(
        &self,
        kind: CatalogKind,
        database: &str,
        table: &str,
        provider: Arc<dyn TableProvider>,
    ) {
        let name = (kind, database.to_lowercase(), table.to_lowercase());
        self.expected
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, provider);
    }

    /// Whether that database would be there by then.
    pub(crate) fn expects_database(&self, kind: CatalogKind, database: &str) -> bool {
        let expected = self.expected.read().unwrap_or_else(PoisonError::into_inner);
        expected
            .keys()
            .any(|(of, name, _)| *of == kind && name == database)
    }

    fn expected(
        &self,
        kind: CatalogKind,
        database: &str,
        table: &str,
    ) -> Option<Arc<dyn TableProvider>> {
        let name = (kind, database.to_owned(), table.to_owned());
        self.expected
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&name)
            .cloned()
    }

    /// One of them.
    pub async fn get(&self, kind: CatalogKind) -> Arc<dyn Catalog> {
        match kind {
            CatalogKind::Local => Arc::new(LocalCatalog::new(&self.warehouse)),
            CatalogKind::Glue => {
                let open = || async {
                    Arc::new(GlueCatalog::open(&self.glue_settings).await) as Arc<dyn Catalog>
                };
                Arc::clone(self.glue.get_or_init(open).await)
            }
        }
    }
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
mod tests {
    use super::*;

    /// A table `t` of columns by name and Hive type.
    pub(super) fn table(columns: &[(&str, &str)]) -> TableDefinition {
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
