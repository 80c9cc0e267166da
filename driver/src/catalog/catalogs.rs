//! The set of catalogs of a session, and the tables that a dry run pretends to have created.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use faisca_planner::manifest::CatalogKind;
use parking_lot::RwLock;
use tokio::sync::OnceCell;

use super::definition::Catalog;
use super::glue::{GlueCatalog, GlueSettings};
use super::local::LocalCatalog;

/// The catalogs of a session. Each is opened when it is first used.
#[derive(Debug)]
pub struct Catalogs {
    /// Folder of the local catalog and of its tables.
    warehouse: PathBuf,
    glue_settings: GlueSettings,
    glue: OnceCell<Arc<dyn Catalog>>,
    /// Tables that earlier steps of a planned job would create. Nothing is written for them.
    expected: RwLock<HashMap<ExpectedName, Arc<dyn TableProvider>>>,
}

/// Catalog, database and table. Database and table are in lower case.
type ExpectedName = (CatalogKind, String, String);

impl Catalogs {
    /// Creates the set without opening a catalog: no request is sent and no file is read.
    pub(crate) fn new(warehouse: &str, glue_settings: GlueSettings) -> Self {
        Self {
            warehouse: PathBuf::from(warehouse),
            glue_settings,
            glue: OnceCell::new(),
            expected: RwLock::default(),
        }
    }

    /// Makes a table readable by name before it exists.
    ///
    /// `faisca plan` and `EXPLAIN` do not run the steps of a job. A later step can still read the
    /// table that an earlier step would write. The names may be in any case.
    pub(crate) fn expect(
        &self,
        kind: CatalogKind,
        database: &str,
        table: &str,
        provider: Arc<dyn TableProvider>,
    ) {
        let name = (kind, database.to_lowercase(), table.to_lowercase());
        self.expected.write().insert(name, provider);
    }

    /// Returns true if an expected table is in this database, so that the database exists by the
    /// time the table does. `database` must be in lower case.
    pub(crate) fn expects_database(&self, kind: CatalogKind, database: &str) -> bool {
        let expected = self.expected.read();
        expected
            .keys()
            .any(|(catalog, name, _)| *catalog == kind && name == database)
    }

    /// Returns the expected table of this name, if any. The names must be in lower case.
    pub(crate) fn expected_table(
        &self,
        kind: CatalogKind,
        database: &str,
        table: &str,
    ) -> Option<Arc<dyn TableProvider>> {
        let name = (kind, database.to_owned(), table.to_owned());
        self.expected.read().get(&name).cloned()
    }

    /// Returns the catalog of this kind.
    ///
    /// The Glue client is created once and shared: it loads credentials and keeps connections. The
    /// local catalog has no state in memory, so each call returns a new one.
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
