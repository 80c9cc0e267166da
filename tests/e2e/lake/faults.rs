//! A store that refuses, disconnects, is slow and truncates responses: results are the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use faisca::prelude::*;
use faisca_generate::TPCH_TABLES;

use super::{query, session};
use crate::s3_server::{Act, S3Server};
use crate::support::{
    command, files_below, oracle_rows, output_text, rows, scratch, session_rows, sorted, tpch_data,
    tpch_oracle, tpch_oracle_query, tpch_query,
};

/// Faults of every kind, for one request in N, always the same ones.
fn inject_faults(one_in: u64, injected: Arc<AtomicUsize>) -> impl FnMut(&str, &str) -> Act + Send {
    let mut random = fastrand::Rng::with_seed(20_261_123);
    move |method, _| {
        if random.u64(..one_in) > 0 {
            return Act::Pass;
        }
        injected.fetch_add(1, Ordering::Relaxed);
        match random.u8(..5) {
            0 => Act::Refuse(503, "SlowDown"),
            1 => Act::Break,
            2 => Act::DoAndBreak,
            3 if method == "GET" => Act::CutShort,
            _ => Act::Delay,
        }
    }
}

/// Puts a folder of this machine into the bucket, without a copy.
fn link_into(server: &S3Server, folder: &std::path::Path, prefix: &str) {
    for name in files_below(folder) {
        let target = server.root.path().join("lake").join(prefix).join(&name);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::hard_link(folder.join(&name), target).unwrap();
    }
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
            0 => Act::Refuse(503, "SlowDown"),
            1 => Act::Break,
            _ => Act::DoAndBreak,
        }
    });
    let rows_written = "SELECT value AS a, value % 7 AS k, repeat('x', 1000) AS pad FROM generate_series(1, 20000)";
    let frame = session.sql(rows_written).await.unwrap();
    frame
        .write()
        .mode(SaveMode::Overwrite)
        .partition_by(["k"])
        .parquet("s3://lake/t")
        .await
        .unwrap();
    session
        .sql("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 's3://lake/t/'")
        .await
        .unwrap();
    assert_eq!(
        query(
            &session,
            "SELECT count(*), count(DISTINCT a), sum(a) FROM t"
        )
        .await,
        ["20000|20000|200010000"]
    );
    assert_eq!(
        query(&session, "SELECT count(*) FROM t WHERE k = '3'").await,
        ["2857"]
    );
    session.stop().await;
    assert!(faults.load(Ordering::Relaxed) > 3, "too few faults to tell");
    assert!(session.object_stores().requests().retries() > 0);
    assert_eq!(server.open_uploads(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_queries_are_right_on_a_faulty_store() {
    let (server, warehouse) = (S3Server::start().await, scratch("lake"));
    link_into(&server, tpch_data(), "tpch");
    let session = session(&server, warehouse.path()).await;
    let oracle = tpch_oracle().await;
    for table in TPCH_TABLES {
        session
            .sql(&format!(
                "CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION 's3://lake/tpch/{table}/'"
            ))
            .await
            .unwrap();
    }
    let injected = Arc::new(AtomicUsize::new(0));
    server.on_request(inject_faults(5, Arc::clone(&injected)));
    for number in 1..=22 {
        let sql = tpch_query(number);
        let actual = session_rows(&session, &sql).await;
        let expected = oracle_rows(&oracle, &tpch_oracle_query(number)).await;
        if sql.contains("order by") {
            assert_eq!(actual, expected, "q{number}");
        } else {
            assert_eq!(sorted(actual), sorted(expected), "q{number}");
        }
    }
    session.stop().await;
    let (injected, requests) = (
        injected.load(Ordering::Relaxed),
        session.object_stores().requests(),
    );
    assert!(injected > 20, "only {injected} faults");
    assert!(
        requests.retries() > 0 && requests.total() > 22,
        "{requests:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pipeline_is_right_on_a_faulty_store() {
    let (server, local) = (S3Server::start().await, scratch("lake"));
    faisca_generate::enem(local.path(), 5_000).unwrap();
    link_into(&server, local.path(), "");
    let run = |data: &str, executors: &str| {
        let mut job = command();
        job.args([
            "run",
            "examples/enem/enem.yaml",
            "--executors",
            executors,
            "--set",
            &format!("data={data}"),
        ])
        .envs(server.environment());
        job
    };
    assert!(
        run(&local.path().display().to_string(), "0")
            .output()
            .unwrap()
            .status
            .success()
    );
    let injected = Arc::new(AtomicUsize::new(0));
    server.on_request(inject_faults(12, Arc::clone(&injected)));
    for executors in ["0", "2"] {
        let mut job = run("s3://lake", executors);
        let output = tokio::task::spawn_blocking(move || job.output().unwrap())
            .await
            .unwrap();
        let text = output_text(&output);
        assert!(output.status.success(), "{text}");
        assert!(text.contains("of them retried"), "{text}");
    }
    assert!(injected.load(Ordering::Relaxed) > 20);
    server.pass_all();
    let context = datafusion::prelude::SessionContext::new();
    let bucket = server.root.path().join("lake");
    for table in [
        "processing/enem",
        "processing/intermediarias/uf_notas",
        "consumer/enem_uf",
        "consumer/enem_anon",
        "processing/edsup2019/aluno",
    ] {
        let read = async |root: &std::path::Path| {
            let folder = format!("{}/", root.join(table).display());
            sorted(rows(
                &context
                    .read_parquet(folder, Default::default())
                    .await
                    .unwrap()
                    .collect()
                    .await
                    .unwrap(),
            ))
        };
        assert_eq!(read(&bucket).await, read(local.path()).await, "{table}");
    }
    assert_eq!(server.open_uploads(), Vec::<String>::new());
}
