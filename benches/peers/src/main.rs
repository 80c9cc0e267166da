//! The peers of the suite as a process: told a query a line, as JSON, it answers a line: `seconds rows`, or
//! `error` and the reason. The layout is the one that Faísca is given, processes of one core each.
//!
//! `faisca-peers ballista|distributed PROCESSES FOLDER TABLE…`

mod ballista_cluster;
mod distributed_cluster;
mod workers;

use std::io::{BufRead, Write};
use std::time::Instant;

use datafusion::error::{DataFusionError, Result};
use datafusion::prelude::{ParquetReadOptions, SessionContext};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: faisca-peers ballista|distributed PROCESSES FOLDER TABLE...";

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["ballista-executor", ports @ ..] => ballista_cluster::executor(ports).await,
        ["distributed-worker", port] => distributed_cluster::worker(port).await,
        ["ballista", processes, folder, tables @ ..] => {
            let (context, _workers) = ballista_cluster::start(number(processes)?).await?;
            measure(&context, folder, tables).await
        }
        ["distributed", processes, folder, tables @ ..] => {
            let (context, _workers) = distributed_cluster::start(number(processes)?).await?;
            measure(&context, folder, tables).await
        }
        _ => Err(DataFusionError::Configuration(USAGE.to_owned())),
    }
}

/// A port or a count of processes.
fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| DataFusionError::Configuration(format!("{text:?} is no number; {USAGE}")))
}

async fn measure(context: &SessionContext, folder: &str, tables: &[&str]) -> Result<()> {
    for table in tables {
        context.register_parquet(*table, format!("{folder}/{table}/"), ParquetReadOptions::default()).await?;
    }
    let mut answers = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let sql: String = serde_json::from_str(&line?).map_err(|e| DataFusionError::External(e.into()))?;
        let started = Instant::now();
        match run(context, &sql).await {
            Ok(rows) => writeln!(answers, "{} {rows}", started.elapsed().as_secs_f64())?,
            Err(error) => writeln!(answers, "error {}", error.to_string().replace('\n', " "))?,
        }
        answers.flush()?;
    }
    Ok(())
}

async fn run(context: &SessionContext, sql: &str) -> Result<usize> {
    Ok(context.sql(sql).await?.collect().await?.iter().map(|batch| batch.num_rows()).sum())
}
