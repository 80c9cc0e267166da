//! Writing a result: sinks in the tasks, one commit in the driver.

use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::SchemaRef;
use datafusion::common::Column;
use datafusion::dataframe::DataFrame as DfDataFrame;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, cast};
use faisca_executor::protocol::SinkSpec;
use faisca_planner::manifest::{CatalogKind, Compression, FileFormat, SaveMode, Write};
use faisca_planner::names::parse_bytes;
use futures::FutureExt;

use crate::catalog::{PlannedTable, storage_type};
use crate::engine::prepared::PreparedQuery;
use crate::engine::progress::WriteSummary;
use crate::error::{Error, Result, did_you_mean};
use crate::output::commit::OutputWrite;
use crate::output::layout::Layout;
use crate::output::save_mode::{SaveDecision, decide};
use crate::scheduler::{QueryOutput, SinkOutput};
use crate::services::Services;
use crate::statement::{RunningQuery, stages_of_writes};

/// A file is closed once it is about this large, unless the write says otherwise.
const TARGET_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// Bytes of randomness that make a write's files its own.
const TAG_BYTES: usize = 6;

/// A write whose query is planned, up to its stages.
pub(crate) struct PlannedWrite<'a> {
    write: &'a Write,
    label: String,
    table: Option<PlannedTable>,
    state: SessionState,
    /// Optimised.
    pub(crate) plan: LogicalPlan,
    started: Instant,
}

/// The failure of writes that ran together.
#[derive(Debug)]
pub(crate) struct WriteError {
    /// Number of the write that failed; `None` if the failure concerns all of them.
    pub(crate) write: Option<usize>,
    pub(crate) error: Error,
}

impl WriteError {
    fn of_write(number: usize, error: Error) -> Self {
        Self {
            write: Some(number),
            error,
        }
    }

    fn of_all(error: Error) -> Self {
        Self { write: None, error }
    }
}

/// Runs `frame` into the folder that `write` names, and registers it as a table if asked to.
///
/// # Errors
/// Of planning, of any task, of the commit or the catalog. Up to the commit the folder is as it was.
pub(crate) async fn write(
    services: &Arc<Services>,
    frame: DfDataFrame,
    write: &Write,
    label: String,
) -> Result<WriteSummary> {
    let Some(planned) = PlannedWrite::plan(services, frame, write, label)
        .boxed()
        .await?
    else {
        return Ok(skipped(write));
    };
    let summaries = write_together(services, vec![planned])
        .boxed()
        .await
        .map_err(|failed| failed.error)?;
    Ok(summaries
        .into_iter()
        .next()
        .unwrap_or_else(|| skipped(write)))
}

/// Of a write that found something there, and leaves it.
pub(crate) fn skipped(write: &Write) -> WriteSummary {
    WriteSummary {
        path: write.path.clone(),
        skipped: true,
        ..WriteSummary::default()
    }
}

impl<'a> PlannedWrite<'a> {
    /// `None` if the mode says that there is nothing to do.
    ///
    /// # Errors
    /// If it cannot be planned, or the catalog does not allow it.
    pub(crate) async fn plan(
        services: &Arc<Services>,
        frame: DfDataFrame,
        write: &'a Write,
        label: String,
    ) -> Result<Option<Self>> {
        let started = Instant::now();
        check_columns(&frame, write)?;
        let table = match &write.catalog {
            Some(asked) => Some(
                PlannedTable::plan(
                    &services.catalogs,
                    asked,
                    &label,
                    frame.schema().as_arrow(),
                    write,
                )
                .boxed()
                .await?,
            ),
            None => None,
        };
        let exists = table.as_ref().is_some_and(|table| table.present.is_some());
        if decide(write.mode, exists, "catalog: the table exists")? == SaveDecision::Skip {
            return Ok(None);
        }
        let frame = if table.is_some() {
            storable(frame)?
        } else {
            frame
        };
        let (state, plan) = frame.into_parts();
        let plan = state.optimize(&plan)?;
        Ok(Some(Self {
            write,
            label,
            table,
            state,
            plan,
            started,
        }))
    }

    /// Begins the output; `None` if the mode says that there is nothing to do.
    async fn open(self, services: &Arc<Services>) -> Result<Option<OpenWrite<'a>>> {
        let tag = crate::random::random_hex(TAG_BYTES)?;
        let Some(output) =
            OutputWrite::begin(self.write, tag, &services.object_stores, &services.catalogs)
                .boxed()
                .await?
        else {
            return Ok(None);
        };
        let on_store = matches!(output, OutputWrite::Object(_));
        let location = output.location();
        let layout = match &self.table {
            Some(planned) if planned.registration.kind == CatalogKind::Glue && !on_store => {
                let what = format!(
                    "{} is a folder of this machine; write to an object store, or set catalog.type to local",
                    self.write.path
                );
                return Err(Error::Write(format!(
                    "catalog {}: {what}",
                    planned.registration.database
                )));
            }
            Some(planned) if on_store => {
                Layout::plan(self.write, &location, planned, &output.tag())?
            }
            _ => Layout::default(),
        };
        Ok(Some(OpenWrite {
            services: Arc::clone(services),
            planned: self,
            layout,
            output: Some(output),
        }))
    }

    fn describes_columns(&self) -> bool {
        self.table.is_some() && describes_columns(self.write)
    }
}

/// Runs writes as one query, then makes the output of each visible.
///
/// # Errors
/// If a write cannot be planned, a task fails, or a commit or the catalog fails. Up to its commit
/// an output is unchanged; the outputs of earlier writes stay visible.
pub(crate) async fn write_together(
    services: &Arc<Services>,
    planned: Vec<PlannedWrite<'_>>,
) -> std::result::Result<Vec<WriteSummary>, WriteError> {
    let mut summaries: Vec<WriteSummary> = planned
        .iter()
        .map(|planned| skipped(planned.write))
        .collect();
    let mut open = vec![];
    for (number, planned) in planned.into_iter().enumerate() {
        let opened = planned.open(services).boxed().await;
        let opened = opened.map_err(|error| WriteError::of_write(number, error))?;
        open.extend(opened.map(|write| (number, write)));
    }
    if open.is_empty() {
        return Ok(summaries);
    }
    // Holds the blocks of the query until everything is committed.
    let written = run_sinks(services, &open)
        .boxed()
        .await
        .map_err(WriteError::of_all)?;
    let outputs = written.output.writes.iter().zip(&written.schemas);
    for ((number, mut write), (files, schema)) in open.into_iter().zip(outputs) {
        let committed = write.commit(files, schema).boxed().await;
        let summary = committed.map_err(|error| WriteError::of_write(number, error))?;
        summaries[number] = WriteSummary {
            retried: written.output.retried,
            ..summary
        };
        let progress = &services.cluster.engine.progress;
        progress.wrote(&write.planned.label, &summaries[number]);
    }
    Ok(summaries)
}

/// The files of a finished query, not visible yet.
struct WrittenFiles {
    _running: RunningQuery,
    output: QueryOutput,
    /// Schema of the rows of each write, as its sink saw them.
    schemas: Vec<SchemaRef>,
}

/// Runs the sinks of opened writes as one query.
async fn run_sinks(
    services: &Arc<Services>,
    open: &[(usize, OpenWrite<'_>)],
) -> Result<WrittenFiles> {
    let writes = || open.iter().map(|(_, write)| write);
    let state = writes()
        .map(|write| &write.planned.state)
        .next()
        .ok_or(Error::Cancelled)?;
    let plans: Vec<LogicalPlan> = writes().map(|write| write.planned.plan.clone()).collect();
    let graph = Arc::new(stages_of_writes(&plans, state).boxed().await?);
    let sinks = writes().map(OpenWrite::sink).collect::<Result<_>>()?;
    let prepared = PreparedQuery::new(Arc::clone(&graph), sinks, state.config_options())?;
    let labels: Vec<&str> = writes().map(|write| write.planned.label.as_str()).collect();
    let run = services.cluster.run(&prepared, labels.join(" + "));
    let (running, output) = run.boxed().await?;
    Ok(WrittenFiles {
        _running: running,
        output,
        schemas: graph.roots().map(|root| root.plan.schema()).collect(),
    })
}

/// Whether the figures of this write are those of the whole table.
fn describes_columns(write: &Write) -> bool {
    let asked = write
        .catalog
        .as_ref()
        .is_some_and(|catalog| catalog.column_statistics);
    asked && write.mode == SaveMode::Overwrite && write.partition_by.is_empty()
}

/// Aborts the write when dropped, whether by an error or by cancellation.
struct OpenWrite<'a> {
    services: Arc<Services>,
    planned: PlannedWrite<'a>,
    layout: Layout,
    /// Until it is committed.
    output: Option<OutputWrite>,
}

impl OpenWrite<'_> {
    fn sink(&self) -> Result<SinkSpec> {
        let output = self.output.as_ref().ok_or(Error::Cancelled)?;
        Ok(SinkSpec {
            statistics: self.planned.describes_columns(),
            ..sink_spec(self.planned.write, output, &self.layout)?
        })
    }

    /// `schema` is that of the rows as the sink saw them.
    async fn commit(&mut self, written: &SinkOutput, schema: &SchemaRef) -> Result<WriteSummary> {
        let output = self.output.as_mut().ok_or(Error::Cancelled)?;
        let location = output.location();
        let describes = self.planned.describes_columns();
        if let Some(mut table) = self.planned.table.take() {
            if describes {
                table.registration.describe(schema, &written.statistics)?;
            }
            output.register(self.layout.registration(
                self.planned.write,
                &location,
                table.registration,
                &written.files,
            ));
        }
        output.commit(&written.files).boxed().await?;
        self.output = None;
        Ok(WriteSummary {
            path: location.trim_end_matches('/').to_owned(),
            rows: written.files.iter().map(|f| f.rows).sum(),
            bytes: written.files.iter().map(|f| f.bytes).sum(),
            files: written.files.len(),
            retried: 0,
            elapsed: self.planned.started.elapsed(),
            skipped: false,
        })
    }
}

impl Drop for OpenWrite<'_> {
    fn drop(&mut self) {
        // A local write leaves only a staging folder, which it removes when it is dropped.
        if let Some(output @ OutputWrite::Object(_)) = self.output.take() {
            self.services.abandoned_writes.spawn(output.abort());
        }
    }
}

/// The frame with columns of types that Athena reads.
fn storable(frame: DfDataFrame) -> Result<DfDataFrame> {
    let columns = frame.schema().iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        match storage_type(field.data_type()) {
            Some(stored) => cast(column, stored).alias(field.name()),
            None => column,
        }
    });
    let columns: Vec<Expr> = columns.collect();
    Ok(frame.select(columns)?)
}

fn sink_spec(write: &Write, output: &OutputWrite, layout: &Layout) -> Result<SinkSpec> {
    let target_file_bytes = match &write.target_file_size {
        Some(text) => parse_bytes(text).ok_or_else(|| {
            Error::Write(format!("targetFileSize: `{text}` is not a size, say 128Mi"))
        })?,
        None => TARGET_FILE_BYTES,
    };
    let default = if write.format == FileFormat::Parquet {
        Compression::Snappy
    } else {
        Compression::None
    };
    Ok(SinkSpec {
        folder: output.url(),
        subfolder: layout.subfolder.clone(),
        subfolders: layout.subfolders.clone(),
        format: write.format,
        compression: write.compression.unwrap_or(default),
        partition_by: write.partition_by.clone(),
        target_file_bytes,
        tag: output.tag(),
        statistics: false,
    })
}

/// Mistakes that would show only after the work is done.
fn check_columns(frame: &DfDataFrame, write: &Write) -> Result<()> {
    let names: Vec<&str> = frame
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().as_str())
        .collect();
    if let Some((a, b)) = faisca_planner::names::clash(names.iter().copied()) {
        let what = if a == b {
            format!("two columns are named `{a}`")
        } else {
            format!("the columns `{a}` and `{b}` differ only by case")
        };
        return Err(Error::Write(format!("{what}; give one an alias")));
    }
    for column in &write.partition_by {
        if !names.iter().any(|name| name.eq_ignore_ascii_case(column)) {
            let help = did_you_mean(column, names.iter().copied(), "its columns are");
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
