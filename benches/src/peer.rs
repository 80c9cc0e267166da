//! A peer process: it reads a query per line as JSON and writes a line, `seconds rows` and, if it
//! knows them, its processor's seconds, or `error` and the reason. `benches/peers` has the peers for DuckDB, Spark, Ballista and
//! datafusion-distributed.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use crate::error::{BenchError, Result};
use crate::measure::Measurement;

/// `NAME=COMMAND`, with the words of the command separated by spaces.
#[derive(Clone, Debug)]
pub(crate) struct PeerCommand {
    name: String,
    words: Vec<String>,
}

impl FromStr for PeerCommand {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, command) = text.split_once('=').ok_or(
            "expected NAME=COMMAND, as in DuckDB=\"python3 benches/peers/duckdb_peer.py\"",
        )?;
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        if name.is_empty() || words.is_empty() {
            return Err("neither the name nor the command may be empty".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            words,
        })
    }
}

/// Outcome of a query on a peer.
pub(crate) enum PeerResult {
    Rows {
        run: Measurement,
        rows: usize,
    },
    /// The reason why the query failed.
    Failed(String),
}

/// A running peer.
pub(crate) struct Peer {
    pub(crate) name: String,
    child: Child,
    queries: Option<ChildStdin>,
    results: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts the command with the data folder and the table names as arguments.
    pub(crate) fn start(command: &PeerCommand, data: &Path, tables: &[&str]) -> Result<Self> {
        let shown = format!("{} by {:?}", command.name, command.words.join(" "));
        let unusable = |problem: &str| BenchError::Unusable {
            process: shown.clone(),
            problem: problem.to_owned(),
        };
        let (program, arguments) = command
            .words
            .split_first()
            .ok_or_else(|| unusable("has no command"))?;
        let mut start = Command::new(program);
        start
            .args(arguments)
            .arg(data)
            .args(tables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = start.spawn().map_err(BenchError::process(&shown))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(queries), Some(results)) => Ok(Self {
                name: command.name.clone(),
                child,
                queries: Some(queries),
                results: BufReader::new(results),
            }),
            _ => Err(unusable("has no pipes")),
        }
    }

    /// Runs a query and waits for its result.
    pub(crate) fn run(&mut self, sql: &str) -> Result<PeerResult> {
        let name = self.name.clone();
        let failed = BenchError::process(&name);
        let unusable = |problem: &str| BenchError::Unusable {
            process: name.clone(),
            problem: problem.to_owned(),
        };
        let query = serde_json::to_string(sql).map_err(|e| failed(e.into()))?;
        let queries = self
            .queries
            .as_mut()
            .ok_or_else(|| unusable("accepts no more queries"))?;
        writeln!(queries, "{query}").map_err(&failed)?;
        let mut line = String::new();
        self.results.read_line(&mut line).map_err(&failed)?;
        if let Some(reason) = line.strip_prefix("error ") {
            return Ok(PeerResult::Failed(reason.trim().to_owned()));
        }
        parse_result(&line).ok_or_else(|| unusable("ended; its message is above"))
    }
}

/// Reads the line of a query that succeeded.
fn parse_result(line: &str) -> Option<PeerResult> {
    let mut words = line.split_whitespace();
    let seconds = |words: &mut std::str::SplitWhitespace<'_>| {
        let seconds = words.next()?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    };
    let wall = seconds(&mut words)?;
    let rows = words.next()?.parse().ok()?;
    let cpu = seconds(&mut words);
    let run = Measurement { wall, cpu };
    Some(PeerResult::Rows { run, rows })
}

impl Drop for Peer {
    /// Closes the peer's input, on which it stops its workers and exits.
    fn drop(&mut self) {
        self.queries.take();
        let _ = self.child.wait();
    }
}
