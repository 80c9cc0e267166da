//! Checks of table names and formats that statements share.

use std::sync::Arc;

use datafusion::common::TableReference;
use faisca_planner::manifest::FileFormat;
use faisca_spark::commands::OnExisting;

use crate::error::{Error, NameKind, Result, nearest_or_all};
use crate::services::Services;

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
