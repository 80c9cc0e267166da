//! Registers folders of Parquet files as tables of both engines.

use std::path::Path;

use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use faisca::{Result, Session, SessionBuilder};

/// Creates a context of DataFusion in one process, with its defaults, except that nulls sort as in
/// Spark: with a LIMIT, their place decides which rows there are.
pub(crate) async fn single_process(data: &Path, tables: &[&str]) -> Result<SessionContext> {
    let config =
        SessionConfig::new().set_str("datafusion.sql_parser.default_null_ordering", "nulls_min");
    let context = SessionContext::new_with_config(config);
    for table in tables {
        context
            .register_parquet(
                *table,
                format!("{}/", data.join(table).display()),
                ParquetReadOptions::default(),
            )
            .await?;
    }
    Ok(context)
}

/// Starts a session with the tables, and waits for its executors.
pub(crate) async fn session(
    builder: SessionBuilder,
    data: &Path,
    tables: &[&str],
) -> Result<Session> {
    let session = builder.get_or_create().await?;
    for table in tables {
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
