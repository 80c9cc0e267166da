//! Checks the columns of a write before its query runs, and casts them to types that files hold.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::dataframe::DataFrame as DfDataFrame;
use datafusion::logical_expr::{Expr, cast};
use faisca_planner::manifest::{Compression, FileFormat, Write};
use faisca_spark::dialect::without_mark;

use super::stored_types::stored_type;
use crate::catalog::storage_type;
use crate::error::{Error, Result, nearest_or_all};

/// Casts columns to the types that the file format holds. Partition keys get the spelling of
/// `key_names`; other names stay.
///
/// # Errors
/// Returns an error if the format does not have the type of a column.
pub(super) fn cast_to_stored_types(
    frame: DfDataFrame,
    write: &Write,
    key_names: &[String],
) -> Result<DfDataFrame> {
    let mut is_changed = false;
    let mut columns = vec![];
    for (qualifier, field) in frame.schema().iter() {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        // Athena, the usual reader of such tables, reads fewer types than the format has.
        let readable = match &write.catalog {
            Some(_) => storage_type(field.data_type()),
            None => None,
        };
        let readable = readable.as_ref().unwrap_or(field.data_type());
        let stored = stored_type(write.format, readable).map_err(Error::column(field.name()))?;
        let spelled = key_names
            .iter()
            .find(|key| key.to_lowercase() == field.name().to_lowercase())
            .unwrap_or(field.name());
        if stored == *field.data_type() && spelled == field.name() {
            columns.push(column);
        } else {
            is_changed = true;
            columns.push(cast(column, stored).alias(spelled));
        }
    }
    if is_changed {
        Ok(frame.select(columns)?)
    } else {
        Ok(frame)
    }
}

/// Casts the columns that `types` names.
///
/// # Errors
/// Returns an error if a column cannot be cast to its type.
pub(super) fn cast_columns(
    frame: DfDataFrame,
    types: &BTreeMap<String, DataType>,
) -> Result<DfDataFrame> {
    if types.is_empty() {
        return Ok(frame);
    }
    let columns = frame.schema().iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        match types.get(field.name()) {
            Some(wider) => cast(column, wider.clone()).alias(field.name()),
            None => column,
        }
    });
    let columns: Vec<Expr> = columns.collect();
    Ok(frame.select(columns)?)
}

/// Checks the columns and options of a write for mistakes that would otherwise appear only after
/// the query has run.
///
/// # Errors
/// Returns an error if two columns have names that differ only by case, if `partitionBy` names an
/// unknown column or all columns, or if the format does not support the compression.
pub(super) fn check_columns(frame: &DfDataFrame, write: &Write) -> Result<()> {
    let names: Vec<&str> = frame
        .schema()
        .fields()
        .iter()
        .map(|f| without_mark(f.name()))
        .collect();
    // Catalogs and most readers ignore the case of names.
    if let Some((a, b)) = faisca_planner::names::clash(names.iter().copied()) {
        return Err(Error::DuplicateColumns {
            first: a.to_owned(),
            second: b.to_owned(),
            help: "give one an alias",
        });
    }
    for column in &write.partition_by {
        if !names.iter().any(|name| name.eq_ignore_ascii_case(column)) {
            let help = nearest_or_all(column, names.iter().copied(), "its columns are");
            return Err(Error::Write(format!(
                "partitionBy: no column `{column}` in the result; {help}"
            )));
        }
    }
    if !write.partition_by.is_empty() && write.partition_by.len() >= names.len() {
        return Err(Error::Write(
            "partitionBy names every column: none would be left for the files".to_owned(),
        ));
    }
    if write.format != FileFormat::Parquet
        && matches!(
            write.compression,
            Some(Compression::Snappy | Compression::Lz4)
        )
    {
        return Err(Error::Write(
            "text files take gzip, zstd or none as compression".to_owned(),
        ));
    }
    Ok(())
}
