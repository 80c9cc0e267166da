//! Executors die, freeze, slow down and are stopped; results do not change.

mod interrupted;
mod kills;
mod limits;
mod moments;
mod poison;
mod spills;

use std::process::Command;
use std::time::{Duration, Instant};

use faisca::Session;
use faisca::prelude::*;
use faisca_planner::ids::ExecutorId;

use crate::support::{
    Layout, oracle_rows, register_folders, session, session_rows, tpch_data, tpch_oracle,
    tpch_oracle_query, tpch_query,
};

/// Processes that execute for this session at the moment.
pub fn executors(session: &Session) -> Vec<u32> {
    let executors = session.progress().executors;
    executors
        .into_iter()
        .filter(|(id, e)| *id != ExecutorId(0) && e.is_connected)
        .map(|(_, e)| e.pid)
        .collect()
}

pub fn signal(pid: u32, signal: &str) {
    Command::new("kill")
        .args([signal, &pid.to_string()])
        .status()
        .unwrap();
}

fn is_alive(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// Waits for something to become true, looking often.
pub async fn wait_until(event: &str, limit: Duration, mut is_true: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_true() {
        assert!(started.elapsed() < limit, "{event}: not within {limit:?}");
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
}

/// Executors of a command, as the kernel knows them.
pub fn children(parent: u32) -> Vec<u32> {
    let output = Command::new("pgrep")
        .args(["-P", &parent.to_string()])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|l| l.parse().ok())
        .collect()
}

/// A session with the tables of TPC-H, whose executors are up: four partitions for each.
async fn fleet(executors: u32) -> Session {
    let session = session(Layout::Processes(executors), 4 * executors as usize).await;
    tpch(&session).await;
    all_up(&session, executors as usize).await;
    session
}

pub async fn all_up(session: &Session, count: usize) {
    wait_until("executors", Duration::from_secs(20), || {
        executors(session).len() == count
    })
    .await;
}

/// Stops a session and sees to it that nothing of it is left.
pub async fn stop(session: Session) {
    let pids = executors(&session);
    session.stop().await;
    wait_until("end of executors", Duration::from_secs(5), || {
        !pids.iter().any(|pid| is_alive(*pid))
    })
    .await;
}

pub async fn expected(number: usize) -> Vec<String> {
    let oracle = tpch_oracle().await;
    oracle_rows(&oracle, &tpch_oracle_query(number)).await
}

/// Starts a query of TPC-H beside the test.
pub fn start(session: &Session, number: usize) -> tokio::task::JoinHandle<Vec<String>> {
    let (session, sql) = (session.clone(), tpch_query(number));
    tokio::task::spawn(async move { session_rows(&session, &sql).await })
}

async fn tpch(session: &Session) {
    register_folders(session, tpch_data(), &faisca_generate::TPCH_TABLES).await;
}

/// A write of all of lineitem's keys and comments.
fn start_write(session: &Session, path: &std::path::Path) -> tokio::task::JoinHandle<()> {
    let (session, path) = (session.clone(), path.to_str().unwrap().to_owned());
    tokio::task::spawn(async move {
        let frame = session
            .sql("SELECT l_orderkey, l_linenumber, l_comment FROM lineitem")
            .await
            .unwrap();
        frame
            .write()
            .mode(SaveMode::Overwrite)
            .parquet(&path)
            .await
            .unwrap();
    })
}

/// The folder holds every row of lineitem once, and nothing that is not a finished file.
async fn assert_whole(folder: &std::path::Path) {
    let oracle = tpch_oracle().await;
    oracle
        .register_parquet("copy", format!("{}/", folder.display()), Default::default())
        .await
        .unwrap();
    let sql = |table: &str| {
        format!(
            "SELECT count(*), count(DISTINCT l_orderkey * 10 + l_linenumber), sum(length(l_comment)) FROM {table}"
        )
    };
    let actual = oracle_rows(&oracle, &sql("copy")).await;
    assert_eq!(actual, oracle_rows(&oracle, &sql("lineitem")).await);
    let parent = folder.parent().unwrap();
    let name = folder.file_name().unwrap().to_str().unwrap();
    let litter: Vec<_> = crate::support::files_below(parent)
        .into_iter()
        .filter(|f| !f.starts_with(&format!("{name}/part-")))
        .collect();
    assert_eq!(litter, Vec::<String>::new());
}

/// When the blow falls.
#[derive(Debug, Clone, Copy)]
pub enum QueryMoment {
    /// A first stage has finished some of its tasks.
    Running,
    /// A first stage is complete, its output committed.
    Committed,
    /// The last stage runs: it fetches what the others made.
    Fetching,
}

/// Tasks and finished tasks of the stages of whatever statement runs.
fn stages(session: &Session) -> Vec<(u32, u32)> {
    let queries = session.progress().queries;
    queries
        .values()
        .flat_map(|q| q.stages.iter().map(|s| (s.tasks, s.finished)))
        .collect()
}

pub fn is_reached(moment: QueryMoment, session: &Session) -> bool {
    let stages = stages(session);
    match moment {
        QueryMoment::Running => stages
            .iter()
            .any(|(tasks, finished)| *finished > 0 && finished < tasks),
        QueryMoment::Committed => stages
            .iter()
            .any(|(tasks, finished)| *tasks > 1 && finished == tasks),
        QueryMoment::Fetching => stages.last().is_some_and(|(tasks, _)| *tasks > 0),
    }
}
