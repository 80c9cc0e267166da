//! Statements that are replanned while they run, because their estimates are wrong on purpose.

use std::cmp::Reverse;
use std::time::Duration;

use faisca::Session;
use faisca_driver::engine::progress::ExecutorTotals;
use faisca_generate::TPCH_TABLES;
use faisca_planner::ids::{ExecutorId, QueryId};

use crate::recovery::{all_up, signal, stop, wait_until};
use crate::support::{
    Layout, oracle_rows, register_folders, session, session_rows, sorted, tpch_data, tpch_oracle,
};

/// A filter that passes a two-thousandth of what is expected: the other side is shuffled in vain.
const FEW_KEYS_SQL: &str = "SELECT l_shipmode, count(*), sum(o_totalprice), sum(length(translate(l_comment, 'aeiou', '')))
    FROM lineitem JOIN orders ON l_orderkey = o_orderkey WHERE o_custkey % 5000 = 7 GROUP BY l_shipmode";
/// A side with no rows at all, under joins that have none then.
const EMPTY_JOIN_SQL: [&str; 3] = [
    "SELECT c_mktsegment, count(*) FROM lineitem, orders, customer
     WHERE l_orderkey = o_orderkey AND c_custkey = o_custkey AND c_nationkey % 5000 = -7 GROUP BY c_mktsegment",
    "SELECT count(*), max(o_orderkey) FROM orders WHERE o_custkey IN (SELECT c_custkey FROM customer WHERE c_nationkey % 5000 = -7)",
    "SELECT o_orderpriority, count(*) FROM orders WHERE EXISTS (SELECT 1 FROM lineitem WHERE l_orderkey = o_orderkey AND l_suppkey % 5000 = -7)
     GROUP BY o_orderpriority",
];
/// The same under joins that have all rows of the other side then.
const ALL: [&str; 3] = [
    "SELECT o_orderstatus, count(*) FROM (SELECT o_orderstatus, o_orderkey, row_number() OVER (PARTITION BY o_orderkey \
     ORDER BY o_orderdate) AS n FROM orders WHERE NOT EXISTS (SELECT 1 FROM customer WHERE o_comment <> c_comment \
     AND c_nationkey % 5000 = -7)) AS o LEFT ANTI JOIN (SELECT c_custkey FROM customer WHERE c_nationkey % 5000 = -7) \
     AS c ON o_orderkey = c_custkey GROUP BY o_orderstatus",
    "SELECT count(*), count(c_custkey) FROM orders LEFT JOIN (SELECT * FROM customer WHERE c_nationkey % 5000 = -7) ON o_custkey = c_custkey",
    "SELECT count(*) FROM orders WHERE NOT EXISTS (SELECT 1 FROM customer WHERE o_custkey = c_custkey AND c_nationkey % 5000 = -7)",
];

async fn over_tpch(layout: Layout) -> Session {
    let session = session(layout, 4).await;
    register_folders(&session, tpch_data(), &TPCH_TABLES).await;
    session
        .sql("SET datafusion.optimizer.hash_join_single_partition_threshold_rows = 20000")
        .await
        .unwrap();
    session
}

async fn query_rows(session: &Session, sql: &str) -> Vec<String> {
    sorted(session_rows(session, sql).await)
}

async fn expected(sql: &str) -> Vec<String> {
    sorted(oracle_rows(&tpch_oracle().await, sql).await)
}

async fn analyzed(session: &Session, sql: &str) -> String {
    session_rows(session, &format!("EXPLAIN ANALYZE {sql}"))
        .await
        .join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_turns_out_small_is_broadcast_to_where_the_other_is_scanned() {
    for layout in [Layout::Embedded, Layout::Processes(3)] {
        let session = over_tpch(layout).await;
        let planned = session
            .sql(FEW_KEYS_SQL)
            .await
            .unwrap()
            .explain()
            .await
            .unwrap();
        assert!(
            planned.contains("mode=Partitioned") && !planned.contains("mode=CollectLeft"),
            "{planned}"
        );
        let analyzed_plan = analyzed(&session, FEW_KEYS_SQL).await;
        assert!(
            analyzed_plan.contains("mode=CollectLeft")
                && !analyzed_plan.contains("mode=Partitioned"),
            "{layout:?}: {analyzed_plan}"
        );
        assert!(
            analyzed_plan.contains(
                "Re-planned at run time: s0 returned 316 rows, 150000 were estimated; build_side replaced"
            ),
            "{layout:?}: {analyzed_plan}"
        );
        assert_eq!(
            query_rows(&session, FEW_KEYS_SQL).await,
            expected(FEW_KEYS_SQL).await,
            "{layout:?}"
        );
        session.sql("SET faisca.adaptive = false").await.unwrap();
        assert!(
            !analyzed(&session, FEW_KEYS_SQL)
                .await
                .contains("Re-planned"),
            "{layout:?}"
        );
        assert_eq!(
            query_rows(&session, FEW_KEYS_SQL).await,
            expected(FEW_KEYS_SQL).await,
            "{layout:?}"
        );
        session.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_joined_with_no_rows_is_not_read() {
    for layout in [Layout::Embedded, Layout::Processes(3)] {
        let session = over_tpch(layout).await;
        for sql in EMPTY_JOIN_SQL {
            let analyzed_plan = analyzed(&session, sql).await;
            assert!(
                analyzed_plan.contains("prune_empty replaced"),
                "{layout:?}: {sql}\n{analyzed_plan}"
            );
            assert_eq!(
                query_rows(&session, sql).await,
                expected(sql).await,
                "{layout:?}: {sql}"
            );
        }
        for sql in ALL {
            assert_eq!(
                query_rows(&session, sql).await,
                expected(sql).await,
                "{layout:?}: {sql}"
            );
        }
        let analyzed_plan = analyzed(&session, EMPTY_JOIN_SQL[0]).await;
        assert!(
            !analyzed_plan.contains("l_orderkey"),
            "{layout:?}: lineitem is scanned\n{analyzed_plan}"
        );
        session.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn executors_killed_after_it_was_planned_again_change_no_result() {
    // Work for each row that is found, so that it takes a second once it was planned again.
    let slow = FEW_KEYS_SQL.replace("(l_comment,", "(repeat(l_comment, 2000),");
    let expected = expected(&slow).await;
    let session = over_tpch(Layout::Processes(3)).await;
    let planned = session
        .sql(&slow)
        .await
        .unwrap()
        .explain()
        .await
        .unwrap()
        .matches("Stage s")
        .count();
    for kills in 1..=3 {
        all_up(&session, 3).await;
        let before = session.progress();
        // The last one's progress may outlive its result by a moment.
        let is_new = |query: &QueryId| !before.queries.contains_key(query);
        let is_planned_again = |session: &Session| {
            session
                .progress()
                .queries
                .iter()
                .any(|(id, query)| is_new(id) && query.stages.len() > planned)
        };
        let running = tokio::task::spawn({
            let (session, slow) = (session.clone(), slow.clone());
            async move { query_rows(&session, &slow).await }
        });
        wait_until("planning again", Duration::from_secs(20), || {
            is_planned_again(&session) || running.is_finished()
        })
        .await;
        assert!(
            !running.is_finished(),
            "it was over before it was planned again"
        );
        // Those first whose output is read by what has just been planned.
        let committed = |(id, now): &(ExecutorId, ExecutorTotals)| {
            now.tasks - before.executors.get(id).map_or(0, |totals| totals.tasks)
        };
        let mut targets: Vec<_> = session
            .progress()
            .executors
            .into_iter()
            .filter(|(id, now)| *id != ExecutorId(0) && now.is_connected)
            .collect();
        targets.sort_by_key(|target| Reverse(committed(target)));
        targets
            .iter()
            .take(kills)
            .for_each(|(_, target)| signal(target.pid, "-KILL"));
        assert_eq!(running.await.unwrap(), expected, "{kills} killed");
        assert!(
            session.progress().tasks_recomputed > before.tasks_recomputed,
            "{kills} killed, and no task was recomputed"
        );
    }
    stop(session).await;
}
