//! Writing a result: sinks in the tasks, one commit in the driver.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::Column;
use datafusion::dataframe::DataFrame as DfDataFrame;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{Expr, cast};
use faisca_executor::wire::SinkSpec;
use faisca_planner::manifest::{CatalogKind, Compression, FileFormat, SaveMode, Write};
use faisca_planner::names::parse_bytes;
use faisca_planner::{StageGraph, StageOutput};

use futures::FutureExt;
use tokio::task::JoinSet;

use crate::catalog::{PlannedTable, storage_type};
use crate::cluster::Prepared;
use crate::commit::OutputWrite;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::session::SessionInner;

/// A file is closed once it is about this large, unless the write says otherwise.
const TARGET_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// Bytes of randomness that make a write's files its own.
const TAG_BYTES: usize = 6;

/// Abandoned writes have so long to give up their uploads.
const ABORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes of this process that are being given up: their futures are gone, and nobody else waits for them.
static ABANDONED: LazyLock<Mutex<JoinSet<()>>> = LazyLock::new(Mutex::default);

/// What a write left behind.
#[derive(Debug, Clone, Default)]
pub struct WriteSummary {
    /// The folder.
    pub path: String,
    /// Rows written.
    pub rows: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Files.
    pub files: usize,
    /// Task attempts beyond the first.
    pub retried: u32,
    /// How long it took, planning included.
    pub elapsed: Duration,
    /// Nothing was written, since something was there and the mode is `ignore`.
    pub skipped: bool,
}

/// Runs `frame` into the folder that `write` names, and registers it as a table if asked to.
///
/// # Errors
/// Of planning, of any task, of the commit or the catalog. Up to the commit the folder is as it was.
pub(crate) async fn write(session: &Arc<SessionInner>, frame: DfDataFrame, write: &Write, label: String) -> Result<WriteSummary> {
    let summary = written(session, frame, write, &label).await?;
    session.cluster.engine.progress.wrote(&label, &summary);
    Ok(summary)
}

async fn written(session: &Arc<SessionInner>, frame: DfDataFrame, write: &Write, label: &str) -> Result<WriteSummary> {
    let started = Instant::now();
    check_columns(&frame, write)?;
    let planned = match &write.catalog {
        Some(asked) => Some(PlannedTable::plan(&session.catalogs, asked, label, frame.schema().as_arrow(), write).boxed().await?),
        None => None,
    };
    let skipped = || WriteSummary { path: write.path.clone(), skipped: true, ..WriteSummary::default() };
    if planned.as_ref().is_some_and(|planned| planned.present.is_some()) {
        match write.mode {
            SaveMode::ErrorIfExists => {
                return Err(Error::Write("catalog: the table exists; set write.mode to overwrite, append or ignore".to_owned()));
            }
            SaveMode::Ignore => return Ok(skipped()),
            SaveMode::Overwrite | SaveMode::Append => {}
        }
    }
    let frame = if planned.is_some() { storable(frame)? } else { frame };
    let (state, plan) = frame.into_parts();
    let plan = state.optimize(&plan)?;
    let graph = Arc::new(crate::planner::stages(&plan, StageOutput::Sink, &state).await?);
    let tag = crate::session::random_hex(TAG_BYTES)?;
    let Some(output) = OutputWrite::begin(write, tag, &session.object_stores, &session.catalogs).boxed().await? else { return Ok(skipped()) };
    let mut open = OpenWrite { session: Arc::clone(session), output: Some(output) };
    let summary = run(&mut open, &graph, &state, write, planned, label.to_owned()).boxed().await?;
    Ok(WriteSummary { elapsed: started.elapsed(), ..summary })
}

async fn run(
    open: &mut OpenWrite,
    graph: &Arc<StageGraph>,
    state: &SessionState,
    write: &Write,
    planned: Option<PlannedTable>,
    label: String,
) -> Result<WriteSummary> {
    let Some(output) = &mut open.output else { return Err(Error::Cancelled) };
    let location = output.location();
    let on_store = matches!(output, OutputWrite::Object(_));
    let layout = match &planned {
        Some(planned) if planned.registration.kind == CatalogKind::Glue && !on_store => {
            let what = format!("{} is a folder of this machine; write to an object store, or set catalog.type to local", write.path);
            return Err(Error::Write(format!("catalog {}: {what}", planned.registration.database)));
        }
        Some(planned) if on_store => Layout::plan(write, &location, planned, &output.tag())?,
        _ => Layout::default(),
    };
    let describes = planned.is_some() && describes_columns(write);
    let sink = SinkSpec { statistics: describes, ..sink_spec(write, output, &layout)? };
    let prepared = Prepared::new(Arc::clone(graph), Some(sink), state.config_options())?;
    let (_running, done) = open.session.cluster.run(&prepared, label).await?;
    if let Some(mut planned) = planned {
        if describes {
            planned.registration.describe(&columns_of(graph), &done.statistics)?;
        }
        output.register(layout.registration(write, &location, planned.registration, &done.files));
    }
    output.commit(&done.files).boxed().await?;
    open.output = None;
    Ok(WriteSummary {
        path: location.trim_end_matches('/').to_owned(),
        rows: done.files.iter().map(|f| f.rows).sum(),
        bytes: done.files.iter().map(|f| f.bytes).sum(),
        files: done.files.len(),
        retried: done.retried,
        elapsed: Duration::ZERO,
        skipped: false,
    })
}

/// Whether the figures of this write are those of the whole table.
fn describes_columns(write: &Write) -> bool {
    let asked = write.catalog.as_ref().is_some_and(|catalog| catalog.column_statistics);
    asked && write.mode == SaveMode::Overwrite && write.partition_by.is_empty()
}

/// Columns of the root's rows, as the sink sees them.
fn columns_of(graph: &StageGraph) -> SchemaRef {
    graph.stages.last().map_or_else(|| Arc::new(Schema::empty()), |root| root.plan.schema())
}

/// Gives its output up when it is dropped: by a failure, or since the job was cancelled.
struct OpenWrite {
    session: Arc<SessionInner>,
    output: Option<OutputWrite>,
}

impl Drop for OpenWrite {
    fn drop(&mut self) {
        let Some(output) = self.output.take() else { return };
        if matches!(output, OutputWrite::Object(_)) && tokio::runtime::Handle::try_current().is_ok() {
            let mut abandoned = ABANDONED.lock().unwrap_or_else(PoisonError::into_inner);
            while abandoned.try_join_next().is_some() {}
            abandoned.spawn(output.abort());
        }
    }
}

/// Waits until writes that failed or were cancelled have given up their uploads.
pub async fn end_abandoned_writes() {
    let mut abandoned = std::mem::take(&mut *ABANDONED.lock().unwrap_or_else(PoisonError::into_inner));
    // What is left then, `faisca clean` finds.
    let _ = tokio::time::timeout(ABORT_TIMEOUT, async { while abandoned.join_next().await.is_some() {} }).await;
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
        Some(text) => parse_bytes(text).ok_or_else(|| Error::Write(format!("targetFileSize: `{text}` is not a size, say 128Mi")))?,
        None => TARGET_FILE_BYTES,
    };
    let default = if write.format == FileFormat::Parquet { Compression::Snappy } else { Compression::None };
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
    let names: Vec<&str> = frame.schema().fields().iter().map(|f| f.name().as_str()).collect();
    if let Some((a, b)) = faisca_planner::names::clash(names.iter().copied()) {
        let what = if a == b { format!("two columns are named `{a}`") } else { format!("the columns `{a}` and `{b}` differ only by case") };
        return Err(Error::Write(format!("{what}; give one an alias")));
    }
    for column in &write.partition_by {
        if !names.iter().any(|name| name.eq_ignore_ascii_case(column)) {
            let near = faisca_planner::manifest::nearest(column, names.iter().copied());
            let help = near.map_or_else(|| format!("its columns are {}", names.join(", ")), |n| format!("did you mean `{n}`?"));
            return Err(Error::Write(format!("partitionBy: no column `{column}` in the result; {help}")));
        }
    }
    if !write.partition_by.is_empty() && write.partition_by.len() >= names.len() {
        return Err(Error::Write("partitionBy names every column: none would be left for the files".to_owned()));
    }
    if write.format != FileFormat::Parquet && matches!(write.compression, Some(Compression::Snappy | Compression::Lz4)) {
        return Err(Error::Write("text files take gzip, zstd or none as compression".to_owned()));
    }
    Ok(())
}
