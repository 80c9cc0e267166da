//! Runs a query and writes its result: sinks in the tasks, one commit in the driver.
//!
//! ```text
//! plan ─► begin the output ─► tasks run the sinks ─► commit the files ─► register the table
//! ```
//!
//! Everything that can be checked without running the query is checked first. Several writes can
//! run as one query, so that they share stages; each still has its own commit.

use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::SchemaRef;
use datafusion::dataframe::DataFrame as DfDataFrame;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use faisca_executor::formats::csv::CsvReadOptions;
use faisca_executor::protocol::{EmptyOutput, PendingFile, SinkSpec};
use faisca_planner::manifest::{
    CatalogKind, Compression, FileFormat, PartitionOverwrite, SaveMode, Source, TextCompression,
    Write,
};
use faisca_planner::names::parse_bytes;
use faisca_planner::stack::on_large_stack;
use futures::FutureExt;

use crate::catalog::PlannedTable;
use crate::engine::prepared::PreparedQuery;
use crate::engine::progress::{SkipReason, WriteSummary};
use crate::error::{Error, Result};
use crate::input::formats::csv_options;
use crate::input::source::written_source;
use crate::output::append::check_append;
use crate::output::columns::{cast_columns, cast_to_stored_types, check_columns};
use crate::output::commit::{Begun, OutputWrite};
use crate::output::layout::{Layout, Storage};
use crate::output::save_mode::{SaveDecision, decide};
use crate::scheduler::{QueryOutput, SinkOutput};
use crate::services::Services;
use crate::stack::plan_on_large_stack;
use crate::statement::{RunningQuery, stages_of_writes};
use crate::write_identity::{CommittedWrite, WriteId};

/// Default size in bytes at which a sink closes a file.
const TARGET_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// Number of random bytes in the tag of a write, which makes the names of its files unique.
const TAG_BYTES: usize = 6;

/// A write that is checked and has a logical plan. Nothing has been written.
pub(crate) struct PlannedWrite<'a> {
    write: &'a Write,
    /// Name of the write, for progress and errors.
    label: String,
    /// What the write is for later attempts of its run, if it has an identity.
    pub(crate) identity: Option<WriteId>,
    /// The table to register, if any.
    table: Option<PlannedTable>,
    /// How the files will be read, if they are CSV.
    csv: CsvReadOptions,
    state: SessionState,
    /// The optimized logical plan.
    pub(crate) plan: LogicalPlan,
    /// When planning began. The elapsed time that the user sees includes planning.
    started: Instant,
}

/// The failure of one or more writes that ran together.
#[derive(Debug)]
pub(crate) struct WriteError {
    /// Index of the write that failed, or `None` if the failure concerns all writes.
    pub(crate) write: Option<usize>,
    /// The cause.
    pub(crate) error: Error,
}

impl WriteError {
    fn in_write(number: usize, error: Error) -> Self {
        Self {
            write: Some(number),
            error,
        }
    }

    fn in_all(error: Error) -> Self {
        Self { write: None, error }
    }
}

/// Writes the rows of `frame` to the folder that `write` names, and registers them as a table if
/// `write` has a catalog. `label` names the write in the progress of the query.
///
/// # Errors
/// Returns an error if planning, a task, the commit or the catalog fails. The folder is unchanged
/// until the commit.
pub(crate) async fn write(
    services: &Arc<Services>,
    frame: DfDataFrame,
    write: &Write,
    label: String,
) -> Result<WriteSummary> {
    let planned = PlannedWrite::plan(services, frame, write, label)
        .boxed()
        .await?;
    run(services, planned, write).await
}

/// Runs a planned write. `None` is a write that has nothing to do.
///
/// # Errors
/// Same as [`write`].
pub(crate) async fn run(
    services: &Arc<Services>,
    planned: Option<PlannedWrite<'_>>,
    write: &Write,
) -> Result<WriteSummary> {
    let Some(planned) = planned else {
        return Ok(skip_write(write));
    };
    let summaries = write_together(services, vec![planned])
        .boxed()
        .await
        .map_err(|failed| failed.error)?;
    Ok(summaries
        .into_iter()
        .next()
        .unwrap_or_else(|| skip_write(write)))
}

/// Checks the columns of a write. Nothing is planned or written.
///
/// # Errors
/// Returns an error if a name or a type does not fit the write, or the files that it keeps.
pub(crate) async fn check(
    services: &Arc<Services>,
    frame: DfDataFrame,
    write: &Write,
) -> Result<()> {
    check_columns(&frame, write)?;
    let read_as = written_source("", &write.path, write.format);
    fit_columns(services, frame, write, &read_as, &[])
        .await
        .map(drop)
}

/// Casts columns to the types that the files store, and compares them with the files that stay.
/// Partition keys get the spelling of `key_names`.
async fn fit_columns(
    services: &Arc<Services>,
    frame: DfDataFrame,
    write: &Write,
    read_as: &Source,
    key_names: &[String],
) -> Result<DfDataFrame> {
    let frame = cast_to_stored_types(frame, write, key_names)?;
    let columns = frame.schema().as_arrow();
    let wider = check_append(&services.context, columns, write, read_as)
        .boxed()
        .await?;
    cast_columns(frame, &wider)
}

/// Skips a write whose target exists already. Returns its summary.
pub(crate) fn skip_write(write: &Write) -> WriteSummary {
    WriteSummary {
        path: write.path.clone(),
        skipped: Some(SkipReason::OutputExists),
        ..WriteSummary::default()
    }
}

/// Returns the summary of a write that an earlier attempt of the run has committed.
fn resumed_summary(path: String, committed: &CommittedWrite) -> WriteSummary {
    WriteSummary {
        path,
        rows: committed.rows,
        bytes: committed.bytes,
        files: usize::try_from(committed.files).unwrap_or(usize::MAX),
        skipped: Some(SkipReason::CommittedBefore),
        ..WriteSummary::default()
    }
}

/// Returns the summary of a write that an earlier attempt of the run has committed; `None` if it
/// has to run.
///
/// # Errors
/// If the output cannot be read, or a commit in it cannot be finished.
pub(crate) async fn find_committed(
    services: &Arc<Services>,
    write: &Write,
    step: &str,
    id: &WriteId,
) -> Result<Option<WriteSummary>> {
    let (stores, catalogs) = (&services.object_stores, &services.catalogs);
    let search = OutputWrite::find_committed(write, step, id, stores, catalogs);
    let summary = search
        .boxed()
        .await?
        .map(|committed| resumed_summary(write.path.clone(), &committed));
    if let Some(summary) = &summary {
        let progress = &services.cluster.engine.progress;
        progress.record_write(step, summary);
    }
    Ok(summary)
}

/// Returns the columns that a write stores, without running it.
///
/// # Errors
/// If a name or a type does not fit the write.
pub(crate) fn stored_columns(frame: DfDataFrame, write: &Write) -> Result<SchemaRef> {
    let frame = cast_to_stored_types(frame, write, &[])?;
    Ok(Arc::clone(frame.schema().inner()))
}

impl<'a> PlannedWrite<'a> {
    /// Checks and plans a write. Returns `None` if the target exists and the save mode is `ignore`.
    ///
    /// # Errors
    /// Returns an error if the query cannot be planned, or the result does not fit the write, the
    /// files that it keeps, the catalog or the save mode.
    pub(crate) async fn plan(
        services: &Arc<Services>,
        frame: DfDataFrame,
        write: &'a Write,
        label: String,
    ) -> Result<Option<Self>> {
        let read_as = written_source(&label, &write.path, write.format);
        Self::plan_for(services, frame, write, label, &read_as).await
    }

    /// Checks and plans a write whose files will be read with the options of `read_as`.
    ///
    /// # Errors
    /// Same as [`Self::plan`].
    pub(crate) async fn plan_for(
        services: &Arc<Services>,
        frame: DfDataFrame,
        write: &'a Write,
        label: String,
        read_as: &Source,
    ) -> Result<Option<Self>> {
        let started = Instant::now();
        check_columns(&frame, write)?;
        let table = match &write.catalog {
            Some(target) => Some(
                PlannedTable::plan(
                    &services.catalogs,
                    target,
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
        let key_names = table.as_ref().map(|table| table.key_names.as_slice());
        let key_names = key_names.unwrap_or_default();
        let frame = fit_columns(services, frame, write, read_as, key_names).await?;
        let (state, plan) = frame.into_parts();
        let plan = on_large_stack(|| state.optimize(&plan))?;
        Ok(Some(Self {
            write,
            label,
            identity: None,
            table,
            csv: csv_options(read_as, TextCompression::None)?,
            state,
            plan,
            started,
        }))
    }

    /// Begins the output, unless there is nothing to do.
    ///
    /// # Errors
    /// If the output cannot be begun, or the present table is at another location.
    async fn open(mut self, services: &Arc<Services>) -> Result<Begun<OpenWrite<'a>>> {
        let tag = crate::random::random_hex(TAG_BYTES)?;
        let (stores, catalogs) = (&services.object_stores, &services.catalogs);
        let table = self.table.as_ref().map(|planned| &planned.registration);
        let identity = self.identity.take();
        let begun = OutputWrite::begin(self.write, tag, identity, stores, catalogs, table);
        let output = match begun.boxed().await? {
            Begun::Write(output) => output,
            Begun::Exists => return Ok(Begun::Exists),
            Begun::Committed(committed) => return Ok(Begun::Committed(committed)),
        };
        let on_store = matches!(output, OutputWrite::Object(_));
        let location = output.location();
        let storage = if on_store {
            Storage::Objects
        } else {
            Storage::Local
        };
        let layout = match &self.table {
            // Athena could not read the files. Dropping `output` removes the staging folder.
            Some(planned) if planned.registration.kind == CatalogKind::Glue && !on_store => {
                return Err(Error::Write(format!(
                    "catalog {}: {} is a local folder, which readers of Glue cannot reach; write to an \
                     object store, or set catalog.type to local",
                    planned.registration.database, self.write.path
                )));
            }
            Some(planned) => Layout::plan(self.write, &location, planned, &output.tag(), storage)?,
            None => Layout::default(),
        };
        Ok(Begun::Write(OpenWrite {
            services: Arc::clone(services),
            planned: self,
            layout,
            output: Some(output),
        }))
    }

    /// Returns true if the sinks collect column statistics for the catalog.
    fn describes_columns(&self) -> bool {
        self.table.is_some() && describes_columns(self.write)
    }
}

/// Runs several writes as one query, then commits them one after the other. Returns one summary for
/// each write, in the order of `planned`.
///
/// # Errors
/// Returns an error if a write cannot begin, a task fails, or a commit or the catalog fails. An
/// output is unchanged until its own commit; the outputs of earlier writes stay visible.
pub(crate) async fn write_together(
    services: &Arc<Services>,
    planned: Vec<PlannedWrite<'_>>,
) -> std::result::Result<Vec<WriteSummary>, WriteError> {
    let mut summaries = vec![];
    let mut open = vec![];
    for (number, planned) in planned.into_iter().enumerate() {
        // A write that turns out to have nothing to do keeps this summary.
        let mut summary = skip_write(planned.write);
        let opened = planned.open(services).boxed().await;
        match opened.map_err(|error| WriteError::in_write(number, error))? {
            Begun::Write(write) => open.push((number, write)),
            Begun::Exists => {}
            Begun::Committed(committed) => summary = resumed_summary(summary.path, &committed),
        }
        summaries.push(summary);
    }
    if open.is_empty() {
        return Ok(summaries);
    }
    // Keeps the blocks of the query until everything is committed.
    let written = run_sinks(services, &open)
        .boxed()
        .await
        .map_err(WriteError::in_all)?;
    let outputs = written.output.writes.iter().zip(&written.schemas);
    for ((number, mut write), (files, schema)) in open.into_iter().zip(outputs) {
        let committed = write.commit(files, schema).boxed().await;
        let summary = committed.map_err(|error| WriteError::in_write(number, error))?;
        summaries[number] = WriteSummary {
            retried: written.output.retried,
            ..summary
        };
        let progress = &services.cluster.engine.progress;
        progress.record_write(&write.planned.label, &summaries[number]);
    }
    Ok(summaries)
}

/// The files that a finished query wrote. They are not visible yet.
struct WrittenFiles {
    /// Never read: the blocks of the query are released when it is dropped.
    _running: RunningQuery,
    output: QueryOutput,
    /// Schema of the rows of each write, as the sink received them.
    schemas: Vec<SchemaRef>,
}

/// Runs the sinks of several writes as one query.
///
/// # Errors
/// Returns an error if the query cannot be planned, or a task fails.
async fn run_sinks(
    services: &Arc<Services>,
    open: &[(usize, OpenWrite<'_>)],
) -> Result<WrittenFiles> {
    let writes = || open.iter().map(|(_, write)| write);
    // All writes come from one session, so any of their states will do.
    let state = writes()
        .map(|write| &write.planned.state)
        .next()
        .ok_or(Error::Cancelled)?;
    let plans: Vec<LogicalPlan> = writes().map(|write| write.planned.plan.clone()).collect();
    let graph = Arc::new(
        plan_on_large_stack(stages_of_writes(&plans, state))
            .boxed()
            .await?,
    );
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

/// Returns true if column statistics are requested, and this write has all rows of the table. An
/// append knows only the rows that it adds; tables with partitions get no statistics.
fn describes_columns(write: &Write) -> bool {
    let is_requested = write
        .catalog
        .as_ref()
        .is_some_and(|catalog| catalog.column_statistics);
    is_requested && write.mode == SaveMode::Overwrite && write.partition_by.is_empty()
}

/// A write whose output has begun. It aborts the output when it is dropped before its commit, after
/// an error or a cancellation.
struct OpenWrite<'a> {
    services: Arc<Services>,
    planned: PlannedWrite<'a>,
    layout: Layout,
    /// `None` once it is committed.
    output: Option<OutputWrite>,
}

impl OpenWrite<'_> {
    /// Describes the sink that tasks run for this write.
    fn sink(&self) -> Result<SinkSpec> {
        let output = self.output.as_ref().ok_or(Error::Cancelled)?;
        Ok(SinkSpec {
            computes_statistics: self.planned.describes_columns(),
            csv: Box::new(self.planned.csv.clone()),
            partition_by: match &self.planned.table {
                Some(table) => table.key_names.clone(),
                None => self.planned.write.partition_by.clone(),
            },
            ..sink_spec(self.planned.write, output, &self.layout)?
        })
    }

    /// Registers the table with the output and commits the output. `schema` is that of the rows as
    /// the sink received them.
    ///
    /// # Errors
    /// Returns an error if the statistics cannot be decoded, or the commit or the catalog fails.
    async fn commit(&mut self, written: &SinkOutput, schema: &SchemaRef) -> Result<WriteSummary> {
        let output = self.output.as_mut().ok_or(Error::Cancelled)?;
        let files = files_to_commit(&written.files, self.planned.write);
        let location = output.location();
        let describes = self.planned.describes_columns();
        if let Some(mut table) = self.planned.table.take() {
            if describes {
                table.registration.describe(schema, &written.statistics)?;
            }
            let registration =
                self.layout
                    .registration(self.planned.write, &location, table.registration, &files);
            output.register(registration, table.retention);
        }
        output.commit(&files).boxed().await?;
        // From here on, a drop must not abort the output.
        self.output = None;
        Ok(WriteSummary {
            path: location.trim_end_matches('/').to_owned(),
            rows: files.iter().map(|f| f.rows).sum(),
            bytes: files.iter().map(|f| f.bytes).sum(),
            files: files.len(),
            retried: 0,
            elapsed: self.planned.started.elapsed(),
            columns: Some(Arc::clone(schema)),
            skipped: None,
        })
    }
}

impl Drop for OpenWrite<'_> {
    fn drop(&mut self) {
        // A local write needs no abort: dropping it removes its staging folder. The uploads of an
        // object store need requests, for which `drop` cannot wait.
        if let Some(output @ OutputWrite::Object(_)) = self.output.take() {
            self.services.abandoned_writes.spawn(output.abort());
        }
    }
}

/// Describes the sink of a write, except for statistics and CSV options.
///
/// # Errors
/// Returns an error if `targetFileSize` is not a size.
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
        existing: layout.existing_paths(),
        format: write.format,
        compression: write.compression.unwrap_or(default),
        partition_by: write.partition_by.clone(),
        target_file_bytes,
        csv: Box::default(),
        tag: output.tag(),
        computes_statistics: false,
        empty: empty_output(write),
    })
}

/// Decides which file a write without rows creates. A partition without rows must not replace one
/// with rows, nor become a partition of a catalog table.
fn empty_output(write: &Write) -> EmptyOutput {
    let replaces_all = write.mode != SaveMode::Append
        && write.partition_overwrite == PartitionOverwrite::Static
        && write.catalog.is_none();
    match write.format {
        // An empty ndjson file would not contain the columns.
        FileFormat::Ndjson => EmptyOutput::Nothing,
        FileFormat::Parquet | FileFormat::Csv if write.partition_by.is_empty() || replaces_all => {
            EmptyOutput::SchemaFile
        }
        FileFormat::Parquet | FileFormat::Csv => EmptyOutput::Nothing,
    }
}

/// Returns the files to commit. In a partitioned output, a file without rows is left out if other
/// files have rows: the task that wrote it could not know about them.
fn files_to_commit(written: &[PendingFile], write: &Write) -> Vec<PendingFile> {
    let has_rows = written.iter().any(|file| file.rows > 0);
    let is_kept = |file: &&PendingFile| file.rows > 0 || !has_rows || write.partition_by.is_empty();
    written.iter().filter(is_kept).cloned().collect()
}
