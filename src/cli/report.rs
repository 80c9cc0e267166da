//! `faisca report JOURNAL`: a page or an export; and the pages that `faisca run` writes or serves.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use faisca::{Error, Result};
use faisca_driver::journal::RecordedRun;
use faisca_driver::page::{LivePage, PageAddress, PageOptions};
use faisca_driver::report::ExportFormat;
use faisca_driver::{journal, report};
use tempfile::TempPath;

use super::show::print;

/// Setting of the journal's file.
const JOURNAL_SETTING: &str = "faisca.journal.path";
/// Where the logs of a run on this machine are.
const LOGS: &str = "Driver and executors log to the standard error of the command that started \
                    the run; `--log info` logs more.";

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
    /// Serve a page of the run while it goes on: a port of loopback, or an address such as
    /// 0.0.0.0:4040, which needs the token in the printed URL [default: 4040, or the next free one].
    #[arg(
        long,
        value_name = "ADDRESS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        value_parser = parse_page_address
    )]
    ui: Option<PageAddress>,
}

/// Parses a port, or an address with a port; empty is the default.
fn parse_page_address(text: &str) -> Result<PageAddress, String> {
    if text.is_empty() {
        return Ok(PageAddress::Default);
    }
    if let Ok(port) = text.parse() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        return Ok(PageAddress::Exact(address));
    }
    let numeric = text.replace("localhost:", "127.0.0.1:");
    let address = numeric.parse().map(PageAddress::Exact);
    address.map_err(|_| "write a port, or an address such as 127.0.0.1:4040".to_owned())
}

/// The journal that a run keeps, and the pages to make of it.
pub(super) struct Recording {
    /// Where the journal is; `None` if the run keeps none.
    journal: Option<PathBuf>,
    /// Removes a journal that is only needed for the page.
    _temporary: Option<TempPath>,
    report: Option<PathBuf>,
    /// Where to serve a page, if one was requested.
    address: Option<PageAddress>,
    page: Option<LivePage>,
}

impl RecordArgs {
    /// Chooses the file of the journal.
    ///
    /// # Errors
    /// If a temporary file cannot be created.
    pub(super) fn recording(self) -> Result<Recording> {
        let needs_journal = self.report.is_some() || self.ui.is_some();
        let temporary = match &self.journal {
            None if needs_journal => {
                let file = tempfile::NamedTempFile::new().map_err(Error::input("journal"))?;
                Some(file.into_temp_path())
            }
            _ => None,
        };
        let kept = self.journal.clone();
        Ok(Recording {
            journal: kept.or(temporary.as_ref().map(|path| path.to_path_buf())),
            _temporary: temporary,
            report: self.report,
            address: self.ui,
            page: None,
        })
    }
}

impl Recording {
    /// Returns the settings with which a session keeps the journal.
    pub(super) fn settings(&self) -> Option<(String, String)> {
        let path = self.journal.as_ref()?;
        Some((JOURNAL_SETTING.to_owned(), path.display().to_string()))
    }

    /// Serves the page, if one was requested, and prints its address. Called before the session
    /// starts.
    ///
    /// # Errors
    /// If the address is in use.
    pub(super) fn serve_page(&mut self) -> Result<()> {
        let (Some(address), Some(journal)) = (self.address, &self.journal) else {
            return Ok(());
        };
        // The page must not show an earlier run, whose journal the session is about to replace.
        if journal.exists() {
            std::fs::write(journal, "").map_err(|source| Error::File {
                action: "write",
                path: journal.clone(),
                source,
            })?;
        }
        let page = LivePage::start(PageOptions {
            journal: journal.clone(),
            address,
            token: None,
            logs: LOGS.to_owned(),
        });
        let page = page.map_err(Error::setting("--ui"))?;
        print(&format!("Page: {}", page.url()));
        self.page = Some(page);
        Ok(())
    }

    /// Ends the page that is served, and writes the one that was requested. Called after the
    /// session has stopped.
    ///
    /// # Errors
    /// If the journal cannot be read, or the page cannot be written.
    pub(super) async fn finish(self) -> Result<()> {
        if let Some(page) = self.page {
            page.finish().await;
        }
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
