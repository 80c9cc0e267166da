//! Conditions that guard others.

use datafusion::prelude::SessionConfig;

use super::{Error, Rows, check, upstream, write};

fn guarded(folder: &std::path::Path) -> (Vec<String>, Vec<String>) {
    let rows = "SELECT column1 AS n, column2 AS d, column3 AS ok FROM (VALUES (0, '', false), (1, '2024-01-03', true), \
                (5, '2024-01-01', true), (20, 'x', false), (NULL, NULL, NULL)) AS v(column1, column2, column3)";
    let path = folder.join("t.parquet");
    let data = vec![format!(
        "COPY ({rows}) TO '{}' STORED AS PARQUET",
        path.display()
    )];
    let tables = vec![
        format!("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{}'", path.display()),
        "CREATE TABLE u AS SELECT column1 AS k, column2 AS good FROM (VALUES (0, false), (1, true), (5, true)) AS v(column1, column2)".to_owned(),
    ];
    (data, tables)
}

const DIVISION: &str = "SELECT n FROM t WHERE n <> 0 AND 10 / n > 1";

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_guards_those_after_it() {
    let folder = crate::support::scratch("guards");
    let (data, setup) = guarded(folder.path());
    write(&data).await;
    let setup: Vec<_> = setup.iter().map(String::as_str).collect();
    let cases = [
        (DIVISION, Rows(&["1", "5"])),
        (
            "SELECT n FROM t WHERE ok AND CAST(d AS DATE) > DATE '2024-01-02'",
            Rows(&["1"]),
        ),
        (
            "SELECT n FROM t WHERE d <> '' AND d <> 'x' AND CAST(d AS DATE) > DATE '2024-01-02'",
            Rows(&["1"]),
        ),
        (
            "SELECT n FROM t WHERE d LIKE '2%' AND CAST(d AS DATE) > DATE '2024-01-02'",
            Rows(&["1"]),
        ),
        (
            "SELECT n FROM t WHERE n = 0 OR 10 / n > 1",
            Rows(&["0", "1", "5"]),
        ),
        (
            "SELECT n FROM t WHERE (n <> 0 AND 10 / n > 1) OR d = 'x'",
            Rows(&["1", "5", "20"]),
        ),
        (
            "SELECT n, n <> 0 AND 10 / n > 1 FROM t WHERE n < 2",
            Rows(&["0|false", "1|true"]),
        ),
        (
            "SELECT count(CASE WHEN n <> 0 AND 10 / n > 1 THEN 1 END) FROM t",
            Rows(&["2"]),
        ),
        (
            "SELECT n FROM t WHERE n <> 0 AND 10 / n > 1 AND 10 / n < 5",
            Rows(&["5"]),
        ),
        (
            "SELECT q FROM (SELECT 10 / n AS q FROM t WHERE n <> 0) WHERE q > 1",
            Rows(&["1.000000000e1", "2.000000000e0"]),
        ),
        (
            "SELECT n FROM (SELECT * FROM t WHERE d LIKE '2%') WHERE CAST(d AS DATE) > DATE '2024-01-02'",
            Rows(&["1"]),
        ),
        (
            "SELECT n FROM t JOIN u ON t.n = u.k WHERE u.good AND t.ok AND 10 / t.n > 1",
            Rows(&["1", "5"]),
        ),
        (
            "SELECT n FROM t JOIN u ON t.n = u.k WHERE t.n <> 0 AND 10 / t.n > 1",
            Rows(&["1", "5"]),
        ),
        (
            "SELECT t.n, u.k FROM t LEFT JOIN u ON t.n = u.k AND t.n <> 0 AND 10 / t.n > 5 WHERE t.n < 2",
            Rows(&["0|∅", "1|1"]),
        ),
        // Parquet's reader spells it as the name of Arrow's error.
        ("SELECT n FROM t WHERE 10 / n > 1", Error("ivide")),
    ];
    check(&setup, &cases).await;
    for setting in [
        "SET faisca.conjunct_order = false",
        "SET datafusion.execution.parquet.pushdown_filters = true",
        "SET datafusion.execution.parquet.reorder_filters = true",
    ] {
        let mut with = setup.clone();
        // Before the table is opened, which keeps the settings of scans.
        with.insert(0, setting);
        check(&with, &cases).await;
    }
}

#[tokio::test]
async fn upstream_still_tests_both_sides_of_and() {
    let folder = crate::support::scratch("guards");
    let (data, setup) = guarded(folder.path());
    write(&data).await;
    let setup: Vec<_> = setup.iter().map(String::as_str).collect();
    assert!(
        upstream(SessionConfig::new(), &setup, DIVISION)
            .await
            .is_err()
    );
}
