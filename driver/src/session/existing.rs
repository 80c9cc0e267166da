//! Checks of names of databases and tables, and of formats, that statements share.

use std::sync::Arc;

use datafusion::common::TableReference;
use faisca_planner::manifest::FileFormat;
use faisca_spark::commands::OnExisting;

use crate::error::{Error, NameKind, Result, nearest_or_all};
use crate::services::Services;

/// Databases that every session has: names of one and the same. There are no others.
pub(super) const DATABASES: [&str; 3] = ["default", "spark_catalog", "spark_catalog.default"];

/// Returns true if the statement keeps an existing table of this name and has nothing to do.
///
/// # Errors
/// Returns an error if the table exists and the statement allows neither to keep nor to replace it.
pub(super) fn keeps_existing(
    services: &Arc<Services>,
    name: &TableReference,
    on_existing: OnExisting,
) -> Result<bool> {
    if !services.tables.contains(name.table()) {
        return Ok(false);
    }
    match on_existing {
        OnExisting::Fail => Err(Error::Plan(format!(
            "table `{name}` already exists; use CREATE OR REPLACE"
        ))),
        OnExisting::Keep => Ok(true),
        OnExisting::Replace => Ok(false),
    }
}

/// Parses the name of a file format, in any case.
pub(super) fn parse_format(name: &str) -> Result<FileFormat> {
    match name.to_lowercase().as_str() {
        "parquet" => Ok(FileFormat::Parquet),
        "csv" => Ok(FileFormat::Csv),
        "json" | "ndjson" => Ok(FileFormat::Ndjson),
        other => Err(Error::Plan(format!(
            "format `{other}` is not one of parquet, csv, ndjson"
        ))),
    }
}

/// Returns the error for an unknown table, which suggests the nearest name.
pub(super) fn unknown_table(services: &Arc<Services>, name: &str) -> Error {
    let names = services.tables.names();
    let help = if names.is_empty() {
        "no tables are registered".to_owned()
    } else {
        nearest_or_all(name, names.iter().map(String::as_str), "tables:")
    };
    Error::UnknownName {
        kind: NameKind::Table,
        name: name.to_owned(),
        help,
    }
}

/// Returns a table's name without its database.
///
/// # Errors
/// Returns an error if the database is unknown, or the name cannot be that of a folder.
pub(super) fn table_name(parts: &[String]) -> Result<String> {
    let (name, database) = match parts.split_last() {
        Some((name, database)) => (name.clone(), database.join(".").to_lowercase()),
        None => return Err(Error::Plan("CREATE TABLE needs a name".to_owned())),
    };
    if !database.is_empty() && !DATABASES.contains(&database.as_str()) {
        return Err(Error::Plan(format!(
            "database `{database}` is unknown; tables of a session are in `default`"
        )));
    }
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\']) {
        return Err(Error::Plan(format!(
            "`{name}` cannot be the name of a table, because its folder has the same name"
        )));
    }
    Ok(name)
}

/// Accepts the databases that every session has. There are no others, so nothing changes.
///
/// # Errors
/// Returns an error for any other database.
pub(super) fn use_database(name: &[String]) -> Result<()> {
    // `table_name` checks the database of a table, so that any table name will do.
    let mut with_table = name.to_vec();
    with_table.push("t".to_owned());
    table_name(&with_table).map(|_| ())
}

/// Returns the name of a registered table, in lower case and without its database.
///
/// # Errors
/// Returns an error if there is no such table; it suggests the nearest name.
pub(super) fn registered_table(services: &Arc<Services>, name: &[String]) -> Result<String> {
    let name = table_name(name)?.to_lowercase();
    match services.tables.contains(&name) {
        true => Ok(name),
        false => Err(unknown_table(services, &name)),
    }
}
