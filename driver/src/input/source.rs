//! Opens files as tables, for a manifest's `sources`, `session.read()` and CREATE EXTERNAL TABLE.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;
use faisca_planner::manifest::{FileFormat, Source};

use super::columns::resolve_columns;
use super::folder_table::FolderTable;
use super::listing::Location;
use super::nesting::check_nesting;
use crate::error::{Error, Result};

/// The number and the total size of some files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Files {
    /// Number of files.
    pub count: usize,
    /// Total size in bytes.
    pub bytes: u64,
}

/// Returns a source with default options and an inferred schema.
#[must_use]
pub(crate) fn default_source(name: &str, path: &str, format: FileFormat) -> Source {
    Source {
        name: name.to_owned(),
        path: path.to_owned(),
        format,
        schema: None,
        delimiter: None,
        header: None,
        quote: None,
        escape: None,
        comment: None,
        null_value: None,
        decimal: Default::default(),
        encoding: Default::default(),
        multi_line: false,
        on_malformed_row: Default::default(),
        compression: None,
        infer_rows: None,
    }
}

/// Returns a source that reads the output of a write: CSV files have a header, and values may
/// contain line breaks.
#[must_use]
pub(crate) fn written_source(name: &str, path: &str, format: FileFormat) -> Source {
    let is_csv = format == FileFormat::Csv;
    Source {
        header: is_csv.then_some(true),
        multi_line: is_csv,
        ..default_source(name, path, format)
    }
}

/// Opens the files of a source as a table. Lists the files, and infers their schema if none is
/// given.
///
/// # Errors
/// Returns an error with the name and path of the source if there are no files at its path, a file
/// is damaged, or the schema is invalid or cannot be inferred.
pub(crate) async fn open(
    context: &SessionContext,
    source: &Source,
) -> Result<Arc<dyn TableProvider>> {
    open_with_key_types(context, source, &Schema::empty()).await
}

/// Opens a folder whose rows were written with the schema `written`.
///
/// Folder names do not keep the types of partition keys: without the schema, the text `007` would
/// be read as a number.
///
/// # Errors
/// Same as [`open`].
pub(crate) async fn open_with_key_types(
    context: &SessionContext,
    source: &Source,
    written: &Schema,
) -> Result<Arc<dyn TableProvider>> {
    let in_source = |e: Error| e.at(format!("source `{}` ({})", source.name, source.path));
    let location = Location::resolve(context, &source.path)
        .await
        .map_err(|e| in_source(e.into()))?;
    let files = location.list().await.map_err(|e| in_source(e.into()))?;
    if files.is_empty() {
        return Err(Error::NoFiles {
            name: source.name.clone(),
            path: source.path.clone(),
            reason: location.no_files_message(),
        });
    }
    let columns = resolve_columns(context, source, &location, &files, written)
        .await
        .map_err(in_source)?;
    check_nesting(&columns.files).map_err(in_source)?;
    if columns.files.fields().is_empty() && columns.keys.fields().is_empty() {
        return Err(in_source(Error::Plan(
            "the files have no rows and no columns; give a schema".to_owned(),
        )));
    }
    Ok(Arc::new(FolderTable::new(
        location,
        source.clone(),
        columns,
    )))
}

/// Returns the number and the size of the data files at a source's path, which may be 0.
///
/// # Errors
/// Returns an error if the path is invalid, or the store cannot list the files.
pub(crate) async fn count_files(context: &SessionContext, source: &Source) -> Result<Files> {
    let files = Location::resolve(context, &source.path)
        .await?
        .list()
        .await?;
    Ok(Files {
        count: files.len(),
        bytes: files.iter().map(|file| file.meta.size).sum(),
    })
}

/// Returns the number and the size of all visible files below a folder that is written to, at any
/// depth.
///
/// # Errors
/// Returns an error if the path is invalid, or the store cannot list the files.
pub(crate) async fn count_files_below(context: &SessionContext, source: &Source) -> Result<Files> {
    let files = Location::resolve(context, &source.path)
        .await?
        .list_below()
        .await?;
    Ok(Files {
        count: files.len(),
        bytes: files.iter().map(|meta| meta.size).sum(),
    })
}
