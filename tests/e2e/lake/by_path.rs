//! Readers of a table's folder by its path, while files that an overwrite replaced are kept.

use std::sync::atomic::{AtomicUsize, Ordering};

use faisca::prelude::*;

use super::{query, session};
use crate::conformance::catalog::Lake;
use crate::s3_server::Act;

const PLAIN: &str = "path: 's3://lake/t', mode: MODE, catalog: {CATALOG}";
const PARTITIONED: &str = "path: 's3://lake/t', mode: MODE, partitionBy: [k], catalog: {CATALOG}";
const ROWS: &str =
    "SELECT CAST(n AS INT) AS n, k FROM (VALUES (1, 'a'), (2, 'a'), (3, 'b')) AS t(n, k)";

/// Rows of a query over the files at each path.
async fn rows_at(lake: &Lake, paths: &[&str], sql: &str) -> Vec<Vec<String>> {
    let session = session(&lake.server, lake.warehouse.path()).await;
    let mut rows = vec![];
    for path in paths {
        let frame = session.read().parquet(path).await.unwrap();
        frame.create_or_replace_temp_view("files").unwrap();
        rows.push(query(&session, sql).await);
    }
    session.stop().await;
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_at_the_root_of_a_bucket_finds_its_files() {
    let lake = Lake::start().await;
    lake.written("glue", ROWS, &PLAIN.replace("MODE", "overwrite"))
        .await;
    let paths = ["s3://lake/*", "s3://lake/?/**", "s3://lake/**/*.parquet"];
    for rows in rows_at(&lake, &paths, "SELECT n, k FROM files").await {
        assert_eq!(rows, ["1|a", "2|a", "3|b"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_overwritten_has_each_row_once_by_path_and_glob() {
    for (write, data) in [(PLAIN, "t/**/*.parquet"), (PARTITIONED, "t/k=*/**")] {
        let lake = Lake::start().await;
        let mode = |mode: &str| write.replace("MODE", mode);
        for files in 1..=3 {
            lake.written("glue", ROWS, &mode("overwrite")).await;
            assert!(
                lake.server.visible("t").len() >= files,
                "old files are kept"
            );
        }
        let glob = format!("s3://lake/{data}");
        let paths = ["s3://lake/t", "s3://lake/t/", "s3a://lake/t", &glob];
        for rows in rows_at(&lake, &paths, "SELECT n, k FROM files").await {
            assert_eq!(rows, ["1|a", "2|a", "3|b"], "{write}");
        }
        lake.written(
            "glue",
            "SELECT CAST(4 AS INT) AS n, 'b' AS k",
            &mode("append"),
        )
        .await;
        for rows in rows_at(&lake, &paths, "SELECT n FROM files WHERE k = 'b'").await {
            assert_eq!(rows, ["3", "4"], "{write}");
        }
        let table = lake.rows("SELECT n, k FROM glue.d.t").await;
        assert_eq!(table, ["1|a", "2|a", "3|b", "4|b"], "{write}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_a_partition_has_the_current_rows_of_the_partition_only() {
    let lake = Lake::start().await;
    let write = PARTITIONED.replace("MODE", "overwrite");
    lake.written("glue", ROWS, &write).await;
    let dynamic = format!("{write}, partitionOverwrite: dynamic");
    lake.written("glue", "SELECT CAST(9 AS INT) AS n, 'a' AS k", &dynamic)
        .await;
    let paths = ["s3://lake/t/k=a", "s3://lake/t/k=a/", "s3://lake/t/k=a/*/*"];
    for rows in rows_at(&lake, &paths, "SELECT n FROM files").await {
        assert_eq!(rows, ["9"]);
    }
    let rows = rows_at(&lake, &["s3://lake/t"], "SELECT n, k FROM files").await;
    assert_eq!(rows, [["3|b", "9|a"]]);
}

/// The files that are kept have other columns than the table has now.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_is_compared_with_the_current_files_only() {
    let lake = Lake::start().await;
    let overwrite = PLAIN
        .replace("MODE", "overwrite")
        .replace("CATALOG", "CATALOG, onSchemaChange: replace");
    lake.written("glue", "SELECT 'x' AS n", &overwrite).await;
    lake.written("glue", "SELECT CAST(1 AS INT) AS n", &overwrite)
        .await;
    let append = "path: 's3://lake/t', mode: append";
    lake.written("glue", "SELECT CAST(2 AS INT) AS n", append)
        .await;
    let rows = rows_at(&lake, &["s3://lake/t/**"], "SELECT n FROM files").await;
    assert_eq!(rows, [["1", "2"]]);
}

/// An overwrite without rows removes all partitions; what is kept is not an existing output.
#[tokio::test(flavor = "multi_thread")]
async fn replaced_files_are_no_reason_to_refuse_a_new_output() {
    let lake = Lake::start().await;
    let overwrite = PARTITIONED.replace("MODE", "overwrite");
    lake.written("glue", ROWS, &overwrite).await;
    let none = format!("SELECT * FROM ({ROWS}) WHERE n > 9");
    lake.written("glue", &none, &overwrite).await;
    assert!(!lake.server.visible("t").is_empty(), "old files are kept");
    let new = "path: 's3://lake/t', mode: errorifexists, partitionBy: [k]";
    lake.written("glue", ROWS, new).await;
    let rows = rows_at(&lake, &["s3://lake/t"], "SELECT n, k FROM files").await;
    assert_eq!(rows, [["1|a", "2|a", "3|b"]]);
}

/// The listing finds the files of one version, and the record is that of the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_by_path_never_mixes_two_versions_of_a_table() {
    let lake = Lake::start().await;
    let session = session(&lake.server, lake.warehouse.path()).await;
    let json = r#"{"type": "local", "database": "d", "table": "t", "createDatabase": true}"#;
    let catalog: faisca_planner::manifest::CatalogTable = serde_json::from_str(json).unwrap();
    let write = async |n: usize| {
        let sql = format!("SELECT value AS a, {n} AS n FROM generate_series(1, 1000)");
        let writer = session.sql(&sql).await.unwrap().write();
        let writer = writer.mode(SaveMode::Overwrite).catalog(catalog.clone());
        writer.parquet("s3://lake/t").await.unwrap();
    };
    write(1).await;
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let writer = async {
        for n in 2..12 {
            write(n).await;
        }
        is_over.store(true, Ordering::SeqCst);
    };
    let reader = async {
        let mut whole = 0;
        while !is_over.load(Ordering::SeqCst) || whole == 0 {
            let frame = session.read().parquet("s3://lake/t").await.unwrap();
            frame.create_or_replace_temp_view("files").unwrap();
            let rows = query(&session, "SELECT count(*), min(n) = max(n) FROM files").await;
            assert_eq!(rows, ["1000|true"]);
            whole += 1;
        }
    };
    futures::future::join(writer, reader).await;
    session.stop().await;
}

/// A folder that others wrote costs no further requests.
#[tokio::test(flavor = "multi_thread")]
async fn only_folders_with_commit_records_cost_another_request() {
    let lake = Lake::start().await;
    let folder = lake.server.root.path().join("lake/others");
    let local = format!("path: '{}', mode: overwrite", folder.display());
    lake.written("local", ROWS, &local).await;
    let write = PLAIN.replace("MODE", "overwrite");
    lake.written("local", ROWS, &write).await;
    let records = std::sync::Arc::new(AtomicUsize::new(0));
    let seen = std::sync::Arc::clone(&records);
    lake.server.on_request(move |_, uri| {
        if uri.contains("_faisca") {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        Act::Pass
    });
    rows_at(&lake, &["s3://lake/others"], "SELECT n FROM files").await;
    assert_eq!(records.load(Ordering::SeqCst), 0);
    rows_at(&lake, &["s3://lake/t"], "SELECT n FROM files").await;
    assert!(records.load(Ordering::SeqCst) > 0);
}
