//! Runs statements, and writes their results.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::error::DataFusionError;
use faisca::{DataFrame, Error, Outcome, Result};
use faisca_driver::Session;
use faisca_driver::job::{ScriptStatement, read_script, split};
use faisca_spark::text::{Zone, name_of};
use futures::StreamExt;
use indicatif::HumanCount;

use super::super::show::Bars;
use super::cells::{BinaryText, Cells};
use super::guard::guard;
use super::lexer::is_explain;
use super::rows::{Format, RowWriter, Written, result_columns};
use super::table::Screen;

/// Width of a terminal that does not report it.
const WIDTH_DEFAULT: usize = 80;

/// Where statements come from, and so how errors describe their position.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'a> {
    /// The argument of `-c`.
    Command,
    File(&'a str),
    /// Standard input, at this line, after this many statements.
    Stream {
        line: usize,
        statements: usize,
    },
    Prompt,
}

impl Origin<'_> {
    /// Describes the position of a statement, with its number from 1; `None` if it is obvious.
    fn position(self, statement: &ScriptStatement, number: usize, total: usize) -> Option<String> {
        match self {
            Self::Command if total > 1 => {
                Some(format!("statement {number}, line {}", statement.line))
            }
            Self::Prompt if total > 1 => Some(format!("statement {number}")),
            Self::Command | Self::Prompt => None,
            Self::File(file) => Some(format!("{file}:{}, statement {number}", statement.line)),
            Self::Stream { line, statements } => {
                let (line, number) = (line + statement.line - 1, statements + number);
                Some(format!("line {line}, statement {number}"))
            }
        }
    }
}

/// Whether the statements after an error run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnError {
    Stop,
    Continue,
}

/// Runs statements in a session, and writes their results to standard output or a file.
pub(super) struct Runner<'a> {
    pub(super) session: &'a Session,
    pub(super) format: Format,
    pub(super) has_timing: bool,
    /// Maximum number of rows of a result on the screen; `None` for all.
    pub(super) rows_max: Option<u64>,
    pub(super) on_error: OnError,
    file: Option<BufWriter<File>>,
    /// Numbers of statements that ran, and that failed.
    pub(super) counts: Counts,
    /// Whether a reader of standard output, such as `head`, has ended.
    pub(super) is_closed: bool,
}

/// Numbers of statements, over all inputs.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) run: usize,
    pub(super) failed: usize,
    /// Exit code of the first error.
    pub(super) exit_code: u8,
}

impl<'a> Runner<'a> {
    pub(super) fn new(session: &'a Session, format: Format, on_error: OnError) -> Self {
        Self {
            session,
            format,
            has_timing: false,
            rows_max: None,
            on_error,
            file: None,
            counts: Counts::default(),
            is_closed: false,
        }
    }

    /// Writes results to a file from now on; `None` is standard output.
    ///
    /// # Errors
    /// Returns an error if the file cannot be created.
    pub(super) fn set_output(&mut self, path: Option<&str>) -> Result<()> {
        self.file = match path {
            None => None,
            Some(path) => {
                let file = File::create(path).map_err(|source| Error::File {
                    action: "create",
                    path: path.into(),
                    source,
                });
                Some(BufWriter::new(file?))
            }
        };
        Ok(())
    }

    /// Runs a script of this machine or of an object store.
    ///
    /// # Errors
    /// Returns the first error, unless statements after an error still run.
    pub(super) async fn run_file(&mut self, path: &str) -> Result<()> {
        match read_script(self.session, path).await {
            Ok(text) => self.run_text(&text, Origin::File(path)).await,
            Err(error) => {
                self.counts.run += 1;
                self.record_failure(error)
            }
        }
    }

    /// Runs the statements of a text.
    ///
    /// # Errors
    /// Returns the first error, unless statements after an error still run.
    pub(super) async fn run_text(&mut self, text: &str, origin: Origin<'_>) -> Result<()> {
        let statements = match split(text) {
            Ok(statements) => statements,
            Err(error) => {
                let error = match origin {
                    Origin::File(file) => Error::input(file)(error),
                    _ => Error::Plan(error.to_string()),
                };
                self.counts.run += 1;
                return self.record_failure(error);
            }
        };
        for (index, statement) in statements.iter().enumerate() {
            if self.is_closed {
                break;
            }
            self.counts.run += 1;
            if let Err(error) = guard(self.run_statement(&statement.sql)).await {
                let position = origin.position(statement, index + 1, statements.len());
                self.record_failure(match position {
                    Some(position) => error.at(position),
                    None => error,
                })?;
            }
        }
        Ok(())
    }

    /// Counts an error. Prints it if later statements still run, else returns it.
    pub(super) fn record_failure(&mut self, error: Error) -> Result<()> {
        self.counts.failed += 1;
        if self.counts.failed == 1 {
            self.counts.exit_code = error.exit_code();
        }
        match self.on_error {
            OnError::Stop => Err(error),
            OnError::Continue => {
                eprintln!("error: {error}");
                Ok(())
            }
        }
    }

    async fn run_statement(&mut self, sql: &str) -> Result<()> {
        let started = Instant::now();
        let bars = Bars::start(self.session.progress_handle());
        let count = match self.session.statement(sql).await? {
            Outcome::Rows(frame) if self.shows_plan(sql, &frame) => {
                let plans = frame.collect().await?;
                drop(bars);
                self.print(&plan_text(&plans)?)?;
                None
            }
            Outcome::Rows(frame) => Some(self.write_rows(frame, bars).await?),
            Outcome::Done(written) => {
                drop(bars);
                if let (Some(written), true) = (written, self.format.is_for_people()) {
                    let rows = count_rows(written.rows);
                    self.print(&format!("{rows} → {}\n", written.path))?;
                }
                None
            }
        };
        self.write_footer(count.as_ref(), started)
    }

    /// Returns true if the rows are plans, which people read as text.
    fn shows_plan(&self, sql: &str, frame: &DataFrame) -> bool {
        self.format.is_for_people() && is_explain(sql) && frame.schema().fields().len() == 2
    }

    /// Runs a query and writes its rows while they arrive.
    async fn write_rows(&mut self, frame: DataFrame, bars: Bars) -> Result<Written> {
        let columns = result_columns(&frame.schema());
        let state = self.session.context().state();
        let zone = Zone::of_session(state.config_options())?;
        let mut stream = frame.stream().await?;
        let first = stream.next().await.transpose()?;
        drop(bars);
        let rows_max = if self.is_on_screen() {
            self.rows_max
        } else {
            None
        };
        let (format, screen) = (self.format, self.screen());
        let mut standard = BufWriter::new(io::stdout());
        let out: &mut dyn Write = match &mut self.file {
            Some(file) => file,
            None => &mut standard,
        };
        let mut is_cut = false;
        let mut next = first;
        let written = async {
            let mut writer = RowWriter::new(format, columns, zone, screen, out)?;
            while let Some(batch) = next {
                let remaining = rows_max.map_or(u64::MAX, |max| max - writer.rows());
                let rows = batch
                    .num_rows()
                    .min(usize::try_from(remaining).unwrap_or(usize::MAX));
                writer.write(&batch.slice(0, rows))?;
                is_cut = rows < batch.num_rows();
                if is_cut {
                    break;
                }
                next = stream.next().await.transpose().map_err(io::Error::other)?;
            }
            writer.finish()
        };
        let mut written = written.await.or_else(|error| self.handle_io_error(error))?;
        if is_cut {
            written.note = Some("there are more: \\rows all shows them".to_owned());
        }
        Ok(written)
    }

    /// Handles a failed write. A closed pipe, as after `head`, ends the command without an error.
    fn handle_io_error<T: Default>(&mut self, error: io::Error) -> Result<T> {
        if error.kind() == io::ErrorKind::BrokenPipe {
            self.is_closed = true;
            return Ok(T::default());
        }
        Err(match error.downcast::<DataFusionError>() {
            Ok(error) => error.into(),
            Err(error) => Error::System {
                needed: "output",
                source: error,
            },
        })
    }

    /// Writes the number of rows, notes and the time. With a format for programs, only the time is
    /// written, to standard error if that is a terminal.
    fn write_footer(&mut self, written: Option<&Written>, started: Instant) -> Result<()> {
        let time = self
            .has_timing
            .then(|| format!("{:.3} s", started.elapsed().as_secs_f64()));
        if !self.format.is_for_people() {
            if let (Some(time), true) = (time, io::stderr().is_terminal()) {
                eprintln!("{time}");
            }
            return Ok(());
        }
        let note = written.and_then(|written| written.note.as_deref());
        let rows = written.map(|written| match note {
            Some(note) => format!("{} ({note})", count_rows(written.rows)),
            None => count_rows(written.rows),
        });
        // Programs that feed statements wait for the line with the time alone.
        let separator = if self.is_on_screen() { ", " } else { "\n" };
        let lines: Vec<String> = rows.into_iter().chain(time).collect();
        match lines.is_empty() {
            true => Ok(()),
            false => self.print(&(lines.join(separator) + "\n")),
        }
    }

    /// Writes a text to the output.
    fn print(&mut self, text: &str) -> Result<()> {
        let written = match &mut self.file {
            Some(file) => file.write_all(text.as_bytes()).and_then(|()| file.flush()),
            None => io::stdout()
                .write_all(text.as_bytes())
                .and_then(|()| io::stdout().flush()),
        };
        written.or_else(|error| self.handle_io_error(error))
    }

    fn is_on_screen(&self) -> bool {
        self.file.is_none() && io::stdout().is_terminal()
    }

    fn screen(&self) -> Screen {
        if !self.is_on_screen() {
            return Screen::default();
        }
        let size = console::Term::stdout().size_checked();
        Screen {
            width: Some(size.map_or(WIDTH_DEFAULT, |(_, columns)| columns.into())),
            has_color: console::colors_enabled(),
        }
    }

    /// Writes the names of all tables and views.
    pub(super) fn list_tables(&mut self) -> Result<()> {
        let tables = self.session.table_names();
        self.write_texts(&[("table", tables)])
    }

    /// Writes the columns of a table, with their types in SQL.
    ///
    /// # Errors
    /// Returns an error if there is no such table.
    pub(super) async fn list_columns(&mut self, table: &str) -> Result<()> {
        let schema = self.session.table(table).await?.schema();
        let fields = || schema.fields().iter();
        let names = fields().map(|field| field.name().clone()).collect();
        let types = fields().map(|field| name_of(field.data_type())).collect();
        let nulls = fields()
            .map(|field| field.is_nullable().to_string())
            .collect();
        self.write_texts(&[("column", names), ("type", types), ("nullable", nulls)])
    }

    /// Writes columns of texts as a result.
    fn write_texts(&mut self, columns: &[(&str, Vec<String>)]) -> Result<()> {
        let field = |(name, _): &(&str, _)| Field::new(*name, DataType::Utf8, true);
        let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        let arrays = columns
            .iter()
            .map(|(_, texts)| Arc::new(StringArray::from_iter_values(texts)) as ArrayRef);
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays.collect())
            .map_err(DataFusionError::from)?;
        let (format, screen) = (self.format, self.screen());
        let mut standard = io::stdout();
        let out: &mut dyn Write = match &mut self.file {
            Some(file) => file,
            None => &mut standard,
        };
        let written = RowWriter::new(format, result_columns(&schema), Zone::UTC, screen, out)
            .and_then(|mut writer| {
                writer.write(&batch)?;
                writer.finish()
            });
        written
            .map(drop)
            .or_else(|error| self.handle_io_error(error))
    }
}

fn count_rows(rows: u64) -> String {
    match rows {
        1 => "1 row".to_owned(),
        _ => format!("{} rows", HumanCount(rows)),
    }
}

/// Returns the plans of an EXPLAIN, which are rows with a kind and a text. Each has a heading, if
/// there are several.
fn plan_text(batches: &[RecordBatch]) -> Result<String> {
    let mut plans = vec![];
    for batch in batches {
        let [kinds, texts] =
            [0, 1].map(|column| Cells::new(batch.column(column), Zone::UTC, BinaryText::Utf8));
        let (kinds, texts) = (
            kinds.map_err(DataFusionError::from)?,
            texts.map_err(DataFusionError::from)?,
        );
        let text = |cells: &Cells, row| cells.text(row).unwrap_or_default().trim_end().to_owned();
        plans.extend((0..batch.num_rows()).map(|row| (text(&kinds, row), text(&texts, row))));
    }
    Ok(match plans.as_slice() {
        [(_, plan)] => format!("{plan}\n"),
        plans => plans
            .iter()
            .map(|(kind, plan)| format!("── {kind}\n{plan}\n"))
            .collect(),
    })
}
