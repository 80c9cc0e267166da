//! The shell: reads statements from a terminal, or from a program that feeds standard input.

use std::io::{self, BufRead, IsTerminal};
use std::sync::PoisonError;

use faisca::{Error, Result};
use faisca_driver::Session;
use indicatif::HumanCount;
use rustyline::error::ReadlineError;
use tokio::sync::mpsc;

use super::super::show::print;
use super::complete::{Names, Table};
use super::editor::Editor;
use super::lexer::{is_blank, is_complete};
use super::meta::{HELP, Meta, Rows, format_names};
use super::runner::{Origin, Runner};

/// Maximum number of lines of standard input that are read ahead.
const LINES_AHEAD: usize = 1_000;
/// Maximum number of tables whose columns are completed. They are collected before each prompt.
const COMPLETED_TABLES_MAX: usize = 500;

/// Whether the shell continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Quit,
}

/// Serves a terminal, until the user leaves.
pub(super) async fn run_terminal(runner: &mut Runner<'_>, editor: &Editor) -> Result<()> {
    print(&format!(
        "Faísca {}. Statements end with a semicolon; \\? helps, \\q leaves.",
        env!("CARGO_PKG_VERSION")
    ));
    loop {
        let names = names(runner.session).await;
        *editor.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
        let text = match editor.next().await {
            Ok(text) => text,
            // Ctrl-C at the prompt clears the line.
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(Error::input("interactive shell")(error)),
        };
        let flow = tokio::select! {
            flow = run_input(runner, &text, Origin::Prompt) => flow,
            _ = tokio::signal::ctrl_c() => {
                eprintln!("cancelled");
                Ok(Flow::Next)
            }
        };
        if flow? == Flow::Quit || runner.is_closed {
            return Ok(());
        }
    }
}

/// Runs the statements of standard input, each when its semicolon arrives.
pub(super) async fn run_stream(runner: &mut Runner<'_>) -> Result<()> {
    let mut lines = read_lines();
    let mut pending = String::new();
    let (mut line, mut first_line) = (0, 1);
    loop {
        let received = lines.recv().await.transpose();
        let received = received.map_err(Error::input("standard input"))?;
        let is_end = received.is_none();
        if let Some(text) = received {
            line += 1;
            // Comments before a command of the shell must not hide it.
            if is_blank(&pending) {
                pending.clear();
                first_line = line;
            }
            pending.push_str(&text);
            pending.push('\n');
        }
        let is_whole = is_complete(&pending) || Meta::parse(&pending).is_some();
        if is_whole || (is_end && !is_blank(&pending)) {
            let text = std::mem::take(&mut pending);
            let statements = runner.counts.run;
            let origin = Origin::Stream {
                line: first_line,
                statements,
            };
            if run_input(runner, &text, origin).await? == Flow::Quit {
                return Ok(());
            }
        }
        if is_end || runner.is_closed {
            return Ok(());
        }
    }
}

/// Reads lines on a thread of its own, which ends with the process.
fn read_lines() -> mpsc::Receiver<io::Result<String>> {
    let (sender, lines) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Runs a command of the shell, or statements.
pub(super) async fn run_text(
    runner: &mut Runner<'_>,
    text: &str,
    origin: Origin<'_>,
) -> Result<()> {
    run_input(runner, text, origin).await.map(drop)
}

async fn run_input(runner: &mut Runner<'_>, text: &str, origin: Origin<'_>) -> Result<Flow> {
    let meta = match Meta::parse(text) {
        None => {
            runner.run_text(text, origin).await?;
            return Ok(Flow::Next);
        }
        Some(Ok(Meta::Quit)) => return Ok(Flow::Quit),
        Some(Ok(meta)) => run_meta(runner, meta).await,
        Some(Err(error)) => Err(Error::Usage(error.to_string())),
    };
    if let Err(error) = meta {
        runner.counts.run += 1;
        runner.record_failure(error)?;
    }
    Ok(Flow::Next)
}

async fn run_meta(runner: &mut Runner<'_>, meta: Meta) -> Result<()> {
    match meta {
        Meta::Quit => {}
        Meta::Help => print(HELP),
        Meta::Tables => runner.list_tables()?,
        Meta::Columns(table) => runner.list_columns(&table).await?,
        Meta::Format(None) => {
            let current = format!("{:?}", runner.format).to_lowercase();
            print(&format!(
                "{current}; formats: {}",
                format_names().join(", ")
            ));
        }
        Meta::Format(Some(format)) => runner.format = format,
        Meta::Rows(Rows::Show) => print(&match runner.rows_max {
            Some(max) => format!("at most {} rows", HumanCount(max)),
            None => "all rows".to_owned(),
        }),
        Meta::Rows(Rows::AtMost(max)) => runner.rows_max = Some(max),
        Meta::Rows(Rows::All) => runner.rows_max = None,
        Meta::Timing(value) => {
            runner.has_timing = value.unwrap_or(!runner.has_timing);
            if io::stdout().is_terminal() {
                print(if runner.has_timing {
                    "timing on"
                } else {
                    "timing off"
                });
            }
        }
        Meta::Output(path) => runner.set_output(path.as_deref())?,
        Meta::Include(path) => runner.run_file(&path).await?,
    }
    Ok(())
}

/// Returns the names that statements can use now.
async fn names(session: &Session) -> Names {
    let mut tables = vec![];
    for name in session.table_names().into_iter().take(COMPLETED_TABLES_MAX) {
        // A table whose files were removed has no columns to offer.
        let frame = session.table(&name).await;
        let columns = frame.map_or_else(
            |_| vec![],
            |frame| {
                frame
                    .schema()
                    .fields()
                    .iter()
                    .map(|f| f.name().clone())
                    .collect()
            },
        );
        tables.push(Table { name, columns });
    }
    let state = session.context().state();
    let functions = state.scalar_functions().keys();
    let functions = functions.chain(state.aggregate_functions().keys());
    let functions = functions.chain(state.window_functions().keys());
    // Names that begin with an underscore are internal.
    let functions = functions.filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    Names {
        tables,
        functions: functions.cloned().collect(),
    }
}
