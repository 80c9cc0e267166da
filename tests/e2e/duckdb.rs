//! Generated queries against DuckDB: an oracle that shares no code with the engine.
//!
//! ```text
//!   number ──> query with marks ──> DuckDB in a Python process ──┐
//!                              └──> ours, embedded or 3 processes ┴──> equal as multisets, or the marks are dropped
//! ```
//!
//! `FAISCA_GENERATED_NUMBER=4711 cargo test --release --test e2e duckdb` runs that query alone.

mod aggregates;
mod compare;
mod data;
mod expressions;
mod oracle;
mod queries;
mod relations;
mod shrink;
mod windows;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use faisca::Session;

use self::compare::Row;
use self::oracle::DuckDb;
use crate::support::{Generated, Layout, register_folders, scratch, session};

/// No query takes a tenth of this.
const PATIENCE: Duration = Duration::from_secs(60);
const ENDLESS: &str = "the query does not end";
/// Side by side, as many as there are cores to expect.
const AT_ONCE: usize = 2;
/// Failures that are shrunk and printed.
const MAX_FAILURES: usize = 20;
/// More refused queries than this share would say that the generator writes no SQL.
const MAX_REFUSED_PERCENT: u64 = 15;

/// How a query ended.
enum Outcome {
    Equal {
        has_rows: bool,
    },
    /// One of the engines does not run it.
    Refused {
        engine: &'static str,
        reason: String,
    },
    Differs {
        expected: Vec<Row>,
        actual: Result<Vec<Row>, String>,
    },
}

/// An error that no statement may cause.
fn is_internal(error: &str) -> bool {
    [ENDLESS, "panicked", "Internal error", "bug in"]
        .iter()
        .any(|sign| error.contains(sign))
}

async fn compare(duckdb: &DuckDb, session: &Session, sql: &str) -> Outcome {
    let expected = match duckdb.run(sql).await {
        Ok(rows) => rows,
        Err(reason) => {
            return Outcome::Refused {
                engine: "DuckDB",
                reason,
            };
        }
    };
    let running = async { session.sql(sql).await?.collect().await };
    let actual = match tokio::time::timeout(PATIENCE, running).await {
        Ok(result) => result
            .map(|batches| compare::rows(&batches))
            .map_err(|e| e.to_string()),
        Err(_) => Err(ENDLESS.to_owned()),
    };
    match actual {
        Err(reason) if !is_internal(&reason) => Outcome::Refused {
            engine: "ours",
            reason,
        },
        Ok(actual) if compare::are_equal(&expected, &actual) => Outcome::Equal {
            has_rows: !expected.is_empty(),
        },
        actual => Outcome::Differs { expected, actual },
    }
}

/// Counts of a run, and its first failures.
#[derive(Default)]
struct RunCounts {
    equal: u64,
    with_rows: u64,
    refused: BTreeMap<&'static str, u64>,
    /// Numbers of the queries that each message refused; it is cut to its beginning.
    reasons: BTreeMap<String, Vec<u64>>,
    failures: Vec<String>,
}

impl RunCounts {
    fn refuse(&mut self, number: u64, engine: &'static str, reason: &str) {
        const REASON_CHARS_MAX: usize = 60;
        *self.refused.entry(engine).or_default() += 1;
        let beginning: String = reason
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(REASON_CHARS_MAX)
            .collect();
        let numbers = self.reasons.entry(format!("{engine}: {beginning}"));
        numbers.or_default().push(number);
    }

    fn refused(&self) -> u64 {
        self.refused.values().sum()
    }

    fn summary(&self) -> String {
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        reasons.sort_by_key(|(_, numbers)| std::cmp::Reverse(numbers.len()));
        let reasons: Vec<_> = reasons
            .iter()
            .take(12)
            .map(|(reason, numbers)| {
                let (count, number) = (numbers.len(), numbers[0]);
                format!("\n  {count} × {reason} (query {number})")
            })
            .collect();
        format!(
            "{} queries equal those of DuckDB, {} of them with rows; refused: {:?}{}",
            self.equal,
            self.with_rows,
            self.refused,
            reasons.concat()
        )
    }
}

/// Prints a failure with the smallest query that still fails.
async fn report(duckdb: &DuckDb, session: &Session, number: u64, layout: Layout) -> String {
    let differs =
        async |sql: &str| matches!(compare(duckdb, session, sql).await, Outcome::Differs { .. });
    let marked_sql = queries::query(number);
    let smallest = shrink::render(&shrink::shrink(&marked_sql, differs).await);
    let results = match compare(duckdb, session, &smallest).await {
        Outcome::Differs { expected, actual } => format!(
            "DuckDB:\n  {}\nours:\n  {}",
            compare::print(&expected),
            actual.map_or_else(|error| error, |rows| compare::print(&rows))
        ),
        _ => "not every run of it differs".to_owned(),
    };
    format!(
        "query {number}, {layout:?}:\n{}\nsmallest:\n{smallest}\n{results}",
        shrink::render(&marked_sql)
    )
}

/// Runs the query of a number and counts how it ended.
async fn run(duckdb: &DuckDb, session: &(Layout, Session), number: u64, counts: &Mutex<RunCounts>) {
    let (layout, session) = session;
    let sql = shrink::render(&queries::query(number));
    match compare(duckdb, session, &sql).await {
        Outcome::Equal { has_rows } => {
            let mut counts = counts.lock().unwrap();
            counts.equal += 1;
            counts.with_rows += u64::from(has_rows);
        }
        Outcome::Refused { engine, reason } => {
            counts.lock().unwrap().refuse(number, engine, &reason);
        }
        Outcome::Differs { .. } => {
            let failure = report(duckdb, session, number, *layout).await;
            counts.lock().unwrap().failures.push(failure);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_queries_agree_with_duckdb() {
    let folder = scratch("duckdb");
    data::write(folder.path());
    // The test harness captures what `println!` writes, but not this.
    let mut stderr = std::io::stderr();
    let Some(duckdb) = DuckDb::start(folder.path(), &data::TABLES) else {
        writeln!(
            stderr,
            "skipped: no Python has duckdb, which `.ci/run tools` installs"
        )
        .unwrap();
        return;
    };
    let generated = Generated::from_environment();
    let mut sessions = vec![];
    for layout in [Layout::Embedded, Layout::Processes(3)] {
        let session = session(layout, 3).await;
        register_folders(&session, folder.path(), &data::TABLES).await;
        sessions.push((layout, session));
    }
    if generated.count == 1 {
        let sql = shrink::render(&queries::query(generated.first));
        writeln!(stderr, "{sql}").unwrap();
    }
    let (next, counts) = (
        AtomicU64::new(generated.first),
        Mutex::new(RunCounts::default()),
    );
    let work = async || {
        while counts.lock().unwrap().failures.len() < MAX_FAILURES {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= generated.first + generated.count {
                break;
            }
            let session = &sessions[usize::try_from(number).unwrap() % sessions.len()];
            run(&duckdb, session, number, &counts).await;
        }
    };
    futures::future::join_all((0..AT_ONCE).map(|_| work())).await;
    for (_, session) in sessions {
        session.stop().await;
    }
    let counts = counts.into_inner().unwrap();
    writeln!(stderr, "{}", counts.summary()).unwrap();
    assert!(
        counts.failures.is_empty(),
        "{}",
        counts.failures.join("\n\n")
    );
    if generated.count > 1 {
        let most_refused = generated.count * MAX_REFUSED_PERCENT / 100;
        assert!(
            counts.refused() <= most_refused,
            "too many queries are refused"
        );
        // Queries without rows would prove little.
        assert!(
            counts.with_rows * 5 > counts.equal * 2,
            "most queries return no rows"
        );
    }
}
