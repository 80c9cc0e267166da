//! Runs a peer of the suite: reads a query per line as JSON, writes `seconds rows` per line, or `error` and the reason.
//! The layout equals Faísca's: processes of one core each.
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

/// Parses a port or a number of processes.
fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse()
        .map_err(|_| DataFusionError::Configuration(format!("{text:?} is not a number; {USAGE}")))
}

/// Registers the tables and runs every query of standard input.
async fn measure(context: &SessionContext, folder: &str, tables: &[&str]) -> Result<()> {
    for table in tables {
        context
            .register_parquet(
                *table,
                format!("{folder}/{table}/"),
                ParquetReadOptions::default(),
            )
            .await?;
    }
    let mut output = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let sql: String =
            serde_json::from_str(&line?).map_err(|e| DataFusionError::External(e.into()))?;
        let started = Instant::now();
        match run(context, &sql).await {
            Ok(rows) => writeln!(output, "{} {rows}", started.elapsed().as_secs_f64())?,
            Err(error) => writeln!(output, "error {}", error.to_string().replace('\n', " "))?,
        }
        output.flush()?;
    }
    Ok(())
}

/// Runs a query to its end and returns the number of rows.
async fn run(context: &SessionContext, sql: &str) -> Result<usize> {
    Ok(context
        .sql(sql)
        .await?
        .collect()
        .await?
        .iter()
        .map(|batch| batch.num_rows())
        .sum())
}
