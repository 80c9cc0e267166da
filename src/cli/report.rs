//! `faisca report JOURNAL`: a page or an export; and the page that `faisca run --report` writes.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use faisca::{Error, Result};
use faisca_driver::journal::RecordedRun;
use faisca_driver::report::ExportFormat;
use faisca_driver::{journal, report};
use tempfile::TempPath;

use super::show::print;

/// Setting of the journal's file.
const JOURNAL_SETTING: &str = "faisca.journal.path";

/// Flags of `faisca report`.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The journal of a run, as `faisca run --journal FILE` keeps it.
    journal: PathBuf,
    /// What to write: the page, or the run in a format of another tool.
    #[arg(long, value_enum, default_value_t = Format::Html)]
    format: Format,
    /// The file to write [default: the journal's name with the format's ending].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What a report is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A page that explains the run.
    Html,
    /// Spark's event log, for a Spark history server: the name of its file must have no dot.
    SparkEvents,
    /// Chrome's trace format, for ui.perfetto.dev.
    Trace,
    /// OpenLineage events, one on each line.
    Openlineage,
}

impl Format {
    /// Returns the file beside the journal that a report of this format is written to.
    fn default_output(self, journal: &Path) -> PathBuf {
        match self {
            Self::Html => journal.with_extension("html"),
            Self::Trace => journal.with_extension("trace.json"),
            Self::Openlineage => journal.with_extension("openlineage.jsonl"),
            // Spark takes what follows a dot for the codec of the log.
            Self::SparkEvents => {
                let name = journal.file_stem().unwrap_or_default().to_string_lossy();
                journal.with_file_name(format!("{}-spark-events", name.replace('.', "-")))
            }
        }
    }

    fn content(self, run: &RecordedRun) -> String {
        match self {
            Self::Html => report::render(run),
            Self::SparkEvents => report::export(run, ExportFormat::SparkEvents),
            Self::Trace => report::export(run, ExportFormat::Trace),
            Self::Openlineage => report::export(run, ExportFormat::OpenLineage),
        }
    }
}

/// Flags of a run that should explain itself.
#[derive(Debug, Args)]
pub(super) struct RecordArgs {
    /// Write a page that explains the run: where its time went, and what would make it faster.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Keep the journal of the run, from which `faisca report` makes that page later.
    #[arg(long, value_name = "FILE.jsonl")]
    journal: Option<PathBuf>,
}

/// The journal that a run keeps, and the page to make of it.
pub(super) struct Recording {
    /// Where the journal is; `None` if the run keeps none.
    journal: Option<PathBuf>,
    /// Removes a journal that is only needed for the page.
    _temporary: Option<TempPath>,
    report: Option<PathBuf>,
}

impl RecordArgs {
    /// Chooses the file of the journal.
    ///
    /// # Errors
    /// If a temporary file cannot be created.
    pub(super) fn recording(self) -> Result<Recording> {
        let temporary = match (&self.journal, &self.report) {
            (None, Some(_)) => {
                let file = tempfile::NamedTempFile::new().map_err(Error::input("journal"))?;
                Some(file.into_temp_path())
            }
            _ => None,
        };
        Ok(Recording {
            journal: self
                .journal
                .or(temporary.as_ref().map(|path| path.to_path_buf())),
            _temporary: temporary,
            report: self.report,
        })
    }
}

impl Recording {
    /// Returns the settings with which a session keeps the journal.
    pub(super) fn settings(&self) -> Option<(String, String)> {
        let path = self.journal.as_ref()?;
        Some((JOURNAL_SETTING.to_owned(), path.display().to_string()))
    }

    /// Writes the page, if one was requested. Called after the session has stopped.
    ///
    /// # Errors
    /// If the journal cannot be read, or the page cannot be written.
    pub(super) fn finish(self) -> Result<()> {
        match (&self.journal, &self.report) {
            (Some(journal), Some(output)) => write(journal, output, Format::Html),
            _ => Ok(()),
        }
    }
}

pub(super) fn report(args: &ReportArgs) -> Result<()> {
    let default = || args.format.default_output(&args.journal);
    let output = args.output.clone().unwrap_or_else(default);
    write(&args.journal, &output, args.format)
}

/// Reads a journal, and writes what is made of it.
fn write(journal: &Path, output: &Path, format: Format) -> Result<()> {
    let name = journal.display().to_string();
    let text = std::fs::read_to_string(journal).map_err(Error::input(&name))?;
    let run = journal::read(&text).map_err(Error::input(&name))?;
    let content = format.content(&run);
    std::fs::write(output, content).map_err(|source| Error::File {
        action: "write",
        path: output.to_owned(),
        source,
    })?;
    print(&format!("Report: {}", output.display()));
    Ok(())
}
