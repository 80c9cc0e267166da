//! NaN in Parquet files; extremes of groups with infinities and NaN.

use datafusion::prelude::SessionConfig;

use super::{Rows, check, upstream, write};

fn files(folder: &std::path::Path) -> (Vec<String>, Vec<String>) {
    let copy = |name: &str, rows: &str| {
        format!(
            "COPY ({rows}) TO '{}/{name}.parquet' STORED AS PARQUET",
            folder.display()
        )
    };
    let data = vec![
        copy(
            "a",
            "SELECT column1 AS id, CAST(column2 AS DOUBLE) AS x FROM (VALUES (1, '1'), (2, 'NaN'), (3, '1')) AS v(column1, column2)",
        ),
        copy(
            "b",
            "SELECT column1 AS id, CAST(column2 AS DOUBLE) AS x FROM (VALUES (4, '-5'), (5, '0.5')) AS v(column1, column2)",
        ),
    ];
    let table = format!(
        "CREATE EXTERNAL TABLE f STORED AS PARQUET LOCATION '{}/'",
        folder.display()
    );
    (data, vec![table])
}

#[tokio::test(flavor = "multi_thread")]
async fn nan_is_read_filtered_and_the_largest_number() {
    let folder = crate::support::scratch("nan");
    let (data, setup) = files(folder.path());
    write(&data).await;
    let setup: Vec<_> = setup.iter().map(String::as_str).collect();
    let cases = [
        ("SELECT id FROM f WHERE isnan(x)", Rows(&["2"])),
        ("SELECT id FROM f WHERE x > 2", Rows(&["2"])),
        ("SELECT id FROM f WHERE x <> 1", Rows(&["2", "4", "5"])),
        ("SELECT id FROM f WHERE NOT (x < 2)", Rows(&["2"])),
        (
            "SELECT id FROM f WHERE x BETWEEN 0 AND 2",
            Rows(&["1", "3", "5"]),
        ),
        (
            "SELECT id FROM f WHERE x NOT IN (1.0, 0.5)",
            Rows(&["2", "4"]),
        ),
        ("SELECT id FROM f WHERE x < 0", Rows(&["4"])),
        (
            "SELECT isnan(max(x)), min(x) FROM f",
            Rows(&["true|-5.000000000e0"]),
        ),
        (
            "SELECT id, x = x, isnan(x) FROM f WHERE id < 3",
            Rows(&["1|true|false", "2|true|true"]),
        ),
    ];
    check(&setup, &cases).await;
    let mut with = setup.clone();
    with.insert(
        0,
        "SET datafusion.execution.parquet.pushdown_filters = true",
    );
    check(&with, &cases).await;
}

#[tokio::test]
async fn upstream_still_takes_statistics_for_values() {
    let folder = crate::support::scratch("nan");
    let (data, setup) = files(folder.path());
    write(&data).await;
    let setup: Vec<_> = setup.iter().map(String::as_str).collect();
    let actual = upstream(SessionConfig::new(), &setup, "SELECT id FROM f WHERE x > 2").await;
    assert_ne!(actual, Ok(vec!["2".to_owned()]));
}

const GROUPS: &str = "CREATE TABLE g AS SELECT column1 AS k, CAST(column2 AS DOUBLE) AS x FROM (VALUES \
    (1, 'inf'), (1, 'NaN'), (2, '-inf'), (2, '-inf'), (3, 'inf'), (4, 'NaN'), (5, '1'), (5, 'NaN'), (5, '0.5'), (6, NULL)) AS v(column1, column2)";
const EXTREMES: &str = "SELECT k, min(x), max(x) FROM g GROUP BY k";

#[tokio::test(flavor = "multi_thread")]
async fn extremes_of_groups_know_infinities_and_nan() {
    check(
        &[GROUPS],
        &[
            (
                EXTREMES,
                Rows(&[
                    "1|inf|NaN",
                    "2|-inf|-inf",
                    "3|inf|inf",
                    "4|NaN|NaN",
                    "5|5.000000000e-1|NaN",
                    "6|∅|∅",
                ]),
            ),
            ("SELECT min(x), max(x) FROM g WHERE k IN (3, 4)", Rows(&["inf|NaN"])),
            (
                "SELECT k % 2, min(CAST(x AS REAL)), max(CAST(x AS REAL)) FROM g WHERE k < 4 GROUP BY 1",
                Rows(&["0|-inf|-inf", "1|inf|NaN"]),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn upstream_still_starts_extremes_at_finite_numbers() {
    let actual = upstream(SessionConfig::new(), &[GROUPS], EXTREMES).await;
    assert!(!actual.unwrap().contains(&"3|inf|inf".to_owned()));
}
