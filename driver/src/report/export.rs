//! A run in the formats of other tools, made from its journal alone.
//!
//! - `spark_events`, `spark_stages`, `spark_plan`, `timeline`: Spark's event log, for a Spark
//!   history server
//! - `trace`: Chrome's trace format, for Perfetto
//! - `lineage`, `datasets`, `facet`: OpenLineage events

mod datasets;
mod facet;
mod lineage;
mod spark_events;
mod spark_plan;
mod spark_stages;
mod timeline;
mod trace;

use super::run::Run;
use crate::journal::RecordedRun;

/// A format of another tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// Spark's event log: a JSON object on each line. A history server finds the application by the
    /// id in it, whatever the name of the file.
    SparkEvents,
    /// Chrome's trace format, one JSON object.
    Trace,
    /// OpenLineage events: a JSON object on each line, of the job first and of its steps then.
    OpenLineage,
}

/// Converts a run into the format of another tool.
///
/// ```no_run
/// use faisca_driver::report::{ExportFormat, export};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let run = faisca_driver::journal::read(&std::fs::read_to_string("run.jsonl")?)?;
/// std::fs::write("trace.json", export(&run, ExportFormat::Trace))?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn export(recorded: &RecordedRun, format: ExportFormat) -> String {
    let run = Run::new(recorded);
    match format {
        ExportFormat::SparkEvents => spark_events::spark_events(&run),
        ExportFormat::Trace => trace::trace(&run),
        ExportFormat::OpenLineage => lineage::lineage(&run),
    }
}
