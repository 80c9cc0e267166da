//! Catalog tables in SQL, by three-part names: `glue.database.table`, `local.database.table`.
//!
//! A table is looked up each time a statement names it, so each statement sees the current state.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, TableReference};
use datafusion::prelude::SessionContext;
use faisca_planner::manifest::{CatalogKind, FileFormat, Source, TextEncoding};

use super::partitioned::PartitionedTable;
use super::tables::{Tables, lower_view};
use crate::catalog::{Catalogs, TableColumn, TableDefinition, arrow_type};
use crate::error::external;
use crate::error::{Error, Result};
use crate::input::source::Files;
use crate::input::source::default_source;

/// Registers the catalogs with the context of a session.
pub(crate) fn register_catalogs(
    context: &SessionContext,
    catalogs: &Arc<Catalogs>,
    tables: &Arc<Tables>,
) {
    for kind in [CatalogKind::Glue, CatalogKind::Local] {
        let name = kind.name();
        let shared = Shared {
            kind,
            name,
            catalogs: Arc::clone(catalogs),
            context: context.clone(),
            tables: Arc::clone(tables),
        };
        context.register_catalog(name, Arc::new(Provider(Arc::new(shared))));
    }
}

/// What the databases of one catalog have in common.
struct Shared {
    kind: CatalogKind,
    name: &'static str,
    catalogs: Arc<Catalogs>,
    /// A copy of the session's context, which is used only to open files.
    context: SessionContext,
    tables: Arc<Tables>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

#[derive(Debug)]
struct Provider(Arc<Shared>);

impl CatalogProvider for Provider {
    fn schema_names(&self) -> Vec<String> {
        // Listing databases needs requests to the catalog, and this method cannot wait.
        vec![]
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        Some(Arc::new(Database {
            shared: Arc::clone(&self.0),
            name: name.to_lowercase(),
        }))
    }
}

#[derive(Debug)]
struct Database {
    shared: Arc<Shared>,
    name: String,
}

#[async_trait]
impl SchemaProvider for Database {
    fn table_names(&self) -> Vec<String> {
        vec![]
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        self.open(&name.to_lowercase()).await.map_err(external)
    }

    fn table_exist(&self, _: &str) -> bool {
        // Unknown without a request; `table` then reports an unknown table with a suggestion.
        true
    }
}

impl Database {
    /// Looks a table up in the catalog and opens its files.
    ///
    /// # Errors
    /// Returns an error if the catalog or the files cannot be read, or if there is no such table;
    /// this error suggests the nearest name.
    async fn open(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let shared = &self.shared;
        // A job that is only planned reads tables that its earlier steps would have created.
        if let Some(expected) = shared.catalogs.expected(shared.kind, &self.name, name) {
            shared.tables.learn(&expected.schema());
            let reference = TableReference::full(shared.name, self.name.as_str(), name);
            return Ok(Some(lower_view(&reference, &expected)?));
        }
        let catalog = shared.catalogs.get(shared.kind).await;
        let Some((definition, _)) = catalog.table(&self.name, name).await? else {
            let names = catalog.tables(&self.name).await?;
            let help =
                match faisca_planner::manifest::nearest(name, names.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if names.is_empty() => "it has none, or does not exist".to_owned(),
                    None => format!("it has {}", names.join(", ")),
                };
            return Err(Error::Plan(format!(
                "the database {}.{} has no table `{name}`; {help}",
                shared.name, self.name
            )));
        };
        let place = || format!("table {}.{}.{name}", shared.name, self.name);
        let provider: Arc<dyn TableProvider> = if definition.partition_keys.is_empty() {
            self.unpartitioned(&definition)
                .await
                .map_err(|e| e.at(place()))?
        } else {
            let partitions = catalog.partitions(&self.name, name).await?;
            let files = schema(&definition.columns).map_err(|e| e.at(place()))?;
            let keys = schema(&definition.partition_keys).map_err(|e| e.at(place()))?;
            Arc::new(
                PartitionedTable::open(
                    &shared.context,
                    &files,
                    &keys,
                    &partitions,
                    &described(&definition),
                )
                .await
                .map_err(|e| e.at(place()))?,
            )
        };
        shared.tables.learn(&provider.schema());
        let reference = TableReference::full(shared.name, self.name.as_str(), name);
        Ok(Some(lower_view(&reference, &provider)?))
    }

    /// Opens a table without partition keys.
    async fn unpartitioned(&self, definition: &TableDefinition) -> Result<Arc<dyn TableProvider>> {
        let described = described(definition);
        match crate::input::source::open(&self.shared.context, &described).await {
            Ok(provider) => Ok(provider),
            // A table without files is empty, and the catalog states its columns.
            Err(error) => match crate::input::source::files(&self.shared.context, &described).await
            {
                Ok(Files { count: 0, .. }) => {
                    let schema: SchemaRef = Arc::new(schema(&definition.columns)?);
                    Ok(Arc::new(datafusion::datasource::MemTable::try_new(
                        schema,
                        vec![vec![]],
                    )?))
                }
                _ => Err(error),
            },
        }
    }
}

/// Returns the options with which to read the files of a table, taken from the parameters of its
/// Hive SerDe and of the table.
fn described(definition: &TableDefinition) -> Source {
    let mut described = default_source(&definition.name, &definition.location, definition.format);
    let said = |key: &str| {
        definition
            .serde
            .get(key)
            .or_else(|| definition.parameters.get(key))
            .filter(|value| !value.is_empty())
    };
    if definition.format == FileFormat::Csv {
        let delimiter = said("separatorChar")
            .or_else(|| said("field.delim"))
            .or_else(|| said("delimiter"));
        described.delimiter = delimiter.and_then(|text| text.chars().next());
        described.quote = said("quoteChar").and_then(|text| text.chars().next());
        described.header = Some(said("skip.header.line.count").is_some_and(|count| count != "0"));
        let encoding = said("serialization.encoding").map(|name| name.to_lowercase());
        described.encoding = match encoding.as_deref() {
            Some("iso-8859-1" | "latin1") => TextEncoding::Iso8859_1,
            Some("windows-1252" | "cp1252") => TextEncoding::Windows1252,
            _ => TextEncoding::Utf8,
        };
    }
    described
}

/// Converts the Hive types of columns to an Arrow schema. All columns are nullable.
fn schema(columns: &[TableColumn]) -> Result<Schema> {
    let field = |column: &TableColumn| {
        let data_type = arrow_type(&column.hive_type)
            .map_err(|e| Error::Plan(format!("column `{}`: {e}", column.name)))?;
        Ok(Field::new(&column.name, data_type, true))
    };
    Ok(Schema::new(
        columns.iter().map(field).collect::<Result<Vec<_>>>()?,
    ))
}
