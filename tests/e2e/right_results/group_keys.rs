//! Keys of groups above joins.

use datafusion::prelude::SessionConfig;

use super::{Rows, check, upstream};

const TABLES: [&str; 2] = [
    "CREATE TABLE t AS SELECT column1 AS k FROM (VALUES (1), (1), (NULL)) AS v(column1)",
    "CREATE TABLE u AS SELECT column1 AS s FROM (VALUES (1), (2)) AS v(column1)",
];

const DISTINCT: &str = "SELECT DISTINCT k FROM \
    (SELECT k, s FROM (SELECT DISTINCT k FROM t) AS d CROSS JOIN u GROUP BY k, s) AS g";

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_keys_is_not_unique() {
    check(
        &TABLES,
        &[
            (DISTINCT, Rows(&["1", "∅"])),
            (
                "SELECT t.k FROM t LEFT JOIN (SELECT k, s FROM (SELECT DISTINCT k FROM t) AS d \
                 CROSS JOIN u GROUP BY k, s) AS g ON t.k = g.k",
                Rows(&["1", "1", "1", "1", "∅"]),
            ),
            (
                "SELECT t.k FROM t JOIN (SELECT k, s FROM (SELECT DISTINCT k FROM t) AS d \
                 CROSS JOIN u GROUP BY k, s) AS g ON t.k = g.k",
                Rows(&["1", "1", "1", "1"]),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn upstream_still_takes_a_part_of_the_keys_for_unique() {
    let rows = upstream(SessionConfig::new(), &TABLES, DISTINCT).await;
    assert_eq!(rows.map(|rows| rows.len()), Ok(4));
}
