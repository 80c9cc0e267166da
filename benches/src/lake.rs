//! TPC-H on an object store: reads, writes, and the cost of a durable exchange.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use faisca::prelude::*;
use faisca::{Error, Result};
use faisca_generate::TPCH_TABLES;
use object_store::aws::AmazonS3Builder;
use url::Url;

use crate::compare::{Comparison, geometric_mean, numeric_table, ratio, report, seconds};
use crate::measure::Stopwatch;
use crate::tpch::{data, queries_or_all, query, session, single_process, time_query};

/// Flags of `lake`. Endpoint and credentials come from the environment variables of AWS tools.
#[derive(Debug, Args)]
pub(crate) struct LakeArgs {
    /// Bucket with the tables of TPC-H below `tpch/`; results go below `out/` and `exchange/`.
    #[arg(long, default_value = "s3://bench")]
    bucket: String,
    /// Scale factor of the tables.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Numbers of the queries; default: all 22.
    #[arg(long, value_delimiter = ',')]
    queries: Vec<usize>,
    /// What to measure.
    #[arg(long, value_delimiter = ',', default_values = ["read", "write", "exchange"])]
    parts: Vec<Workload>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Workload {
    /// Run the queries on tables in the bucket.
    Read,
    /// Write the largest table into the bucket.
    Write,
    /// Run the queries on local tables with two processes, and copy their blocks to the bucket.
    Exchange,
}

pub(crate) async fn run(folder: &Path, args: LakeArgs, runs: u32, executors: u32) -> Result<()> {
    let queries = queries_or_all(&args.queries);
    let local = data(folder, args.scale)?;
    for workload in &args.parts {
        match workload {
            Workload::Read => read(&args, &queries, runs, executors).await?,
            Workload::Write => write(&args, &local, runs, executors).await?,
            Workload::Exchange => exchange(&args, &local, &queries, runs, executors.max(2)).await?,
        }
    }
    Ok(())
}

/// Registers the bucket's store with DataFusion.
fn register_bucket(context: &SessionContext, bucket: &str) -> Result<()> {
    let url = Url::parse(bucket).map_err(Error::setting(bucket))?;
    let store = AmazonS3Builder::from_env()
        .with_url(bucket)
        .with_allow_http(true)
        .build()
        .map_err(Error::setting(bucket))?;
    context.register_object_store(&url, Arc::new(store));
    Ok(())
}

async fn read(args: &LakeArgs, queries: &[usize], runs: u32, executors: u32) -> Result<()> {
    let datafusion = SessionContext::new();
    register_bucket(&datafusion, &args.bucket)?;
    let faisca = Session::builder()
        .executors(executors)
        .get_or_create()
        .await?;
    for table in TPCH_TABLES {
        let path = format!("{}/tpch/{table}/", args.bucket);
        datafusion
            .register_parquet(table, &path, ParquetReadOptions::default())
            .await?;
        faisca
            .sql(&format!(
                "CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{path}'"
            ))
            .await?;
    }
    faisca.ready().await;
    let mut all = vec![];
    for number in queries {
        let sql = query(*number)?;
        let mut best = Comparison::new(format!("q{number}"), 1);
        for _ in 0..runs {
            let stopwatch = Stopwatch::start();
            datafusion.sql(&sql).await?.collect().await?;
            best.record_reference(0, stopwatch.stop());
            let stopwatch = Stopwatch::start();
            time_query(&faisca, &sql).await?;
            best.record(stopwatch.stop());
        }
        all.push(best);
    }
    faisca.stop().await;
    report(
        &format!(
            "TPC-H scale factor {} from {}, {executors} executors",
            args.scale, args.bucket
        ),
        &["DataFusion".to_owned()],
        &all,
    );
    println!("{:?}", faisca.object_stores().requests());
    Ok(())
}

async fn write(args: &LakeArgs, local: &Path, runs: u32, executors: u32) -> Result<()> {
    let datafusion = single_process(local).await?;
    register_bucket(&datafusion, &args.bucket)?;
    let faisca = session(Session::builder().executors(executors), local).await?;
    let mut best = Comparison::new("lineitem".to_owned(), 1);
    for run in 0..runs {
        let stopwatch = Stopwatch::start();
        let frame = datafusion.table("lineitem").await?;
        frame
            .write_parquet(
                &format!("{}/out/theirs-{run}/", args.bucket),
                DataFrameWriteOptions::new(),
                None,
            )
            .await?;
        best.record_reference(0, stopwatch.stop());
        let stopwatch = Stopwatch::start();
        faisca
            .table("lineitem")
            .await?
            .write()
            .mode(SaveMode::Overwrite)
            .parquet(&format!("{}/out/ours", args.bucket))
            .await?;
        best.record(stopwatch.stop());
    }
    faisca.stop().await;
    report(
        &format!(
            "TPC-H scale factor {}, lineitem written to {}, {executors} executors",
            args.scale, args.bucket
        ),
        &["DataFusion".to_owned()],
        &[best],
    );
    Ok(())
}

/// Times at which blocks are copied. The others are compared with the first.
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
    let mut table = numeric_table(&["", "never s", "async s", "ratio", "sync s", "ratio"]);
    let mut all: Vec<[Duration; 3]> = vec![];
    for number in queries {
        let sql = query(*number)?;
        let mut best = [Duration::MAX; 3];
        for _ in 0..runs {
            for (fastest, session) in best.iter_mut().zip(&sessions) {
                *fastest = (*fastest).min(time_query(session, &sql).await?);
            }
        }
        table.add_row(durability_row(format!("q{number}"), best));
        all.push(best);
    }
    let total = |index: usize| all.iter().map(|best| best[index]).sum();
    table.add_row(durability_row(
        "total".to_owned(),
        [total(0), total(1), total(2)],
    ));
    println!(
        "TPC-H scale factor {}, {executors} processes, blocks copied to {}\n{table}",
        args.scale, args.bucket
    );
    for (index, name) in DURABILITIES.iter().enumerate().skip(1) {
        println!(
            "geometric mean of ratios: {name} {:.2}",
            geometric_mean(all.iter().map(|best| ratio(best[index], best[0])))
        );
    }
    for session in sessions {
        session.stop().await;
    }
    Ok(())
}

/// Returns the cells of one query: times in the order of [`DURABILITIES`], and ratios to the first.
fn durability_row(name: String, [never, background, sync]: [Duration; 3]) -> Vec<String> {
    let ratio_to_never = |time: Duration| format!("{:.2}", ratio(time, never));
    vec![
        name,
        seconds(never),
        seconds(background),
        ratio_to_never(background),
        seconds(sync),
        ratio_to_never(sync),
    ]
}
