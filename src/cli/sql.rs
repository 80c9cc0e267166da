//! `faisca sql`: a query, a file, or a shell.

use std::path::Path;
use std::time::Instant;

use clap::Args;
use faisca::{Error, Outcome, Result};
use faisca_driver::Session;
use faisca_driver::job::{run_script, split};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::ClusterArgs;
use super::show::{Bars, print, step_line};

/// Flags of `faisca sql`.
#[derive(Debug, Args)]
pub(super) struct SqlArgs {
    /// A script to run.
    file: Option<String>,
    /// A statement to run.
    #[arg(
        short = 'c',
        long = "command",
        conflicts_with = "file",
        allow_hyphen_values = true
    )]
    command: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn sql(args: SqlArgs) -> Result<()> {
    let session = args.cluster.session("sql", [], Default::default()).await?;
    let result = match (&args.command, &args.file) {
        (Some(text), _) => run_statements(&session, text).await,
        (None, Some(file)) => run_script(&session, file, |step| print(&step_line(step)))
            .await
            .map(drop),
        (None, None) => run_shell(&session).await,
    };
    session.stop().await;
    result
}

/// Runs statements one after the other, and prints the rows of each.
async fn run_statements(session: &Session, text: &str) -> Result<()> {
    for statement in split(text).map_err(Error::Plan)? {
        let bars = Bars::start(session.progress_handle());
        match session.statement(&statement.sql).await? {
            Outcome::Rows(frame) => {
                let rows = format_rows(frame).await?;
                bars.line(&rows);
            }
            Outcome::Done(Some(written)) => {
                bars.line(&format!("{} rows → {}", written.rows, written.path))
            }
            Outcome::Done(None) => {}
        }
    }
    Ok(())
}

async fn format_rows(frame: faisca::DataFrame) -> Result<String> {
    let schema = frame.schema();
    let batches = frame.collect().await?;
    let formatted = if batches.iter().all(|b| b.num_rows() == 0) {
        arrow::util::pretty::pretty_format_batches(&[arrow::array::RecordBatch::new_empty(schema)])
    } else {
        arrow::util::pretty::pretty_format_batches(&batches)
    };
    Ok(formatted
        .map_err(datafusion::error::DataFusionError::from)?
        .to_string())
}

/// Reads statements from the terminal, and runs them, until the user ends the shell.
async fn run_shell(session: &Session) -> Result<()> {
    let terminal = || Error::input::<ReadlineError>("interactive shell");
    let mut editor = DefaultEditor::new().map_err(terminal())?;
    let history = std::env::var_os("HOME").map(|home| Path::new(&home).join(".faisca_history"));
    if let Some(history) = &history {
        let _ = editor.load_history(history);
    }
    print(&format!(
        "Faísca {}. Statements end with a semicolon; \\q ends.",
        env!("CARGO_PKG_VERSION")
    ));
    let mut pending = String::new();
    loop {
        let prompt = if pending.is_empty() {
            "faisca> "
        } else {
            "      > "
        };
        match tokio::task::block_in_place(|| editor.readline(prompt)) {
            Ok(line) if pending.is_empty() && matches!(line.trim(), "\\q" | "exit" | "quit") => {
                break;
            }
            Ok(line) => {
                pending.push_str(&line);
                pending.push('\n');
                if line.trim_end().ends_with(';') {
                    let text = std::mem::take(&mut pending);
                    let _ = editor.add_history_entry(text.trim());
                    let started = Instant::now();
                    match run_statements(session, &text).await {
                        Ok(()) => println!("{:.2} s", started.elapsed().as_secs_f64()),
                        Err(error) => eprintln!("error: {error}"),
                    }
                }
            }
            Err(ReadlineError::Interrupted) => pending.clear(),
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(terminal()(error)),
        }
    }
    if let Some(history) = &history {
        let _ = editor.save_history(history);
    }
    Ok(())
}
