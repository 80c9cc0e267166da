//! Catalog tables in SQL, by three-part names: `glue.database.table`, `local.database.table`.
//!
//! A table is looked up each time a statement names it, so each statement sees the current state.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, TableReference};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use faisca_planner::manifest::{CatalogKind, FileFormat, Source, TextEncoding, did_you_mean};

use super::partitioned::PartitionedTable;
use super::table_lookup::{LOOKUPS_MAX, TableLookup, TableState};
use super::tables::{Tables, lower_case_view};
use super::unpartitioned::UnpartitionedTable;
use crate::catalog::{Catalogs, TableColumn, TableDefinition, arrow_type};
use crate::error::{Error, Result, external};
use crate::input::source::{Files, default_source};

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

/// State that the databases of one catalog share.
struct Shared {
    kind: CatalogKind,
    name: &'static str,
    catalogs: Arc<Catalogs>,
    /// A copy of the session's context, used only to open files.
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
        if let Some(expected) = shared
            .catalogs
            .expected_table(shared.kind, &self.name, name)
        {
            shared.tables.remember_spelling(&expected.schema());
            let reference = TableReference::full(shared.name, self.name.as_str(), name);
            return Ok(Some(lower_case_view(&reference, &expected)?));
        }
        let lookup = TableLookup {
            catalogs: Arc::clone(&shared.catalogs),
            kind: shared.kind,
            database: self.name.clone(),
            name: name.to_owned(),
        };
        let Some(mut state) = lookup.state().await? else {
            return Err(self.unknown_table(name).await?);
        };
        let mut opened = self.open_files(&lookup, &state).await;
        for _ in 1..LOOKUPS_MAX {
            // If no files, or not all listed files, are there, the table may have moved.
            if opened.as_ref().is_ok_and(|opened| !opened.is::<MemTable>()) {
                break;
            }
            match lookup.moved_since(&state).await? {
                Some(moved) => state = moved,
                None => break,
            }
            opened = self.open_files(&lookup, &state).await;
        }
        let provider =
            opened.map_err(|e| e.at(format!("table {}.{}.{name}", shared.name, self.name)))?;
        shared.tables.remember_spelling(&provider.schema());
        let reference = TableReference::full(shared.name, self.name.as_str(), name);
        Ok(Some(lower_case_view(&reference, &provider)?))
    }

    /// Returns the error of a table that does not exist. It suggests the nearest name.
    ///
    /// # Errors
    /// Returns an error if the catalog cannot list the tables.
    async fn unknown_table(&self, name: &str) -> Result<Error> {
        let catalog = self.shared.catalogs.get(self.shared.kind).await;
        let names = catalog.tables(&self.name).await?;
        let help = did_you_mean(name, names.iter().map(String::as_str), || {
            if names.is_empty() {
                "it has none, or does not exist".to_owned()
            } else {
                format!("it has {}", names.join(", "))
            }
        });
        Ok(Error::UnknownTable {
            database: format!("{}.{}", self.shared.name, self.name),
            table: name.to_owned(),
            help,
        })
    }

    /// Opens the files of a table where the catalog says they are. A table without files is a
    /// [`MemTable`] with the columns of the catalog.
    ///
    /// # Errors
    /// Returns an error if the files cannot be read.
    async fn open_files(
        &self,
        lookup: &TableLookup,
        state: &TableState,
    ) -> Result<Arc<dyn TableProvider>> {
        let context = &self.shared.context;
        let definition = &state.definition;
        let source = source_of(definition);
        let columns = arrow_schema(&definition.columns)?;
        if !definition.partition_keys.is_empty() {
            let keys = arrow_schema(&definition.partition_keys)?;
            let columns = (&columns, &keys);
            let table = PartitionedTable::open(context, lookup, state, columns, &source).await?;
            return Ok(Arc::new(table));
        }
        if definition.format == FileFormat::Parquet {
            let table = UnpartitionedTable::open(context, lookup, state, &columns, &source).await?;
            return match table {
                Some(table) => Ok(Arc::new(table)),
                None => empty_table(columns),
            };
        }
        match super::source::open(context, &source).await {
            Ok(provider) => Ok(provider),
            Err(error) => match super::source::count_files(context, &source).await {
                Ok(Files { count: 0, .. }) => empty_table(columns),
                _ => Err(error),
            },
        }
    }
}

/// Returns a table without rows.
fn empty_table(columns: Schema) -> Result<Arc<dyn TableProvider>> {
    let table = MemTable::try_new(Arc::new(columns), vec![vec![]])?;
    Ok(Arc::new(table))
}

/// Returns the files of a table as a source. The options come from the parameters of its Hive SerDe
/// and of the table.
fn source_of(definition: &TableDefinition) -> Source {
    let mut source = default_source(&definition.name, &definition.location, definition.format);
    let parameter = |key: &str| {
        definition
            .serde
            .get(key)
            .or_else(|| definition.parameters.get(key))
            .filter(|value| !value.is_empty())
    };
    if definition.format == FileFormat::Csv {
        let delimiter = parameter("separatorChar")
            .or_else(|| parameter("field.delim"))
            .or_else(|| parameter("delimiter"));
        source.delimiter = delimiter.and_then(|text| text.chars().next());
        source.quote = parameter("quoteChar").and_then(|text| text.chars().next());
        source.header = Some(parameter("skip.header.line.count").is_some_and(|count| count != "0"));
        let encoding = parameter("serialization.encoding").map(|name| name.to_lowercase());
        source.encoding = match encoding.as_deref() {
            Some("iso-8859-1" | "latin1") => TextEncoding::Iso8859_1,
            Some("windows-1252" | "cp1252") => TextEncoding::Windows1252,
            _ => TextEncoding::Utf8,
        };
    }
    source
}

/// Converts the Hive types of columns to an Arrow schema. All columns are nullable.
fn arrow_schema(columns: &[TableColumn]) -> Result<Schema> {
    let field = |column: &TableColumn| {
        let data_type = arrow_type(&column.hive_type).map_err(Error::column(&column.name))?;
        Ok(Field::new(&column.name, data_type, true))
    };
    Ok(Schema::new(
        columns.iter().map(field).collect::<Result<Vec<_>>>()?,
    ))
}
