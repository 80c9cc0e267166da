//! Time from the start of the command to its first task, taken from the command's log.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use faisca::Error;

use crate::compare::{layout, numeric_table};
use crate::error::{BenchError, Result};
use crate::tpch;

pub(crate) fn run(folder: &Path, runs: u32) -> Result<()> {
    let data = tpch::data(folder, 1.0)?;
    let binary = std::env::current_exe()
        .map(|path| path.with_file_name("faisca"))
        .unwrap_or_default();
    if !binary.exists() {
        return Err(Error::Usage(format!(
            "{} does not exist; build it with `cargo build --release --workspace`",
            binary.display()
        ))
        .into());
    }
    let mut table = numeric_table(&[
        "",
        "to the first task",
        "to the end",
        "limit for the first task",
    ]);
    for (executors, limit) in [(0, 100), (3, 300)] {
        let (mut fastest_start, mut fastest_end) = (Duration::MAX, Duration::MAX);
        for _ in 0..runs.max(5) {
            let (to_first, to_end) = run_once(&binary, &data, executors)?;
            (fastest_start, fastest_end) = (fastest_start.min(to_first), fastest_end.min(to_end));
        }
        table.add_row([
            layout(executors),
            format!("{} ms", fastest_start.as_millis()),
            format!("{} ms", fastest_end.as_millis()),
            format!("{limit} ms"),
        ]);
    }
    println!(
        "faisca sql -c 'SELECT n_name, count(*) FROM nation …', best of {}\n{table}",
        runs.max(5)
    );
    Ok(())
}

/// Runs the command once. Returns the times to the first task and to the end.
fn run_once(binary: &Path, data: &Path, executors: u32) -> Result<(Duration, Duration)> {
    let process = binary.display().to_string();
    let failed = BenchError::process(&process);
    let nation = data.join("nation");
    let sql = format!(
        "CREATE EXTERNAL TABLE nation STORED AS PARQUET LOCATION '{}/'; SELECT n_regionkey, count(*) FROM nation GROUP BY 1",
        nation.display()
    );
    let started = Instant::now();
    let mut command = Command::new(binary);
    command.args([
        "--log",
        "faisca_driver=debug",
        "sql",
        "--executors",
        &executors.to_string(),
        "--conf",
        "faisca.smallQueryBytes=0",
        "-c",
        &sql,
    ]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(&failed)?;
    let mut to_first = None;
    for line in child
        .stderr
        .take()
        .into_iter()
        .flat_map(|log| BufReader::new(log).lines())
    {
        if to_first.is_none() && line.map_err(&failed)?.contains("launch") {
            to_first = Some(started.elapsed());
        }
    }
    let status = child.wait().map_err(&failed)?;
    match to_first {
        Some(to_first) if status.success() => Ok((to_first, started.elapsed())),
        _ => Err(BenchError::Unusable {
            process,
            problem: format!("launched no task, or failed: {status}"),
        }),
    }
}
