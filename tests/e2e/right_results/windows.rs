//! Window functions: what is lost on the way to an executor, and frames.

use std::sync::Arc;

use datafusion::physical_plan::collect;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_proto::bytes::{physical_plan_from_bytes, physical_plan_to_bytes};

use super::{Error, Rows, check, upstream};
use crate::support::{rows, sorted};

const TABLES: [&str; 2] = [
    "CREATE TABLE t AS SELECT column1 AS i, column2 AS x, column3 AS f FROM (VALUES \
     (1, 10, 1.0), (2, NULL, CAST('inf' AS DOUBLE)), (3, 30, 2.0), (4, 40, 3.0), (5, NULL, 1e300), (6, 60, 4.0)) AS v(column1, column2, column3)",
    "CREATE TABLE b AS SELECT column1 AS i, arrow_cast(column2, 'Binary') AS k FROM (VALUES (1, 'a'), (2, 'b'), (3, 'a')) AS v(column1, column2)",
];

const REVERSED: &str =
    "SELECT i, lag(i) OVER (ORDER BY i), row_number() OVER (ORDER BY i DESC) FROM t";
const IGNORING: &str = "SELECT i, last_value(x) IGNORE NULLS OVER (ORDER BY i) FROM t";
const LEADING: &str = "SELECT i, lead(nullif(i, 5), 2) IGNORE NULLS OVER (ORDER BY i), \
                       lag(nullif(i, 5), -2) IGNORE NULLS OVER (ORDER BY i) FROM t";
const FILTERED: &str = "SELECT i, sum(x) FILTER (WHERE i > 2) OVER (ORDER BY i) FROM t";
const SLIDING: &str = "SELECT i, sum(f) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t WHERE i < 5";
const BYTES: &str = "SELECT i, count(*) OVER (ORDER BY k) FROM b";

#[tokio::test(flavor = "multi_thread")]
async fn window_functions_reach_executors_whole() {
    check(
        &TABLES,
        &[
            (REVERSED, Rows(&["1|∅|6", "2|1|5", "3|2|4", "4|3|3", "5|4|2", "6|5|1"])),
            (
                "SELECT i, lead(i, 2, -1) OVER (ORDER BY i DESC), rank() OVER (ORDER BY i), \
                 first_value(i) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t WHERE i < 4",
                Rows(&["1|-1|1|1", "2|-1|2|1", "3|1|3|2"]),
            ),
            (IGNORING, Rows(&["1|10", "2|10", "3|30", "4|40", "5|40", "6|60"])),
            (
                "SELECT i, lag(x) IGNORE NULLS OVER (ORDER BY i) FROM t",
                Rows(&["1|∅", "2|10", "3|10", "4|30", "5|40", "6|40"]),
            ),
            (
                LEADING,
                Rows(&["1|3|3", "2|4|4", "3|6|6", "4|∅|∅", "5|∅|∅", "6|∅|∅"]),
            ),
            (FILTERED, Rows(&["1|∅", "2|∅", "3|30", "4|70", "5|70", "6|130"])),
            (
                "SELECT i, count(*) FILTER (WHERE x > 10) OVER (ORDER BY i) FROM t",
                Rows(&["1|0", "2|0", "3|1", "4|2", "5|2", "6|3"]),
            ),
            (
                "SELECT array_agg(x) FILTER (WHERE i > 2) OVER (ORDER BY i) FROM t",
                Error("array_agg with FILTER in a window"),
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_slide_over_infinities_and_order_by_bytes() {
    check(
        &TABLES,
        &[
            (
                SLIDING,
                Rows(&["1|1.000000000e0", "2|inf", "3|inf", "4|5.000000000e0"]),
            ),
            (
                "SELECT i, avg(f) OVER (ORDER BY i ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING) FROM t WHERE i > 2",
                Rows(&["3|2.500000000e0", "4|5.000000000e299", "5|5.000000000e299", "6|4.000000000e0"]),
            ),
            (BYTES, Rows(&["1|2", "2|3", "3|2"])),
            (
                "SELECT i, rank() OVER (ORDER BY k DESC) FROM b",
                Rows(&["1|2", "2|1", "3|2"]),
            ),
        ],
    )
    .await;
}

/// Runs a plan as an executor would: encoded and decoded by DataFusion alone.
async fn sent_by_upstream(sql: &str) -> Vec<String> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    for statement in TABLES {
        let frame = context.sql(statement).await.unwrap();
        frame.collect().await.unwrap();
    }
    let plan = context.sql(sql).await.unwrap();
    let plan = plan.create_physical_plan().await.unwrap();
    let bytes = physical_plan_to_bytes(Arc::clone(&plan)).unwrap();
    let task = context.task_ctx();
    let plan = physical_plan_from_bytes(&bytes, &task).unwrap();
    sorted(rows(&collect(plan, task).await.unwrap()))
}

#[tokio::test]
async fn upstream_still_loses_parts_of_window_functions() {
    for sql in [REVERSED, IGNORING, FILTERED] {
        let unsent = upstream(SessionConfig::new(), &TABLES, sql).await.unwrap();
        assert_ne!(sent_by_upstream(sql).await, unsent, "{sql}");
    }
}

#[tokio::test]
async fn upstream_still_subtracts_infinities_and_refuses_bytes() {
    let actual = upstream(SessionConfig::new(), &TABLES, SLIDING).await;
    assert!(actual.unwrap().contains(&"4|NaN".to_owned()));
    assert!(
        upstream(SessionConfig::new(), &TABLES, BYTES)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn upstream_still_loses_values_behind_nulls() {
    let actual = upstream(SessionConfig::new(), &TABLES, LEADING).await;
    assert!(actual.unwrap().contains(&"3|∅|∅".to_owned()));
}
