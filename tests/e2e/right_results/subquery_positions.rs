//! Subqueries in every clause, and of every form.

use super::subqueries::TABLES;
use super::{Error, Rows, check};

#[tokio::test(flavor = "multi_thread")]
async fn exists_stands_in_every_clause() {
    check(
        &TABLES,
        &[
            ("SELECT id, EXISTS (SELECT 1 FROM i WHERE i.id = o.id AND i.z < o.z) AS v FROM o", Rows(&["1|true", "2|false", "4|false", "∅|false"])),
            ("SELECT id FROM o WHERE EXISTS (SELECT 1 FROM i WHERE i.id = o.id) OR z = 40", Rows(&["1", "4"])),
            ("SELECT id FROM o WHERE NOT (EXISTS (SELECT 1 FROM i WHERE i.z < o.z AND i.id > 1) AND z < 30)", Rows(&["1", "4", "∅"])),
            ("SELECT id FROM o WHERE CASE WHEN z > 20 THEN EXISTS (SELECT 1 FROM i WHERE i.id = o.id) ELSE NOT EXISTS (SELECT 1 FROM n) END", Rows(&["1", "2"])),
            ("SELECT count(*) FILTER (WHERE EXISTS (SELECT 1 FROM i WHERE i.id = o.id)) AS v FROM o", Rows(&["1"])),
            ("SELECT sum(CASE WHEN EXISTS (SELECT 1 FROM i WHERE i.z = o.z) THEN z ELSE 1 END) AS v FROM o", Rows(&["13"])),
            ("SELECT EXISTS (SELECT 1 FROM i WHERE i.id = o.id) AS v, count(*) FROM o GROUP BY EXISTS (SELECT 1 FROM i WHERE i.id = o.id)", Rows(&["false|3", "true|1"])),

            ("SELECT o.id, g.id FROM o LEFT JOIN g ON o.id = g.id AND EXISTS (SELECT 1 FROM i WHERE i.id = g.id)", Rows(&["1|1", "2|∅", "4|∅", "∅|∅"])),
            ("SELECT o.id, g.id FROM o JOIN g ON o.id = g.id AND EXISTS (SELECT 1 FROM i WHERE i.id = g.id AND i.z < o.z)", Rows(&["1|1"])),
            ("SELECT id FROM o ORDER BY EXISTS (SELECT 1 FROM i WHERE i.id = o.id), z DESC LIMIT 2", Rows(&["4", "∅"])),
            ("SELECT id, rank() OVER (PARTITION BY EXISTS (SELECT 1 FROM i WHERE i.id = o.id) ORDER BY z) AS r FROM o", Rows(&["1|1", "2|1", "4|3", "∅|2"])),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_knows_unknown_in_every_clause() {
    check(
        &TABLES,
        &[
            ("SELECT id, z IN (SELECT i.id * 10 FROM i WHERE i.z < o.z) AS v FROM o", Rows(&["1|true", "2|false", "4|false", "∅|false"])),
            ("SELECT id, id NOT IN (SELECT i.id FROM i WHERE i.z >= o.z) AS v FROM o", Rows(&["1|∅", "2|∅", "4|∅", "∅|∅"])),
            ("SELECT id, id IN (SELECT max(i.id) FROM i WHERE i.z <= o.z) AS v FROM o", Rows(&["1|false", "2|false", "4|false", "∅|∅"])),
            ("SELECT id FROM o WHERE id IN (SELECT i.id FROM i WHERE i.z < o.z GROUP BY i.id HAVING count(*) = 1) OR z = 30", Rows(&["1", "∅"])),
            ("SELECT id FROM o WHERE (id NOT IN (SELECT i.id FROM i WHERE i.z < o.z)) IS NULL", Rows(&["∅"])),
            ("SELECT count(*) FILTER (WHERE (id IN (SELECT id FROM b)) IS NULL) AS v FROM o", Rows(&["3"])),
            ("SELECT o.id, a.id FROM o LEFT JOIN a ON o.id = a.id AND o.z NOT IN (SELECT z FROM i WHERE z < 20)", Rows(&["1|∅", "2|2", "4|∅", "∅|∅"])),
            ("SELECT o.id, a.id FROM o FULL JOIN a ON o.id = a.id AND a.id IN (SELECT id FROM b)", Rows(&["1|1", "2|∅", "4|∅", "∅|2", "∅|∅"])),
            ("SELECT id IN (SELECT id FROM b) AS v, count(*) FROM o GROUP BY id IN (SELECT id FROM b)", Rows(&["true|1", "∅|3"])),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scalar_subquery_counts_no_rows_as_zero() {
    check(
        &TABLES,
        &[
            ("SELECT id, (SELECT count(*) FROM i WHERE i.id = o.id) AS v FROM o", Rows(&["1|1", "2|0", "4|0", "∅|0"])),
            ("SELECT id, (SELECT count(*) IS NULL FROM i WHERE i.id = o.id) AS v FROM o", Rows(&["1|false", "2|false", "4|false", "∅|false"])),
            ("SELECT id, (SELECT coalesce(sum(i.z), -1) FROM i WHERE i.id = o.id) AS v FROM o", Rows(&["1|5", "2|-1", "4|-1", "∅|-1"])),
            ("SELECT id, (SELECT sum(n) FROM (SELECT count(*) AS n FROM i WHERE i.id = o.id) AS c) AS v FROM o", Rows(&["1|1", "2|0", "4|0", "∅|0"])),
            ("SELECT id, (SELECT count(*) FROM (SELECT count(*) AS n FROM i WHERE i.id = o.id) AS c) AS v FROM o", Rows(&["1|1", "2|1", "4|1", "∅|1"])),
            ("SELECT id, (SELECT count(*) FROM i WHERE i.id = o.id GROUP BY i.id) AS v FROM o", Rows(&["1|1", "2|∅", "4|∅", "∅|∅"])),
            ("SELECT id, (SELECT count(*) FROM i WHERE i.z < o.z) AS v FROM o", Rows(&["1|1", "2|2", "4|2", "∅|2"])),
            ("SELECT id, (SELECT 7 FROM (SELECT max(z) FROM i WHERE i.id = o.id) AS m) AS v FROM o", Rows(&["1|7", "2|7", "4|7", "∅|7"])),
            ("SELECT id, (SELECT sum(l.n + r.n) FROM (SELECT count(*) AS n FROM i WHERE i.id = o.id) l JOIN (SELECT count(*) AS n FROM g WHERE g.id = o.id) r ON l.n = r.n) AS v FROM o", Rows(&["1|2", "2|∅", "4|0", "∅|0"])),
            ("SELECT v FROM (SELECT (SELECT g.id FROM g WHERE g.id = o.id) AS v FROM o) AS s WHERE v IS NOT NULL", Rows(&["1", "2"])),
            ("SELECT v FROM (SELECT id, (SELECT 1 FROM n) AS v FROM a) AS s WHERE v IS NULL", Rows(&["∅", "∅"])),
            ("SELECT v FROM (SELECT id, (SELECT count(*) FROM n HAVING count(*) > 0) AS v FROM a) AS s WHERE v IS NULL", Rows(&["∅", "∅"])),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correlated_subquery_may_have_limits_sets_and_windows() {
    check(
        &TABLES,
        &[
            ("SELECT id, (SELECT i.z FROM i WHERE i.z < o.z ORDER BY i.z DESC LIMIT 1) AS v FROM o", Rows(&["1|5", "2|10", "4|10", "∅|10"])),
            ("SELECT id, (SELECT i.z FROM i WHERE i.z < o.z ORDER BY i.z LIMIT 1 OFFSET 1) AS v FROM o", Rows(&["1|∅", "2|10", "4|10", "∅|10"])),
            ("SELECT id FROM o WHERE EXISTS (SELECT 1 FROM i WHERE i.z < o.z OFFSET 1)", Rows(&["2", "4", "∅"])),
            ("SELECT id FROM o WHERE z / 2 IN (SELECT i.z FROM i WHERE i.z < o.z ORDER BY i.z LIMIT 1)", Rows(&["1"])),
            ("SELECT id, (SELECT count(DISTINCT x) FROM (SELECT DISTINCT i.id > o.id AS x FROM i) AS d) AS v FROM o", Rows(&["1|2", "2|2", "4|2", "∅|0"])),
            ("SELECT id, (SELECT sum(x) FROM (SELECT z AS x FROM i WHERE i.id = o.id UNION ALL SELECT o.z) AS u) AS v FROM o", Rows(&["1|15", "2|20", "4|40", "∅|30"])),
            ("SELECT id, (SELECT count(*) FROM (SELECT id FROM i WHERE i.z < o.z INTERSECT SELECT id FROM g WHERE g.id < o.z) AS u) AS v FROM o", Rows(&["1|1", "2|1", "4|1", "∅|1"])),
            ("SELECT id, (SELECT count(*) FROM (SELECT id FROM g WHERE g.id <> o.id EXCEPT SELECT id FROM i WHERE i.z < o.z) AS u) AS v FROM o", Rows(&["1|2", "2|1", "4|2", "∅|0"])),
            ("SELECT id, (SELECT max(r) FROM (SELECT row_number() OVER (ORDER BY i.z) AS r FROM i WHERE i.z < o.z) AS w) AS v FROM o", Rows(&["1|1", "2|2", "4|2", "∅|2"])),
            ("SELECT id, (SELECT count(*) FROM i LEFT JOIN g ON i.id = g.id AND g.id < o.id WHERE g.id IS NULL) AS v FROM o", Rows(&["1|3", "2|2", "4|2", "∅|3"])),
            ("SELECT id, (SELECT count(*) FROM i FULL JOIN (SELECT * FROM g WHERE g.id = o.id) AS h ON i.id = h.id) AS v FROM o", Rows(&["1|3", "2|4", "4|3", "∅|3"])),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subqueries_use_columns_of_queries_further_out() {
    check(
        &TABLES,
        &[
            ("SELECT id, (SELECT count(*) FROM g WHERE EXISTS (SELECT 1 FROM i WHERE i.id = g.id AND i.z < o.z)) AS v FROM o", Rows(&["1|1", "2|1", "4|1", "∅|1"])),
            ("SELECT id FROM o WHERE EXISTS (SELECT 1 FROM g WHERE g.id IN (SELECT i.id FROM i WHERE i.z < o.z) AND g.id = o.id)", Rows(&["1"])),
            ("SELECT id, (SELECT max(g.id) FROM g WHERE g.id < (SELECT count(*) FROM i WHERE i.z < o.z + g.id)) AS v FROM o", Rows(&["1|1", "2|1", "4|1", "∅|1"])),
            ("SELECT id FROM o WHERE EXISTS (SELECT 1 FROM g WHERE EXISTS (SELECT 1 FROM i WHERE i.id = o.id))", Rows(&["1"])),
            ("SELECT o.id, l.v FROM o, LATERAL (SELECT count(*) AS v FROM i WHERE i.z < o.z) AS l", Rows(&["1|1", "2|2", "4|2", "∅|2"])),
            ("SELECT o.id, l.z FROM o LEFT JOIN LATERAL (SELECT i.z FROM i WHERE i.z < o.z ORDER BY i.z DESC LIMIT 1) AS l ON true", Rows(&["1|5", "2|10", "4|10", "∅|10"])),
            ("SELECT o.id, l.v, m.w FROM o, LATERAL (SELECT o.z + 1 AS v) AS l, LATERAL (SELECT sum(i.z) AS w FROM i WHERE i.z < l.v) AS m", Rows(&["1|11|15", "2|21|15", "4|41|15", "∅|31|15"])),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_joined_is_refused() {
    check(
        &TABLES,
        &[
            (
                "SELECT id, (SELECT i.z FROM i WHERE i.z < o.z) AS v FROM o",
                Error("more than one row"),
            ),
            (
                "SELECT id, (SELECT max(i.z) FROM i WHERE i.z < r.x) AS v \
                 FROM (SELECT id, random() AS x FROM o) AS r",
                Error("other values in each run"),
            ),
            (
                "SELECT id, (SELECT max(i.z) FROM i WHERE i.z < r.z) AS v \
                 FROM (SELECT * FROM o LIMIT 2) AS r",
                Error("LIMIT"),
            ),
            (
                "SELECT id, (SELECT sum(o.z) FROM i) AS v FROM o",
                Error("aggregate function over columns of the outer query"),
            ),
            (
                "SELECT o.id FROM o LEFT JOIN g ON EXISTS \
                 (SELECT 1 FROM i WHERE i.id = o.id AND i.z > g.g)",
                Error("columns of both sides"),
            ),
        ],
    )
    .await;
}
