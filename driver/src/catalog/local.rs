//! The catalog of a machine without Glue: one file for each table, in a folder of the warehouse.
//!
//! ```text
//! spark-warehouse/.catalog/enem/uf_idade.json    {version, table, partitions, statistics}
//! ```
//!
//! Every change replaces the whole file by a rename, under a lock of the database. Readers take no
//! lock and see the old file or the new one. All calls block for the time of a small file
//! operation.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::definition::{
    Catalog, ChangeOutcome, ColumnStatistics, OldVersion, TableDefinition, TablePartition,
    TableVersion,
};
use crate::error::{Error, Result, cannot};

/// Folder of the catalog, below the warehouse. It is hidden, so that no reader takes it for data.
const FOLDER: &str = ".catalog";

/// A catalog whose tables are files.
#[derive(Debug)]
pub(super) struct LocalCatalog {
    folder: PathBuf,
}

/// Content of the file of one table. Every change increments `version`, also one of the partitions
/// or statistics only.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stored {
    version: u64,
    table: TableDefinition,
    partitions: Vec<TablePartition>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    statistics: Vec<ColumnStatistics>,
}

impl LocalCatalog {
    /// Opens the catalog of a warehouse folder. Nothing needs to exist there.
    pub(super) fn new(warehouse: &Path) -> Self {
        Self {
            folder: warehouse.join(FOLDER),
        }
    }

    /// Returns the path of the file of a table.
    fn file(&self, database: &str, table: &str) -> PathBuf {
        self.folder.join(database).join(format!("{table}.json"))
    }

    /// Reads the file of a table. `None` if it does not exist.
    fn read(&self, database: &str, table: &str) -> Result<Option<Stored>> {
        let path = self.file(database, table);
        match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json)
                .map(Some)
                .map_err(|e| unusable_file(&path, e)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(cannot("read", &path, error).at("catalog")),
        }
    }

    /// Changes the file of a table under the lock of its database.
    ///
    /// `change` receives the present content, if any, and returns the next one. If it returns
    /// `None`, nothing is written and the result is [`ChangeOutcome::Conflict`].
    ///
    /// # Errors
    /// If the database does not exist, or a file cannot be read or written.
    fn change(
        &self,
        database: &str,
        table: &str,
        change: impl FnOnce(Option<Stored>) -> Option<Stored>,
    ) -> Result<ChangeOutcome> {
        let folder = self.folder.join(database);
        let lock = File::create(folder.join(".lock")).map_err(|e| match e.kind() {
            ErrorKind::NotFound => Error::UnknownDatabase {
                database: database.to_owned(),
                help: format!(" in {}", self.folder.display()),
            },
            _ => cannot("lock", &folder, e).at("catalog"),
        })?;
        // Blocks this thread until other writers finish; each holds the lock for one small file.
        // The lock ends when `lock` is dropped, also if the process dies.
        lock.lock()
            .map_err(|e| cannot("lock", &folder, e).at("catalog"))?;
        let Some(next) = change(self.read(database, table)?) else {
            return Ok(ChangeOutcome::Conflict);
        };
        let path = self.file(database, table);
        let json = serde_json::to_vec_pretty(&next).map_err(|e| unusable_file(&path, e))?;
        // In the same folder, since a rename across file systems would not be atomic.
        let mut file = tempfile::NamedTempFile::new_in(&folder)
            .map_err(|e| cannot("write to", &folder, e).at("catalog"))?;
        file.write_all(&json)
            .map_err(|e| cannot("write to", &folder, e).at("catalog"))?;
        file.persist(&path)
            .map_err(|e| cannot("write", &path, e.error).at("catalog"))?;
        Ok(ChangeOutcome::Applied)
    }
}

#[async_trait]
impl Catalog for LocalCatalog {
    async fn database_exists(&self, database: &str) -> Result<bool> {
        Ok(self.folder.join(database).is_dir())
    }

    async fn create_database(&self, database: &str) -> Result<()> {
        let folder = self.folder.join(database);
        fs::create_dir_all(&folder).map_err(|e| cannot("create", &folder, e).at("catalog"))
    }

    async fn tables(&self, database: &str) -> Result<Vec<String>> {
        let folder = self.folder.join(database);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec![]),
            Err(error) => return Err(cannot("read", &folder, error).at("catalog")),
        };
        // Skips the lock file and temporary files, which do not end in `.json`.
        let names = entries.flatten().filter_map(|e| {
            e.file_name()
                .to_str()?
                .strip_suffix(".json")
                .map(str::to_owned)
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(names)
    }

    async fn table(
        &self,
        database: &str,
        table: &str,
    ) -> Result<Option<(TableDefinition, TableVersion)>> {
        Ok(self
            .read(database, table)?
            .map(|stored| (stored.table, TableVersion(stored.version.to_string()))))
    }

    async fn create_table(&self, database: &str, table: &TableDefinition) -> Result<ChangeOutcome> {
        self.change(database, &table.name, |present| match present {
            None => Some(Stored {
                version: 0,
                table: table.clone(),
                partitions: vec![],
                statistics: vec![],
            }),
            Some(_) => None,
        })
    }

    async fn update_table(
        &self,
        database: &str,
        table: &TableDefinition,
        version: &TableVersion,
        _: OldVersion,
    ) -> Result<ChangeOutcome> {
        self.change(database, &table.name, |present| {
            // A table that was removed meanwhile is a conflict, too.
            let present = present.filter(|p| p.version.to_string() == version.0)?;
            Some(Stored {
                version: present.version + 1,
                table: table.clone(),
                ..present
            })
        })
    }

    async fn replace_statistics(
        &self,
        database: &str,
        table: &TableDefinition,
        statistics: &[ColumnStatistics],
    ) -> Result<()> {
        let changed = self.change(database, &table.name, |present| {
            let present = present?;
            Some(Stored {
                version: present.version + 1,
                statistics: statistics.to_vec(),
                ..present
            })
        })?;
        require_table(database, &table.name, changed)
    }

    async fn partitions(&self, database: &str, table: &str) -> Result<Vec<TablePartition>> {
        Ok(self
            .read(database, table)?
            .map(|stored| stored.partitions)
            .unwrap_or_default())
    }

    async fn put_partitions(
        &self,
        database: &str,
        table: &TableDefinition,
        partitions: &[TablePartition],
    ) -> Result<()> {
        self.change_partitions(database, &table.name, |all| {
            all.extend(partitions.iter().map(|p| (p.values.clone(), p.clone())))
        })
    }

    async fn delete_partitions(
        &self,
        database: &str,
        table: &str,
        values: &[Vec<String>],
    ) -> Result<()> {
        self.change_partitions(database, table, |all| {
            values.iter().for_each(|values| drop(all.remove(values)))
        })
    }
}

impl LocalCatalog {
    /// Changes the partitions of a table, given as a map by their values.
    ///
    /// # Errors
    /// If the table does not exist, or its file cannot be read or written.
    fn change_partitions(
        &self,
        database: &str,
        table: &str,
        change: impl FnOnce(&mut BTreeMap<Vec<String>, TablePartition>),
    ) -> Result<()> {
        let changed = self.change(database, table, |present| {
            let mut present = present?;
            let mut all = std::mem::take(&mut present.partitions)
                .into_iter()
                .map(|p| (p.values.clone(), p))
                .collect();
            change(&mut all);
            Some(Stored {
                version: present.version + 1,
                partitions: all.into_values().collect(),
                ..present
            })
        })?;
        require_table(database, table, changed)
    }
}

/// Returns the error of a table's file that is damaged, or whose content cannot be encoded.
fn unusable_file(path: &Path, source: serde_json::Error) -> Error {
    Error::Catalog {
        request: path.display().to_string(),
        reason: source.to_string(),
        is_temporary: false,
        source: Some(source.into()),
    }
}

/// Converts the result of a change that writes whenever the table exists: a conflict then means
/// that the table is missing.
fn require_table(database: &str, table: &str, outcome: ChangeOutcome) -> Result<()> {
    match outcome {
        ChangeOutcome::Applied => Ok(()),
        ChangeOutcome::Conflict => Err(Error::Write(format!(
            "catalog: there is no table {database}.{table}"
        ))),
    }
}
