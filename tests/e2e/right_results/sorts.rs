//! Sorts above joins and groups.

use datafusion::prelude::SessionContext;

use super::{Rows, check};

const TABLE: &str =
    "CREATE TABLE t AS SELECT k, x FROM (VALUES (1, 3), (1, 1), (1, 2), (2, 5), (2, 4)) AS v(k, x)";
const SORTED: &str = "SELECT g.k, t.x, count(*) AS n FROM (SELECT k, count(*) AS n FROM t GROUP BY k) g \
    JOIN t ON g.k = t.k GROUP BY g.k, t.x ORDER BY g.k, t.x LIMIT 2";

#[tokio::test(flavor = "multi_thread")]
async fn a_sort_keeps_its_keys_above_a_join_with_groups() {
    let last = "SELECT g.k, t.x FROM (SELECT DISTINCT k FROM t) g JOIN t ON g.k = t.k \
        GROUP BY g.k, t.x ORDER BY g.k DESC, t.x DESC LIMIT 1";
    check(
        &[TABLE],
        &[
            (SORTED, Rows(&["1|1|1", "1|2|1"])),
            (last, Rows(&["2|5"])),
            (
                "SELECT k, x FROM t ORDER BY k, x, k LIMIT 1",
                Rows(&["1|1"]),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn upstream_still_drops_keys_of_a_sort_above_a_join_with_groups() {
    let context = SessionContext::new();
    context.sql(TABLE).await.unwrap().collect().await.unwrap();
    let plan = context.sql(SORTED).await.unwrap();
    let plan = plan.into_optimized_plan().unwrap().to_string();
    let sort = plan.lines().next().unwrap();
    assert!(!sort.contains("t.x"), "{plan}");
}
