//! Cost of a lost executor: one of four is killed after a given fraction of the run.

use std::path::Path;
use std::time::{Duration, Instant};

use faisca::Session;
use faisca_planner::ids::ExecutorId;

use crate::compare::{numeric_table, seconds};
use crate::error::{BenchError, Result};
use crate::tpch;

const EXECUTORS: u32 = 4;

pub(crate) async fn run(
    folder: &Path,
    scale: f64,
    queries: &[usize],
    kill_percents: &[u32],
    runs: u32,
) -> Result<()> {
    let data = tpch::data(folder, scale)?;
    let mut table = numeric_table(&[
        "",
        "killed at",
        "seconds",
        "undisturbed",
        "added",
        "1.5/4 of the run",
        "tasks recomputed",
    ]);
    for number in queries {
        let sql = tpch::query(*number)?;
        let mut baseline = Duration::MAX;
        for _ in 0..runs {
            baseline = baseline.min(run_once(&data, &sql, None).await?.0);
        }
        for percent in kill_percents {
            let (mut fastest, mut recomputed) = (Duration::MAX, 0);
            for _ in 0..runs {
                let (elapsed, tasks) =
                    run_once(&data, &sql, Some(baseline * *percent / 100)).await?;
                if elapsed < fastest {
                    (fastest, recomputed) = (elapsed, tasks);
                }
            }
            let slowdown = fastest.saturating_sub(baseline).as_secs_f64() / baseline.as_secs_f64();
            let row = [
                format!("q{number}"),
                format!("{percent} %"),
                seconds(fastest),
                seconds(baseline),
                format!("{:.0} %", slowdown * 100.0),
                if slowdown < 1.5 / 4.0 {
                    "less".to_owned()
                } else {
                    "MORE".to_owned()
                },
                recomputed.to_string(),
            ];
            table.add_row(row);
        }
    }
    println!(
        "TPC-H scale factor {scale}, {EXECUTORS} executors of 1 slot, one of them killed\n{table}"
    );
    Ok(())
}

/// Runs a query on a new fleet. Returns its time and the number of finished tasks that were
/// recomputed.
async fn run_once(data: &Path, sql: &str, kill_after: Option<Duration>) -> Result<(Duration, u32)> {
    let session = tpch::session(
        Session::builder().executors(EXECUTORS).executor_cores(1),
        data,
    )
    .await?;
    while session
        .progress()
        .executors
        .iter()
        .filter(|(id, e)| **id != ExecutorId(0) && e.is_connected)
        .count()
        < EXECUTORS as usize
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let started = Instant::now();
    let frame = session.sql(sql).await?;
    let run = tokio::task::spawn(async move { frame.collect().await });
    if let Some(delay) = kill_after {
        tokio::time::sleep(delay.saturating_sub(started.elapsed())).await;
        let pid = session
            .progress()
            .executors
            .iter()
            .find(|(id, e)| **id != ExecutorId(0) && e.is_connected)
            .map(|(_, e)| e.pid);
        let killed = pid.map(|pid| {
            std::process::Command::new("kill")
                .args(["-KILL", &pid.to_string()])
                .status()
        });
        killed.transpose().map_err(BenchError::process("kill"))?;
    }
    run.await??;
    let elapsed = started.elapsed();
    let recomputed = session.progress().tasks_recomputed;
    session.stop().await;
    Ok((elapsed, recomputed))
}
