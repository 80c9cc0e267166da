//! The contract of every fleet: the embedded executor, and executors as processes.

use std::time::Duration;

use faisca_planner::ids::ExecutorId;

use crate::support::{Layout, rows, session, sorted};

const GROUPS: &str = "SELECT value % 3 AS k, count(*) FROM range(3000) AS r(value) GROUP BY k";
/// No part of the contract takes a tenth of this.
const PATIENCE: Duration = Duration::from_secs(60);

async fn executors_run_queries_side_by_side(layout: Layout) {
    let session = session(layout, 4).await;
    session.ready().await;
    let query = async || {
        let batches = session.sql(GROUPS).await.unwrap().collect().await.unwrap();
        sorted(rows(&batches))
    };
    let (first, second) = futures::future::join(query(), query()).await;
    assert_eq!(first, ["0|1000", "1|1000", "2|1000"], "{layout:?}");
    assert_eq!(first, second, "{layout:?}");
    session.stop().await;
}

async fn stopping_leaves_no_executor_and_fails_what_follows(layout: Layout) {
    let session = session(layout, 4).await;
    session.ready().await;
    let parent_pid = std::process::id();
    let executors = session.progress().executors;
    let pids: Vec<u32> = executors
        .iter()
        .filter(|(id, executor)| **id != ExecutorId(0) && executor.is_connected)
        .map(|(_, executor)| executor.pid)
        .filter(|pid| *pid != parent_pid)
        .collect();
    session.stop().await;
    for pid in pids {
        let process = format!("/proc/{pid}");
        assert!(!std::path::Path::new(&process).exists(), "{layout:?}");
    }
    let frame = session.sql(GROUPS).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, frame.collect()).await;
    assert!(ended.unwrap().is_err(), "{layout:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_executor_keeps_the_contract_of_fleets() {
    executors_run_queries_side_by_side(Layout::Embedded).await;
    stopping_leaves_no_executor_and_fails_what_follows(Layout::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_keep_the_contract_of_fleets() {
    executors_run_queries_side_by_side(Layout::Processes(2)).await;
    stopping_leaves_no_executor_and_fails_what_follows(Layout::Processes(2)).await;
}
