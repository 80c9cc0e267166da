//! INSERT: a table of files keeps the options and the order of columns that it was created with.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::dataframe::DataFrame as DfDataFrame;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use faisca_planner::manifest::{Compression, SaveMode, Source, TextCompression, Write};

use super::output_table::open_written;
use crate::engine::progress::WriteSummary;
use crate::error::{Error, Result};
use crate::output::write::{PlannedWrite, run};
use crate::services::Services;

/// Runs INSERT: writes the rows into the table's folder with the options of the table, and registers
/// the table again with the new files.
pub(super) async fn insert(
    services: &Arc<Services>,
    table: &str,
    op: InsertOp,
    input: LogicalPlan,
) -> Result<WriteSummary> {
    let tables = &services.tables;
    let (Some(files), Some(provider)) = (tables.files(table), tables.provider(table)) else {
        return Err(Error::Plan(format!(
            "table `{table}` has no files to write to; create it as an external table"
        )));
    };
    let schema = provider.schema();
    let mode = match op {
        InsertOp::Append => SaveMode::Append,
        InsertOp::Overwrite | InsertOp::Replace => SaveMode::Overwrite,
    };
    let target = Write {
        format: files.source.format,
        mode,
        partition_by: files.partition_by.clone(),
        compression: written_compression(&files.source)?,
        ..Write::to(&files.source.path)
    };
    let frame = named_as(services, &schema, input)?;
    let label = format!("insert into {table}");
    let planned = PlannedWrite::plan_for(services, frame, &target, label, &files.source).await?;
    let summary = run(services, planned, &target).await?;
    let provider = open_written(&services.context, &files.source, &schema).await?;
    services.register_table(table, provider, Some(files))?;
    Ok(summary)
}

/// Gives rows the column names of a table. The planner has put the columns into the table's order,
/// but has not named them.
///
/// # Errors
/// If the rows have more or fewer columns than the table.
fn named_as(
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

/// Returns the compression of files that a table's options can read. `None` means the default.
///
/// # Errors
/// If such files cannot be written.
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
