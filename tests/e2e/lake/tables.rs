//! Tables of a catalog: their columns, their statistics, and the time between a lookup and a read.

use std::sync::atomic::{AtomicBool, Ordering};

use faisca::prelude::*;

use super::session;
use crate::conformance::catalog::Lake;
use crate::s3_server::{Act, S3Server};
use crate::support::{files_below, rows, scratch};

const OVERWRITE: &str = "path: 's3://lake/t', mode: overwrite, catalog: {CATALOG}";
const APPEND: &str = "path: 's3://lake/t', mode: append, catalog: {CATALOG}";

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_older_files_lack_is_null_in_their_rows() {
    for kind in ["glue", "local"] {
        let lake = Lake::start().await;
        let base = "SELECT column1 AS k FROM (VALUES ('a'), ('b')) AS v(column1)";
        lake.written(kind, base, OVERWRITE).await;
        // The new column is required in its own file.
        let counted = "SELECT 'c' AS k, count(*) AS n FROM (VALUES (1), (2)) AS t(x)";
        let adds = APPEND.replace("CATALOG", "CATALOG, onSchemaChange: addColumns");
        lake.written(kind, counted, &adds).await;
        let table = format!("{kind}.d.t");
        let all = lake.rows(&format!("SELECT k, n FROM {table}")).await;
        assert_eq!(all, ["a|NULL", "b|NULL", "c|2"], "{kind}");
        for (filter, count) in [("n IS NULL", "2"), ("n = 2", "1"), ("n IS NOT NULL", "1")] {
            let sql = format!("SELECT count(*) FROM {table} WHERE {filter}");
            assert_eq!(lake.rows(&sql).await, [count], "{kind} {filter}");
        }
        let sql = format!("SELECT count(*) FILTER (WHERE n IS NULL) FROM {table}");
        assert_eq!(lake.rows(&sql).await, ["2"], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_spell_a_column_in_another_case_have_its_values() {
    for kind in ["glue", "local"] {
        let lake = Lake::start().await;
        lake.written(kind, "SELECT 7 AS `Nota`, 1 AS n", OVERWRITE)
            .await;
        lake.written(kind, "SELECT 2 AS n, 8 AS nota", APPEND).await;
        let table = format!("{kind}.d.t");
        let all = lake.rows(&format!("SELECT nota, n FROM {table}")).await;
        assert_eq!(all, ["7|1", "8|2"], "{kind}");
        let sql = format!("SELECT count(*), sum(n) FROM {table} WHERE NOTA >= 8");
        assert_eq!(lake.rows(&sql).await, ["1|2"], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unsigned_numbers_are_stored_signed_in_nested_columns_and_not_registered_by_a_crawl() {
    let lake = Lake::start().await;
    let nested = "SELECT arrow_cast(make_array(4294967295), 'List(UInt32)') AS a, \
                  named_struct('u', arrow_cast(4294967295, 'UInt32')) AS s";
    lake.written("glue", nested, OVERWRITE).await;
    let sql = "SELECT a[0], s['u'], arrow_typeof(a[0]), arrow_typeof(s['u']) FROM glue.d.t";
    assert_eq!(lake.rows(sql).await, ["4294967295|4294967295|Int64|Int64"]);
    let columns = &lake.glue.table("d", "t")["StorageDescriptor"]["Columns"];
    assert_eq!(
        (&columns[0]["Type"], &columns[1]["Type"]),
        (&"array<bigint>".into(), &"struct<u:bigint>".into())
    );
    // Without a catalog, files keep the exact types.
    let landing = lake
        .server
        .root
        .path()
        .join("lake/landing/u")
        .display()
        .to_string();
    let plain = format!("path: '{landing}', mode: overwrite");
    lake.written("glue", nested, &plain).await;
    let arguments = ["crawl", "s3://lake/landing/", "--database", "d", "--apply"];
    let (success, text) = lake.faisca(&arguments).await;
    assert!(!success && text.contains("column `a`"), "{text}");
    assert!(text.contains("write them again with BIGINT"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_of_older_rows_do_not_stay() {
    let lake = Lake::start().await;
    let described = OVERWRITE.replace("CATALOG", "CATALOG, columnStatistics: true");
    let numbers = |from: i64, to: i64| {
        format!("SELECT value AS id, CAST(value AS DOUBLE) AS d FROM generate_series({from}, {to})")
    };
    let total = || lake.glue.table("d", "t")["Parameters"]["numRows"].clone();
    lake.written("glue", &numbers(0, 9), &described).await;
    let statistics = lake.glue.statistics("d", "t");
    for (column, kind) in [
        (0, "LongColumnStatisticsData"),
        (1, "DoubleColumnStatisticsData"),
    ] {
        let data = &statistics[column]["StatisticsData"][kind];
        // The SDK does not send zeros by itself.
        assert_eq!(data["MinimumValue"].as_f64(), Some(0.0), "{data}");
        assert_eq!(data["MaximumValue"].as_f64(), Some(9.0), "{data}");
    }
    assert_eq!(total(), "10");
    lake.written("glue", &numbers(10, 19), APPEND).await;
    assert_eq!(
        (lake.glue.statistics("d", "t").len(), total()),
        (0, serde_json::Value::Null)
    );
    lake.written("glue", &numbers(0, 9), &described).await;
    lake.written("glue", &numbers(100, 3099), OVERWRITE).await;
    assert_eq!(
        (lake.glue.statistics("d", "t").len(), total()),
        (0, "3000".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_files_of_a_table_stay_for_an_hour_of_their_own() {
    let lake = Lake::start().await;
    let keep =
        |seconds: u32| OVERWRITE.replace("CATALOG", &format!("CATALOG, keepOldSeconds: {seconds}"));
    for n in 1..=3 {
        lake.written("local", &format!("SELECT {n} AS n"), OVERWRITE)
            .await;
        assert_eq!(lake.server.visible("t").len(), n, "all files are there");
        assert_eq!(lake.rows("SELECT n FROM local.d.t").await, [n.to_string()]);
    }
    // After its time, the next write removes those that this one replaces. The others have their
    // time.
    lake.written("local", "SELECT 4 AS n", &keep(4)).await;
    assert_eq!(lake.server.visible("t").len(), 4);
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    lake.written("local", "SELECT 5 AS n", APPEND).await;
    assert_eq!(lake.server.visible("t").len(), 4, "one removed, one added");
    lake.written("local", "SELECT 6 AS n", &keep(0)).await;
    assert_eq!(
        lake.server.visible("t").len(),
        1,
        "an overwrite that keeps nothing"
    );
    assert_eq!(lake.rows("SELECT n FROM local.d.t").await, ["6"]);
}

/// The old location is empty when it is listed, which looks like an empty table.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_location_was_emptied_looks_the_table_up_again() {
    for keys in ["", ", partitionBy: [k]"] {
        let lake = Lake::start().await;
        let write = OVERWRITE.replace("CATALOG", "CATALOG, keepOldSeconds: 0") + keys;
        let entry = lake.warehouse.path().join(".catalog/d/t.json");
        lake.written("local", "SELECT 1 AS n, 'x' AS k", &write)
            .await;
        let old = std::fs::read(&entry).unwrap();
        lake.written("local", "SELECT 2 AS n, 'x' AS k", &write)
            .await;
        let new = std::fs::read(&entry).unwrap();
        // The query finds the old entry. The overwrite ends before it lists the location.
        std::fs::write(&entry, old).unwrap();
        let is_switched = AtomicBool::new(false);
        lake.server.on_request(move |_, uri| {
            if uri.contains("list-type=2") && !is_switched.swap(true, Ordering::SeqCst) {
                std::fs::write(&entry, &new).unwrap();
            }
            Act::Pass
        });
        let rows = lake.rows("SELECT n, k FROM local.d.t").await;
        assert_eq!(rows, ["2|x"], "partition keys: {keys:?}");
    }
}

/// Without retention, a reader may fail, but never sees a part of a table, or none of it.
#[tokio::test(flavor = "multi_thread")]
async fn readers_see_whole_tables_while_overwrites_keep_nothing() {
    let (server, warehouse) = (S3Server::start().await, scratch("lake"));
    let session = session(&server, warehouse.path()).await;
    let json = r#"{"type": "local", "database": "d", "table": "t", "createDatabase": true, "keepOldSeconds": 0}"#;
    let catalog: faisca_planner::manifest::CatalogTable = serde_json::from_str(json).unwrap();
    let write = async |n: u64| {
        let sql = format!("SELECT value AS a, {n} AS n FROM generate_series(1, 1000)");
        let frame = session.sql(&sql).await.unwrap();
        let writer = frame
            .write()
            .mode(SaveMode::Overwrite)
            .catalog(catalog.clone());
        writer.parquet("s3://lake/t").await.unwrap();
    };
    write(1).await;
    let is_over = AtomicBool::new(false);
    let writer = async {
        for n in 2..12 {
            write(n).await;
        }
        is_over.store(true, Ordering::SeqCst);
    };
    let reader = async {
        let mut whole = 0;
        while !is_over.load(Ordering::SeqCst) || whole == 0 {
            let read = async {
                let sql = "SELECT count(*), min(n) = max(n) FROM local.d.t";
                session.sql(sql).await?.collect().await
            };
            match read.await {
                Ok(batches) => assert_eq!(rows(&batches), ["1000|true"]),
                // A file that was listed is removed before it is read.
                Err(error) => {
                    let text = error.to_string();
                    assert!(
                        text.contains("no longer exists") || text.contains("NoSuchKey"),
                        "{text}"
                    );
                    continue;
                }
            }
            whole += 1;
        }
    };
    futures::future::join(writer, reader).await;
    session.stop().await;
    assert_eq!(
        files_below(&server.root.path().join("lake/t"))
            .iter()
            .filter(|f| f.ends_with(".parquet"))
            .count(),
        1
    );
}
