//! The 22 queries of TPC-H.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use faisca::{Error, Result, Session, SessionBuilder};
use faisca_generate::TPCH_TABLES;

use crate::compare::{Comparison, layout, report};
use crate::error;
use crate::peer::{Peer, PeerCommand, PeerResult};
use crate::picture;

/// Flags of `suite`.
#[derive(Debug, Args)]
pub(crate) struct SuiteArgs {
    /// Scale factor.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Numbers of the queries; default: all 22.
    #[arg(long, value_delimiter = ',')]
    queries: Vec<usize>,
    /// Use keys of 36 characters of text, like UUIDs, instead of numbers.
    #[arg(long)]
    uuid_keys: bool,
    /// Measure another engine too: see `benches/peers/README.md`. Repeatable.
    #[arg(long = "peer", value_name = "NAME=COMMAND")]
    peers: Vec<PeerCommand>,
    /// Draw the ratios into this SVG file.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
}

/// Returns the folder of the tables, which are generated on first use.
pub(crate) fn data(folder: &Path, scale: f64) -> Result<PathBuf> {
    let data = folder.join(format!("tpch-{scale}"));
    if !data.join("done").exists() {
        let write = |e: std::io::Error| Error::Write(e.to_string());
        faisca_generate::tpch(&data, scale).map_err(write)?;
        std::fs::write(data.join("done"), "").map_err(write)?;
    }
    Ok(data)
}

/// Returns the folder of the same tables with text keys, which have neither a range for bit sets
/// nor arrays for joins.
async fn with_uuid_keys(data: &Path) -> Result<PathBuf> {
    let uuid = data.with_file_name(format!(
        "{}-uuid",
        data.file_name().unwrap_or_default().display()
    ));
    let context = single_process(data).await?;
    for table in TPCH_TABLES {
        let folder = uuid.join(table);
        if folder.exists() {
            continue;
        }
        let schema = context.table(table).await?.schema().clone();
        let columns = schema.fields().iter().map(|field| match field.name() {
            key if key.ends_with("key") => format!("concat('{}-0000-4000-8000-', lpad(to_hex(CAST({key} AS BIGINT)), 12, '0')) AS {key}", "6f9619ff"),
            other => other.clone(),
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        context
            .sql(&format!(
                "COPY (SELECT {columns} FROM {table}) TO '{}/' STORED AS PARQUET",
                folder.display()
            ))
            .await?
            .collect()
            .await?;
    }
    Ok(uuid)
}

/// Reads the SQL text of a query.
pub(crate) fn query(number: usize) -> Result<String> {
    let path = format!("tests/queries/q{number:02}.sql");
    std::fs::read_to_string(&path).map_err(Error::input(format!(
        "{path}, from the root of the repository"
    )))
}

/// Creates a context of DataFusion in one process, with its defaults.
pub(crate) async fn single_process(data: &Path) -> Result<SessionContext> {
    let context = SessionContext::new();
    for table in TPCH_TABLES {
        context
            .register_parquet(
                table,
                format!("{}/", data.join(table).display()),
                ParquetReadOptions::default(),
            )
            .await?;
    }
    Ok(context)
}

/// Starts a session with the tables, and waits for its executors.
pub(crate) async fn session(builder: SessionBuilder, data: &Path) -> Result<Session> {
    let session = builder.app_name("tpch").get_or_create().await?;
    for table in TPCH_TABLES {
        session
            .sql(&format!(
                "CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{}/'",
                data.join(table).display()
            ))
            .await?;
    }
    session.ready().await;
    Ok(session)
}

/// Returns the given queries, or all 22 if none is given.
pub(crate) fn queries_or_all(queries: &[usize]) -> Vec<usize> {
    if queries.is_empty() {
        (1..=22).collect()
    } else {
        queries.to_vec()
    }
}

/// Runs a query to its end and returns the time that it took.
pub(crate) async fn time_query(session: &Session, sql: &str) -> Result<Duration> {
    let started = Instant::now();
    session.sql(sql).await?.collect().await?;
    Ok(started.elapsed())
}

/// Measures the queries on DataFusion, Faísca and the peers, interleaved, and prints the report.
pub(crate) async fn suite(
    folder: &Path,
    args: SuiteArgs,
    runs: u32,
    executors: u32,
) -> error::Result<()> {
    let mut data = data(folder, args.scale)?;
    if args.uuid_keys {
        data = with_uuid_keys(&data).await?;
    }
    let single_process = single_process(&data).await?;
    let session = session(Session::builder().executors(executors), &data).await?;
    let mut peers = args
        .peers
        .iter()
        .map(|command| Peer::start(command, &data, &TPCH_TABLES))
        .collect::<error::Result<Vec<_>>>()?;
    let mut all = vec![];
    for number in queries_or_all(&args.queries) {
        let sql = query(number)?;
        let mut best = Comparison::new(format!("q{number}"), peers.len());
        for _ in 0..runs {
            let started = Instant::now();
            single_process.sql(&sql).await?.collect().await?;
            best.datafusion_time = best.datafusion_time.min(started.elapsed());
            let started = Instant::now();
            let rows = session
                .sql(&sql)
                .await?
                .collect()
                .await?
                .iter()
                .map(|batch| batch.num_rows())
                .sum();
            best.faisca_time = best.faisca_time.min(started.elapsed());
            for (peer, fastest) in peers.iter_mut().zip(&mut best.peers) {
                if let Some(time) = run_on_peer(peer, number, &sql, rows)? {
                    *fastest = Some(fastest.map_or(time, |fastest| fastest.min(time)));
                }
            }
        }
        all.push(best);
    }
    session.stop().await;
    let keys = if args.uuid_keys { ", text keys" } else { "" };
    let title = format!(
        "TPC-H scale factor {}{keys}, {}",
        args.scale,
        layout(executors)
    );
    let names: Vec<String> = peers.iter().map(|peer| peer.name.clone()).collect();
    report(&title, &names, &all);
    match args.picture {
        Some(file) => Ok(picture::draw(&file, &title, &names, &all)?),
        None => Ok(()),
    }
}

/// Runs a query on a peer. Returns its time if it returned the expected number of rows.
fn run_on_peer(
    peer: &mut Peer,
    number: usize,
    sql: &str,
    expected: usize,
) -> error::Result<Option<Duration>> {
    match peer.run(sql)? {
        PeerResult::Rows { time, rows } if rows == expected => Ok(Some(time)),
        PeerResult::Rows { rows, .. } => {
            eprintln!(
                "{}, q{number}: {rows} rows instead of {expected}; not counted",
                peer.name
            );
            Ok(None)
        }
        PeerResult::Failed(reason) => {
            eprintln!("{}, q{number}: {reason}", peer.name);
            Ok(None)
        }
    }
}
