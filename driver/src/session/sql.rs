//! SQL statements: queries are planned, everything else acts at once, as in Spark.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::Schema;
use datafusion::common::{DataFusionError, TableReference};
use datafusion::dataframe::DataFrame as DfDataFrame;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::dml::{CopyTo, InsertOp};
use datafusion::logical_expr::{
    CreateExternalTable, DdlStatement, LogicalPlan, LogicalPlanBuilder, WriteOp,
};
use faisca_planner::manifest::{FileFormat, SaveMode, Source, Write, nearest};
use faisca_planner::names::{aliases, lower_identifiers};

use super::Session;
use crate::engine::progress::WriteSummary;
use crate::error::{Error, Result};
use crate::input::TableFiles;
use crate::input::source::default_source;
use crate::output::write::write;
use crate::session::dataframe::DataFrame;
use crate::session::reader::set_option;

/// Runs one statement.
pub(crate) async fn run(session: &Session, sql: &str) -> Result<DataFrame> {
    match statement(session, sql).await? {
        Outcome::Rows(frame) => Ok(frame),
        Outcome::Done(_) => Ok(DataFrame::new(
            session.clone(),
            session.context().read_empty()?,
        )),
    }
}

/// What a statement came to.
pub enum Outcome {
    /// A query, not run yet.
    Rows(DataFrame),
    /// It acted; with what it wrote, if it wrote.
    Done(Option<WriteSummary>),
}

impl Session {
    /// Plans a query or runs any other statement, and tells what it wrote.
    ///
    /// # Errors
    /// As [`Session::sql`].
    pub async fn statement(&self, sql: &str) -> Result<Outcome> {
        statement(self, sql).await
    }
}

async fn statement(session: &Session, sql: &str) -> Result<Outcome> {
    let lowered = lower_identifiers(sql).map_err(|e| Error::Plan(e.to_string()))?;
    let spelling = aliases(sql);
    let context = session.context();
    let plan = context
        .state()
        .create_logical_plan(&lowered)
        .await
        .map_err(|e| better(session, e.into()))?;
    match plan {
        LogicalPlan::Ddl(DdlStatement::CreateExternalTable(create)) => {
            create_external_table(session, &create).await?;
            Ok(Outcome::Done(None))
        }
        LogicalPlan::Ddl(DdlStatement::CreateView(view)) => {
            let frame = restored(session, view.input.as_ref().clone(), &spelling)?;
            exists(session, &view.name, view.or_replace, false)?;
            session.register_table(view.name.table(), frame.into_view())?;
            Ok(Outcome::Done(None))
        }
        LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(create)) => {
            if exists(
                session,
                &create.name,
                create.or_replace,
                create.if_not_exists,
            )? {
                return Ok(Outcome::Done(None));
            }
            let frame = restored(session, create.input.as_ref().clone(), &spelling)?;
            let schema = Arc::new(frame.schema().as_arrow().clone());
            let table = MemTable::try_new(schema, vec![frame.collect().await?])?;
            session.register_table(create.name.table(), Arc::new(table))?;
            Ok(Outcome::Done(None))
        }
        LogicalPlan::Ddl(DdlStatement::DropTable(drop))
            if session
                .services
                .tables
                .provider(drop.name.table())
                .is_some() =>
        {
            session.services.tables.remove(drop.name.table());
            context.deregister_table(drop.name)?;
            Ok(Outcome::Done(None))
        }
        LogicalPlan::Ddl(DdlStatement::DropView(drop))
            if session
                .services
                .tables
                .provider(drop.name.table())
                .is_some() =>
        {
            session.services.tables.remove(drop.name.table());
            context.deregister_table(drop.name)?;
            Ok(Outcome::Done(None))
        }
        LogicalPlan::Copy(copy) => copy_to(session, &copy, &spelling)
            .await
            .map(|summary| Outcome::Done(Some(summary))),
        LogicalPlan::Dml(dml) => match &dml.op {
            WriteOp::Insert(op) => insert(
                session,
                dml.table_name.table(),
                *op,
                dml.input.as_ref().clone(),
            )
            .await
            .map(|s| Outcome::Done(Some(s))),
            other => Err(Error::Plan(format!(
                "{other} is not supported: tables are folders of files; use INSERT OVERWRITE"
            ))),
        },
        LogicalPlan::Ddl(_) | LogicalPlan::Statement(_) => {
            context.execute_logical_plan(plan).await?;
            Ok(Outcome::Done(None))
        }
        LogicalPlan::Explain(explain) if is_query(&explain.plan) => {
            let state = context.state();
            let stages = crate::statement::explain(&explain.plan, &state).await?;
            let logical = state.optimize(&explain.plan)?.display_indent().to_string();
            told(
                session,
                explain.schema.as_arrow(),
                &[("logical_plan", logical), ("stages", stages)],
            )
        }
        LogicalPlan::Analyze(analyze) if is_query(&analyze.input) => {
            let stages = crate::statement::analyze(
                &analyze.input,
                &context.state(),
                &session.services.cluster,
            )
            .await?;
            told(session, analyze.schema.as_arrow(), &[("stages", stages)])
        }
        LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) | LogicalPlan::DescribeTable(_) => {
            // Such plans must be roots: `show` could not put its limit above them.
            let frame = context.execute_logical_plan(plan).await?;
            let schema = Arc::new(frame.schema().as_arrow().clone());
            let table = MemTable::try_new(schema, vec![frame.collect().await?])?;
            Ok(Outcome::Rows(DataFrame::new(
                session.clone(),
                context.read_table(Arc::new(table))?,
            )))
        }
        query => Ok(Outcome::Rows(DataFrame::new(
            session.clone(),
            restored(session, query, &spelling)?,
        ))),
    }
}

fn is_query(plan: &LogicalPlan) -> bool {
    !matches!(
        plan,
        LogicalPlan::Copy(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Statement(_)
    )
}

/// Plans as rows: what each is, and its text.
fn told(session: &Session, schema: &Schema, plans: &[(&str, String)]) -> Result<Outcome> {
    let kinds: StringArray = plans.iter().map(|(kind, _)| Some(*kind)).collect();
    let texts: StringArray = plans.iter().map(|(_, text)| Some(text.as_str())).collect();
    let batch = RecordBatch::try_new(
        Arc::new(schema.clone()),
        vec![Arc::new(kinds), Arc::new(texts)],
    )
    .map_err(DataFusionError::from)?;
    Ok(Outcome::Rows(DataFrame::new(
        session.clone(),
        session.context().read_batch(batch)?,
    )))
}

/// A query's result with its columns in the data's spelling.
fn restored(
    session: &Session,
    plan: LogicalPlan,
    spelling: &HashMap<String, String>,
) -> Result<DfDataFrame> {
    session
        .services
        .tables
        .restore(DfDataFrame::new(session.context().state(), plan), spelling)
}

fn exists(
    session: &Session,
    name: &TableReference,
    or_replace: bool,
    if_not_exists: bool,
) -> Result<bool> {
    let exists = session.services.tables.provider(name.table()).is_some();
    match (exists, or_replace, if_not_exists) {
        (true, false, false) => Err(Error::Plan(format!(
            "table `{name}` already exists; use CREATE OR REPLACE"
        ))),
        (true, false, true) => Ok(true),
        _ => Ok(false),
    }
}

fn format_of(name: &str) -> Result<FileFormat> {
    match name.to_lowercase().as_str() {
        "parquet" => Ok(FileFormat::Parquet),
        "csv" => Ok(FileFormat::Csv),
        "json" | "ndjson" => Ok(FileFormat::Ndjson),
        other => Err(Error::Plan(format!(
            "format `{other}` is not one of parquet, csv, ndjson"
        ))),
    }
}

async fn create_external_table(session: &Session, create: &CreateExternalTable) -> Result<()> {
    if exists(
        session,
        &create.name,
        create.or_replace,
        create.if_not_exists,
    )? {
        return Ok(());
    }
    let format = format_of(&create.file_type)?;
    let path = create
        .locations
        .first()
        .ok_or_else(|| Error::Plan("CREATE EXTERNAL TABLE needs a LOCATION".to_owned()))?;
    let name = create.name.table();
    let mut described = default_source(name, path, format);
    for (key, value) in &create.options {
        set_option(&mut described, key.trim_start_matches("format."), value)?;
    }
    let files = TableFiles {
        path: path.clone(),
        format,
        partition_by: create.table_partition_cols.clone(),
    };
    let fields = create.schema.fields();
    if !fields.is_empty() {
        let columns = fields
            .iter()
            .filter(|f| !create.table_partition_cols.contains(f.name()));
        described.schema = Some(
            columns
                .map(|f| format!("\"{}\" {}", f.name(), sql_type(f.data_type())))
                .collect::<Vec<_>>()
                .join(", "),
        );
    }
    let to_be_written = !fields.is_empty()
        && crate::input::source::files(session.context(), &described)
            .await
            .is_ok_and(|files| files.count == 0);
    match crate::input::source::open(session.context(), &described).await {
        Ok(provider) => {
            session
                .services
                .tables
                .register(session.context(), name, provider, Some(files))
        }
        // A table to be written: its folder comes with the first INSERT.
        Err(_) if to_be_written => {
            let table =
                MemTable::try_new(Arc::new(create.schema.as_arrow().clone()), vec![vec![]])?;
            session
                .services
                .tables
                .register(session.context(), name, Arc::new(table), Some(files))
        }
        Err(error) => Err(error),
    }
}

fn sql_type(data_type: &arrow::datatypes::DataType) -> String {
    use arrow::datatypes::DataType;
    match data_type {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "STRING".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Timestamp(_, _) => "TIMESTAMP".to_owned(),
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => "BYTEA".to_owned(),
        other => other.to_string(),
    }
}

async fn copy_to(
    session: &Session,
    copy: &CopyTo,
    spelling: &HashMap<String, String>,
) -> Result<WriteSummary> {
    let frame = restored(session, copy.input.as_ref().clone(), spelling)?;
    let format = format_of(&copy.file_type.get_ext())?;
    let mut target = Write {
        format,
        partition_by: copy.partition_by.clone(),
        ..Write::to(&copy.output_url)
    };
    for (key, value) in &copy.options {
        crate::session::dataframe::set_write_option(
            &mut target,
            key.trim_start_matches("format."),
            value,
        )?;
    }
    write(
        &session.services,
        frame,
        &target,
        format!("copy to {}", copy.output_url),
    )
    .await
}

async fn insert(
    session: &Session,
    table: &str,
    op: InsertOp,
    input: LogicalPlan,
) -> Result<WriteSummary> {
    let files = session.services.tables.files(table).ok_or_else(|| {
        Error::Plan(format!(
            "table `{table}` has no files to write to; create it as an external table"
        ))
    })?;
    // The input's columns are in the table's order; they take the table's names.
    let provider = session
        .services
        .tables
        .provider(table)
        .ok_or_else(|| unknown_table(session, table))?;
    let schema = provider.schema();
    let columns = input.schema().columns();
    let exprs = columns
        .into_iter()
        .zip(schema.fields())
        .map(|(column, field)| datafusion::logical_expr::Expr::Column(column).alias(field.name()));
    let plan = LogicalPlanBuilder::from(input).project(exprs)?.build()?;
    let frame = DfDataFrame::new(session.context().state(), plan);
    let mode = match op {
        InsertOp::Append => SaveMode::Append,
        InsertOp::Overwrite | InsertOp::Replace => SaveMode::Overwrite,
    };
    let target = Write {
        format: files.format,
        mode,
        partition_by: files.partition_by.clone(),
        ..Write::to(&files.path)
    };
    let summary = write(
        &session.services,
        frame,
        &target,
        format!("insert into {table}"),
    )
    .await?;
    let described = Source {
        header: (files.format == FileFormat::Csv).then_some(true),
        ..default_source(table, &files.path, files.format)
    };
    let provider = crate::input::source::open(session.context(), &described).await?;
    session
        .services
        .tables
        .register(session.context(), table, provider, Some(files))?;
    Ok(summary)
}

/// An error with the nearest name.
pub(crate) fn unknown_table(session: &Session, name: &str) -> Error {
    let names = session.services.tables.names();
    let help = match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "no tables are registered".to_owned(),
        None => format!("tables: {}", names.join(", ")),
    };
    Error::Plan(format!("no table named `{name}`; {help}"))
}

/// Puts the nearest table's name into DataFusion's complaint.
fn better(session: &Session, error: Error) -> Error {
    let Error::Plan(text) = &error else {
        return error;
    };
    let name = text
        .strip_prefix("table '")
        .and_then(|rest| rest.strip_suffix("' not found"));
    match name {
        Some(name) => unknown_table(session, name.rsplit('.').next().unwrap_or(name)),
        None => error,
    }
}
