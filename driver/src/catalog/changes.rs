//! Plans what a write changes in a catalog, before the first byte is written.
//!
//! A table that the catalog or Athena would refuse must fail here, in seconds, and not after the
//! query has run for hours.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::datatypes::Schema;
use faisca_planner::manifest::{
    CatalogTable, Compression, FileFormat, PartitionOverwrite, SaveMode, Write,
};

use super::catalogs::Catalogs;
use super::definition::{
    TableColumn, TableDefinition, TablePartition, checked_name, file_parameters,
};
use super::difference::{Difference, OldFiles, check_compatible};
use super::glue::{HiveTypeError, check_key_type, hive_type, projection};
use super::registration::{Registration, merge_definitions};
use crate::error::{Error, Result, nearest_or_all};

/// Seconds that replaced files of a table stay, unless the write sets another time. Longer than
/// most queries, which keep the locations that they looked up at their start.
const KEEP_OLD_SECONDS: u64 = 3600;

/// A table that a write will register, checked against the table that exists now.
pub(crate) struct PlannedTable {
    /// What to register. Its location and its partitions are filled in once the files are known.
    pub(crate) registration: Registration,
    /// The table as it is now, if it exists.
    pub(crate) present: Option<TableDefinition>,
    /// Its partitions as they are now. Empty if it does not exist or is not partitioned.
    pub(crate) partitions: Vec<TablePartition>,
    /// Names of the partition keys in the names of new folders, outermost folder first.
    pub(crate) key_names: Vec<String>,
    /// How readers of the table locate its partitions.
    pub(crate) lookup: PartitionLookup,
    /// How long replaced files stay, for queries that still read them.
    pub(crate) retention: Duration,
}

/// How the readers of a table locate the folders of its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartitionLookup {
    /// They ask the catalog for the location of each partition.
    Catalog,
    /// They compute the locations from the parameters of the table (partition projection), and
    /// never ask the catalog.
    Projection,
}

/// What a write does to the columns of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableOutlook {
    /// The table is created, with this number of columns.
    New(usize),
    /// The columns stay the same.
    Kept,
    /// The columns change. The text describes how, for users.
    Changed(String),
}

/// Compares the columns of a table, if it exists, with those that a registration gives it.
pub(crate) fn outlook(
    present: Option<&TableDefinition>,
    registration: &Registration,
) -> TableOutlook {
    let Some(present) = present else {
        return TableOutlook::New(registration.table.columns.len());
    };
    let difference = Difference::between(
        &present.columns,
        &merge_definitions(present, registration).columns,
    );
    if difference.is_empty() {
        TableOutlook::Kept
    } else {
        TableOutlook::Changed(difference.to_string())
    }
}

impl PlannedTable {
    /// Returns what the write does to the columns of the table.
    pub(crate) fn outlook(&self) -> TableOutlook {
        outlook(self.present.as_ref(), &self.registration)
    }

    /// Checks names and types, and compares the table with the one in the catalog. Changes nothing.
    ///
    /// `step` is the name of the step of the job. It is also the name of the table, unless `target`
    /// has one.
    ///
    /// # Errors
    /// If Athena could not read the table, if the database is missing and is not to be created, if
    /// the new columns are not compatible with the present ones, or if the catalog fails.
    pub(crate) async fn plan(
        catalogs: &Catalogs,
        target: &CatalogTable,
        step: &str,
        schema: &Schema,
        write: &Write,
    ) -> Result<Self> {
        let database = checked_name("database name", &target.database)?;
        let name = checked_name("table name", target.table_of(step))?;
        check_files(write)?;
        let table = definition(name, target, schema, write)?;
        let catalog = catalogs.get(target.kind).await;
        if !target.create_database
            // An earlier step of a planned job may create the database; then the catalog does not
            // have it.
            && !catalogs.expects_database(target.kind, &database)
            && !catalog.database_exists(&database).await?
        {
            return Err(Error::UnknownDatabase {
                database,
                help: "; create it, or set catalog.createDatabase to true".to_owned(),
            });
        }
        let present = catalog
            .table(&database, &table.name)
            .await?
            .map(|(present, _)| present);
        let mut partitions = vec![];
        if let Some(present) = &present {
            let rule = target.on_schema_change;
            check_compatible(&database, present, &table, rule, old_files(write))?;
            if !present.partition_keys.is_empty() {
                partitions = catalog.partitions(&database, &table.name).await?;
            }
        }
        let lookup = partition_lookup(present.as_ref(), &table);
        let retention = retention(target, write, lookup)?;
        let key_names = key_names(schema, write, &partitions, lookup);
        let registration = Registration {
            create_database: target.create_database,
            skip_archive: target.skip_archive,
            ..Registration::new(target.kind, database, table, target.on_schema_change)
        };
        Ok(Self {
            registration,
            present,
            partitions,
            key_names,
            lookup,
            retention,
        })
    }
}

/// Returns what happens to the present files. The columns of files that stay must keep their types,
/// and their folders their names.
fn old_files(write: &Write) -> OldFiles {
    if write.mode != SaveMode::Overwrite || write.partition_overwrite == PartitionOverwrite::Dynamic
    {
        OldFiles::Stay
    } else {
        OldFiles::Replaced
    }
}

/// Checks that Athena can read files of this format and compression.
///
/// # Errors
/// Returns an error if Athena cannot read them.
fn check_files(write: &Write) -> Result<()> {
    let help = match (write.format, write.compression) {
        (FileFormat::Csv | FileFormat::Ndjson, _) => {
            "only Parquet files can be registered as a table; set write.format to parquet"
        }
        // The codec is LZ4_RAW in Parquet's terms.
        (FileFormat::Parquet, Some(Compression::Lz4)) => {
            "Trino cannot read Parquet files with lz4; set write.compression to snappy, zstd or gzip"
        }
        (FileFormat::Parquet, _) => return Ok(()),
    };
    Err(Error::Write(format!("catalog: {help}")))
}

/// Returns how readers will find the partitions, once the table is registered.
fn partition_lookup(present: Option<&TableDefinition>, next: &TableDefinition) -> PartitionLookup {
    // A registration keeps the parameters that it does not replace.
    let inherited = present.map(|present| &present.parameters);
    let parameters = [Some(&next.parameters), inherited];
    match projection::is_enabled(parameters.into_iter().flatten()) {
        true if !next.partition_keys.is_empty() => PartitionLookup::Projection,
        _ => PartitionLookup::Catalog,
    }
}

/// Returns how long replaced files stay.
///
/// # Errors
/// If readers would see replaced files beside new ones for that long.
fn retention(target: &CatalogTable, write: &Write, lookup: PartitionLookup) -> Result<Duration> {
    let seconds = match (lookup, target.keep_old_seconds) {
        (PartitionLookup::Catalog, seconds) => seconds.unwrap_or(KEEP_OLD_SECONDS),
        (PartitionLookup::Projection, None | Some(0)) => 0,
        (PartitionLookup::Projection, Some(_)) if write.mode == SaveMode::Overwrite => {
            return Err(Error::Write(
                "catalog.keepOldSeconds: readers of a table with partition projection see all files \
                 of a partition's folder, replaced ones too; set it to 0, or drop the projection"
                    .to_owned(),
            ));
        }
        (PartitionLookup::Projection, Some(_)) => 0,
    };
    Ok(Duration::from_secs(seconds))
}

/// Returns how the partition keys are spelled in the names of new folders.
///
/// Names are case-insensitive, so `uf=SP` and `UF=SP` are one partition. Its table should have one
/// spelling: that of the folders that stay.
fn key_names(
    schema: &Schema,
    write: &Write,
    partitions: &[TablePartition],
    lookup: PartitionLookup,
) -> Vec<String> {
    let present = |key: &str| {
        let folders = partitions.iter().flat_map(|p| p.location.split('/'));
        let mut names = folders.filter_map(|folder| folder.split_once('=').map(|(name, _)| name));
        names.find(|name| name.to_lowercase() == key.to_lowercase())
    };
    let name = |key: &String| {
        if lookup == PartitionLookup::Projection {
            return key.to_lowercase();
        }
        let kept = match old_files(write) {
            OldFiles::Stay => present(key),
            OldFiles::Replaced => None,
        };
        let mut columns = schema.fields().iter().map(|f| f.name().as_str());
        kept.or_else(|| columns.find(|name| name.eq_ignore_ascii_case(key)))
            .unwrap_or(key)
            .to_owned()
    };
    write.partition_by.iter().map(name).collect()
}

/// Builds the definition of the table that a write creates. Its location stays empty, because it is
/// known only once the write begins.
///
/// # Errors
/// If a column has a type that Athena cannot read, if a comment names an unknown column, or if the
/// partition projection is invalid.
fn definition(
    name: String,
    target: &CatalogTable,
    schema: &Schema,
    write: &Write,
) -> Result<TableDefinition> {
    let (columns, partition_keys) = columns(target, schema, write)?;
    projection::check(&target.parameters, &partition_keys)
        .map_err(|error| Error::TableParameters(error.into()))?;
    let mut parameters = target.parameters.clone();
    // After those of the user: Athena could not read the files if these were wrong.
    parameters.extend(file_parameters(write.format));
    Ok(TableDefinition {
        name,
        columns,
        partition_keys,
        location: String::new(),
        format: write.format,
        comment: target.comment.clone(),
        parameters,
        serde: BTreeMap::new(),
    })
}

/// Splits the columns of a result into those in the files and the partition keys.
///
/// The keys are in the order of `partitionBy`, which is the order of the folders.
///
/// # Errors
/// If a column has a type without a Hive equivalent, or a comment names an unknown column.
fn columns(
    target: &CatalogTable,
    schema: &Schema,
    write: &Write,
) -> Result<(Vec<TableColumn>, Vec<TableColumn>)> {
    let mut columns = vec![];
    let mut keys: BTreeMap<usize, TableColumn> = BTreeMap::new();
    for field in schema.fields() {
        let unsupported = |error: HiveTypeError| Error::column(field.name())(error).at("catalog");
        let hive_type = hive_type(field.data_type()).map_err(unsupported)?;
        let comment = target
            .column_comments
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(field.name()))
            .map(|(_, text)| text.clone());
        let column = TableColumn {
            name: field.name().to_lowercase(),
            hive_type,
            comment,
        };
        match write
            .partition_by
            .iter()
            .position(|key| key.eq_ignore_ascii_case(field.name()))
        {
            Some(position) => {
                check_key_type(&column.hive_type).map_err(unsupported)?;
                keys.insert(position, column);
            }
            None => columns.push(column),
        }
    }
    if let Some(unknown) = target.column_comments.keys().find(|name| {
        !schema
            .fields()
            .iter()
            .any(|f| f.name().eq_ignore_ascii_case(name))
    }) {
        let names = schema.fields().iter().map(|f| f.name().as_str());
        let help = nearest_or_all(unknown, names, "its columns are");
        return Err(Error::Write(format!(
            "catalog.columnComments: the result has no column `{unknown}`; {help}"
        )));
    }
    Ok((columns, keys.into_values().collect()))
}
