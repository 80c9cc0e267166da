//! Outputs: visible once and whole, or not at all.

use faisca::prelude::*;

use crate::support::{
    LAYOUTS, Layout, command, files_below, oracle_over, register_folders, rows, scratch, session,
    session_rows, sorted, tpch_data,
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
            .sql("INSERT INTO w SELECT value, 'z' FROM range(10, 13) AS r(value)")
            .await
            .unwrap();
        let count = "SELECT count(*), sum(a) FROM w";
        assert_eq!(session_rows(&session, count).await, ["5|36"]);
        session
            .sql("INSERT OVERWRITE w SELECT a + 1, b FROM w")
            .await
            .unwrap();
        assert_eq!(session_rows(&session, count).await, ["5|41"]);
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
            error
                .to_string()
                .to_lowercase()
                .contains("division by zero"),
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
    let copied = session_rows(&session, sql).await;
    register_folders_again(&session).await;
    assert_eq!(
        copied,
        session_rows(&session, &sql.replace("orders", "original")).await
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

/// A year of days, Brazil's municipalities: every task meets every value.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_partitions_get_a_file_for_each_task_and_not_for_a_few_rows() {
    const VALUES: usize = 5_000;
    let folder = scratch("writes");
    let out = folder.path().join("out");
    let tasks = 2;
    let session = session(Layout::Embedded, tasks).await;
    let sql = format!(
        "SELECT value % {VALUES} AS k, value AS v, 'some text' AS s FROM range(0, 300000) AS r(value)"
    );
    let frame = session.sql(&sql).await.unwrap();
    let summary = frame
        .write()
        .partition_by(["k"])
        .parquet(out.to_str().unwrap())
        .await
        .unwrap();
    assert!(
        (VALUES..=tasks * VALUES).contains(&summary.files),
        "{} files",
        summary.files
    );
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), VALUES);
    register_folders(&session, folder.path(), &["out"]).await;
    let sql = "SELECT count(*), sum(v), count(distinct k), max(s) FROM out";
    let read = session.sql(sql).await.unwrap().collect().await.unwrap();
    assert_eq!(rows(&read), ["300000|44999850000|5000|some text"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_table_keeps_the_order_of_its_columns() {
    for layout in [Layout::Embedded, Layout::Processes(2)] {
        let folder = scratch("writes");
        let session = session(layout, 2).await;
        let create = format!(
            "CREATE EXTERNAL TABLE t (k STRING, a STRING) STORED AS PARQUET PARTITIONED BY (k) LOCATION '{}/t/'",
            folder.path().display()
        );
        let statements = [
            create.as_str(),
            "INSERT INTO t VALUES ('key1', 'val1')",
            "INSERT INTO t VALUES ('key2', 'val2')",
            "INSERT INTO t (a, k) VALUES ('val3', 'key3')",
        ];
        for statement in statements {
            session.sql(statement).await.unwrap();
        }
        let read = session.sql("SELECT * FROM t").await.unwrap();
        let schema = read.schema();
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names, ["k", "a"]);
        assert_eq!(
            sorted(rows(&read.collect().await.unwrap())),
            ["key1|val1", "key2|val2", "key3|val3"]
        );
        let again = create.replace("TABLE t", "TABLE u");
        session.sql(&again).await.unwrap();
        let read = session.sql("SELECT * FROM u WHERE k = 'key2'").await;
        let read = read.unwrap().collect().await.unwrap();
        assert_eq!(rows(&read), ["key2|val2"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_inserted_into_a_csv_table_has_its_options() {
    for (text, options) in [
        (&b"a;b\n1;x\n2;y\n"[..], "delimiter ';', header 'true'"),
        (b"1,x\n2,y\n", "header 'false'"),
        (b"a|b\n1|x\n2|'y'\n", "delimiter '|', quote ''''"),
        (
            b"a,b\n1,x\n2,y\n",
            "encoding 'latin1', nullValue 'NA', comment '#'",
        ),
    ] {
        let folder = scratch("writes");
        let path = folder.path().join("t");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("a.csv"), text).unwrap();
        let create = format!(
            "CREATE OR REPLACE EXTERNAL TABLE t (a INT, b STRING) STORED AS CSV LOCATION '{}/' OPTIONS ({options})",
            path.display()
        );
        let session = session(Layout::Embedded, 2).await;
        session.sql(&create).await.unwrap();
        let values = "(3, '#São, \"w\"|;'), (4, NULL), (5, '')";
        for statement in [format!("INSERT INTO t VALUES {values}"), create] {
            session.sql(&statement).await.unwrap();
            let read = session.sql("SELECT a, b FROM t ORDER BY a").await.unwrap();
            let read = rows(&read.collect().await.unwrap());
            let expected = ["1|x", "2|y", "3|#São, \"w\"|;", "4|∅", "5|"];
            match statement.starts_with("INSERT") {
                true => assert_eq!(read, expected, "{options}"),
                // As another session reads it.
                false => assert_eq!(read, expected, "{options}, opened again"),
            }
        }
        let broken = session.sql("INSERT INTO t VALUES (6, 'a\nb')").await;
        let broken = broken.err().unwrap().to_string();
        assert!(
            broken.contains("column b") && broken.contains("multiLine"),
            "{broken}"
        );
        assert_eq!(session.table("t").await.unwrap().count().await.unwrap(), 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_would_make_a_folder_unreadable_are_not_appended() {
    let folder = scratch("writes");
    let session = session(Layout::Embedded, 2).await;
    let at = |name: &str| folder.path().join(name).display().to_string();
    let copy = async |sql: &str, path: &str, format: &str, more: &str| {
        let sql = format!("COPY ({sql}) TO '{path}' STORED AS {format} {more}");
        session.sql(&sql).await.map(drop).map_err(|e| e.to_string())
    };
    let append = "OPTIONS (mode 'append')";
    for (format, first, second, parts) in [
        (
            "PARQUET",
            "SELECT 1 AS a",
            "SELECT 'x' AS a",
            ["`a`", "INT", "STRING"],
        ),
        (
            "JSON",
            "SELECT 1 AS a",
            "SELECT 'x' AS a",
            ["`a`", "BIGINT", "STRING"],
        ),
        (
            "CSV",
            "SELECT 1 AS a",
            "SELECT 1 AS b",
            ["`b`", "column", "overwrite"],
        ),
    ] {
        let path = at(format);
        copy(first, &path, format, "").await.unwrap();
        let before = files_below(folder.path());
        let error = copy(second, &path, format, append).await.unwrap_err();
        for part in parts {
            assert!(error.contains(part), "no `{part}` in {error}");
        }
        let keyed = format!("PARTITIONED BY (k) {append}");
        let error = copy("SELECT 2 AS a, 'y' AS k", &path, format, &keyed).await;
        assert!(error.unwrap_err().contains("partition"));
        let other = if format == "CSV" { "PARQUET" } else { "CSV" };
        let error = copy(first, &path, other, append).await.unwrap_err();
        assert!(error.contains("format"), "{error}");
        assert_eq!(files_below(folder.path()), before);
        copy(first, &path, format, append).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_without_rows_has_columns_for_the_next_reader() {
    for layout in [Layout::Embedded, Layout::Processes(2)] {
        let folder = scratch("writes");
        let session = session(layout, 3).await;
        for format in ["PARQUET", "CSV"] {
            for (keys, compression) in [("", "none"), ("PARTITIONED BY (b)", "gzip")] {
                let path = folder.path().join(format!("{format}-{compression}"));
                let copy = format!(
                    "COPY (SELECT 1 AS a, 'x' AS b, 2 AS c WHERE false) TO '{}' STORED AS {format} {keys} OPTIONS (compression '{compression}')",
                    path.display()
                );
                session.sql(&copy).await.unwrap();
                let create = format!(
                    "CREATE OR REPLACE EXTERNAL TABLE t STORED AS {format} LOCATION '{}/'",
                    path.display()
                );
                session.sql(&create).await.unwrap();
                let read = session.sql("SELECT a, b, c FROM t").await.unwrap();
                assert_eq!(read.count().await.unwrap(), 0);
            }
        }
        // An empty file of ndjson states no columns, but the table that was inserted into has some.
        for format in ["JSON", "CSV", "PARQUET"] {
            let path = folder.path().join(format!("inserted-{format}"));
            let create = format!(
                "CREATE OR REPLACE EXTERNAL TABLE t (a INT, b STRING) STORED AS {format} PARTITIONED BY (b) LOCATION '{}/'",
                path.display()
            );
            for statement in [&create, "INSERT INTO t SELECT 1, 'x' WHERE false"] {
                session.sql(statement).await.unwrap();
            }
            let read = session.sql("SELECT sum(a), count(b) FROM t").await.unwrap();
            assert_eq!(rows(&read.collect().await.unwrap()), ["∅|0"]);
        }
        // A partition without rows must not be beside those that have some.
        let path = folder.path().join("some");
        let copy = format!(
            "COPY (SELECT value AS a, value % 2 AS k FROM range(0, 10) AS r(value) WHERE value > 8) TO '{}' STORED AS PARQUET PARTITIONED BY (k)",
            path.display()
        );
        session.sql(&copy).await.unwrap();
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
    }
}

/// Text has no types, so what is inferred would depend on the values.
#[tokio::test(flavor = "multi_thread")]
async fn steps_read_what_steps_before_them_wrote_with_its_types_and_order() {
    for format in ["parquet", "csv", "ndjson"] {
        for (keys, compression) in [("", "none"), ("k, ", "gzip")] {
            let folder = scratch("writes");
            let at = folder.path().display();
            let write = format!(
                "{{path: '{at}/p', mode: overwrite, format: {format}, compression: {compression}, partitionBy: [{keys}]}}"
            );
            let first = "select 'x' as k, '007' as code, cast(1.50 as decimal(9,2)) as price, cast(null as date) as day";
            let job = format!(
                "apiVersion: faisca.dev/v1alpha1\nkind: SparkApplication\nmetadata: {{name: typed}}\nspec:\n  steps:\n    \
                 - {{name: p, sql: \"{first} where $FILTER\", write: {write}}}\n    \
                 - name: o\n      sql: \"select concat(code, '!') as code, sum(price) as price, max(day) as day, count(*) as n from p group by code\"\n      \
                 write: {{path: '{at}/o', mode: overwrite}}\n    \
                 - {{name: q, sql: \"select * from p\", write: {{path: '{at}/q', mode: overwrite}}}}\n"
            );
            for (filter, expected) in [("true", &["007!|1.50|∅|1"][..]), ("false", &[])] {
                let path = folder.path().join("job.yaml");
                std::fs::write(&path, job.replace("$FILTER", filter)).unwrap();
                let run = command().arg("run").arg(&path).output().unwrap();
                let errors = String::from_utf8_lossy(&run.stderr).into_owned();
                assert!(run.status.success(), "{format} {keys}: {errors}");
                assert_eq!(
                    read_by_datafusion(folder.path(), "o").await,
                    expected,
                    "{format} {keys}"
                );
                let all = read_by_datafusion(folder.path(), "q").await;
                let kept = if filter == "true" {
                    &["x|007|1.50|∅"][..]
                } else {
                    &[]
                };
                assert_eq!(all, kept, "{format} {keys}");
            }
        }
    }
}

/// Reads a folder by DataFusion alone.
async fn read_by_datafusion(folder: &std::path::Path, table: &str) -> Vec<String> {
    let context = oracle_over(folder, &[table]).await;
    let frame = context
        .sql(&format!("SELECT * FROM {table}"))
        .await
        .unwrap();
    rows(&frame.collect().await.unwrap())
}
