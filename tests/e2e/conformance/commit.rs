//! The contract of every commit: on a folder of this machine and on an object store.

use faisca::Session;
use faisca::prelude::*;

use crate::lake::{put, query, session};
use crate::s3_server::S3Server;
use crate::support::{files_below, scratch};

/// Rows of the folder, by a table that is declared anew.
async fn read(session: &Session, path: &str, sql: &str) -> Vec<String> {
    session
        .sql(&format!(
            "CREATE OR REPLACE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{path}/'"
        ))
        .await
        .unwrap();
    query(session, sql).await
}

async fn committer_holds(session: &Session, path: &str) {
    const ALL: &str = "SELECT count(*), sum(a) FROM t";
    put(session, "SELECT 1 AS a", SaveMode::ErrorIfExists, path)
        .await
        .unwrap();
    assert_eq!(read(session, path, ALL).await, ["1|1"]);
    put(session, "SELECT 2 AS a", SaveMode::Append, path)
        .await
        .unwrap();
    assert_eq!(read(session, path, ALL).await, ["2|3"]);
    put(session, "SELECT 9 AS a", SaveMode::Ignore, path)
        .await
        .unwrap();
    assert_eq!(read(session, path, ALL).await, ["2|3"]);
    let error = put(session, "SELECT 9 AS a", SaveMode::ErrorIfExists, path)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("already exists"), "{error}");
    put(session, "SELECT 5 AS a", SaveMode::Overwrite, path)
        .await
        .unwrap();
    assert_eq!(read(session, path, ALL).await, ["1|5"]);
    // A statement that fails in its tasks leaves the old rows.
    assert!(
        put(
            session,
            "SELECT 1 / (a - 5) AS a FROM t",
            SaveMode::Overwrite,
            path
        )
        .await
        .is_err()
    );
    assert_eq!(read(session, path, ALL).await, ["1|5"]);
    // A table may be overwritten from itself.
    put(
        session,
        "SELECT a + 1 AS a FROM t",
        SaveMode::Overwrite,
        path,
    )
    .await
    .unwrap();
    assert_eq!(read(session, path, ALL).await, ["1|6"]);
}

async fn partitions_hold(session: &Session, path: &str) {
    const BY_K: &str = "SELECT k, count(*), sum(a) FROM t GROUP BY k";
    let write = async |rows: &str, parts: &str, mode: SaveMode| {
        let frame = session
            .sql(&format!("SELECT * FROM (VALUES {rows}) AS v(a, k)"))
            .await
            .unwrap();
        let writer = frame
            .write()
            .mode(mode)
            .partition_by(["k"])
            .option("partitionOverwriteMode", parts);
        writer
            .option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "true")
            .parquet(path)
            .await
            .unwrap();
    };
    write("(1, 'x'), (2, 'y á/ç')", "static", SaveMode::Overwrite).await;
    assert_eq!(read(session, path, BY_K).await, ["x|1|1", "y á/ç|1|2"]);
    write("(3, 'x')", "dynamic", SaveMode::Overwrite).await;
    assert_eq!(read(session, path, BY_K).await, ["x|1|3", "y á/ç|1|2"]);
    write("(4, 'x'), (5, 'z')", "static", SaveMode::Append).await;
    assert_eq!(
        read(session, path, BY_K).await,
        ["x|2|7", "y á/ç|1|2", "z|1|5"]
    );
    write("(6, 'z')", "static", SaveMode::Overwrite).await;
    assert_eq!(read(session, path, BY_K).await, ["z|1|6"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_of_this_machine_hold_what_committers_must() {
    let folder = scratch("lake");
    let session = Session::builder()
        .partitions(4)
        .get_or_create()
        .await
        .unwrap();
    let path = |name: &str| {
        folder
            .path()
            .join("zona são")
            .join(name)
            .display()
            .to_string()
    };
    committer_holds(&session, &path("t")).await;
    partitions_hold(&session, &path("by_k")).await;
    session.stop().await;
    let left = files_below(folder.path());
    let litter: Vec<_> = left
        .iter()
        .filter(|name| !name.contains("part-") && !name.ends_with("_SUCCESS"))
        .collect();
    assert_eq!(litter, Vec::<&String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn object_stores_hold_what_committers_must() {
    let (server, warehouse) = (S3Server::start().await, scratch("lake"));
    let session = session(&server, warehouse.path()).await;
    committer_holds(&session, "s3a://lake/zona são/t").await;
    partitions_hold(&session, "s3://lake/zona são/by_k").await;
    session.stop().await;
    assert_eq!(server.open_uploads(), Vec::<String>::new());
    assert_eq!(
        (
            server.visible("zona são/t").len(),
            server.visible("zona são/by_k").len()
        ),
        (1, 1)
    );
}
