//! Writing a result: sinks in the tasks, one commit in the driver.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::dataframe::DataFrame as DfDataFrame;
use faisca_executor::wire::SinkSpec;
use faisca_planner::StageOutput;
use faisca_planner::manifest::{Compression, FileFormat, Write};
use faisca_planner::names::parse_bytes;

use crate::cluster::Prepared;
use crate::commit::{Begin, LocalWrite};
use crate::error::{Error, Result};
use crate::session::SessionInner;

/// A file is closed once it is about this large, unless the write says otherwise.
const TARGET_FILE_BYTES: u64 = 256 * 1024 * 1024;

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

/// Runs `frame` into the folder that `write` names.
///
/// # Errors
/// Of planning, of any task, or of the commit. The folder then is as it was.
pub(crate) async fn write(session: &Arc<SessionInner>, frame: DfDataFrame, write: &Write, label: String) -> Result<WriteSummary> {
    let started = Instant::now();
    check_columns(&frame, write)?;
    let (state, plan) = frame.into_parts();
    let plan = state.optimize(&plan)?;
    let graph = crate::planner::stages(&plan, StageOutput::Sink, &state).await?;
    let local = match LocalWrite::begin(&write.path, write.mode)? {
        Begin::Go(local) => local,
        Begin::Skip => return Ok(WriteSummary { path: write.path.clone(), skipped: true, ..WriteSummary::default() }),
    };
    let prepared = Prepared::new(&graph, Some(&sink_spec(write, &local)?), state.config_options())?;
    let (_running, output) = session.cluster.run(&prepared, label).await?;
    let path = local.target().display().to_string();
    // Renames and links of a few files; cancelling in the middle of it must not be possible.
    local.commit(&output.files)?;
    Ok(WriteSummary {
        path,
        rows: output.files.iter().map(|f| f.rows).sum(),
        bytes: output.files.iter().map(|f| f.bytes).sum(),
        files: output.files.len(),
        retried: output.retried,
        elapsed: started.elapsed(),
        skipped: false,
    })
}

fn sink_spec(write: &Write, local: &LocalWrite) -> Result<SinkSpec> {
    let target_file_bytes = match &write.target_file_size {
        Some(text) => parse_bytes(text).ok_or_else(|| Error::Write(format!("targetFileSize: `{text}` is not a size, say 128Mi")))?,
        None => TARGET_FILE_BYTES,
    };
    let default = if write.format == FileFormat::Parquet { Compression::Snappy } else { Compression::None };
    Ok(SinkSpec {
        staging: local.staging_url(),
        format: write.format,
        compression: write.compression.unwrap_or(default),
        partition_by: write.partition_by.clone(),
        target_file_bytes,
        tag: local.tag(),
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
