//! INSERT: a table of files keeps the options and the order of columns that it was created with.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::dataframe::DataFrame as DfDataFrame;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use faisca_planner::manifest::{
    Compression, FileFormat, PartitionOverwrite, SaveMode, Source, TextCompression, Write,
};

use super::output_table::open_written;
use super::sql_types::{column_definition, sql_type};
use super::store_assignment::check_assignments;
use crate::engine::progress::WriteSummary;
use crate::error::{Error, Result};
use crate::output::write::{PlannedWrite, run};
use crate::services::Services;

/// The rows that an INSERT replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replaced {
    Nothing,
    /// All rows of the table.
    Table,
    /// Those of the partitions that new rows are in.
    Partitions,
}

/// Runs INSERT: writes the rows into the table's folder with the options of the table, and
/// registers the table again with the new files.
pub(super) async fn insert(
    services: &Arc<Services>,
    table: &str,
    replaced: Replaced,
    input: LogicalPlan,
) -> Result<WriteSummary> {
    let tables = &services.tables;
    let (Some(mut files), Some(provider)) = (tables.files(table), tables.provider(table)) else {
        return Err(Error::Plan(format!(
            "table `{table}` has no files to write to; create it as an external table"
        )));
    };
    let schema = provider.schema();
    let mode = match replaced {
        Replaced::Nothing => SaveMode::Append,
        Replaced::Table | Replaced::Partitions => SaveMode::Overwrite,
    };
    let partition_overwrite = match replaced {
        Replaced::Partitions => PartitionOverwrite::Dynamic,
        Replaced::Nothing | Replaced::Table => PartitionOverwrite::Static,
    };
    keep_types(&mut files.source, &schema);
    check_assignments(table, &input)?;
    let target = Write {
        format: files.source.format,
        mode,
        partition_overwrite,
        partition_by: files.partition_by.clone(),
        compression: written_compression(&files.source)?,
        ..Write::to(&files.source.path)
    };
    let frame = rename_columns(services, &schema, input)?;
    let label = format!("insert into {table}");
    let planned = PlannedWrite::plan_for(services, frame, &target, label, &files.source).await?;
    let summary = run(services, planned, &target).await?;
    let provider = open_written(&services.context, &files.source, &schema).await?;
    services.register_table(table, provider, Some(files))?;
    Ok(summary)
}

/// Declares the columns of a text table as they are, so that no value that is written changes the
/// types that would be inferred.
fn keep_types(source: &mut Source, schema: &SchemaRef) {
    if source.format == FileFormat::Parquet || source.schema.is_some() {
        return;
    }
    let fields = schema.fields().iter();
    let columns = fields.map(|field| {
        let sql_type = sql_type(field.data_type())?;
        Some(column_definition(field.name(), &sql_type))
    });
    let columns: Option<Vec<String>> = columns.collect();
    source.schema = columns.map(|columns| columns.join(", "));
}

/// Renames the columns of the rows as in the table. The planner has put them into the table's
/// order, but has not renamed them.
///
/// # Errors
/// Returns an error if the rows have more or fewer columns than the table.
fn rename_columns(
    services: &Arc<Services>,
    schema: &SchemaRef,
    input: LogicalPlan,
) -> Result<DfDataFrame> {
    let columns = input.schema().columns();
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    if columns.len() != names.len() {
        return Err(Error::Plan(format!(
            "INSERT has {} columns, the table has {}: {}",
            columns.len(),
            names.len(),
            names.join(", ")
        )));
    }
    let columns = columns.into_iter().zip(names);
    let columns = columns.map(|(column, name)| Expr::Column(column).alias(name));
    let plan = LogicalPlanBuilder::from(input).project(columns)?.build()?;
    Ok(DfDataFrame::new(services.context.state(), plan))
}

/// Returns the compression with which INSERT writes, so that the table's options can read the
/// files. `None` means the default of the format.
///
/// # Errors
/// Returns an error if files with this compression can only be read.
fn written_compression(source: &Source) -> Result<Option<Compression>> {
    match source.compression {
        None => Ok(None),
        Some(TextCompression::None) => Ok(Some(Compression::None)),
        Some(TextCompression::Gzip) => Ok(Some(Compression::Gzip)),
        Some(TextCompression::Zstd) => Ok(Some(Compression::Zstd)),
        Some(TextCompression::Bzip2 | TextCompression::Xz) => Err(Error::Write(format!(
            "table `{}`: bzip2 and xz can be read, but not written; create the table without the option compression, and each file is read by its own ending",
            source.name
        ))),
    }
}
