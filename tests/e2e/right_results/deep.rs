//! Long chains, deep plans, and queries over themselves.

use std::fmt::Write as _;

use super::{LAYOUTS, Rows, check, outcome};
use crate::support::{scratch, session};

#[tokio::test(flavor = "multi_thread")]
async fn chains_of_conditions_and_sums_run_or_are_refused() {
    let chain = |n: usize, op: &str| {
        (0..n)
            .map(|i| format!("x = {i}"))
            .collect::<Vec<_>>()
            .join(&format!(" {op} "))
    };
    for layout in LAYOUTS {
        let session = session(layout, 2).await;
        session
            .sql("CREATE TABLE t AS SELECT 1 AS x UNION ALL SELECT 30000")
            .await
            .unwrap();
        for n in [3_000, 20_000] {
            let sql = format!("SELECT count(*) FROM t WHERE {}", chain(n, "OR"));
            assert_eq!(outcome(&session, &sql).await, Ok(vec!["1".to_owned()]));
        }
        let sql = format!("SELECT count(*) FROM t WHERE {}", chain(2_000, "AND"));
        assert_eq!(outcome(&session, &sql).await, Ok(vec!["0".to_owned()]));
        let sql = format!("SELECT {} FROM t WHERE x = 1", vec!["x"; 200].join(" + "));
        assert_eq!(outcome(&session, &sql).await, Ok(vec!["200".to_owned()]));
        let sql = format!("SELECT {} FROM t", vec!["x"; 20_000].join(" + "));
        assert!(
            outcome(&session, &sql)
                .await
                .unwrap_err()
                .contains("levels")
        );
        for opening in ["(", "-("] {
            let (open, close) = (opening.repeat(20_000), ")".repeat(20_000));
            for sql in [
                format!("SELECT {open}1{close}"),
                format!("SELECT {open}x{close} FROM t"),
            ] {
                let refusal = outcome(&session, &sql).await.unwrap_err();
                assert!(refusal.contains("levels"), "{refusal}");
            }
        }
        session.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_plans_are_planned_and_run() {
    let mut joins = "SELECT count(*) FROM t AS t0".to_owned();
    for i in 1..=50 {
        write!(joins, " JOIN t AS t{i} ON t{i}.x = t0.x").unwrap();
    }
    let mut ctes = "WITH c0 AS (SELECT x, count(*) AS n FROM t GROUP BY x)".to_owned();
    for i in 1..=100 {
        let before = i - 1;
        write!(
            ctes,
            ", c{i} AS (SELECT x, count(*) AS n FROM c{before} GROUP BY x)"
        )
        .unwrap();
    }
    ctes.push_str(" SELECT count(*), sum(n) FROM c100");
    for layout in LAYOUTS {
        let session = session(layout, 2).await;
        session
            .sql("CREATE TABLE t AS SELECT 1 AS x UNION ALL SELECT 2")
            .await
            .unwrap();
        assert_eq!(outcome(&session, &joins).await, Ok(vec!["2".to_owned()]));
        assert_eq!(outcome(&session, &ctes).await, Ok(vec!["2|2".to_owned()]));
        session
            .sql("CREATE VIEW v0 AS SELECT x + 0 AS x FROM t")
            .await
            .unwrap();
        for i in 1..=200 {
            let filter = if i % 10 == 0 { " WHERE x > 0" } else { "" };
            let sql = format!(
                "CREATE VIEW v{i} AS SELECT x + 1 AS x FROM v{}{filter}",
                i - 1
            );
            session.sql(&sql).await.unwrap();
        }
        let actual = outcome(&session, "SELECT * FROM v200").await;
        assert_eq!(actual, Ok(vec!["201".to_owned(), "202".to_owned()]));
        session.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recursive_query_can_be_written() {
    for layout in LAYOUTS {
        let folder = scratch("recursive");
        let out = folder.path().join("out").display().to_string();
        let session = session(layout, 4).await;
        let copy = format!(
            "COPY (WITH RECURSIVE t AS (SELECT 1 AS n, 'a' AS s UNION ALL SELECT n + 1, s FROM t WHERE n < 5) \
             SELECT n FROM t) TO '{out}' STORED AS PARQUET"
        );
        session.sql(&copy).await.unwrap();
        let read = format!("CREATE EXTERNAL TABLE written STORED AS PARQUET LOCATION '{out}/'");
        session.sql(&read).await.unwrap();
        let actual = outcome(&session, "SELECT n FROM written").await;
        assert_eq!(
            actual,
            Ok(["1", "2", "3", "4", "5"].map(str::to_owned).to_vec())
        );
        session.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn recursive_queries_run_on_executors() {
    check(
        &["CREATE TABLE edges AS SELECT column1 AS a, column2 AS b FROM (VALUES (1, 2), (2, 3), (3, 1), (7, 8)) AS v(column1, column2)"],
        &[
            (
                "WITH RECURSIVE r AS (SELECT 1 AS v UNION SELECT e.b FROM r JOIN edges e ON e.a = r.v) SELECT v FROM r",
                Rows(&["1", "2", "3"]),
            ),
            (
                "WITH RECURSIVE r(v, unused) AS (SELECT 1, 'x' UNION ALL SELECT v + 1, unused FROM r WHERE v < 3) \
                 SELECT e.b, count(*) FROM r JOIN edges e ON e.a = r.v GROUP BY e.b",
                Rows(&["2|1", "3|1", "1|1"]),
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_series_can_be_counted() {
    check(
        &[],
        &[
            ("SELECT count(*) FROM generate_series(1, 10)", Rows(&["10"])),
            ("SELECT count(*) FROM range(0, 10)", Rows(&["10"])),
            ("SELECT 7 FROM generate_series(1, 2)", Rows(&["7", "7"])),
            (
                "SELECT count(*), sum(value) FROM generate_series(1, 4)",
                Rows(&["4|10"]),
            ),
        ],
    )
    .await;
}

/// An exchange's expressions may be the last level of a layer in which plans are encoded.
#[tokio::test(flavor = "multi_thread")]
async fn exchanges_at_any_depth_of_a_stage_are_sent() {
    for layout in LAYOUTS {
        let session = session(layout, 4).await;
        session
            .sql(
                "CREATE TABLE t AS SELECT value % 3 AS k, value AS v FROM range(0, 12) AS r(value)",
            )
            .await
            .unwrap();
        let mut sql = "SELECT k, v, v AS n FROM t".to_owned();
        for depth in 1..=16 {
            sql = format!(
                "SELECT k, v, count(n) OVER (PARTITION BY k ORDER BY v DESC ROWS {depth} PRECEDING) AS n FROM ({sql})"
            );
            let totals = format!("SELECT k, count(*), sum(v), max(n) FROM ({sql}) GROUP BY k");
            let most = (depth + 1).min(4);
            let expected =
                [(0, 18), (1, 22), (2, 26)].map(|(k, sum)| format!("{k}|4|{sum}|{most}"));
            assert_eq!(
                outcome(&session, &totals).await,
                Ok(expected.to_vec()),
                "{depth}"
            );
        }
        session.stop().await;
    }
}
