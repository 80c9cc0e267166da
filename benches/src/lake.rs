//! The same on an object store: reading, writing, and the price of blocks that outlive executors.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use faisca::prelude::*;
use faisca::{Error, Result};
use faisca_generate::TPCH_TABLES;
use object_store::aws::AmazonS3Builder;
use url::Url;

use crate::compare::{Comparison, aligned, mean, report, seconds};
use crate::tpch::{alone, data, query, session};

/// Flags of `lake`. The server and the credentials come from AWS' environment variables.
#[derive(Debug, Args)]
pub(crate) struct LakeArgs {
    /// Bucket with the tables of TPC-H below `tpch/`; results go below `out/` and `exchange/`.
    #[arg(long, default_value = "s3://bench")]
    bucket: String,
    /// Scale factor of the tables.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Queries, if not all 22.
    #[arg(long, value_delimiter = ',')]
    queries: Vec<usize>,
    /// What to measure.
    #[arg(long, value_delimiter = ',', default_values = ["read", "write", "exchange"])]
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The queries from the bucket.
    Read,
    /// The largest table into the bucket.
    Write,
    /// The queries from this machine's disk on two processes, with blocks copied to the bucket.
    Exchange,
}

pub(crate) async fn run(folder: &Path, args: LakeArgs, runs: u32, executors: u32) -> Result<()> {
    let queries = if args.queries.is_empty() {
        (1..=22).collect()
    } else {
        args.queries.clone()
    };
    let local = data(folder, args.scale)?;
    for part in &args.parts {
        match part {
            Part::Read => read(&args, &queries, runs, executors).await?,
            Part::Write => write(&args, &local, runs, executors).await?,
            Part::Exchange => exchange(&args, &local, &queries, runs, executors.max(2)).await?,
        }
    }
    Ok(())
}

fn with_bucket(context: &SessionContext, bucket: &str) -> Result<()> {
    let url = Url::parse(bucket).map_err(|e| Error::Plan(format!("{bucket}: {e}")))?;
    let store = AmazonS3Builder::from_env()
        .with_url(bucket)
        .with_allow_http(true)
        .build()
        .map_err(|e| Error::Plan(e.to_string()))?;
    context.register_object_store(&url, Arc::new(store));
    Ok(())
}

async fn read(args: &LakeArgs, queries: &[usize], runs: u32, executors: u32) -> Result<()> {
    let theirs = SessionContext::new();
    with_bucket(&theirs, &args.bucket)?;
    let ours = Session::builder()
        .executors(executors)
        .get_or_create()
        .await?;
    for table in TPCH_TABLES {
        let path = format!("{}/tpch/{table}/", args.bucket);
        theirs
            .register_parquet(table, &path, ParquetReadOptions::default())
            .await?;
        ours.sql(&format!(
            "CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{path}'"
        ))
        .await?;
    }
    ours.ready().await;
    let mut all = vec![];
    for number in queries {
        let sql = query(*number)?;
        let mut best = Comparison::new(format!("q{number}"), 0);
        for _ in 0..runs {
            let started = Instant::now();
            theirs.sql(&sql).await?.collect().await?;
            best.theirs = best.theirs.min(started.elapsed());
            let started = Instant::now();
            ours.sql(&sql).await?.collect().await?;
            best.ours = best.ours.min(started.elapsed());
        }
        all.push(best);
    }
    ours.stop().await;
    report(
        &format!(
            "TPC-H scale factor {} from {}, {executors} executors",
            args.scale, args.bucket
        ),
        &[],
        &all,
    );
    println!("{:?}", ours.object_stores().requests());
    Ok(())
}

async fn write(args: &LakeArgs, local: &Path, runs: u32, executors: u32) -> Result<()> {
    let theirs = alone(local).await?;
    with_bucket(&theirs, &args.bucket)?;
    let ours = session(Session::builder().executors(executors), local).await?;
    let mut best = Comparison::new("lineitem".to_owned(), 0);
    for run in 0..runs {
        let started = Instant::now();
        let frame = theirs.table("lineitem").await?;
        frame
            .write_parquet(
                &format!("{}/out/theirs-{run}/", args.bucket),
                DataFrameWriteOptions::new(),
                None,
            )
            .await?;
        best.theirs = best.theirs.min(started.elapsed());
        let started = Instant::now();
        ours.table("lineitem")
            .await?
            .write()
            .mode(SaveMode::Overwrite)
            .parquet(&format!("{}/out/ours", args.bucket))
            .await?;
        best.ours = best.ours.min(started.elapsed());
    }
    ours.stop().await;
    report(
        &format!(
            "TPC-H scale factor {}, lineitem written to {}, {executors} executors",
            args.scale, args.bucket
        ),
        &[],
        &[best],
    );
    Ok(())
}

/// Whether, and when, blocks are copied; the first is what the others are compared with.
const DURABILITIES: [&str; 3] = ["never", "async", "sync"];

async fn exchange(
    args: &LakeArgs,
    local: &Path,
    queries: &[usize],
    runs: u32,
    executors: u32,
) -> Result<()> {
    let mut sessions = vec![];
    for durability in DURABILITIES {
        let builder = Session::builder()
            .executors(executors)
            .executor_cores(1)
            .config("faisca.exchange.durability", durability);
        let builder = builder.config("faisca.exchange.store", format!("{}/exchange", args.bucket));
        sessions.push(session(builder, local).await?);
    }
    let mut table = aligned(&["", "never s", "async s", "ratio", "sync s", "ratio"]);
    let mut all: Vec<[Duration; 3]> = vec![];
    for number in queries {
        let sql = query(*number)?;
        let mut best = [Duration::MAX; 3];
        for _ in 0..runs {
            for (fastest, session) in best.iter_mut().zip(&sessions) {
                let started = Instant::now();
                session.sql(&sql).await?.collect().await?;
                *fastest = (*fastest).min(started.elapsed());
            }
        }
        table.add_row(row(format!("q{number}"), best));
        all.push(best);
    }
    let total = |index: usize| all.iter().map(|best| best[index]).sum();
    table.add_row(row("total".to_owned(), [total(0), total(1), total(2)]));
    println!(
        "TPC-H scale factor {}, {executors} processes, blocks copied to {}\n{table}",
        args.scale, args.bucket
    );
    for (index, name) in DURABILITIES.iter().enumerate().skip(1) {
        println!(
            "geometric mean of ratios: {name} {:.2}",
            mean(all.iter().map(|best| ratio(best[index], best[0])))
        );
    }
    for session in sessions {
        session.stop().await;
    }
    Ok(())
}

fn ratio(this: Duration, by: Duration) -> f64 {
    this.as_secs_f64() / by.as_secs_f64().max(f64::EPSILON)
}

fn row(name: String, [never, later, at_once]: [Duration; 3]) -> Vec<String> {
    let by = |this: Duration| format!("{:.2}", ratio(this, never));
    vec![
        name,
        seconds(never),
        seconds(later),
        by(later),
        seconds(at_once),
        by(at_once),
    ]
}
