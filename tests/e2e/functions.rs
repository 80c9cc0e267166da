//! Functions that executors must find by their names, with the types and the zone of the session.

use crate::support::{LAYOUTS, session, session_rows};

/// Rows of several tasks, so that aggregates have partial states.
const ROWS: &str = "(SELECT value AS id, value % 3 AS k, to_timestamp(value * 3600) AS t FROM range(0, 12) AS r(value)) AS x";

#[tokio::test(flavor = "multi_thread")]
async fn functions_of_spark_run_on_executors() {
    for layout in LAYOUTS {
        let session = session(layout, 4).await;
        session
            .sql("SET datafusion.execution.time_zone = 'Asia/Tokyo'")
            .await
            .unwrap();
        for (columns, expected) in [
            ("max_by(id, id % 7), min_by(id, -id)", "6|11"),
            (
                "count_if(id > 3), percentile(id, 0.5), mode(k)",
                "8|5.500000000e0|0",
            ),
            ("max(date_format(t, 'dd HH')), min(hour(t))", "01 20|9"),
            (
                "sum(size(split(string(id), ''))), max(typeof(t))",
                "14|timestamp",
            ),
            (
                "sum(id) FILTER (WHERE rlike(string(id), '^1')), min(from_unixtime(id))",
                "22|1970-01-01 09:00:00",
            ),
        ] {
            let sql = format!("SELECT {columns} FROM {ROWS}");
            assert_eq!(
                session_rows(&session, &sql).await,
                [expected],
                "{layout:?}: {columns}"
            );
        }
        session.stop().await;
    }
}
