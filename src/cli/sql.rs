//! `faisca sql`: statements, scripts, or a shell.
//!
//! ```text
//! -c, -f ───────────────┐
//! pipe ── shell ────────┤→ runner ── rows ── cells, table → standard output, a file
//! terminal ── editor ───┘
//! ```
//!
//! - `config`: the user's settings
//! - `lexer`: tokens, for ends of statements, colours and completion
//! - `meta`: commands that begin with a backslash

mod cells;
mod complete;
mod config;
mod editor;
mod guard;
mod inputs;
mod lexer;
mod meta;
mod rows;
mod runner;
mod shell;
mod table;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Args;
use faisca::Result;

use super::ClusterArgs;
use config::{Config, SHOWN_ROWS};
use editor::Editor;
use inputs::{Input, Inputs, STANDARD_INPUT};
use rows::Format;
use runner::{OnError, Origin, Runner};
use shell::{run_stream, run_terminal, run_text};

/// Flags of `faisca sql`.
#[derive(Debug, Args)]
pub(super) struct SqlArgs {
    #[command(flatten)]
    inputs: Inputs,
    /// Format of results [default: table, or that of the configuration].
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// Run the statements after one that fails. Standard input always does.
    #[arg(long)]
    continue_on_error: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl SqlArgs {
    /// Returns true if a person types statements. Ctrl-C then ends a statement, not the command.
    pub(super) fn is_interactive(&self) -> bool {
        self.inputs.0.is_empty() && std::io::stdin().is_terminal()
    }
}

/// Runs all inputs, and returns the exit code.
pub(super) async fn sql(args: SqlArgs) -> Result<ExitCode> {
    let config = Config::load()?;
    let session = args
        .cluster
        .session("sql", config.settings()?, Default::default())
        .await?;
    let format = args.format.or(config.format).unwrap_or_default();
    let is_interactive = args.is_interactive();
    let on_error = match args.continue_on_error || args.inputs.0.is_empty() {
        true => OnError::Continue,
        false => OnError::Stop,
    };
    let mut runner = Runner::new(&session, format, on_error);
    let outcome = if is_interactive {
        runner.has_timing = config.timing.unwrap_or(true);
        runner.rows_max = Some(config.rows.unwrap_or(SHOWN_ROWS)).filter(|max| *max > 0);
        let editor = Editor::start(config.history(), console::colors_enabled());
        run_terminal(&mut runner, &editor).await
    } else {
        run_inputs(&mut runner, &args.inputs.0).await
    };
    let counts = std::mem::take(&mut runner.counts);
    drop(runner);
    session.stop().await;
    outcome?;
    // In a terminal, the user has already seen the errors.
    if is_interactive || counts.failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "error: {} of {} statements failed",
        counts.failed, counts.run
    );
    Ok(ExitCode::from(counts.exit_code))
}

async fn run_inputs(runner: &mut Runner<'_>, inputs: &[Input]) -> Result<()> {
    if inputs.is_empty() {
        // A program that feeds statements recognizes the end of each by the line with its time.
        runner.has_timing = true;
        return run_stream(runner).await;
    }
    for input in inputs {
        match input {
            Input::Command(text) => run_text(runner, text, Origin::Command).await?,
            Input::File(path) if path == STANDARD_INPUT => run_stream(runner).await?,
            Input::File(path) => runner.run_file(path).await?,
        }
        if runner.is_closed {
            break;
        }
    }
    Ok(())
}
