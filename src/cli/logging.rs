//! Logging with `tracing`, to standard error.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// For machines: one JSON object per line.
    Json,
}

/// The AWS SDK warns of each credential source that is empty; the error after the last one is
/// enough.
const QUIET: &str = "aws_config=error";

/// Starts logging; later calls do nothing.
pub(super) fn start(filter: &str, format: Format) {
    let filter = if filter.contains("aws_config") {
        filter.to_owned()
    } else {
        format!("{filter},{QUIET}")
    };
    let filter =
        EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new(format!("warn,{QUIET}")));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let _ = match format {
        Format::Text => builder
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .try_init(),
        Format::Json => builder.json().try_init(),
    };
}
