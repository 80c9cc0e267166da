//! A Python process that runs queries in DuckDB: started once, one query at a time.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;

use super::compare::{Cell, Row};
use crate::support::python_with;

pub struct DuckDb {
    pipes: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
    /// Killed when dropped.
    _process: Child,
}

impl DuckDb {
    /// Starts the process over these tables. Returns `None` if no Python has the `duckdb` module.
    pub fn start(folder: &Path, tables: &[&str]) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/duckdb/oracle.py");
        let mut process = Command::new(python_with("duckdb")?)
            .arg(script)
            .arg(folder)
            .args(tables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdin = process.stdin.take().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Some(Self {
            pipes: Mutex::new((stdin, lines)),
            _process: process,
        })
    }

    /// Returns the rows of a query, or the message with which DuckDB rejects it.
    pub async fn run(&self, sql: &str) -> Result<Vec<Row>, String> {
        let mut pipes = self.pipes.lock().await;
        let request = format!("{}\n", Value::from(dialect(sql)));
        pipes.0.write_all(request.as_bytes()).await.unwrap();
        let line = pipes.1.next_line().await.unwrap();
        let line = line.unwrap_or_else(|| panic!("DuckDB's process has ended at {sql}"));
        let response: Value = serde_json::from_str(&line).unwrap();
        if let Some(reason) = response["refused"].as_str() {
            return Err(reason.to_owned());
        }
        let row = |row: &Value| row.as_array().unwrap().iter().map(cell).collect();
        Ok(response["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(row)
            .collect())
    }
}

fn cell(value: &Value) -> Cell {
    let Some(text) = value.as_str() else {
        return Cell::Null;
    };
    match text.split_at(1) {
        ("n", number) => Cell::exact(number),
        ("f", number) => Cell::Float(number.parse().unwrap()),
        (_, text) => Cell::Text(text.to_owned()),
    }
}

/// Translates a statement into DuckDB's dialect.
fn dialect(sql: &str) -> String {
    sql.replace("LEFT SEMI JOIN", "SEMI JOIN")
        .replace("LEFT ANTI JOIN", "ANTI JOIN")
        .replace("INT UNSIGNED", "UINTEGER")
}
