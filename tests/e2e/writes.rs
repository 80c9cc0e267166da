//! Outputs: visible once and whole, or not at all.

use faisca::prelude::*;

use crate::support::{
    LAYOUTS, Layout, files_below, register_folders, rows, scratch, session, sorted, tpch_data,
};

#[tokio::test(flavor = "multi_thread")]
async fn scripts_create_insert_overwrite_and_copy() {
    for layout in LAYOUTS {
        let folder = scratch("writes");
        let path_of = |name: &str| folder.path().join(name).display().to_string();
        let session = session(layout, 5).await;
        session
            .sql(&format!(
                "CREATE EXTERNAL TABLE w (a BIGINT, b STRING) STORED AS PARQUET LOCATION '{}/'",
                path_of("w")
            ))
            .await
            .unwrap();
        session
            .sql("INSERT INTO w VALUES (1, 'x'), (2, 'y')")
            .await
            .unwrap();
        session
            .sql("INSERT INTO w SELECT value, 'z' FROM range(10, 13)")
            .await
            .unwrap();
        let count = "SELECT count(*), sum(a) FROM w";
        assert_eq!(
            rows(&session.sql(count).await.unwrap().collect().await.unwrap()),
            ["5|36"]
        );
        session
            .sql("INSERT OVERWRITE w SELECT a + 1, b FROM w")
            .await
            .unwrap();
        assert_eq!(
            rows(&session.sql(count).await.unwrap().collect().await.unwrap()),
            ["5|41"]
        );
        let explained = session
            .sql("EXPLAIN SELECT b, count(*) FROM w GROUP BY b")
            .await
            .unwrap();
        assert!(
            rows(&explained.clone().collect().await.unwrap())
                .join("\n")
                .contains("ExchangeReadExec: s0 Shuffle")
        );
        explained.show().await.unwrap();
        session
            .sql(&format!(
                "COPY (SELECT * FROM w) TO '{}' STORED AS CSV",
                path_of("c")
            ))
            .await
            .unwrap();
        let error = session
            .sql(&format!(
                "COPY (SELECT * FROM w) TO '{}' STORED AS CSV",
                path_of("c")
            ))
            .await
            .err()
            .unwrap();
        assert!(error.to_string().contains("already exists"), "{error}");
        let csv = session.read().csv(&path_of("c")).await.unwrap();
        assert_eq!(csv.count().await.unwrap(), 5);
        session.stop().await;
        assert!(
            files_below(folder.path())
                .iter()
                .all(|f| !f.contains(".faisca-"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_leaves_the_old_output_and_no_litter() {
    for layout in [Layout::Embedded, Layout::Processes(2)] {
        let folder = scratch("writes");
        let out = folder.path().join("out");
        let out = out.to_str().unwrap();
        let session = session(layout, 4).await;
        session
            .sql("SELECT 1 AS a")
            .await
            .unwrap()
            .write()
            .parquet(out)
            .await
            .unwrap();
        let before = files_below(folder.path());
        // Fails in one row of the last partition, when others have written their files.
        register_folders(&session, tpch_data(), &["orders"]).await;
        let sql = "SELECT o_orderkey, 1 / (o_orderkey - 5999975) AS x FROM orders";
        let failed = session
            .sql(sql)
            .await
            .unwrap()
            .write()
            .mode(SaveMode::Overwrite)
            .parquet(out)
            .await;
        let error = failed.err().unwrap();
        assert!(
            error.to_string().to_lowercase().contains("divide by zero"),
            "{error}"
        );
        assert_eq!(files_below(folder.path()), before);
        session.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn target_file_size_rolls_files_and_every_task_writes() {
    let folder = scratch("writes");
    let out = folder.path().join("orders");
    let session = session(Layout::Processes(3), 6).await;
    register_folders(&session, tpch_data(), &["orders"]).await;
    let frame = session.sql("SELECT * FROM orders").await.unwrap();
    let summary = frame
        .write()
        .option("targetFileSize", "2Mi")
        .option("compression", "zstd")
        .parquet(out.to_str().unwrap())
        .await
        .unwrap();
    assert!(summary.files > 6, "{summary:?}");
    let wrote: Vec<_> = session
        .progress()
        .executors
        .iter()
        .filter(|(id, e)| id.0 > 0 && e.bytes > 0)
        .map(|(id, _)| *id)
        .collect();
    assert_eq!(wrote.len(), 3);
    register_folders(&session, folder.path(), &["orders"]).await;
    let sql = "SELECT count(*), count(DISTINCT o_orderkey), sum(o_totalprice) FROM orders";
    let copied = rows(&session.sql(sql).await.unwrap().collect().await.unwrap());
    register_folders_again(&session).await;
    assert_eq!(
        copied,
        rows(
            &session
                .sql(&sql.replace("orders", "original"))
                .await
                .unwrap()
                .collect()
                .await
                .unwrap()
        )
    );
    session.stop().await;
}

async fn register_folders_again(session: &Session) {
    let sql = format!(
        "CREATE EXTERNAL TABLE original STORED AS PARQUET LOCATION '{}/'",
        tpch_data().join("orders").display()
    );
    session.sql(&sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn partitioned_folders_hold_nulls_and_odd_values() {
    let folder = scratch("writes");
    let out = folder.path().join("p");
    let session = session(Layout::Embedded, 3).await;
    let sql =
        "SELECT * FROM (VALUES (1, 'a/b'), (2, NULL), (3, 'ação'), (4, 'a/b')) AS v(n, Chave)";
    session
        .sql(sql)
        .await
        .unwrap()
        .write()
        .partition_by(["CHAVE"])
        .parquet(out.to_str().unwrap())
        .await
        .unwrap();
    let folders: Vec<_> = sorted(
        std::fs::read_dir(&out)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect(),
    );
    assert_eq!(
        folders,
        [
            "Chave=__HIVE_DEFAULT_PARTITION__",
            "Chave=a%2Fb",
            "Chave=ação"
        ]
    );
    session.stop().await;
}
