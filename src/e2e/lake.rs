//! A data lake: object storage that fails, drivers that die, tables by name.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use faisca::Session;
use faisca::planner::manifest::{SecretRef, StoreCredentials, StoreSettings, Stores};
use faisca::prelude::*;

use crate::s3_server::{Act, S3Server};
use crate::support::{command, rows, scratch, sorted};

/// Settings that reach the server without the environment, which all tests share.
fn stores(server: &S3Server) -> Stores {
    let folder = server.root.path();
    let secret = |name: &str, value: &str| {
        std::fs::write(folder.join(name), value).unwrap();
        SecretRef { file: Some(folder.join(name).display().to_string()), env: None }
    };
    let credentials = StoreCredentials { access_key_id: secret("id", "test"), secret_access_key: secret("key", "secret"), session_token: None };
    let settings = StoreSettings {
        endpoint: Some(server.url.clone()),
        credentials: Some(credentials),
        region: Some("us-east-1".to_owned()),
        ..Default::default()
    };
    Stores::from([("s3://".to_owned(), settings)])
}

async fn session(server: &S3Server, warehouse: &Path) -> Session {
    let builder = Session::builder().stores(stores(server)).partitions(4).config("faisca.smallQueryBytes", "0");
    builder.config("faisca.warehouse", warehouse.display().to_string()).get_or_create().await.unwrap()
}

async fn query(session: &Session, sql: &str) -> Vec<String> {
    sorted(rows(&session.sql(sql).await.unwrap().collect().await.unwrap()))
}

async fn put(session: &Session, sql: &str, mode: SaveMode, path: &str) -> faisca::Result<()> {
    session.sql(sql).await.unwrap().write().mode(mode).parquet(path).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_writes_what_it_says_and_leaves_no_upload() {
    let (server, warehouse) = (S3Server::start().await, scratch("lake"));
    let session = session(&server, warehouse.path()).await;
    let path = "s3a://lake/zona são/t";
    let read = "SELECT count(*), sum(a) FROM t";
    let table = format!("CREATE OR REPLACE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{path}/'");
    put(&session, "SELECT 1 AS a", SaveMode::ErrorIfExists, path).await.unwrap();
    session.sql(&table).await.unwrap();
    assert_eq!(query(&session, read).await, ["1|1"]);
    put(&session, "SELECT 2 AS a", SaveMode::Append, path).await.unwrap();
    assert_eq!(query(&session, read).await, ["2|3"]);
    put(&session, "SELECT 9 AS a", SaveMode::Ignore, path).await.unwrap();
    assert_eq!(query(&session, read).await, ["2|3"]);
    let error = put(&session, "SELECT 9 AS a", SaveMode::ErrorIfExists, path).await.unwrap_err().to_string();
    assert!(error.contains("already exists"), "{error}");
    put(&session, "SELECT 5 AS a", SaveMode::Overwrite, path).await.unwrap();
    assert_eq!(query(&session, read).await, ["1|5"]);
    // A statement that fails in its tasks leaves the old rows.
    let failed = put(&session, "SELECT 1 / (a - 5) AS a FROM t", SaveMode::Overwrite, path).await;
    assert!(failed.is_err());
    assert_eq!(query(&session, read).await, ["1|5"]);
    session.stop().await;
    assert_eq!(server.open_uploads(), Vec::<String>::new());
    assert_eq!(server.visible("zona são/t").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_and_hangs_up_changes_nothing() {
    let (server, warehouse) = (S3Server::start().await, scratch("lake"));
    let session = session(&server, warehouse.path()).await;
    let mut count = 0_u64;
    let faults = Arc::new(AtomicUsize::new(0));
    let injected = Arc::clone(&faults);
    server.on_request(move |_, _| {
        // Every seventh request fails, in turn in each way.
        count += 1;
        if !count.is_multiple_of(7) {
            return Act::Pass;
        }
        injected.fetch_add(1, Ordering::Relaxed);
        match count / 7 % 3 {
            0 => Act::Refuse,
            1 => Act::Break,
            _ => Act::DoAndBreak,
        }
    });
    let rows_written = "SELECT value AS a, value % 7 AS k, repeat('x', 1000) AS pad FROM generate_series(1, 20000)";
    let frame = session.sql(rows_written).await.unwrap();
    frame.write().mode(SaveMode::Overwrite).partition_by(["k"]).parquet("s3://lake/t").await.unwrap();
    session.sql("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 's3://lake/t/'").await.unwrap();
    assert_eq!(query(&session, "SELECT count(*), count(DISTINCT a), sum(a) FROM t").await, ["20000|20000|200010000"]);
    assert_eq!(query(&session, "SELECT count(*) FROM t WHERE k = '3'").await, ["2857"]);
    session.stop().await;
    assert!(faults.load(Ordering::Relaxed) > 3, "too few faults to tell");
    assert!(session.object_stores().requests().retried() > 0);
    assert_eq!(server.open_uploads(), Vec::<String>::new());
}

/// A moment of the commit: which request, and whether the driver dies before or after it is done.
const STEPS: [(&str, &str, &str); 5] = [
    ("a part", "PUT", "partNumber="),
    ("the record", "PUT", "_faisca/commit-"),
    ("a completion", "POST", "uploadId="),
    ("the removal", "POST", "delete"),
    ("the end", "PUT", "_faisca/commit-"),
];

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
        command.args(["run", script.to_str().unwrap()]).envs(server.environment()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    assert!(run().output().unwrap().status.success());
    session.sql("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 's3://lake/t/'").await.unwrap();
    for (step, method, part) in STEPS {
        for done in [false, true] {
            let pid = Arc::new(AtomicUsize::new(0));
            let killed = Arc::new(AtomicBool::new(false));
            let (of_hook, has_killed) = (Arc::clone(&pid), Arc::clone(&killed));
            // The record is created, marked, and closed: the end is its third writing.
            let mut to_skip = if step == "the end" { 2 } else { 0 };
            server.on_request(move |m, uri| {
                if m != method || !uri.contains(part) || has_killed.load(Ordering::SeqCst) {
                    return Act::Pass;
                }
                if to_skip > 0 {
                    to_skip -= 1;
                    return Act::Pass;
                }
                has_killed.store(true, Ordering::SeqCst);
                let pid = of_hook.load(Ordering::SeqCst).to_string();
                assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
                if done { Act::DoAndBreak } else { Act::Break }
            });
            let child = run().spawn().unwrap();
            pid.store(child.id() as usize, Ordering::SeqCst);
            let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
            assert!(killed.load(Ordering::SeqCst), "{step}: never came: {}", String::from_utf8_lossy(&ended.stderr));
            server.pass_all();
            let again = run().output().unwrap();
            assert!(again.status.success(), "{step}, done {done}: {}", String::from_utf8_lossy(&again.stderr));
            assert_eq!(query(&session, "SELECT count(*), count(DISTINCT a) FROM t").await, ["1000|1000"], "{step}, done {done}");
            let cleaned = command().args(["clean", "s3://lake/t", "--older-than", "0", "--apply"]).envs(server.environment()).output().unwrap();
            assert!(cleaned.status.success(), "{}", String::from_utf8_lossy(&cleaned.stderr));
            assert_eq!(server.open_uploads(), Vec::<String>::new(), "{step}, done {done}");
        }
    }
    session.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_jobs_that_overwrite_at_once_one_wins_and_appends_both_do() {
    let (server, warehouse) = (S3Server::start().await, scratch("lake"));
    let session = session(&server, warehouse.path()).await;
    let write =
        |mode| futures::future::join(put(&session, "SELECT 1 AS a", mode, "s3://lake/t"), put(&session, "SELECT 2 AS a", mode, "s3://lake/t"));
    let (first, second) = write(SaveMode::Append).await;
    first.and(second).unwrap();
    assert_eq!(server.visible("t").len(), 2);
    // Both begin before either commits, since the listing that each begins with waits for the other.
    let outcomes = write(SaveMode::Overwrite).await;
    let failures: Vec<String> = [outcomes.0, outcomes.1].into_iter().filter_map(|o| o.err().map(|e| e.to_string())).collect();
    assert!(failures.len() <= 1, "{failures:?}");
    assert!(failures.iter().all(|e| e.contains("another job wrote")), "{failures:?}");
    assert_eq!(server.visible("t").len(), 1);
    session.stop().await;
    assert_eq!(server.open_uploads(), Vec::<String>::new());
}

/// One job of two that write the same table: asleep from its first completion on.
#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_slept_through_the_next_write_turns_nothing_back() {
    let (server, warehouse) = (S3Server::start().await, scratch("lake"));
    let job = warehouse.path().join("job.yaml");
    std::fs::write(&job, JOB.replace("PARTS", "static")).unwrap();
    let run = |n: u32| {
        let mut command = command();
        let conf = format!("faisca.warehouse={}", warehouse.path().display());
        command.args(["run", job.to_str().unwrap(), "--set", &format!("n={n}"), "--conf", &conf]).envs(server.environment());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let pid = Arc::new(AtomicUsize::new(0));
    let of_hook = Arc::clone(&pid);
    server.on_request(move |method, uri| {
        if method == "POST" && uri.contains("uploadId=") {
            let pid = of_hook.swap(0, Ordering::SeqCst);
            if pid > 0 {
                assert!(std::process::Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap().success());
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
    let next = run(5).output().unwrap();
    assert!(next.status.success(), "{}", String::from_utf8_lossy(&next.stderr));
    assert!(std::process::Command::new("kill").args(["-CONT", &id.to_string()]).status().unwrap().success());
    // Its first step is done, and replaced; its second comes after the other job's, and is whole.
    let ended = tokio::task::spawn_blocking(move || sleeper.wait_with_output().unwrap()).await.unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let session = session(&server, warehouse.path()).await;
    assert_eq!(query(&session, "SELECT count(*), sum(id) FROM local.d.numbers").await, ["5|15"]);
    assert_eq!(query(&session, "SELECT count(*), sum(id) FROM local.d.by_k").await, ["5|15"]);
    session.stop().await;
    assert_eq!(server.visible("numbers").len(), 1);
    assert_eq!(server.open_uploads(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_by_name() {
    let (server, warehouse) = (S3Server::start().await, scratch("lake"));
    let open = session(&server, warehouse.path()).await;
    let error = put(&open, "SELECT 1 AS a", SaveMode::Append, "s3://other/t").await.unwrap_err().to_string();
    assert!(error.contains("NoSuchBucket") && error.contains("check its name"), "{error}");
    let error = open.read().parquet("s3://lake/nothing/").await.err().unwrap().to_string();
    assert!(error.contains("no data files in this folder: s3://lake/nothing/"), "{error}");
    let error = put(&open, "SELECT 1 AS a", SaveMode::Append, "s3://lake").await.unwrap_err().to_string();
    assert!(error.contains("whole bucket"), "{error}");
    open.stop().await;
    let mut wrong = stores(&server);
    std::fs::write(server.root.path().join("key"), "wrong").unwrap();
    let session = Session::builder().stores(wrong.clone()).get_or_create().await.unwrap();
    let error = session.read().parquet("s3://lake/t/").await.err().unwrap().to_string();
    assert!(error.contains("the secret access key is wrong") && !error.contains("wrong\n"), "{error}");
    session.stop().await;
    for settings in wrong.values_mut() {
        settings.credentials.as_mut().unwrap().session_token = Some(SecretRef { env: Some("FAISCA_NO_SUCH_TOKEN".to_owned()), file: None });
    }
    let session = Session::builder().stores(wrong).get_or_create().await.unwrap();
    let error = session.read().parquet("s3://lake/t/").await.err().unwrap().to_string();
    assert!(error.contains("FAISCA_NO_SUCH_TOKEN"), "{error}");
    session.stop().await;
}

const JOB: &str = r#"
apiVersion: faisca.dev/v1alpha1
kind: SparkApplication
metadata: {name: lake}
spec:
  parameters: {n: "10", mode: overwrite}
  steps:
    - name: numbers
      sql: SELECT value AS Id, value % 3 AS K, CAST(value AS INT UNSIGNED) AS U FROM generate_series(1, ${n})
      write:
        path: s3://lake/numbers/
        mode: overwrite
        catalog: {type: local, database: d, createDatabase: true, comment: all of them, columnComments: {id: the number}}
    - name: by_k
      sql: SELECT Id, K FROM local.d.numbers
      write:
        path: s3://lake/by_k/
        mode: overwrite
        partitionBy: [K]
        partitionOverwrite: PARTS
        catalog: {type: local, database: d}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_found_by_name_and_switched_whole() {
    let (server, warehouse) = (S3Server::start().await, scratch("lake"));
    let job = warehouse.path().join("job.yaml");
    let run = |n: u32, parts: &str, edit: &dyn Fn(String) -> String| {
        std::fs::write(&job, edit(JOB.replace("PARTS", parts))).unwrap();
        let set = format!("n={n}");
        let conf = format!("faisca.warehouse={}", warehouse.path().display());
        let mut command = command();
        command.args(["run", job.to_str().unwrap(), "--set", &set, "--conf", &conf]).envs(server.environment()).output().unwrap()
    };
    let told = run(10, "static", &|job| job);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let session = session(&server, warehouse.path()).await;
    assert_eq!(query(&session, "SELECT count(*), sum(ID), sum(u) FROM local.d.NUMBERS").await, ["10|55|55"]);
    assert_eq!(query(&session, "SELECT k, count(*) FROM local.d.by_k GROUP BY k").await, ["0|3", "1|4", "2|3"]);
    assert_eq!(query(&session, "SELECT count(*) FROM local.d.by_k WHERE k = 1").await, ["4"]);
    // Two rows of keys 1 and 2: the partition of key 0 stays, or goes.
    assert!(run(2, "dynamic", &|job| job).status.success());
    assert_eq!(query(&session, "SELECT k, count(*) FROM local.d.by_k GROUP BY k").await, ["0|3", "1|1", "2|1"]);
    assert!(run(2, "static", &|job| job).status.success());
    assert_eq!(query(&session, "SELECT k, count(*) FROM local.d.by_k GROUP BY k").await, ["1|1", "2|1"]);
    assert_eq!(query(&session, "SELECT count(*) FROM local.d.numbers").await, ["2"]);
    // Other columns are refused before a byte is written.
    let before = server.requests.load(Ordering::Relaxed);
    let told = run(5, "static", &|job| job.replace("value AS Id", "CAST(value AS STRING) AS Id, 1 AS extra"));
    let error = String::from_utf8_lossy(&told.stderr).into_owned();
    assert_eq!(told.status.code(), Some(2), "{error}");
    assert!(error.contains("new: extra bigint; of another type: id string instead of bigint"), "{error}");
    assert!(error.contains("step `numbers`"), "{error}");
    assert_eq!(server.requests.load(Ordering::Relaxed), before);
    assert_eq!(query(&session, "SELECT count(*) FROM local.d.numbers").await, ["2"]);
    let error = session.sql("SELECT * FROM local.d.numbrs").await.err().unwrap().to_string();
    assert!(error.contains("did you mean `numbers`?"), "{error}");
    session.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_by_name_never_see_a_mix_while_a_table_is_overwritten() {
    const CHECKS: usize = 100;
    let (server, warehouse) = (S3Server::start().await, scratch("lake"));
    let session = session(&server, warehouse.path()).await;
    let catalog = faisca::planner::manifest::CatalogTable { keep_old_seconds: 3600, ..local_table("d", "t") };
    let write = |n: u64| {
        let sql = format!("SELECT value AS a, {n} AS n FROM generate_series(1, {})", 1000 * n);
        let (session, catalog) = (session.clone(), catalog.clone());
        async move { session.sql(&sql).await.unwrap().write().mode(SaveMode::Overwrite).catalog(catalog).parquet("s3://lake/t").await.unwrap() }
    };
    write(1).await;
    let over = AtomicBool::new(false);
    let writer = async {
        for n in 2..8 {
            write(n).await;
        }
        over.store(true, Ordering::SeqCst);
    };
    let reader = async {
        let mut checks = 0;
        while !over.load(Ordering::SeqCst) || checks < CHECKS {
            let found = query(&session, "SELECT count(*) = 1000 * min(n), min(n) = max(n) FROM local.d.t").await;
            assert_eq!(found, ["true|true"]);
            checks += 1;
        }
    };
    futures::future::join(writer, reader).await;
    session.stop().await;
}

fn local_table(database: &str, table: &str) -> faisca::planner::manifest::CatalogTable {
    let json = format!(r#"{{"type": "local", "database": "{database}", "table": "{table}", "createDatabase": true}}"#);
    serde_json::from_str(&json).unwrap()
}
