//! Queries for which DataFusion returns wrong rows, on every layout. Expected rows are DuckDB's and
//! Spark's.
//!
//! A test `upstream_still_…` fails once DataFusion is right, so that the rule against the fault can
//! be removed.

mod deep;
mod filters;
mod floats;
mod group_keys;
mod grouping_sets;
mod joins;
mod overflow;
mod sets;
mod signs;
mod sorts;
mod subqueries;
mod subquery_positions;
mod timestamps;
mod windows;

use datafusion::prelude::{SessionConfig, SessionContext};
use faisca::Session;

use crate::support::{Layout, rows, session, sorted};

const LAYOUTS: [Layout; 2] = [Layout::Embedded, Layout::Processes(3)];

/// What a query returns.
enum Expected {
    /// These rows in any order, columns between bars.
    Rows(&'static [&'static str]),
    /// An error with this text.
    Error(&'static str),
}

use Expected::{Error, Rows};

/// Runs each query on each layout after the statements of `setup`.
async fn check(setup: &[&str], cases: &[(&str, Expected)]) {
    for layout in LAYOUTS {
        for partitions in [1, 4] {
            let session = session(layout, partitions).await;
            for statement in setup {
                let frame = session.sql(statement).await.unwrap();
                frame.collect().await.unwrap();
            }
            for (sql, expected) in cases {
                let with = format!("{layout:?} × {partitions}: {sql}");
                match (expected, outcome(&session, sql).await) {
                    (Rows(expected), Ok(found)) => {
                        let expected = sorted(expected.iter().map(ToString::to_string).collect());
                        assert_eq!(found, expected, "{with}");
                    }
                    (Error(expected), Err(error)) => {
                        assert!(error.contains(expected), "{with}: {error}");
                    }
                    (Rows(_), Err(error)) => panic!("{with}: {error}"),
                    (Error(_), Ok(found)) => panic!("{with}: no error, but {found:?}"),
                }
            }
            session.stop().await;
        }
    }
}

async fn outcome(session: &Session, sql: &str) -> Result<Vec<String>, String> {
    let frame = session.sql(sql).await.map_err(|e| e.to_string())?;
    let batches = frame.collect().await.map_err(|e| e.to_string())?;
    Ok(sorted(rows(&batches)))
}

/// Writes files by DataFusion alone, once for all layouts.
async fn write(statements: &[String]) {
    let context = SessionContext::new();
    for statement in statements {
        let frame = context.sql(statement).await.unwrap();
        frame.collect().await.unwrap();
    }
}

/// What DataFusion alone returns, with the settings that matter to the fault.
async fn upstream(config: SessionConfig, setup: &[&str], sql: &str) -> Result<Vec<String>, String> {
    let context = SessionContext::new_with_config(config);
    for statement in setup {
        let frame = context.sql(statement).await.map_err(|e| e.to_string())?;
        frame.collect().await.map_err(|e| e.to_string())?;
    }
    let frame = context.sql(sql).await.map_err(|e| e.to_string())?;
    let batches = frame.collect().await.map_err(|e| e.to_string())?;
    Ok(sorted(rows(&batches)))
}
