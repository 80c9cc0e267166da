//! Looks up where the files of a catalog table are.
//!
//! A query takes the locations of a table at its start. If an overwrite then moves the table and
//! removes its old files, the old location is empty, which looks like an empty table. A reader that
//! finds no files therefore looks the table up again.

use std::fmt;
use std::sync::Arc;

use faisca_planner::manifest::CatalogKind;

use crate::catalog::{Catalogs, TableDefinition, TablePartition};
use crate::error::Result;

/// Maximum number of times that a query looks a table up while overwrites move it.
pub(super) const LOOKUPS_MAX: usize = 5;

/// The name of a table, and the catalogs that store its location.
#[derive(Clone)]
pub(super) struct TableLookup {
    pub(super) catalogs: Arc<Catalogs>,
    pub(super) kind: CatalogKind,
    pub(super) database: String,
    pub(super) name: String,
}

impl fmt::Debug for TableLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            database,
            name,
            ..
        } = self;
        write!(f, "{}.{database}.{name}", kind.name())
    }
}

/// A table as its catalog describes it now.
#[derive(Debug, Clone)]
pub(super) struct TableState {
    pub(super) definition: TableDefinition,
    /// Empty for a table without partition keys.
    pub(super) partitions: Vec<TablePartition>,
}

impl TableState {
    /// Returns true if the files of the table, or of a partition, have another location in `other`.
    pub(super) fn has_moved_from(&self, other: &Self) -> bool {
        self.definition.location != other.definition.location || self.partitions != other.partitions
    }
}

impl TableLookup {
    /// Returns the current state of the table, or `None` if the table does not exist.
    ///
    /// # Errors
    /// Returns an error if the catalog fails.
    pub(super) async fn state(&self) -> Result<Option<TableState>> {
        let catalog = self.catalogs.get(self.kind).await;
        let Some((definition, _)) = catalog.table(&self.database, &self.name).await? else {
            return Ok(None);
        };
        let partitions = if definition.partition_keys.is_empty() {
            vec![]
        } else {
            catalog.partitions(&self.database, &self.name).await?
        };
        Ok(Some(TableState {
            definition,
            partitions,
        }))
    }

    /// Returns the current state of the table if it has moved since `state`.
    ///
    /// # Errors
    /// Returns an error if the catalog fails.
    pub(super) async fn moved_since(&self, state: &TableState) -> Result<Option<TableState>> {
        Ok(self.state().await?.filter(|now| now.has_moved_from(state)))
    }
}
