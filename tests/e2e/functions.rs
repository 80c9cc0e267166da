//! Functions that executors must find by their names, with the types and the zone of the session.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use faisca::Session;
use futures::FutureExt;

use crate::support::{LAYOUTS, Layout, session, session_rows};

/// Rows of several tasks, so that aggregates have partial states.
const ROWS: &str = "(SELECT value AS id, value % 3 AS k, to_timestamp(value * 3600) AS t FROM range(0, 12) AS r(value)) AS x";

#[tokio::test(flavor = "multi_thread")]
async fn functions_of_spark_run_on_executors() {
    for layout in LAYOUTS {
        let session = session(layout, 4).await;
        session
            .sql("SET datafusion.execution.time_zone = 'Asia/Tokyo'")
            .await
            .unwrap();
        for (columns, expected) in [
            ("max_by(id, id % 7), min_by(id, -id)", "6|11"),
            (
                "count_if(id > 3), percentile(id, 0.5), mode(k)",
                "8|5.500000000e0|0",
            ),
            ("max(date_format(t, 'dd HH')), min(hour(t))", "01 20|9"),
            (
                "sum(size(split(string(id), ''))), max(typeof(t))",
                "14|timestamp",
            ),
            (
                "sum(id) FILTER (WHERE rlike(string(id), '^1')), min(from_unixtime(id))",
                "22|1970-01-01 09:00:00",
            ),
        ] {
            let sql = format!("SELECT {columns} FROM {ROWS}");
            assert_eq!(
                session_rows(&session, &sql).await,
                [expected],
                "{layout:?}: {columns}"
            );
        }
        session.stop().await;
    }
}

/// Names of functions: the registered ones, and those that only the parser knows.
async fn function_names(session: &Session) -> BTreeSet<String> {
    let sql = "SELECT DISTINCT routine_name FROM information_schema.routines";
    let mut names: BTreeSet<_> = session_rows(session, sql).await.into_iter().collect();
    let available = include_str!("../../docs/functions.md")
        .split("\n## ")
        .find(|section| section.starts_with("Available"))
        .unwrap();
    names.extend(available.split('`').skip(1).step_by(2).map(str::to_owned));
    names
}

/// Arguments of all kinds of types: columns with extremes and nulls, and constants.
const ARGUMENTS: [&str; 43] = [
    "i",
    "l",
    "s",
    "d",
    "f",
    "n",
    "t",
    "b",
    "x",
    "day",
    "ts",
    "ntz",
    "a",
    "at",
    "aa",
    "m",
    "st",
    "id",
    "NULL",
    "0",
    "1",
    "-1",
    "2",
    "1000",
    "2147483647",
    "9223372036854775807L",
    "0.5",
    "1e300D",
    "''",
    "'a'",
    "'%'",
    "'yyyy-MM-dd'",
    "'{\"a\": [1]}'",
    "'$.a'",
    "'(a)(b)?'",
    "X'00ff'",
    "array()",
    "array(1, NULL)",
    "array('a')",
    "map('a', 1)",
    "INTERVAL '1' DAY",
    "INTERVAL '1' MONTH",
    "CAST('NaN' AS DOUBLE)",
];

/// Rows with each type's extremes, its neutral value, and null.
const VALUES: &str = "CREATE TABLE v AS SELECT id, CAST(i AS INT) AS i, CAST(l AS BIGINT) AS l, \
    CAST(i % 100 AS SMALLINT) AS s, CAST(d AS DOUBLE) AS d, CAST(d AS FLOAT) AS f, CAST(n AS DECIMAL(38, 10)) AS n, \
    t, i > 0 AS b, CAST(t AS BINARY) AS x, CAST(day AS DATE) AS day, CAST(day AS TIMESTAMP) AS ts, \
    CAST(day AS TIMESTAMP_NTZ) AS ntz, array(i, NULL, i) AS a, array(t, '') AS at, array(array(i), NULL) AS aa, \
    map(t, i) AS m, named_struct('p', i, 'q', t) AS st FROM VALUES \
    (1, 2147483647, 9223372036854775807, 'Infinity', 9999999999999999999999999999.9999999999, 'aé日', '9999-12-31'), \
    (2, -2147483648, -9223372036854775808, '-0.0', -9999999999999999999999999999.9999999999, '', '0001-01-01'), \
    (3, 0, 0, 'NaN', 0, 'b', '1970-01-01'), (4, 1, 1, '1.5', 1.5, '2024-02-29 12:00:00', '2024-02-29') \
    AS r(id, i, l, d, n, t, day) UNION ALL SELECT 5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, \
    NULL, NULL, NULL, NULL, NULL, NULL, NULL";

/// A call by number: none to three arguments, sometimes over a window or by group.
fn call(name: &str, rng: &mut fastrand::Rng) -> String {
    let count = [0, 1, 1, 1, 2, 2, 2, 3, 3, 4][rng.usize(..10)];
    let arguments: Vec<_> = (0..count)
        .map(|_| ARGUMENTS[rng.usize(..ARGUMENTS.len())])
        .collect();
    let call = format!("{name}({})", arguments.join(", "));
    match rng.u8(..8) {
        0 => format!("SELECT {call} OVER (PARTITION BY b ORDER BY id) FROM v"),
        1 => format!("SELECT b, {call} FROM v GROUP BY b"),
        2 => format!("SELECT * FROM {call} LIMIT 5"),
        _ => format!("SELECT {call} FROM v"),
    }
}

/// A number for a name that no release of Rust changes.
fn seed(name: &str) -> u64 {
    name.bytes().fold(11, |seed, byte| {
        seed.wrapping_mul(31).wrapping_add(byte.into())
    })
}

async fn execute(session: &Session, sql: &str) -> Result<(), String> {
    let frame = session.sql(sql).await.map_err(|e| e.to_string())?;
    let collected = frame.collect().await.map(|_| ());
    collected.map_err(|e| e.to_string())
}

/// Each function takes the arguments or refuses them; `FAISCA_CALLS=300` tries more of each.
#[tokio::test(flavor = "multi_thread")]
async fn no_function_panics() {
    const CALLS: usize = 8;
    const PATIENCE: Duration = Duration::from_secs(30);
    let calls = std::env::var("FAISCA_CALLS").map_or(CALLS, |calls| calls.parse().unwrap());
    let session = session(Layout::Embedded, 1).await;
    execute(&session, VALUES).await.unwrap();
    let mut faults = vec![];
    let mut successes = 0;
    for name in function_names(&session).await {
        // A function that is added does not change the calls of the others.
        let mut rng = fastrand::Rng::with_seed(seed(&name));
        for _ in 0..calls {
            let sql = call(&name, &mut rng);
            let outcome = AssertUnwindSafe(execute(&session, &sql)).catch_unwind();
            match tokio::time::timeout(PATIENCE, outcome).await {
                Err(_) => faults.push(format!("{sql}: does not end")),
                Ok(Err(_)) => faults.push(format!("{sql}: planning panicked")),
                Ok(Ok(Err(error))) if error.contains("panicked") => {
                    faults.push(format!("{sql}: {error}"));
                }
                Ok(Ok(Err(_))) => {}
                Ok(Ok(Ok(()))) => successes += 1,
            }
        }
    }
    session.stop().await;
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // Calls that are all refused would prove little.
    assert!(successes > calls * 30, "only {successes} calls succeeded");
}
