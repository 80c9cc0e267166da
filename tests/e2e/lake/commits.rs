//! Drivers and executors that die or sleep while they write, and jobs that write the same table.

use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use faisca::Session;
use faisca::prelude::*;

use super::{JOB, put, query, session, stores};
use crate::recovery::{all_up, executors, signal, stop};
use crate::s3_server::{Act, S3Server};
use crate::support::{command, register_folders, scratch, tpch_data};

/// A moment of the commit: which request, and whether the driver dies before or after it is done.
const STEPS: [(&str, &str, &str); 5] = [
    ("a part", "PUT", "partNumber="),
    ("the record", "PUT", "_faisca/commit-"),
    ("a completion", "POST", "uploadId="),
    ("the removal", "POST", "delete"),
    ("the end", "PUT", "_faisca/commit-"),
];

fn assert_success(output: &Output, case: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case}: {errors}");
}

fn send(signal: &str, pid: usize) {
    let mut kill = std::process::Command::new("kill");
    assert!(
        kill.args([signal, &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
}

/// Kills a driver at one request of its commit.
struct Killer {
    pid: Arc<AtomicUsize>,
    has_killed: Arc<AtomicBool>,
}

impl Killer {
    /// Waits for a step. `is_handled` says whether the server handles the request of the kill.
    fn install(
        server: &S3Server,
        (step, method, part): (&str, &str, &str),
        is_handled: bool,
    ) -> Self {
        let killer = Self {
            pid: Arc::new(AtomicUsize::new(0)),
            has_killed: Arc::new(AtomicBool::new(false)),
        };
        let (pid, has_killed) = (Arc::clone(&killer.pid), Arc::clone(&killer.has_killed));
        let (method, part) = (method.to_owned(), part.to_owned());
        // The record is created, marked, and closed: the end is its third writing.
        let mut to_skip = if step == "the end" { 2 } else { 0 };
        server.on_request(move |m, uri| {
            if m != method || !uri.contains(&part) || has_killed.load(Ordering::SeqCst) {
                return Act::Pass;
            }
            if to_skip > 0 {
                to_skip -= 1;
                return Act::Pass;
            }
            has_killed.store(true, Ordering::SeqCst);
            send("-KILL", pid.load(Ordering::SeqCst));
            if is_handled {
                Act::DoAndBreak
            } else {
                Act::Break
            }
        });
        killer
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_killed_at_any_step_of_the_commit_leaves_every_row_once() {
    let (server, warehouse) = (S3Server::start().await, scratch("lake"));
    let session = session(&server, warehouse.path()).await;
    let script = warehouse.path().join("job.sql");
    std::fs::write(
        &script,
        "COPY (SELECT value AS a FROM generate_series(1, 1000)) TO 's3://lake/t/' STORED AS PARQUET OPTIONS ('mode' 'overwrite');",
    )
    .unwrap();
    let run = || {
        let mut command = command();
        command
            .args(["run", script.to_str().unwrap()])
            .envs(server.environment())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    };
    assert!(run().output().unwrap().status.success());
    session
        .sql("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 's3://lake/t/'")
        .await
        .unwrap();
    for (step, method, part) in STEPS {
        for is_handled in [false, true] {
            let case = format!("{step}, done {is_handled}");
            let killer = Killer::install(&server, (step, method, part), is_handled);
            let child = run().spawn().unwrap();
            killer.pid.store(child.id() as usize, Ordering::SeqCst);
            let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap())
                .await
                .unwrap();
            assert!(
                killer.has_killed.load(Ordering::SeqCst),
                "{step}: never came: {}",
                String::from_utf8_lossy(&ended.stderr)
            );
            server.pass_all();
            // The record is the only trace that distinguishes a commit from uploads of a job that
            // may still run.
            let listed = command()
                .args(["clean", "s3://lake/t"])
                .envs(server.environment())
                .output()
                .unwrap();
            let listing = String::from_utf8_lossy(&listed.stdout).into_owned();
            let recorded = step == "a completion"
                || step == "the removal"
                || (step == "the record" && is_handled)
                || (step == "the end" && !is_handled);
            assert_eq!(
                listing.contains("unfinished commit"),
                recorded,
                "{case}: {listing}"
            );
            let effect = "files to complete: 1, replaced files to remove: 1";
            assert_eq!(listing.contains(effect), recorded, "{case}: {listing}");
            assert_success(&run().output().unwrap(), &case);
            assert_eq!(
                query(&session, "SELECT count(*), count(DISTINCT a) FROM t").await,
                ["1000|1000"],
                "{case}"
            );
            let cleaned = command()
                .args(["clean", "s3://lake/t", "--older-than", "0", "--apply"])
                .envs(server.environment())
                .output()
                .unwrap();
            assert_success(&cleaned, &case);
            assert_eq!(server.open_uploads(), Vec::<String>::new(), "{case}");
        }
    }
    session.stop().await;
}

/// `out` is a prefix of `out2`, but no folder above it.
#[tokio::test(flavor = "multi_thread")]
async fn the_clean_up_of_a_folder_leaves_the_uploads_of_its_siblings() {
    let server = S3Server::start().await;
    let job_to = |path: &str| {
        let mut job = command();
        let statement = format!("COPY (SELECT 1 AS a) TO '{path}' STORED AS PARQUET");
        job.args(["sql", "-c", &statement])
            .envs(server.environment());
        job.stdout(Stdio::null()).stderr(Stdio::null());
        job
    };
    for path in ["s3://lake/out/", "s3://lake/out2/", "s3://lake/out.bak/"] {
        let killer = Killer::install(&server, ("a part", "PUT", "partNumber="), true);
        let mut child = job_to(path).spawn().unwrap();
        killer.pid.store(child.id() as usize, Ordering::SeqCst);
        tokio::task::spawn_blocking(move || child.wait())
            .await
            .unwrap()
            .unwrap();
        server.pass_all();
    }
    let mut open = server.open_uploads();
    assert_eq!(open.len(), 3, "{open:?}");
    let cleaned = command()
        .args(["clean", "s3://lake/out", "--older-than", "0", "--apply"])
        .envs(server.environment())
        .output()
        .unwrap();
    assert_success(&cleaned, "clean");
    open.retain(|key| !key.starts_with("out/"));
    assert_eq!(server.open_uploads(), open);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_jobs_that_overwrite_at_once_one_wins_and_appends_both_do() {
    let (server, warehouse) = (S3Server::start().await, scratch("lake"));
    let session = session(&server, warehouse.path()).await;
    let write = |mode| {
        futures::future::join(
            put(&session, "SELECT 1 AS a", mode, "s3://lake/t"),
            put(&session, "SELECT 2 AS a", mode, "s3://lake/t"),
        )
    };
    let (first, second) = write(SaveMode::Append).await;
    first.and(second).unwrap();
    assert_eq!(server.visible("t").len(), 2);
    // Both begin before either commits, since the listing that each begins with waits for the
    // other.
    let outcomes = write(SaveMode::Overwrite).await;
    let failures: Vec<String> = [outcomes.0, outcomes.1]
        .into_iter()
        .filter_map(|o| o.err().map(|e| e.to_string()))
        .collect();
    assert!(failures.len() <= 1, "{failures:?}");
    assert!(
        failures.iter().all(|e| e.contains("another job wrote")),
        "{failures:?}"
    );
    assert_eq!(server.visible("t").len(), 1);
    session.stop().await;
    assert_eq!(server.open_uploads(), Vec::<String>::new());
}

/// One job of two that write the same table: asleep from its first completion on.
#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_slept_through_the_next_write_turns_nothing_back() {
    let (server, warehouse) = (S3Server::start().await, scratch("lake"));
    let job = warehouse.path().join("job.yaml");
    let text = JOB.replace("PARTS", "static");
    let text = text.replace("database: d", "database: d, keepOldSeconds: 0");
    std::fs::write(&job, text).unwrap();
    let run = |n: u32| {
        let mut command = command();
        let conf = format!("faisca.warehouse={}", warehouse.path().display());
        command
            .args([
                "run",
                job.to_str().unwrap(),
                "--set",
                &format!("n={n}"),
                "--conf",
                &conf,
            ])
            .envs(server.environment());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let pid = Arc::new(AtomicUsize::new(0));
    let of_hook = Arc::clone(&pid);
    server.on_request(move |method, uri| {
        if method == "POST" && uri.contains("uploadId=") {
            let pid = of_hook.swap(0, Ordering::SeqCst);
            if pid > 0 {
                send("-STOP", pid);
            }
        }
        Act::Pass
    });
    let sleeper = run(7).spawn().unwrap();
    let id = sleeper.id();
    pid.store(id as usize, Ordering::SeqCst);
    while pid.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    server.pass_all();
    assert_success(&run(5).output().unwrap(), "the next job");
    send("-CONT", id as usize);
    // Its first step is done, and replaced; its second comes after the other job's, and is whole.
    let ended = tokio::task::spawn_blocking(move || sleeper.wait_with_output().unwrap())
        .await
        .unwrap();
    assert_success(&ended, "the sleeper");
    let session = session(&server, warehouse.path()).await;
    assert_eq!(
        query(&session, "SELECT count(*), sum(id) FROM local.d.numbers").await,
        ["5|15"]
    );
    assert_eq!(
        query(&session, "SELECT count(*), sum(id) FROM local.d.by_k").await,
        ["5|15"]
    );
    session.stop().await;
    assert_eq!(server.visible("numbers").len(), 1);
    assert_eq!(server.open_uploads(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn executors_killed_while_they_upload_or_at_commit_leave_every_row_once() {
    let server = S3Server::start().await;
    let builder = Session::builder()
        .stores(stores(&server))
        .partitions(12)
        .config("faisca.smallQueryBytes", "0");
    let builder = builder
        .executors(3)
        .executor_cores(1)
        .executor_binary(env!("CARGO_BIN_EXE_faisca"));
    let session = builder.get_or_create().await.unwrap();
    register_folders(&session, tpch_data(), &["lineitem"]).await;
    let sum = "SELECT count(*), count(DISTINCT l_orderkey * 10 + l_linenumber), sum(length(l_comment)) FROM";
    let expected = query(&session, &format!("{sum} lineitem")).await;
    // Parts are the executors' own; at the other steps the driver acts alone, and must not miss
    // them.
    for (step, method, part, skip, killed_count) in [
        ("a part", "PUT", "partNumber=", 2, 1),
        ("later parts", "PUT", "partNumber=", 9, 2),
        ("the record", "PUT", "_faisca/commit-", 0, 3),
        ("a completion", "POST", "uploadId=", 3, 3),
        ("the removal", "POST", "delete", 0, 3),
        ("the end", "PUT", "_faisca/commit-", 2, 3),
    ] {
        all_up(&session, 3).await;
        let pids: Vec<u32> = executors(&session).into_iter().take(killed_count).collect();
        let (is_fired, mut to_skip) = (Arc::new(AtomicBool::new(false)), skip);
        let has_killed = Arc::clone(&is_fired);
        server.on_request(move |m, uri| {
            if m == method && uri.contains(part) && !has_killed.load(Ordering::SeqCst) {
                if to_skip == 0 {
                    has_killed.store(true, Ordering::SeqCst);
                    pids.iter().for_each(|pid| signal(*pid, "-KILL"));
                } else {
                    to_skip -= 1;
                }
            }
            Act::Pass
        });
        put(
            &session,
            "SELECT l_orderkey, l_linenumber, l_comment FROM lineitem",
            SaveMode::Overwrite,
            "s3://lake/lines",
        )
        .await
        .unwrap();
        assert!(is_fired.load(Ordering::SeqCst), "{step}: never came");
        server.pass_all();
        session.sql("CREATE OR REPLACE EXTERNAL TABLE lines STORED AS PARQUET LOCATION 's3://lake/lines/'").await.unwrap();
        assert_eq!(
            query(&session, &format!("{sum} lines")).await,
            expected,
            "{step}"
        );
        assert_eq!(server.open_uploads(), Vec::<String>::new(), "{step}");
    }
    stop(session).await;
}
