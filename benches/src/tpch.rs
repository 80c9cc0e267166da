//! The 22 queries of TPC-H.

use std::path::Path;
use std::time::{Duration, Instant};

use datafusion::prelude::{ParquetReadOptions, SessionContext};
use faisca::generate::TPCH_TABLES;
use faisca::{Error, Result, Session};

use crate::compare::{Pair, report};

pub(crate) async fn run(folder: &Path, scale: f64, runs: u32, executors: u32) -> Result<()> {
    let data = folder.join(format!("tpch-{scale}"));
    if !data.join("lineitem").exists() {
        faisca::generate::tpch(&data, scale).map_err(|e| Error::Write(e.to_string()))?;
    }
    let alone = SessionContext::new();
    let session = Session::builder().app_name("tpch").executors(executors).get_or_create().await?;
    for table in TPCH_TABLES {
        let path = format!("{}/", data.join(table).display());
        alone.register_parquet(table, &path, ParquetReadOptions::default()).await?;
        session.sql(&format!("CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{path}'")).await?;
    }
    session.ready().await;
    let mut pairs = vec![];
    for number in 1..=22 {
        let path = format!("examples/tpch/queries/q{number:02}.sql");
        let sql = std::fs::read_to_string(&path).map_err(|e| Error::Plan(format!("{path}: {e}; run from the root of the repository")))?;
        let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
        for _ in 0..runs {
            let started = Instant::now();
            alone.sql(&sql).await?.collect().await?;
            theirs = theirs.min(started.elapsed());
            let started = Instant::now();
            session.sql(&sql).await?.collect().await?;
            ours = ours.min(started.elapsed());
        }
        pairs.push(Pair { name: format!("q{number}"), ours, theirs });
    }
    session.stop().await;
    let layout = if executors == 0 { "embedded".to_owned() } else { format!("{executors} processes") };
    report(&format!("TPC-H scale factor {scale}, {layout}"), &pairs);
    Ok(())
}
