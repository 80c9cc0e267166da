//! The 22 queries of TPC-H.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use datafusion::prelude::SessionContext;
use faisca::{Error, Result, Session, SessionBuilder};
use faisca_generate::TPCH_TABLES;

use crate::tables;

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
pub(crate) async fn with_uuid_keys(data: &Path) -> Result<PathBuf> {
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

/// Creates a context of DataFusion in one process with the tables.
pub(crate) async fn single_process(data: &Path) -> Result<SessionContext> {
    tables::single_process(data, &TPCH_TABLES).await
}

/// Starts a session with the tables, and waits for its executors.
pub(crate) async fn session(builder: SessionBuilder, data: &Path) -> Result<Session> {
    tables::session(builder.app_name("tpch"), data, &TPCH_TABLES).await
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
