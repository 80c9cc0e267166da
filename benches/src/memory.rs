//! TPC-H with little memory: correctness of every query, and peak memory of the executor processes.

use std::path::Path;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use faisca::{Error, Result, Session};
use faisca_planner::ids::ExecutorId;

use crate::compare::{numeric_table, seconds};
use crate::tpch;

const MIB: u64 = 1 << 20;

pub(crate) async fn run(
    folder: &Path,
    scale: f64,
    memory_mib: u64,
    queries: &[usize],
    executors: u32,
) -> Result<()> {
    let data = tpch::data(folder, scale)?;
    let single_process = tpch::single_process(&data).await?;
    let mut table = numeric_table(&["", "seconds", "spilled MiB", "peak resident MiB", "result"]);
    let mut wrong_queries = vec![];
    for number in tpch::queries_or_all(queries) {
        // A new fleet per query, so that each query has its own peak.
        let builder = Session::builder()
            .executors(executors)
            .executor_cores(1)
            .memory_bytes(memory_mib * MIB);
        let session = tpch::session(builder, &data).await?;
        let sql = tpch::query(number)?;
        let started = Instant::now();
        let result = session.sql(&sql).await?.collect().await;
        let elapsed = started.elapsed();
        let totals: Vec<_> = session
            .progress()
            .executors
            .into_iter()
            .filter(|(id, _)| *id != ExecutorId(0))
            .map(|(_, e)| e)
            .collect();
        session.stop().await;
        let expected = rows_as_text(&single_process.sql(&sql).await?.collect().await?)?;
        let outcome = match result {
            Ok(batches) if rows_as_text(&batches)? == expected => "correct".to_owned(),
            Ok(_) => "WRONG".to_owned(),
            Err(error) => format!("FAILED: {error}").chars().take(60).collect(),
        };
        if outcome != "correct" {
            wrong_queries.push(number);
        }
        let spilled = totals.iter().map(|e| e.spilled_bytes).sum::<u64>() / MIB;
        let peak = totals
            .iter()
            .filter_map(|e| e.resident_peak_bytes)
            .max()
            .unwrap_or_default()
            / MIB;
        println!(
            "q{number}: {} s, {outcome}, {spilled} MiB spilled, {peak} MiB resident",
            seconds(elapsed)
        );
        table.add_row([
            format!("q{number}"),
            seconds(elapsed),
            spilled.to_string(),
            peak.to_string(),
            outcome,
        ]);
    }
    println!(
        "TPC-H scale factor {scale}, {executors} processes of 1 slot and {memory_mib} MiB\n{table}"
    );
    if wrong_queries.is_empty() {
        Ok(())
    } else {
        Err(Error::Plan(format!("wrong or failed: {wrong_queries:?}")))
    }
}

/// Formats rows as text, with floats to nine digits because sums depend on the order of addition.
fn rows_as_text(batches: &[RecordBatch]) -> Result<Vec<String>> {
    let options = FormatOptions::default().with_null("∅");
    let mut rows = vec![];
    for batch in batches {
        let formatters = batch
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c, &options))
            .collect::<std::result::Result<Vec<_>, _>>();
        let formatters = formatters.map_err(|e| Error::Plan(e.to_string()))?;
        for row in 0..batch.num_rows() {
            let cell = |(index, formatter): (usize, &ArrayFormatter)| {
                let text = formatter.value(row).to_string();
                match batch.column(index).data_type().is_floating() {
                    true => text
                        .parse::<f64>()
                        .map_or(text, |value| format!("{value:.9e}")),
                    false => text,
                }
            };
            rows.push(
                formatters
                    .iter()
                    .enumerate()
                    .map(cell)
                    .collect::<Vec<_>>()
                    .join("|"),
            );
        }
    }
    Ok(rows)
}
