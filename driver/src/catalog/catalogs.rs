//! The catalogs of a session.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use datafusion::catalog::TableProvider;
use faisca_planner::manifest::CatalogKind;
use tokio::sync::OnceCell;

use super::definition::Catalog;
use super::glue::{GlueCatalog, GlueSettings};
use super::local::LocalCatalog;

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

    /// Makes a table known under a name before it exists, for jobs that are only planned.
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

    pub(crate) fn expected(
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
