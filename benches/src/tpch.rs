//! The 22 queries of TPC-H.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use faisca::generate::TPCH_TABLES;
use faisca::{Error, Result, Session, SessionBuilder};

use crate::compare::{Comparison, report};
use crate::duckdb::DuckDb;
use crate::picture;

/// Flags of `suite`.
#[derive(Debug, Args)]
pub(crate) struct SuiteArgs {
    /// Scale factor.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Queries, if not all 22.
    #[arg(long, value_delimiter = ',')]
    queries: Vec<usize>,
    /// Measures DuckDB too, by this Python, which must have the package `duckdb`.
    #[arg(long, value_name = "PYTHON")]
    duckdb: Option<PathBuf>,
    /// Draws the ratios into this SVG file.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
}

/// Folder of the tables, generated on first use.
pub(crate) fn data(folder: &Path, scale: f64) -> Result<PathBuf> {
    let data = folder.join(format!("tpch-{scale}"));
    if !data.join("done").exists() {
        let write = |e: std::io::Error| Error::Write(e.to_string());
        faisca::generate::tpch(&data, scale).map_err(write)?;
        std::fs::write(data.join("done"), "").map_err(write)?;
    }
    Ok(data)
}

/// The text of a query.
pub(crate) fn query(number: usize) -> Result<String> {
    let path = format!("examples/tpch/queries/q{number:02}.sql");
    std::fs::read_to_string(&path).map_err(|e| Error::Plan(format!("{path}: {e}; run from the root of the repository")))
}

/// DataFusion in one process, with its defaults.
pub(crate) async fn alone(data: &Path) -> Result<SessionContext> {
    let context = SessionContext::new();
    for table in TPCH_TABLES {
        context.register_parquet(table, format!("{}/", data.join(table).display()), ParquetReadOptions::default()).await?;
    }
    Ok(context)
}

/// A session with the tables, whose executors are up.
pub(crate) async fn session(builder: SessionBuilder, data: &Path) -> Result<Session> {
    let session = builder.app_name("tpch").get_or_create().await?;
    for table in TPCH_TABLES {
        session.sql(&format!("CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{}/'", data.join(table).display())).await?;
    }
    session.ready().await;
    Ok(session)
}

pub(crate) async fn suite(folder: &Path, args: SuiteArgs, runs: u32, executors: u32) -> Result<()> {
    let data = data(folder, args.scale)?;
    let alone = alone(&data).await?;
    let session = session(Session::builder().executors(executors), &data).await?;
    let mut duckdb = args.duckdb.as_deref().map(|python| DuckDb::start(python, &data, &TPCH_TABLES)).transpose()?;
    let queries = if args.queries.is_empty() { (1..=22).collect() } else { args.queries };
    let mut all = vec![];
    for number in queries {
        let sql = query(number)?;
        let mut best =
            Comparison { name: format!("q{number}"), ours: Duration::MAX, theirs: Duration::MAX, duckdb: duckdb.as_ref().map(|_| Duration::MAX) };
        for _ in 0..runs {
            let started = Instant::now();
            alone.sql(&sql).await?.collect().await?;
            best.theirs = best.theirs.min(started.elapsed());
            let started = Instant::now();
            session.sql(&sql).await?.collect().await?;
            best.ours = best.ours.min(started.elapsed());
            if let (Some(duckdb), Some(fastest)) = (&mut duckdb, &mut best.duckdb) {
                *fastest = (*fastest).min(duckdb.run(&sql)?);
            }
        }
        all.push(best);
    }
    session.stop().await;
    let layout = if executors == 0 { "embedded".to_owned() } else { format!("{executors} processes") };
    let title = format!("TPC-H scale factor {}, {layout}", args.scale);
    report(&title, &all);
    match args.picture {
        Some(file) => picture::draw(&file, &title, &all),
        None => Ok(()),
    }
}
