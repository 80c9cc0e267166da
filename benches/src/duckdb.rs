//! DuckDB as a peer: a Python process that is told queries and answers seconds.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use faisca::{Error, Result};

/// Views over the files, then one query a line, as JSON; answers seconds a line.
const SCRIPT: &str = r"
import sys, json, time, os, duckdb
folder, tables = sys.argv[1], sys.argv[2:]
db = duckdb.connect()
db.execute(f'SET threads = {len(os.sched_getaffinity(0))}')
for t in tables:
    db.read_parquet(f'{folder}/{t}/*.parquet').create_view(t)
for line in sys.stdin:
    start = time.perf_counter()
    db.execute(json.loads(line)).fetchall()
    print(time.perf_counter() - start, flush=True)
";

pub(crate) struct DuckDb {
    child: Child,
    queries: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl DuckDb {
    pub(crate) fn start(python: &Path, data: &Path, tables: &[&str]) -> Result<Self> {
        let failed = |reason: String| Error::Fleet(format!("DuckDB by {}: {reason}", python.display()));
        let mut command = Command::new(python);
        command.args(["-c", SCRIPT]).arg(data).args(tables).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(queries), Some(answers)) => Ok(Self { child, queries, answers: BufReader::new(answers) }),
            _ => Err(failed("no pipes".to_owned())),
        }
    }

    pub(crate) fn run(&mut self, sql: &str) -> Result<Duration> {
        let failed = |reason: String| Error::Fleet(format!("DuckDB: {reason}"));
        let line = serde_json::to_string(sql).map_err(|e| failed(e.to_string()))?;
        writeln!(self.queries, "{line}").map_err(|e| failed(e.to_string()))?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).map_err(|e| failed(e.to_string()))?;
        let seconds = answer.trim().parse().map_err(|_| failed("it ended; its message is above".to_owned()))?;
        Ok(Duration::from_secs_f64(seconds))
    }
}

impl Drop for DuckDb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
