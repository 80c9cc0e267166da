//! Executors die; results do not change.

use std::process::Command;
use std::time::Duration;

use faisca::generate::TPCH_TABLES;
use faisca::prelude::*;

use crate::support::{Layout, command, files_below, register_folders, rows, scratch, session, sorted, tpch_data, tpch_oracle, tpch_query};

/// Children of this process that are executors.
fn children() -> Vec<u32> {
    let out = Command::new("pgrep").args(["-P", &std::process::id().to_string(), "-f", "release/faisca"]).output().unwrap();
    String::from_utf8_lossy(&out.stdout).lines().filter_map(|l| l.parse().ok()).collect()
}

fn kill(pid: u32, signal: &str) {
    Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_executors_change_no_result() {
    // The only test that looks for children by parent: its own process keeps others' out.
    if std::env::var_os("FAISCA_TEST_ALONE").is_none() {
        let me = std::env::current_exe().unwrap();
        let run = Command::new(me)
            .args(["--exact", "recovery::killed_executors_change_no_result", "--nocapture"])
            .env("FAISCA_TEST_ALONE", "1")
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        return;
    }
    let oracle = tpch_oracle().await;
    let session = session(Layout::Processes(3), 12).await;
    register_folders(&session, tpch_data(), &TPCH_TABLES).await;
    session.ready().await;
    for (round, number) in [9, 18, 21, 5, 13].into_iter().enumerate() {
        let sql = tpch_query(number);
        let expected = rows(&oracle.sql(&sql).await.unwrap().collect().await.unwrap());
        let running = session.clone();
        let statement = sql.clone();
        let found = tokio::task::spawn(async move { running.sql(&statement).await.unwrap().collect().await });
        tokio::time::sleep(Duration::from_millis(100 + 150 * round as u64)).await;
        let victims = children();
        assert!(!victims.is_empty());
        let dead = if round == 4 { victims.len() } else { 1 + round % 2 };
        victims.iter().take(dead).for_each(|pid| kill(*pid, "-KILL"));
        assert_eq!(rows(&found.await.unwrap().unwrap()), expected, "q{number} after {dead} kills");
    }
    assert!(session.progress().executors_lost >= 5);
    session.stop().await;
    assert_eq!(children(), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_sink_task_leaves_every_row_exactly_once() {
    if std::env::var_os("FAISCA_TEST_ALONE").is_none() {
        let me = std::env::current_exe().unwrap();
        let run = Command::new(me)
            .args(["--exact", "recovery::a_killed_sink_task_leaves_every_row_exactly_once", "--nocapture"])
            .env("FAISCA_TEST_ALONE", "1")
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        return;
    }
    let folder = scratch("sink");
    let out = folder.path().join("lines");
    let session = session(Layout::Processes(2), 16).await;
    register_folders(&session, tpch_data(), &["lineitem"]).await;
    session.ready().await;
    let frame = session.sql("SELECT l_orderkey, l_linenumber, l_comment FROM lineitem").await.unwrap();
    let path = out.to_str().unwrap().to_owned();
    let writing = tokio::task::spawn(async move { frame.write().mode(SaveMode::Overwrite).parquet(&path).await });
    tokio::time::sleep(Duration::from_millis(600)).await;
    children().first().into_iter().for_each(|pid| kill(*pid, "-KILL"));
    writing.await.unwrap().unwrap();
    let oracle = tpch_oracle().await;
    oracle.register_parquet("copy", format!("{}/", out.display()), Default::default()).await.unwrap();
    let sql = |table: &str| format!("SELECT count(*), count(DISTINCT l_orderkey * 10 + l_linenumber), sum(length(l_comment)) FROM {table}");
    let one = |context: datafusion::prelude::SessionContext, sql: String| async move {
        sorted(rows(&context.sql(&sql).await.unwrap().collect().await.unwrap()))
    };
    assert_eq!(one(oracle.clone(), sql("copy")).await, one(oracle, sql("lineitem")).await);
    assert!(files_below(folder.path()).iter().all(|f| f.starts_with("lines/part-")));
    session.stop().await;
}

#[test]
fn an_interrupted_job_leaves_no_child_and_no_partial_output() {
    let folder = scratch("cancel");
    let out = folder.path().join("out");
    let script = folder.path().join("job.sql");
    let sql = format!(
        "CREATE EXTERNAL TABLE lineitem STORED AS PARQUET LOCATION '{}/'; COPY (SELECT a.* FROM lineitem a JOIN lineitem b ON a.l_orderkey = b.l_orderkey) TO '{}' STORED AS PARQUET;",
        tpch_data().join("lineitem").display(),
        out.display()
    );
    std::fs::write(&script, sql).unwrap();
    for signal in ["-INT", "-TERM", "-KILL"] {
        let mut job = command()
            .args(["run", script.to_str().unwrap(), "--executors", "2"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        let executors = Command::new("pgrep").args(["-P", &job.id().to_string()]).output().unwrap();
        let executors: Vec<u32> = String::from_utf8_lossy(&executors.stdout).lines().filter_map(|l| l.parse().ok()).collect();
        assert_eq!(executors.len(), 2, "{signal}");
        kill(job.id(), signal);
        let status = job.wait().unwrap();
        if signal != "-KILL" {
            assert_eq!(status.code(), Some(130), "{signal}");
        }
        std::thread::sleep(Duration::from_secs(3));
        for pid in executors {
            assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{signal}: executor {pid} is still there");
        }
        assert!(!out.exists());
        if signal != "-KILL" {
            assert_eq!(files_below(folder.path()), ["job.sql"], "{signal}");
        }
    }
}
