//! Registers folders that other programs wrote as catalog tables, like a crawler of AWS Glue.
//!
//! [`crawl()`] finds the tables and compares them with the catalog; [`apply`] then changes the
//! catalog.

mod folders;
mod sniff;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::datasource::listing::ListingTableUrl;
use faisca_executor::storage::known_scheme;
use faisca_planner::manifest::{
    CatalogKind, FileFormat, OnSchemaChange, Source, TextCompression, TextEncoding,
};
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::catalog::{
    Catalog, HiveTypeError, OldFiles, PartitionChange, Registration, TableColumn, TableDefinition,
    TableOutlook, TablePartition, check_compatible, checked_name, file_parameters, has_unsigned_32,
    hive_type,
};
use crate::error::{Error, Result};
use crate::input::formats::{Expected, compression_of, file_format};
use crate::input::source::{Files, default_source};
use crate::session::Session;
use folders::TableFolder;
use sniff::SniffedText;

/// Number of bytes of a text file from which its delimiter and encoding are inferred.
const SAMPLE_BYTES: u64 = 64 * 1024;

/// The folder to crawl, and the catalog database for its tables.
#[derive(Debug, Clone)]
pub struct Crawl {
    /// Path or URL of the folder.
    pub path: String,
    /// The kind of catalog.
    pub kind: CatalogKind,
    /// Name of the database in the catalog. It is created if it does not exist.
    pub database: String,
    /// Prefix of the name of each table; may be empty.
    pub table_prefix: String,
    /// What to do if the columns differ from those of an existing table.
    pub on_schema_change: OnSchemaChange,
}

/// A table that a crawl found.
#[derive(Debug, Clone)]
pub struct CrawledTable {
    /// Name of the table, with the prefix.
    pub name: String,
    /// Path or URL of its folder.
    pub location: String,
    /// Format of its files.
    pub format: FileFormat,
    /// Number and size of its files.
    pub files: Files,
    /// How its columns in the catalog change.
    pub outlook: TableOutlook,
    /// Number of partitions that the catalog does not contain, or contains with another location.
    pub new_partitions: usize,
    /// Number of partitions in the catalog whose folders no longer exist. [`apply`] removes them.
    pub removed_partitions: usize,
    registration: Registration,
    is_changed: bool,
}

impl CrawledTable {
    /// Returns true if the catalog differs from the table found, so that [`apply`] changes it.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.is_changed
    }
}

/// The result of a crawl, which [`apply`] writes to the catalog.
#[derive(Debug, Default)]
pub struct CrawlPlan {
    /// Tables that were found.
    pub tables: Vec<CrawledTable>,
    /// Folders that are not tables, each with the reason.
    pub skipped: Vec<String>,
    /// Errors of tables that cannot be registered, for example because `on_schema_change` forbids
    /// the change.
    pub problems: Vec<Error>,
}

/// Finds tables below a folder, and compares them with the catalog. Changes nothing. An error that
/// concerns one table is reported in [`CrawlPlan::problems`].
///
/// # Errors
/// Returns an error if the name of the database is invalid, or the folder cannot be listed.
pub async fn crawl(session: &Session, request: &Crawl) -> Result<CrawlPlan> {
    let database = checked_name("database name", &request.database)?;
    let url = ListingTableUrl::parse(format!(
        "{}/",
        known_scheme(request.path.trim_end_matches('/'))
    ))?;
    let store = session.context().runtime_env().object_store(&url)?;
    let listed = store
        .list(Some(url.prefix()))
        .try_collect::<Vec<ObjectMeta>>()
        .await;
    let objects = listed.map_err(|source| Error::Store {
        action: "list",
        url: request.path.clone(),
        source,
    })?;
    let (table_folders, skipped) = folders::tables(url.prefix(), &objects);
    let crawler = Crawler {
        session,
        request,
        database,
        catalog: session.catalogs().get(request.kind).await,
        store,
        url,
    };
    let mut plan = CrawlPlan {
        skipped,
        ..CrawlPlan::default()
    };
    for folder in table_folders {
        let name = format!("{}{}", request.table_prefix, folder.name);
        match crawler.crawl_table(folder).await {
            Ok(table) => plan.tables.push(table),
            Err(error) => plan.problems.push(error.at(format!("table `{name}`"))),
        }
    }
    Ok(plan)
}

/// Changes the catalog according to the plan.
///
/// # Errors
/// Returns the first error of the catalog, with the name of the table. Tables before that one stay
/// registered.
pub async fn apply(session: &Session, plan: &CrawlPlan) -> Result<()> {
    for table in plan.tables.iter().filter(|table| table.is_changed) {
        session
            .catalogs()
            .register(&table.registration)
            .await
            .map_err(|e| e.at(format!("table `{}`", table.name)))?;
    }
    Ok(())
}

/// What the tables of one crawl have in common.
struct Crawler<'a> {
    session: &'a Session,
    request: &'a Crawl,
    /// Name of the database, in lower case.
    database: String,
    catalog: Arc<dyn Catalog>,
    store: Arc<dyn ObjectStore>,
    /// The crawled folder.
    url: ListingTableUrl,
}

impl Crawler<'_> {
    /// Infers the definition of one table from its files, and compares it with the catalog.
    async fn crawl_table(&self, folder: TableFolder) -> Result<CrawledTable> {
        let location = location_of_folder(&self.url, &folder.folder);
        let mut table = self.infer_table(&folder, &location).await?;
        let present = self
            .catalog
            .table(&self.database, &table.name)
            .await?
            .map(|(present, _)| present);
        keep_key_types(&mut table, present.as_ref());
        let partitions: Vec<TablePartition> = folder
            .partitions
            .iter()
            .map(|subfolder| partition(&location, subfolder))
            .collect();
        let known = self.known_partitions(present.as_ref(), &table).await?;
        let (change, new_partitions, removed_partitions) = partition_change(&partitions, &known);
        let rule = self.request.on_schema_change;
        let registration = Registration {
            create_database: true,
            partitions: (!table.partition_keys.is_empty()).then_some(change),
            ..Registration::new(self.request.kind, self.database.clone(), table, rule)
        };
        let outlook = crate::catalog::outlook(present.as_ref(), &registration);
        let has_moved = present.as_ref().is_some_and(|present| {
            present.location.trim_end_matches('/') != location.trim_end_matches('/')
        });
        Ok(CrawledTable {
            name: registration.table.name.clone(),
            is_changed: outlook != TableOutlook::Kept
                || new_partitions > 0
                || removed_partitions > 0
                || has_moved,
            location,
            format: folder.format,
            files: folder.files,
            outlook,
            new_partitions,
            removed_partitions,
            registration,
        })
    }

    /// Infers columns, partition keys and the parameters of the SerDe from the files of a folder.
    async fn infer_table(&self, folder: &TableFolder, location: &str) -> Result<TableDefinition> {
        let mut source = default_source(&folder.name, location, folder.format);
        let mut text = None;
        if folder.format == FileFormat::Csv {
            let sniffed = sniff::sniff(&sample(&self.store, &source, folder).await?);
            source.delimiter = Some(sniffed.delimiter);
            source.encoding = sniffed.encoding;
            text = Some(sniffed);
        }
        let Some(first) = folder.objects.first() else {
            return Err(Error::NoFiles {
                name: folder.name.clone(),
                path: location.to_owned(),
                reason: "there are no files",
            });
        };
        let compression = compression_of(&source, &first.location);
        let schema = file_format(&source, compression, Expected::default())?
            .infer_schema(
                &self.session.context().state(),
                &self.store,
                &folder.objects,
            )
            .await?;
        definition(self.request, folder, location, &schema, text)
    }

    /// Returns the partitions of a table in the catalog.
    ///
    /// # Errors
    /// Returns an error if `on_schema_change` forbids the change of columns, or the catalog fails.
    async fn known_partitions(
        &self,
        present: Option<&TableDefinition>,
        table: &TableDefinition,
    ) -> Result<Vec<TablePartition>> {
        let Some(present) = present else {
            return Ok(vec![]);
        };
        let rule = self.request.on_schema_change;
        check_compatible(&self.database, present, table, rule, OldFiles::Stay)?;
        if present.partition_keys.is_empty() {
            return Ok(vec![]);
        }
        self.catalog.partitions(&self.database, &table.name).await
    }
}

/// Gives the partition keys the types that they have in the catalog. A crawl knows only their text,
/// and someone may have set the types since.
fn keep_key_types(table: &mut TableDefinition, present: Option<&TableDefinition>) {
    let present = present.into_iter().flat_map(|table| &table.partition_keys);
    for (key, present) in table.partition_keys.iter_mut().zip(present) {
        if key.name == present.name {
            key.hive_type.clone_from(&present.hive_type);
        }
    }
}

/// Returns the change from the partitions in the catalog to those found, the number of new ones,
/// and the number of removed ones. If some are removed, the change replaces the complete list, so
/// it contains all partitions.
fn partition_change(
    partitions: &[TablePartition],
    known: &[TablePartition],
) -> (PartitionChange, usize, usize) {
    let new: Vec<TablePartition> = partitions
        .iter()
        .filter(|partition| !known.contains(partition))
        .cloned()
        .collect();
    let removed = known
        .iter()
        .filter(|old| !partitions.iter().any(|new| new.values == old.values))
        .count();
    let new_count = new.len();
    let change = PartitionChange {
        put: if removed > 0 {
            partitions.to_vec()
        } else {
            new
        },
        removes_others: removed > 0,
    };
    (change, new_count, removed)
}

/// Returns the path or URL of a folder, from its key in the store.
fn location_of_folder(url: &ListingTableUrl, folder: &str) -> String {
    match url.scheme() {
        "file" => format!("/{folder}/"),
        scheme => format!(
            "{scheme}://{}/{folder}/",
            url.get_url().host_str().unwrap_or_default()
        ),
    }
}

/// Reads the first bytes of a file that is not compressed.
///
/// # Errors
/// Returns an error if all files are compressed, or the file cannot be read.
async fn sample(
    store: &Arc<dyn ObjectStore>,
    source: &Source,
    folder: &TableFolder,
) -> Result<Vec<u8>> {
    let is_plain =
        |meta: &&ObjectMeta| compression_of(source, &meta.location) == TextCompression::None;
    let Some(first) = folder.objects.iter().find(is_plain) else {
        let cause =
            "all files are compressed, so their delimiter is unknown; use CREATE EXTERNAL TABLE";
        return Err(Error::Plan(cause.to_owned()));
    };
    let read = store
        .get_range(&first.location, 0..first.size.min(SAMPLE_BYTES))
        .await;
    Ok(read
        .map_err(|source| Error::Store {
            action: "read",
            url: first.location.to_string(),
            source,
        })?
        .to_vec())
}

/// Returns the parameters of Hive's SerDe for text files, with or without quotes.
fn text_serde(text: &SniffedText) -> BTreeMap<String, String> {
    let delimiter = text.delimiter.to_string();
    let mut serde = match text.has_quotes {
        true => BTreeMap::from([
            ("separatorChar".to_owned(), delimiter),
            ("quoteChar".to_owned(), "\"".to_owned()),
        ]),
        false => BTreeMap::from([
            ("field.delim".to_owned(), delimiter.clone()),
            ("serialization.format".to_owned(), delimiter),
        ]),
    };
    if text.encoding == TextEncoding::Iso8859_1 {
        serde.insert("serialization.encoding".to_owned(), "ISO-8859-1".to_owned());
    }
    serde
}

/// Returns the definition of a table: lower-case column names, Hive types, and partition keys as
/// strings. `text` describes CSV files.
fn definition(
    request: &Crawl,
    folder: &TableFolder,
    location: &str,
    schema: &Schema,
    text: Option<SniffedText>,
) -> Result<TableDefinition> {
    let has_quotes = text.is_some_and(|text| text.has_quotes);
    let mut columns = vec![];
    for field in schema
        .fields()
        .iter()
        .filter(|f| !folder.keys.contains(&f.name().to_lowercase()))
    {
        // Columns that contain only nulls are text. Hive's SerDe for quoted text does not parse
        // dates and timestamps, so these are text too.
        let data_type = match field.data_type() {
            DataType::Null => &DataType::Utf8,
            DataType::Date32 | DataType::Timestamp(_, _) if has_quotes => &DataType::Utf8,
            other => other,
        };
        let column = column(field.name(), data_type).map_err(Error::column(field.name()))?;
        // Files may spell a column differently. Readers find it by its name in any case.
        match columns
            .iter()
            .find(|c: &&TableColumn| c.name == column.name)
        {
            None => columns.push(column),
            Some(known) if *known == column => {}
            Some(known) => {
                let problem = format!(
                    "files have it as {} and as {}: write them again with one type",
                    known.hive_type, column.hive_type
                );
                return Err(Error::column(field.name())(problem));
            }
        }
    }
    let key = |name: &String| TableColumn {
        name: name.clone(),
        hive_type: "string".to_owned(),
        comment: None,
    };
    let mut parameters = file_parameters(folder.format);
    if folder.format == FileFormat::Csv {
        parameters.insert("skip.header.line.count".to_owned(), "1".to_owned());
    }
    Ok(TableDefinition {
        name: checked_name(
            "table name",
            &format!("{}{}", request.table_prefix, folder.name),
        )?,
        columns,
        partition_keys: folder.keys.iter().map(key).collect(),
        location: location.to_owned(),
        format: folder.format,
        comment: None,
        parameters,
        serde: text.as_ref().map(text_serde).unwrap_or_default(),
    })
}

/// Returns the column of a field.
///
/// # Errors
/// Returns an error if Athena could not read the files, or would read other values.
fn column(name: &str, data_type: &DataType) -> Result<TableColumn, HiveTypeError> {
    if has_unsigned_32(data_type) {
        return Err(HiveTypeError::Unsigned32);
    }
    Ok(TableColumn {
        name: name.to_lowercase(),
        hive_type: hive_type(data_type)?,
        comment: None,
    })
}

/// Returns the partition of a `key=value` folder below a table's location.
fn partition(location: &str, subfolder: &str) -> TablePartition {
    TablePartition {
        values: crate::output::values(subfolder),
        location: format!("{location}{subfolder}/"),
    }
}
