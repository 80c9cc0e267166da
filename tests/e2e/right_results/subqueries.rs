//! `IN`, `NOT IN`, `EXISTS` and scalar subqueries.

use datafusion::prelude::SessionConfig;

use super::{Error, Rows, check, upstream};

pub(super) const TABLES: [&str; 6] = [
    "CREATE TABLE a AS SELECT column1 AS id FROM (VALUES (1), (2)) AS v(column1)",
    "CREATE TABLE b AS SELECT column1 AS id FROM (VALUES (1), (NULL)) AS v(column1)",
    "CREATE TABLE o AS SELECT column1 AS id, column2 AS z FROM (VALUES (1, 10), (2, 20), (NULL, 30), (4, 40)) AS v(column1, column2)",
    "CREATE TABLE i AS SELECT column1 AS id, column2 AS z FROM (VALUES (1, 5), (NULL, 50), (5, 10)) AS v(column1, column2)",
    "CREATE TABLE n AS SELECT 1 AS id WHERE false",
    "CREATE TABLE g AS SELECT column1 AS id, column2 AS g FROM (VALUES (1, 1), (2, 2), (3, 3)) AS v(column1, column2)",
];

const CONSTANT: &str = "SELECT id FROM a WHERE 3 NOT IN (SELECT id FROM b)";
const CORRELATED: &str = "SELECT id FROM o WHERE id NOT IN (SELECT i.id FROM i WHERE i.z < o.z)";
const AGGREGATE: &str =
    "SELECT count(*) FROM a WHERE EXISTS (SELECT count(*) FROM b WHERE b.id = a.id + 50)";

#[tokio::test(flavor = "multi_thread")]
async fn in_and_exists_are_values_of_the_select_list() {
    check(
        &TABLES,
        &[
            (
                "SELECT id, id IN (SELECT id FROM b) AS v FROM o",
                Rows(&["1|true", "2|∅", "4|∅", "∅|∅"]),
            ),
            (
                "SELECT id, id NOT IN (SELECT id FROM a) AS v FROM o",
                Rows(&["1|false", "2|false", "4|true", "∅|∅"]),
            ),
            (
                "SELECT id, id IN (SELECT id FROM n) AS v FROM o",
                Rows(&["1|false", "2|false", "4|false", "∅|false"]),
            ),
            (
                "SELECT id, EXISTS (SELECT 1 FROM g WHERE g.id = o.id) AS v FROM o",
                Rows(&["1|true", "2|true", "4|false", "∅|false"]),
            ),
            (
                "SELECT id + CAST(NOT EXISTS (SELECT 1 FROM n) AS INT) AS v FROM a",
                Rows(&["2", "3"]),
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn not_in_knows_unknown() {
    check(
        &TABLES,
        &[
            (CONSTANT, Rows(&[])),
            (
                "SELECT id FROM a WHERE NOT (3 IN (SELECT id FROM b))",
                Rows(&[]),
            ),
            (
                "SELECT id FROM a WHERE 3 NOT IN (SELECT id FROM b) OR id = 1",
                Rows(&["1"]),
            ),
            (
                "SELECT id FROM a WHERE (3 NOT IN (SELECT id FROM b)) IS NULL",
                Rows(&["1", "2"]),
            ),
            (
                "SELECT id FROM a WHERE 3 NOT IN (SELECT id FROM n)",
                Rows(&["1", "2"]),
            ),
            (
                "SELECT id FROM a WHERE 1 NOT IN (SELECT id FROM b)",
                Rows(&[]),
            ),
            (
                "SELECT id FROM a WHERE NULL NOT IN (SELECT id FROM a)",
                Rows(&[]),
            ),
            (
                "SELECT id FROM a WHERE NULLIF(id, id) NOT IN (SELECT id FROM a)",
                Rows(&[]),
            ),
            (
                "SELECT id FROM a WHERE NULL NOT IN (SELECT id FROM n)",
                Rows(&["1", "2"]),
            ),
            (CORRELATED, Rows(&["2", "4"])),
            (
                "SELECT id FROM o WHERE NOT (id IN (SELECT i.id FROM i WHERE i.z < o.z)) OR id = 4",
                Rows(&["2", "4"]),
            ),
            (
                "SELECT id FROM o WHERE id NOT IN (SELECT i.id FROM i WHERE i.z = o.z)",
                Rows(&["1", "2", "4", "∅"]),
            ),
            (
                "SELECT id FROM o WHERE id NOT IN (SELECT i.id FROM i WHERE i.id = o.id)",
                Rows(&["2", "4", "∅"]),
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_null_value_or_item_makes_in_unknown() {
    check(
        &TABLES,
        &[
            (
                "SELECT id FROM o WHERE id NOT IN (SELECT id FROM b)",
                Rows(&[]),
            ),
            (
                "SELECT id FROM o WHERE id NOT IN (SELECT id FROM b WHERE id IS NOT NULL)",
                Rows(&["2", "4"]),
            ),
            (
                "SELECT id FROM o WHERE id + 1 NOT IN (SELECT id FROM b WHERE id IS NOT NULL)",
                Rows(&["1", "2", "4"]),
            ),
            (
                "SELECT id FROM o WHERE id NOT IN (SELECT id FROM b) OR z = 40",
                Rows(&["4"]),
            ),
            (
                "SELECT id FROM o WHERE id IN (SELECT id FROM b)",
                Rows(&["1"]),
            ),
            (
                "SELECT id FROM o WHERE (id IN (SELECT id FROM b)) IS NULL",
                Rows(&["2", "4", "∅"]),
            ),
            (
                "SELECT id FROM o WHERE (id IN (SELECT id FROM b)) IS NOT TRUE AND z > 20",
                Rows(&["4", "∅"]),
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subquery_that_aggregates_without_groups_has_a_row() {
    check(
        &TABLES,
        &[
            (AGGREGATE, Rows(&["2"])),
            ("SELECT count(*) FROM a WHERE NOT EXISTS (SELECT max(id) FROM b WHERE b.id = a.id + 50)", Rows(&["0"])),
            ("SELECT id FROM g WHERE id - 1 IN (SELECT count(*) FROM i WHERE i.id = g.id)", Rows(&[])),
            ("SELECT id FROM g WHERE id - 2 IN (SELECT count(*) FROM i WHERE i.id = g.id)", Rows(&["2"])),
            ("SELECT id FROM g WHERE 0 NOT IN (SELECT count(*) FROM i WHERE i.id = g.id)", Rows(&["1"])),
            (
                "SELECT id FROM g WHERE EXISTS (SELECT count(*) FROM i WHERE i.id = g.id HAVING count(*) = 0)",
                Rows(&["2", "3"]),
            ),
            ("SELECT id FROM g WHERE EXISTS (SELECT 1 FROM i WHERE i.id = g.id)", Rows(&["1"])),
            ("SELECT id FROM g WHERE id IN (SELECT id FROM g LIMIT 0)", Rows(&[])),
            ("SELECT id FROM g WHERE id IN (SELECT id FROM g ORDER BY id LIMIT 1 OFFSET 2)", Rows(&["3"])),
            ("SELECT id FROM g WHERE EXISTS (SELECT id FROM g OFFSET 3)", Rows(&[])),
            (
                "SELECT id FROM g WHERE EXISTS (SELECT 1 FROM i WHERE i.id = g.id OFFSET 1)",
                Rows(&[]),
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scalar_subquery_with_several_rows_is_an_error() {
    let error = "more than one row";
    check(
        &TABLES,
        &[
            ("SELECT id, (SELECT id FROM g) AS m FROM a", Error(error)),
            (
                "SELECT id FROM a WHERE id = (SELECT id FROM g WHERE id > 1)",
                Error(error),
            ),
            (
                "SELECT id FROM a WHERE id = (SELECT id FROM b)",
                Error(error),
            ),
            (
                "SELECT id FROM a WHERE id = (SELECT id FROM g WHERE id > 1 LIMIT 1) - 1",
                Rows(&["1"]),
            ),
            (
                "SELECT id, (SELECT id FROM g WHERE id = 3) AS m FROM a",
                Rows(&["1|3", "2|3"]),
            ),
            (
                "SELECT id, (SELECT id FROM n) AS m FROM a",
                Rows(&["1|∅", "2|∅"]),
            ),
            (
                "SELECT id FROM a WHERE id < (SELECT max(id) FROM g)",
                Rows(&["1", "2"]),
            ),
            ("SELECT (SELECT id FROM n) + count(*) FROM a", Rows(&["∅"])),
        ],
    )
    .await;
}

#[tokio::test]
async fn upstream_still_loses_unknown() {
    for sql in [CONSTANT, CORRELATED, AGGREGATE] {
        let actual = upstream(SessionConfig::new(), &TABLES, sql).await;
        let right: &[&str] = match sql {
            CONSTANT => &[],
            CORRELATED => &["2", "4"],
            _ => &["2"],
        };
        assert_ne!(
            actual,
            Ok(right.iter().map(ToString::to_string).collect()),
            "{sql}"
        );
    }
}

#[tokio::test]
async fn upstream_still_multiplies_rows_by_a_scalar_subquery() {
    let mut config = SessionConfig::new();
    config
        .options_mut()
        .optimizer
        .enable_physical_uncorrelated_scalar_subquery = false;
    let sql = "SELECT id, (SELECT id FROM g) AS m FROM a";
    assert_eq!(
        upstream(config, &TABLES, sql).await.map(|rows| rows.len()),
        Ok(6)
    );
}
