//! Runs ALTER TABLE, and TRUNCATE TABLE of partitions, for tables of files.
//!
//! A partition is a folder below that of the table, so one without files does not exist.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::DataFusionError;
use faisca_planner::manifest::FileFormat;
use faisca_spark::commands::{Partition, TableChange, column_comments};
use futures::{StreamExt, TryStreamExt, stream};
use tracing::warn;

use super::existing::{registered_table, table_name};
use super::output_table::open_written;
use super::sql_types::{column_definition, whole_sql_type};
use crate::error::{Error, Result};
use crate::input::columns::parse_schema;
use crate::input::listing::{DataFile, Location};
use crate::input::source::count_files;
use crate::input::{Ownership, TableFiles};
use crate::output::commit::is_local;
use crate::services::Services;

/// A table of files.
pub(super) struct FileTable {
    name: String,
    provider: Arc<dyn TableProvider>,
    files: TableFiles,
}

impl FileTable {
    fn is_key(&self, name: &str) -> bool {
        let mut keys = self.files.partition_by.iter();
        keys.any(|key| key.eq_ignore_ascii_case(name))
    }
}

/// Changes a table.
pub(super) async fn alter_table(
    services: &Arc<Services>,
    table: &[String],
    change: TableChange,
) -> Result<()> {
    match change {
        TableChange::AddColumns(columns) => {
            add_columns(services, file_table(services, table)?, &columns).await
        }
        TableChange::AddPartitions(partitions) => {
            let table = partitioned_table(services, table)?;
            for partition in &partitions {
                check_keys(&table, partition)?;
            }
            warn!(
                "ADD PARTITION has no effect in Faísca: a partition exists as soon as it has rows"
            );
            Ok(())
        }
        TableChange::DropPartitions {
            partitions,
            must_exist,
        } => {
            let table = partitioned_table(services, table)?;
            for partition in &partitions {
                let removed = remove_partition(services, &table, partition).await?;
                if removed == 0 && must_exist {
                    return Err(Error::Plan(format!(
                        "[PARTITIONS_NOT_FOUND] table `{}` has no partition {}; write IF EXISTS",
                        table.name,
                        describe_partition(&with_any(partition))
                    )));
                }
            }
            Ok(())
        }
        TableChange::Rename(name) => rename(services, table, &name).await,
        TableChange::SetProperties(properties) => {
            let name = registered_table(services, table)?;
            let mut details = services.tables.details(&name);
            details.properties.extend(properties);
            services.tables.set_details(&name, details);
            Ok(())
        }
        TableChange::UnsetProperties(names) => {
            let name = registered_table(services, table)?;
            let mut details = services.tables.details(&name);
            details.properties.retain(|key, _| !names.contains(key));
            services.tables.set_details(&name, details);
            Ok(())
        }
    }
}

/// Deletes the rows of some partitions.
pub(super) async fn truncate_partition(
    services: &Arc<Services>,
    table: &[String],
    partition: &Partition,
) -> Result<()> {
    let table = partitioned_table(services, table)?;
    remove_partition(services, &table, partition)
        .await
        .map(drop)
}

fn file_table(services: &Arc<Services>, table: &[String]) -> Result<FileTable> {
    let name = registered_table(services, table)?;
    let (provider, files) = (
        services.tables.provider(&name),
        services.tables.files(&name),
    );
    match (provider, files) {
        (Some(provider), Some(files)) => Ok(FileTable {
            name,
            provider,
            files,
        }),
        _ => Err(Error::Plan(format!(
            "`{name}` is a view or in memory; only tables of files can be changed"
        ))),
    }
}

/// Returns a table that has partitions.
///
/// # Errors
/// Returns an error for any other table.
pub(super) fn partitioned_table(services: &Arc<Services>, table: &[String]) -> Result<FileTable> {
    let table = file_table(services, table)?;
    match table.files.partition_by.is_empty() {
        true => Err(Error::Plan(format!(
            "[INVALID_PARTITION_OPERATION] table `{}` has no partitions: it was created without PARTITIONED BY",
            table.name
        ))),
        false => Ok(table),
    }
}

fn check_keys(table: &FileTable, partition: &Partition) -> Result<()> {
    match partition.iter().find(|(name, _)| !table.is_key(name)) {
        Some((name, _)) => Err(Error::Plan(format!(
            "`{name}` is not a partition column of table `{}`; those are: {}",
            table.name,
            table.files.partition_by.join(", ")
        ))),
        None => Ok(()),
    }
}

/// Returns the files of the partitions that have these values.
///
/// # Errors
/// Returns an error if a key is none of the table, or the folder cannot be listed.
pub(super) async fn find_partitions(
    services: &Arc<Services>,
    table: &FileTable,
    partition: &Partition,
) -> Result<Vec<DataFile>> {
    check_keys(table, partition)?;
    let path = &table.files.source.path;
    // The folder of a table without rows may not exist yet.
    if is_local(path) && !std::path::Path::new(path).exists() {
        return Ok(Vec::new());
    }
    let location = Location::resolve(&services.context, path).await?;
    let mut files = location.list().await?;
    files.retain(|file| {
        partition.iter().all(|(key, value)| {
            let is_same = |(name, text): &(String, String)| {
                name.eq_ignore_ascii_case(key) && value.as_ref().is_none_or(|value| value == text)
            };
            file.keys.iter().any(is_same)
        })
    });
    Ok(files)
}

/// Deletes the files of partitions, and returns their number.
async fn remove_partition(
    services: &Arc<Services>,
    table: &FileTable,
    partition: &Partition,
) -> Result<usize> {
    let path = &table.files.source.path;
    if table.files.ownership == Ownership::External {
        return Err(Error::Plan(format!(
            "table `{}` has a LOCATION, whose files are not deleted; use INSERT OVERWRITE to replace its rows",
            table.name
        )));
    }
    if !is_local(path) {
        return Err(Error::Plan(format!(
            "table `{}` is in an object store, where partitions are not deleted alone; use INSERT OVERWRITE … SELECT with \
             the rows that stay",
            table.name
        )));
    }
    let files = find_partitions(services, table, partition).await?;
    let location = Location::resolve(&services.context, path).await?;
    let paths = files.iter().map(|file| Ok(file.meta.location.clone()));
    let removed = location
        .store()
        .delete_stream(stream::iter(paths.collect::<Vec<_>>()).boxed());
    removed
        .try_collect::<Vec<_>>()
        .await
        .map_err(DataFusionError::from)?;
    register_again(services, table, &table.provider.schema()).await?;
    Ok(files.len())
}

/// Registers a table with the files that its folder has now.
async fn register_again(
    services: &Arc<Services>,
    table: &FileTable,
    schema: &SchemaRef,
) -> Result<()> {
    let provider = open_written(&services.context, &table.files.source, schema).await?;
    services.register_table(&table.name, provider, Some(table.files.clone()))
}

/// Adds columns after the others, and before those of the partitions. Existing rows have nulls.
async fn add_columns(
    services: &Arc<Services>,
    mut table: FileTable,
    definitions: &str,
) -> Result<()> {
    let source = &table.files.source;
    if source.format == FileFormat::Csv && count_files(&services.context, source).await?.count > 0 {
        return Err(Error::Plan(format!(
            "table `{}`: its CSV files name their columns in their first lines, and lack the new ones; use CREATE TABLE … AS \
             SELECT",
            table.name
        )));
    }
    let new = parse_schema(&services.context, definitions)?;
    let old = table.provider.schema();
    for field in new.fields() {
        let is_same = |other: &&Arc<arrow::datatypes::Field>| {
            other.name().to_lowercase() == field.name().to_lowercase()
        };
        if let Some(existing) = old.fields().iter().find(is_same) {
            return Err(Error::Plan(format!(
                "[FIELD_ALREADY_EXISTS] table `{}` has a column `{}` already",
                table.name,
                existing.name()
            )));
        }
    }
    let (keys, columns): (Vec<_>, Vec<_>) = old
        .fields()
        .iter()
        .cloned()
        .partition(|field| table.is_key(field.name()));
    let fields = columns.into_iter().chain(new.fields().iter().cloned());
    let schema = Arc::new(Schema::new(fields.chain(keys).collect::<Vec<_>>()));
    let columns = schema.fields().iter();
    let columns =
        columns.map(|field| column_definition(field.name(), &whole_sql_type(field.data_type())));
    table.files.source.schema = Some(columns.collect::<Vec<_>>().join(", "));
    register_again(services, &table, &schema).await?;
    let mut details = services.tables.details(&table.name);
    let comments = column_comments(definitions).into_iter();
    let comments = comments.map(|(column, comment)| (column.to_lowercase(), comment));
    details.column_comments.extend(comments);
    services.tables.set_details(&table.name, details);
    Ok(())
}

/// Renames a table, and moves its folder if that belongs to it.
async fn rename(services: &Arc<Services>, table: &[String], new_name: &[String]) -> Result<()> {
    let new_name = table_name(new_name)?;
    let mut table = file_table(services, table)?;
    if services.tables.contains(&new_name) {
        return Err(Error::Plan(format!(
            "[TABLE_OR_VIEW_ALREADY_EXISTS] table `{new_name}` already exists"
        )));
    }
    let old_name = std::mem::replace(&mut table.name, new_name.clone());
    let schema = table.provider.schema();
    if table.files.ownership == Ownership::Managed {
        let source = &mut table.files.source;
        if !is_local(&source.path) {
            return Err(Error::Plan(format!(
                "table `{old_name}` is in an object store, where folders cannot be renamed; use CREATE TABLE {new_name} … \
                 AS SELECT"
            )));
        }
        let warehouse = services.warehouse.trim_end_matches('/');
        let path = format!("{warehouse}/{}", new_name.to_lowercase());
        let exists = |path: &str| std::path::Path::new(path).exists();
        if exists(&path) {
            return Err(Error::Plan(format!(
                "the folder {path} of the new table exists already; remove it"
            )));
        }
        if exists(&source.path) {
            let moved = tokio::fs::rename(&source.path, &path).await;
            moved.map_err(|error| {
                Error::Write(format!(
                    "{}: cannot be moved to {path}: {error}",
                    source.path
                ))
            })?;
        }
        source.path = path;
    }
    table.files.source.name.clone_from(&new_name);
    let details = services.tables.details(&old_name);
    register_again(services, &table, &schema).await?;
    services.tables.remove(&old_name);
    services.context.deregister_table(old_name.as_str())?;
    services.tables.set_details(&new_name, details);
    Ok(())
}

fn with_any(partition: &Partition) -> Vec<(String, String)> {
    let any = || "*".to_owned();
    let keys = partition.iter();
    keys.map(|(key, value)| (key.clone(), value.clone().unwrap_or_else(any)))
        .collect()
}

/// Returns a partition as Spark shows it: `a=1/b=x`.
pub(super) fn describe_partition(keys: &[(String, String)]) -> String {
    let keys = keys.iter().map(|(key, value)| format!("{key}={value}"));
    keys.collect::<Vec<_>>().join("/")
}
