//! Runs `CREATE TABLE … USING`, DROP TABLE and TRUNCATE TABLE for tables of files.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::datasource::MemTable;
use datafusion::datasource::listing::ListingTableUrl;
use faisca_planner::manifest::{FileFormat, SaveMode, Source, Write};
use faisca_spark::commands::{CreateTable, OnExisting, TableSource, column_comments};
use futures::TryStreamExt;

use super::dataframe::DataFrame;
use super::existing::{keeps_existing, parse_format, table_name, unknown_table};
use super::options::set_source_option;
use super::output_table::register_output;

use crate::engine::progress::WriteSummary;
use crate::error::{Error, Result, cannot};
use crate::input::columns::parse_schema;
use crate::input::source::{count_files, default_source, open};
use crate::input::{Ownership, TableDetails, TableFiles, reorder_columns};
use crate::output::write::write;
use crate::services::Services;

/// Creates a table of files, and writes `rows` into it, the result of its AS query if it has one.
pub(super) async fn create_table(
    services: &Arc<Services>,
    definition: CreateTable,
    rows: Option<DataFrame>,
) -> Result<Option<WriteSummary>> {
    let name = table_name(&definition.name)?;
    let on_existing = definition.on_existing;
    if keeps_existing(services, &name.as_str().into(), on_existing)? {
        return Ok(None);
    }
    let format = match &definition.format {
        Some(format) => parse_format(format)?,
        None => FileFormat::Parquet,
    };
    let ownership = match definition.location {
        Some(_) => Ownership::External,
        None => Ownership::Managed,
    };
    let warehouse = services.warehouse.trim_end_matches('/');
    let path = match &definition.location {
        Some(location) => location.clone(),
        None => format!("{warehouse}/{}", name.to_lowercase()),
    };
    let mut source = default_source(&name, &path, format);
    for (key, value) in &definition.options {
        set_source_option(&mut source, key, value)?;
    }
    let table = NewTable {
        files: TableFiles {
            source,
            partition_by: definition.partition_by,
            ownership,
        },
        on_existing,
    };
    let mut details = TableDetails {
        comment: definition.comment,
        properties: definition.properties.into_iter().collect(),
        options: definition.options,
        column_comments: HashMap::new(),
    };
    if let Some(rows) = rows {
        let summary = table.write_rows(services, rows).await?;
        services.tables.set_details(&name, details);
        return Ok(Some(summary));
    }
    if let TableSource::Columns(columns) = &definition.source {
        let comments = column_comments(columns).into_iter();
        details.column_comments = comments
            .map(|(column, comment)| (column.to_lowercase(), comment))
            .collect();
    }
    match definition.source {
        TableSource::Columns(columns) => table.register(services, Some(columns)).await?,
        TableSource::Files | TableSource::Query(_) if ownership == Ownership::Managed => {
            return Err(Error::Plan(format!(
                "CREATE TABLE {name} needs columns, a LOCATION with files, or AS and a query"
            )));
        }
        TableSource::Files | TableSource::Query(_) => table.register(services, None).await?,
    }
    services.tables.set_details(&name, details);
    Ok(None)
}

/// A table to register.
struct NewTable {
    files: TableFiles,
    on_existing: OnExisting,
}

impl NewTable {
    /// Registers the table without writing rows. `columns` are those of the statement, as SQL text.
    async fn register(mut self, services: &Arc<Services>, columns: Option<String>) -> Result<()> {
        let context = &services.context;
        let source = &mut self.files.source;
        source.schema = columns;
        // Listing a folder that does not exist yet is an error; such a table is empty, too.
        let existing = count_files(context, source).await;
        let is_empty = !existing.is_ok_and(|files| files.count > 0);
        let is_managed = self.files.ownership == Ownership::Managed;
        if is_managed && !is_empty {
            if self.on_existing != OnExisting::Replace {
                return Err(occupied_folder(source));
            }
            remove_folder(services, source).await?;
        }
        let provider = match &source.schema {
            Some(text) if is_empty || is_managed => {
                let schema = Arc::new(parse_schema(context, text)?);
                // No other program has written files yet, so values may have line breaks.
                source.multi_line |= source.format == FileFormat::Csv;
                Arc::new(MemTable::try_new(schema, vec![vec![]])?) as _
            }
            Some(text) => {
                let schema = Arc::new(parse_schema(context, text)?);
                reorder_columns(&schema, open(context, source).await?)?
            }
            None => open(context, source).await?,
        };
        let name = source.name.clone();
        services.register_table(&name, provider, Some(self.files))
    }

    /// Writes the rows of a query, and registers the folder as the table.
    async fn write_rows(self, services: &Arc<Services>, rows: DataFrame) -> Result<WriteSummary> {
        let Source {
            name, path, format, ..
        } = self.files.source;
        let target = Write {
            format,
            partition_by: self.files.partition_by,
            mode: match self.on_existing {
                OnExisting::Replace => SaveMode::Overwrite,
                OnExisting::Fail | OnExisting::Keep => SaveMode::ErrorIfExists,
            },
            ..Write::to(&path)
        };
        let columns = rows.schema();
        let label = format!("create table {name}");
        let summary = write(services, rows.into_inner(), &target, label).await?;
        register_output(services, &name, &target, &columns, self.files.ownership).await?;
        Ok(summary)
    }
}

/// Removes a table from the session, and deletes its folder if the table is managed.
pub(super) async fn drop_table(services: &Arc<Services>, name: &str) -> Result<()> {
    let files = services.tables.files(name);
    services.tables.remove(name);
    services.context.deregister_table(name.to_lowercase())?;
    match files {
        Some(files) if files.ownership == Ownership::Managed => {
            remove_folder(services, &files.source).await
        }
        _ => Ok(()),
    }
}

/// Deletes all rows of a managed table. Its columns stay.
pub(super) async fn truncate_table(services: &Arc<Services>, name: &[String]) -> Result<()> {
    let name = table_name(name)?;
    let provider = services.tables.provider(&name);
    let (Some(provider), Some(files)) = (provider, services.tables.files(&name)) else {
        return Err(unknown_table(services, &name));
    };
    if files.ownership == Ownership::External {
        return Err(Error::Plan(format!(
            "TRUNCATE TABLE {name}: the table has a LOCATION; use INSERT OVERWRITE to replace its rows"
        )));
    }
    remove_folder(services, &files.source).await?;
    let empty = MemTable::try_new(provider.schema(), vec![vec![]])?;
    services.register_table(&name, Arc::new(empty), Some(files))
}

/// Deletes a folder of the warehouse with all its files.
async fn remove_folder(services: &Services, source: &Source) -> Result<()> {
    if !source.path.contains("://") {
        return match tokio::fs::remove_dir_all(&source.path).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(cannot(
                "remove the table's folder",
                source.path.as_ref(),
                error,
            )),
            _ => Ok(()),
        };
    }
    let url = ListingTableUrl::parse(format!("{}/", source.path.trim_end_matches('/')))?;
    let store = services.context.runtime_env().object_store(&url)?;
    let objects = store.list(Some(url.prefix()));
    let removed = store.delete_stream(Box::pin(objects.map_ok(|meta| meta.location)));
    removed
        .try_collect::<Vec<_>>()
        .await
        .map_err(|e| DataFusionError::from(e).into())
        .map(drop)
}

fn occupied_folder(source: &Source) -> Error {
    Error::Plan(format!(
        "the folder {} of the new table `{}` is not empty; remove it, or name it with LOCATION to read its files",
        source.path, source.name
    ))
}
