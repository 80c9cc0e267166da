//! Null-safe joins, and filters above joins.

use datafusion::prelude::SessionConfig;

use super::{Rows, check, upstream, write};

const TABLES: [&str; 3] = [
    "CREATE TABLE p AS SELECT column1 AS id, column2 AS b FROM (VALUES (1, 'x'), (2, NULL), (3, NULL)) AS v(column1, column2)",
    "CREATE TABLE q AS SELECT column1 AS id, column2 AS b FROM (VALUES (1, 'x'), (2, NULL), (3, 'z')) AS v(column1, column2)",
    "CREATE TABLE r AS SELECT column1 AS id FROM (VALUES (1), (2), (3)) AS v(column1)",
];
const NULL_SAFE: &str =
    "SELECT count(*) FROM p JOIN q ON q.b IS NOT DISTINCT FROM p.b JOIN r ON r.id = q.id";

#[tokio::test(flavor = "multi_thread")]
async fn a_null_safe_join_keeps_nulls_beside_other_joins() {
    check(
        &TABLES,
        &[
            (NULL_SAFE, Rows(&["3"])),
            ("SELECT count(*) FROM p JOIN q ON q.b IS NOT DISTINCT FROM p.b", Rows(&["3"])),
            ("SELECT count(*) FROM p JOIN q ON p.b <=> q.b JOIN r ON r.id = q.id", Rows(&["3"])),
            ("SELECT count(*) FROM r JOIN p ON r.id = p.id JOIN q ON p.b <=> q.b", Rows(&["3"])),
            ("SELECT count(*) FROM p, q, r WHERE p.b <=> q.b AND r.id = q.id", Rows(&["3"])),
            (
                "SELECT p.id, q.id FROM p JOIN q ON p.b <=> q.b, r WHERE r.id = q.id AND r.id > 1",
                Rows(&["2|2", "3|2"]),
            ),
            (
                "SELECT count(*) FROM p JOIN q ON p.b <=> q.b JOIN p AS s ON s.b = q.b JOIN r ON r.id = p.id",
                Rows(&["1"]),
            ),
            ("SELECT count(*) FROM p LEFT JOIN q ON p.b <=> q.b JOIN r ON r.id = p.id", Rows(&["3"])),
        ],
    )
    .await;
}

/// The filter makes an inner join of the outer one, and a condition of the join.
const BOTH: &str = "SELECT count(*) FROM (VALUES (1, NULL), (2, 5)) a(x, y) \
    LEFT JOIN (VALUES (1, NULL), (2, 5)) b(x, y) ON a.x IS NOT DISTINCT FROM b.x WHERE a.y = b.y";

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_key_beside_a_null_safe_one_stays_plain() {
    check(
        &[],
        &[
            (BOTH, Rows(&["1"])),
            (
                "SELECT count(*) FROM (VALUES (NULL, 1), (NULL, NULL)) a(x, y) \
                 JOIN (VALUES (NULL, 1), (NULL, NULL)) b(x, y) ON a.x <=> b.x AND a.y = b.y",
                Rows(&["1"]),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn upstream_still_gives_all_keys_of_a_join_one_equality() {
    let actual = upstream(SessionConfig::new(), &[], BOTH).await;
    assert_eq!(actual, Ok(vec!["2".to_owned()]));
}

#[tokio::test]
async fn upstream_still_makes_a_null_safe_join_a_plain_one() {
    let actual = upstream(SessionConfig::new(), &TABLES, NULL_SAFE).await;
    assert_eq!(actual, Ok(vec!["1".to_owned()]));
}

/// Keys of two types, so that a projection goes between the filter and the join.
fn sides(folder: &std::path::Path) -> (Vec<String>, Vec<String>) {
    let copy = |name: &str, rows: &str| {
        format!(
            "COPY ({rows}) TO '{}/{name}.parquet' STORED AS PARQUET",
            folder.display()
        )
    };
    let table = |name: &str| {
        format!(
            "CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{}/{name}.parquet'",
            folder.display()
        )
    };
    let l = "SELECT CAST(column1 AS INT) AS id, column2 AS x FROM (VALUES (1, 1), (2, 2), (NULL, 3)) AS v(column1, column2)";
    let r = "SELECT CAST(column1 AS BIGINT) AS id, column2 AS x \
             FROM (VALUES (1, 1), (5, 5), (6, 6), (NULL, 7), (2, 9)) AS v(column1, column2)";
    (
        vec![copy("l", l), copy("r", r)],
        vec![table("l"), table("r")],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_above_an_outer_join_stays_on_its_side() {
    let folder = crate::support::scratch("sides");
    let (data, setup) = sides(folder.path());
    write(&data).await;
    check(
        &setup.iter().map(String::as_str).collect::<Vec<_>>(),
        &[
            (
                "SELECT count(*) FROM l RIGHT JOIN r ON l.id = r.id WHERE r.x > 2 AND l.id IS NULL",
                Rows(&["3"]),
            ),
            (
                "SELECT count(*) FROM r LEFT JOIN l ON l.id = r.id WHERE r.x > 2 AND l.id IS NULL",
                Rows(&["3"]),
            ),
            (
                "SELECT count(*) FROM l FULL JOIN r ON l.id = r.id WHERE r.x > 2 AND l.id IS NULL",
                Rows(&["3"]),
            ),
            (
                "SELECT count(*) FROM l FULL JOIN r ON l.id = r.id WHERE r.id IS NULL AND l.x < 9",
                Rows(&["1"]),
            ),
            (
                "SELECT l.x, r.x FROM l RIGHT JOIN r ON l.id = r.id WHERE coalesce(l.x, 0) < r.x ORDER BY 2",
                Rows(&["∅|5", "∅|6", "∅|7", "2|9"]),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn upstream_still_pushes_filters_by_name() {
    let folder = crate::support::scratch("sides");
    let (data, setup) = sides(folder.path());
    write(&data).await;
    let sql = "SELECT count(*) FROM l RIGHT JOIN r ON l.id = r.id WHERE r.x > 2 AND l.id IS NULL";
    let setup: Vec<_> = setup.iter().map(String::as_str).collect();
    assert_ne!(
        upstream(SessionConfig::new(), &setup, sql).await,
        Ok(vec!["3".to_owned()])
    );
}

const CONSTANTS: [&str; 2] = [
    "CREATE TABLE x AS SELECT column1 AS a FROM (VALUES (1), (2), (3), (2)) AS v(column1)",
    "CREATE TABLE y AS SELECT column1 AS b FROM (VALUES (2), (3), (9)) AS v(column1)",
];
const LAST_CONSTANT: &str = "SELECT a, k FROM x LEFT JOIN (SELECT b, 7 AS k FROM y) AS y ON a = b \
                             ORDER BY k DESC NULLS LAST, a LIMIT 1";

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_was_constant_is_null_in_rows_that_an_outer_join_adds() {
    check(
        &CONSTANTS,
        &[
            (LAST_CONSTANT, Rows(&["2|7"])),
            (
                "SELECT a, k, rank() OVER (ORDER BY k) FROM x LEFT JOIN (SELECT b, 7 AS k FROM y) AS y ON a = b",
                Rows(&["1|∅|1", "2|7|2", "2|7|2", "3|7|2"]),
            ),
            (
                "SELECT b, a, rank() OVER (ORDER BY a) FROM (SELECT a FROM x WHERE a = 3) AS x RIGHT JOIN y ON a = b",
                Rows(&["2|∅|1", "3|3|3", "9|∅|1"]),
            ),
            (
                "SELECT a, b, k, l, rank() OVER (ORDER BY k, l) FROM (SELECT DISTINCT a, 5 AS k FROM x) AS x \
                 FULL JOIN (SELECT b, 7 AS l FROM y) AS y ON a = b",
                Rows(&["1|∅|5|∅|2", "2|2|5|7|3", "3|3|5|7|3", "∅|9|∅|7|1"]),
            ),
            (
                "SELECT k, count(*) FROM x LEFT JOIN (SELECT b, 7 AS k FROM y) AS y ON a > b GROUP BY k",
                Rows(&["7|1", "∅|3"]),
            ),
            (
                "SELECT k, sum(n) FROM (SELECT a, k, count(*) AS n FROM x LEFT JOIN (SELECT b, 7 AS k FROM y) AS y \
                 ON a = b GROUP BY a, k) GROUP BY k",
                Rows(&["7|3", "∅|1"]),
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_union_of_constants_is_joined_and_ordered() {
    check(
        &CONSTANTS,
        &[
            (
                "SELECT s, a, b FROM (SELECT 'A' AS s, a FROM x UNION ALL SELECT 'B', b FROM y) AS u \
                 LEFT JOIN (SELECT 1 AS b) AS z ON a = b ORDER BY s, a LIMIT 1",
                Rows(&["A|1|1"]),
            ),
            (
                "SELECT u.a, b FROM (SELECT 1 AS a UNION ALL SELECT 2) AS u LEFT JOIN (SELECT 1 AS b) AS z \
                 ON a = b ORDER BY a DESC LIMIT 1",
                Rows(&["2|∅"]),
            ),
            (
                "SELECT s, a, row_number() OVER (ORDER BY s DESC, a) FROM \
                 (SELECT 'A' AS s, a FROM x WHERE a = 1 UNION ALL SELECT 'B', b FROM y) AS u JOIN y ON u.a < y.b \
                 WHERE b = 9",
                Rows(&["A|1|3", "B|2|1", "B|3|2"]),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn upstream_still_takes_constants_of_outer_joins_for_constants() {
    let actual = upstream(SessionConfig::new(), &CONSTANTS, LAST_CONSTANT).await;
    assert_ne!(actual, Ok(vec!["2|7".to_owned()]));
}
