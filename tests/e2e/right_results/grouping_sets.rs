//! ROLLUP, CUBE and GROUPING SETS over columns that are constant or equal in the input.

use super::{Rows, check};

const TABLES: [&str; 2] = [
    "CREATE TABLE t AS SELECT column1 AS c, column2 AS d FROM (VALUES (1, 1), (1, 2), (1, 1), (1, 3), (2, 1)) AS v(column1, column2)",
    "CREATE TABLE u AS SELECT column1 AS c, column2 AS e FROM (VALUES (1, 5), (2, 6)) AS v(column1, column2)",
];

const ROLLUP: &str = "SELECT c, d, count(*) FROM t WHERE c = 1 GROUP BY ROLLUP (c, d)";

const GROUPED_AGAIN: &str = "SELECT count(*), count(c) FROM (SELECT DISTINCT c FROM (\
                             SELECT c, d FROM t WHERE c = 1 GROUP BY ROLLUP (c, d)))";

#[tokio::test(flavor = "multi_thread")]
async fn grouping_sets_over_constant_columns_keep_their_totals() {
    check(
        &TABLES,
        &[
            (
                ROLLUP,
                Rows(&["1|1|2", "1|2|1", "1|3|1", "1|∅|4", "∅|∅|4"]),
            ),
            (
                "SELECT c, d, count(*) FROM t WHERE c = 1 GROUP BY CUBE (c, d)",
                Rows(&[
                    "1|1|2", "1|2|1", "1|3|1", "1|∅|4", "∅|1|2", "∅|2|1", "∅|3|1", "∅|∅|4",
                ]),
            ),
            (
                "SELECT c, d, count(*) FROM (SELECT 7 AS c, d FROM t) GROUP BY GROUPING SETS ((c), (d), ())",
                Rows(&["7|∅|5", "∅|1|3", "∅|2|1", "∅|3|1", "∅|∅|5"]),
            ),
            (
                "SELECT c, d, count(*) FROM t WHERE c = d GROUP BY GROUPING SETS ((c), (d))",
                Rows(&["1|∅|2", "∅|1|2"]),
            ),
            (
                "SELECT t.c, e, sum(d) FROM t JOIN u ON t.c = u.c WHERE t.c = 1 GROUP BY ROLLUP (t.c, e)",
                Rows(&["1|5|7", "1|∅|7", "∅|∅|7"]),
            ),
            (GROUPED_AGAIN, Rows(&["2|1"])),
        ],
    )
    .await;
}
