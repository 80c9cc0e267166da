//! A peer as a process: told a query a line, as JSON, it answers a line, `seconds rows` or `error` and the reason.
//! `benches/peers` has those of DuckDB, Spark, Ballista and datafusion-distributed.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use faisca::{Error, Result};

/// `NAME=COMMAND`, the command's words parted by spaces.
#[derive(Clone, Debug)]
pub(crate) struct PeerCommand {
    name: String,
    words: Vec<String>,
}

impl FromStr for PeerCommand {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
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

/// What a peer made of a query.
pub(crate) enum Answer {
    Rows { time: Duration, rows: usize },
    Refused(String),
}

pub(crate) struct Peer {
    pub(crate) name: String,
    child: Child,
    queries: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts the command with the folder and the names of its tables.
    pub(crate) fn start(command: &PeerCommand, data: &Path, tables: &[&str]) -> Result<Self> {
        let failed = |reason: String| {
            Error::Fleet(format!(
                "{} by {:?}: {reason}",
                command.name,
                command.words.join(" ")
            ))
        };
        let (program, arguments) = command
            .words
            .split_first()
            .ok_or_else(|| failed("no command".to_owned()))?;
        let mut start = Command::new(program);
        start
            .args(arguments)
            .arg(data)
            .args(tables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = start.spawn().map_err(|e| failed(e.to_string()))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(queries), Some(answers)) => Ok(Self {
                name: command.name.clone(),
                child,
                queries: Some(queries),
                answers: BufReader::new(answers),
            }),
            _ => Err(failed("no pipes".to_owned())),
        }
    }

    pub(crate) fn run(&mut self, sql: &str) -> Result<Answer> {
        let name = self.name.clone();
        let failed = |reason: String| Error::Fleet(format!("{name}: {reason}"));
        let line = serde_json::to_string(sql).map_err(|e| failed(e.to_string()))?;
        let queries = self
            .queries
            .as_mut()
            .ok_or_else(|| failed("it is closed".to_owned()))?;
        writeln!(queries, "{line}").map_err(|e| failed(e.to_string()))?;
        let mut answer = String::new();
        self.answers
            .read_line(&mut answer)
            .map_err(|e| failed(e.to_string()))?;
        if let Some(reason) = answer.strip_prefix("error ") {
            return Ok(Answer::Refused(reason.trim().to_owned()));
        }
        let parsed = answer
            .trim()
            .split_once(' ')
            .and_then(|(time, rows)| Some((time.parse().ok()?, rows.parse().ok()?)));
        let (seconds, rows) =
            parsed.ok_or_else(|| failed("it ended; its message is above".to_owned()))?;
        Ok(Answer::Rows {
            time: Duration::from_secs_f64(seconds),
            rows,
        })
    }
}

impl Drop for Peer {
    /// With its queries at their end it ends itself, and its workers.
    fn drop(&mut self) {
        self.queries.take();
        let _ = self.child.wait();
    }
}
