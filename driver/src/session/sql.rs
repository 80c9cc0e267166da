//! Executes SQL statements.
//!
//! As in Spark, a query is only planned and runs when its rows are needed. All other statements run
//! immediately.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::dataframe::DataFrame as DfDataFrame;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::dml::{CopyTo, InsertOp};
use datafusion::logical_expr::{
    CreateExternalTable, CreateMemoryTable, CreateView, DdlStatement, DmlStatement, LogicalPlan,
    WriteOp,
};
use faisca_planner::manifest::Write;
use faisca_planner::names::aliases;
use faisca_planner::statement::{on_stack_for, parse_with};
use faisca_spark::columns::quote_name;
use faisca_spark::commands::{Command, OnExisting, TableSource};
use faisca_spark::legacy::Legacy;

use super::commands::run_command;
use super::create_table::{create_table, drop_table};
use super::dataframe::DataFrame;
use super::describe::describe_query;
use super::existing::{keeps_existing, parse_format, table_name};
use super::insert::{Replaced, insert};
use super::insert_statement::insert_statement;
use super::lateral_aliases::plan_with_aliases;
use super::options::{set_source_option, set_write_option};
use super::path_tables::register_paths;
use super::sql_types::{column_definition, whole_sql_type};
use super::unknown_names::with_nearest_name;
use super::variables::change_variables;
use crate::engine::progress::WriteSummary;
use crate::error::{Error, Result};
use crate::input::source::{count_files, default_source, open};
use crate::input::{Ownership, TableFiles, reorder_columns};
use crate::output::write::write;
use crate::services::Services;
use crate::statement::{analyze, explain};

/// The result of a SQL statement.
///
/// ```no_run
/// use faisca_driver::{Outcome, Session};
///
/// # async fn example(session: &Session, sql: &str) -> faisca_driver::Result<()> {
/// match session.statement(sql).await? {
///     Outcome::Rows(frame) => frame.show().await?,
///     Outcome::Done(Some(summary)) => println!("{} rows → {}", summary.rows, summary.path),
///     Outcome::Done(None) => {}
/// }
/// # Ok(())
/// # }
/// ```
pub enum Outcome {
    /// A query that has not run yet.
    Rows(DataFrame),
    /// The statement has already run. It carries a summary if it wrote files.
    Done(Option<WriteSummary>),
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(frame) => f.debug_tuple("Rows").field(frame).finish(),
            Self::Done(written) => f.debug_tuple("Done").field(written).finish(),
        }
    }
}

/// Plans a query, or runs any other statement and returns an empty DataFrame.
pub(super) async fn run(services: &Arc<Services>, sql: &str) -> Result<DataFrame> {
    match statement(services, sql).await? {
        Outcome::Rows(frame) => Ok(frame),
        Outcome::Done(_) => Ok(DataFrame::new(
            Arc::clone(services),
            services.context.read_empty()?,
        )),
    }
}

/// Plans a query, or runs any other statement.
pub(super) async fn statement(services: &Arc<Services>, sql: &str) -> Result<Outcome> {
    if let Some(command) = Command::parse(sql)? {
        return run_spark_command(services, command).await;
    }
    // Taken from the original text: the planner sees only names in lower case.
    let spelling = on_stack_for(sql, || aliases(sql));
    register_paths(services, sql).await?;
    let context = &services.context;
    let state = context.state();
    let options = state.config_options();
    let legacy = Legacy::of_session(options);
    let parsed = parse_with(sql, &options.sql_parser, &legacy).map_err(Error::from)?;
    let plan = plan_with_aliases(&state, parsed)
        .await
        .map_err(|e| with_nearest_name(services, &state, e.into()))?;
    match plan {
        LogicalPlan::Ddl(ddl) => run_ddl(services, ddl, &spelling).await,
        LogicalPlan::Statement(_) => {
            context.execute_logical_plan(plan).await?;
            Ok(Outcome::Done(None))
        }
        LogicalPlan::Copy(copy) => {
            let summary = copy_to(services, &copy, &spelling).await?;
            Ok(Outcome::Done(Some(summary)))
        }
        LogicalPlan::Dml(dml) => run_dml(services, &dml).await,
        LogicalPlan::Explain(explained) if is_query(&explained.plan) => {
            let state = context.state();
            let stages = explain(&explained.plan, &state).await?;
            let logical = state
                .optimize(&explained.plan)?
                .display_indent()
                .to_string();
            let texts = [("logical_plan", logical), ("stages", stages)];
            plan_rows(services, explained.schema.as_arrow(), &texts)
        }
        LogicalPlan::Analyze(analyzed) if is_query(&analyzed.input) => {
            let state = context.state();
            let stages = analyze(&analyzed.input, &state, &services.cluster).await?;
            plan_rows(services, analyzed.schema.as_arrow(), &[("stages", stages)])
        }
        LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) | LogicalPlan::DescribeTable(_) => {
            // DataFusion accepts such plans only as roots, and `show` adds a limit above them.
            let frame = context.execute_logical_plan(plan).await?;
            let frame = context.read_table(Arc::new(materialize(frame).await?))?;
            Ok(Outcome::Rows(DataFrame::new(Arc::clone(services), frame)))
        }
        query => {
            let frame = restore_spelling(services, query, &spelling)?;
            Ok(Outcome::Rows(DataFrame::new(Arc::clone(services), frame)))
        }
    }
}

/// Runs a statement that DataFusion's parser does not read.
async fn run_spark_command(services: &Arc<Services>, command: Command) -> Result<Outcome> {
    match command {
        Command::CreateTable(definition) => {
            let rows = match &definition.source {
                TableSource::Query(query) => Some(Box::pin(run(services, query)).await?),
                TableSource::Columns(_) | TableSource::Files => None,
            };
            Ok(Outcome::Done(
                create_table(services, definition, rows).await?,
            ))
        }
        Command::CacheQuery { name, query } => {
            let name = quote_name(&table_name(&name)?);
            let view = format!("CREATE TEMPORARY VIEW {name} AS {query}");
            Box::pin(statement(services, &view)).await
        }
        Command::DescribeQuery(query) => {
            let query = Box::pin(run(services, &query)).await?;
            describe_query(services, &query).map(Outcome::Rows)
        }
        Command::Inserts(statements) => {
            let mut outcome = Outcome::Done(None);
            for insert in statements {
                outcome = Box::pin(statement(services, &insert)).await?;
            }
            Ok(outcome)
        }
        Command::Insert(statement) => {
            let rows = Box::pin(run(services, &statement.query)).await?;
            let summary = insert_statement(services, &statement, rows).await?;
            Ok(Outcome::Done(Some(summary)))
        }
        Command::Variables(change) => {
            change_variables(services, change).await?;
            Ok(Outcome::Done(None))
        }
        Command::Session(command) => {
            let rows = run_command(services, command).await?;
            Ok(rows.map_or(Outcome::Done(None), Outcome::Rows))
        }
    }
}

/// Runs a DDL statement, which creates or drops a table or view.
async fn run_ddl(
    services: &Arc<Services>,
    ddl: DdlStatement,
    spelling: &HashMap<String, String>,
) -> Result<Outcome> {
    match ddl {
        DdlStatement::CreateExternalTable(create) => {
            create_external_table(services, &create).await?;
        }
        DdlStatement::CreateView(view) => create_view(services, &view, spelling)?,
        DdlStatement::CreateMemoryTable(create) => {
            create_memory_table(services, &create, spelling).await?;
        }
        // Unknown names are left to DataFusion, which reports them or honors IF EXISTS.
        DdlStatement::DropTable(drop) if services.tables.contains(drop.name.table()) => {
            drop_table(services, drop.name.table()).await?;
        }
        DdlStatement::DropView(drop) if services.tables.contains(drop.name.table()) => {
            services.tables.remove(drop.name.table());
            services.context.deregister_table(drop.name)?;
        }
        other => {
            let plan = LogicalPlan::Ddl(other);
            services.context.execute_logical_plan(plan).await?;
        }
    }
    Ok(Outcome::Done(None))
}

fn create_view(
    services: &Arc<Services>,
    view: &CreateView,
    spelling: &HashMap<String, String>,
) -> Result<()> {
    let frame = restore_spelling(services, view.input.as_ref().clone(), spelling)?;
    let on_existing = OnExisting::from_clauses(view.or_replace, false);
    keeps_existing(services, &view.name, on_existing)?;
    services.register_table(view.name.table(), frame.into_view(), None)
}

async fn create_memory_table(
    services: &Arc<Services>,
    create: &CreateMemoryTable,
    spelling: &HashMap<String, String>,
) -> Result<()> {
    let on_existing = OnExisting::from_clauses(create.or_replace, create.if_not_exists);
    if keeps_existing(services, &create.name, on_existing)? {
        return Ok(());
    }
    let frame = restore_spelling(services, create.input.as_ref().clone(), spelling)?;
    let table = Arc::new(materialize(frame).await?);
    services.register_table(create.name.table(), table, None)
}

/// Runs a DML statement. Only INSERT is supported.
async fn run_dml(services: &Arc<Services>, dml: &DmlStatement) -> Result<Outcome> {
    let WriteOp::Insert(op) = dml.op else {
        return Err(Error::Plan(format!(
            "{} is not supported: tables are folders of files; use INSERT OVERWRITE",
            dml.op
        )));
    };
    let (table, rows) = (dml.table_name.table(), dml.input.as_ref().clone());
    let replaced = match op {
        InsertOp::Append => Replaced::Nothing,
        InsertOp::Overwrite | InsertOp::Replace => Replaced::Table,
    };
    let summary = insert(services, table, replaced, rows).await?;
    Ok(Outcome::Done(Some(summary)))
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

/// Runs a query and returns its rows as an in-memory table.
async fn materialize(frame: DfDataFrame) -> Result<MemTable> {
    let schema = Arc::new(frame.schema().as_arrow().clone());
    Ok(MemTable::try_new(schema, vec![frame.collect().await?])?)
}

/// Returns plans as rows, each with its kind and its text, in the schema of EXPLAIN.
fn plan_rows(
    services: &Arc<Services>,
    schema: &Schema,
    plans: &[(&str, String)],
) -> Result<Outcome> {
    let kinds: StringArray = plans.iter().map(|(kind, _)| Some(*kind)).collect();
    let texts: StringArray = plans.iter().map(|(_, text)| Some(text.as_str())).collect();
    let columns = vec![Arc::new(kinds) as _, Arc::new(texts) as _];
    let batch = RecordBatch::try_new(Arc::new(schema.clone()), columns);
    let frame = services
        .context
        .read_batch(batch.map_err(DataFusionError::from)?)?;
    Ok(Outcome::Rows(DataFrame::new(Arc::clone(services), frame)))
}

/// Returns a query whose columns have the spelling of the data or of the statement's aliases.
fn restore_spelling(
    services: &Arc<Services>,
    plan: LogicalPlan,
    spelling: &HashMap<String, String>,
) -> Result<DfDataFrame> {
    services
        .tables
        .restore(DfDataFrame::new(services.context.state(), plan), spelling)
}

async fn create_external_table(
    services: &Arc<Services>,
    create: &CreateExternalTable,
) -> Result<()> {
    let on_existing = OnExisting::from_clauses(create.or_replace, create.if_not_exists);
    if keeps_existing(services, &create.name, on_existing)? {
        return Ok(());
    }
    let format = parse_format(&create.file_type)?;
    let path = create
        .locations
        .first()
        .ok_or_else(|| Error::Plan("CREATE EXTERNAL TABLE needs a LOCATION".to_owned()))?;
    let name = create.name.table();
    let mut source = default_source(name, path, format);
    // DataFusion's parser adds `format.` to the names of options.
    for (key, value) in &create.options {
        set_source_option(&mut source, key.trim_start_matches("format."), value)?;
    }
    let fields = create.schema.fields();
    if !fields.is_empty() {
        // Partition keys are included: their types are those of the statement, too.
        source.schema = Some(
            fields
                .iter()
                .map(|f| column_definition(f.name(), &whole_sql_type(f.data_type())))
                .collect::<Vec<_>>()
                .join(", "),
        );
    }
    let is_unwritten = !fields.is_empty()
        && count_files(&services.context, &source)
            .await
            .is_ok_and(|files| files.count == 0);
    let declared: SchemaRef = Arc::new(create.schema.as_arrow().clone());
    // No other program has written files yet, so values may have line breaks.
    source.multi_line |= is_unwritten;
    let files = TableFiles {
        source,
        partition_by: create.table_partition_cols.clone(),
        ownership: Ownership::External,
    };
    let provider = match open(&services.context, &files.source).await {
        Ok(provider) => reorder_columns(&declared, provider)?,
        // The table has no files yet: the first INSERT creates its folder.
        Err(_) if is_unwritten => Arc::new(MemTable::try_new(declared, vec![vec![]])?),
        Err(error) => return Err(error),
    };
    services.register_table(name, provider, Some(files))
}

/// Runs COPY TO: writes the rows of a query to a folder.
async fn copy_to(
    services: &Arc<Services>,
    copy: &CopyTo,
    spelling: &HashMap<String, String>,
) -> Result<WriteSummary> {
    let frame = restore_spelling(services, copy.input.as_ref().clone(), spelling)?;
    let format = parse_format(&copy.file_type.get_ext())?;
    let mut target = Write {
        format,
        partition_by: copy.partition_by.clone(),
        ..Write::to(&copy.output_url)
    };
    for (key, value) in &copy.options {
        set_write_option(&mut target, key.trim_start_matches("format."), value)?;
    }
    write(
        services,
        frame,
        &target,
        format!("copy to {}", copy.output_url),
    )
    .await
}
