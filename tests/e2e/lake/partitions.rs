//! Partitions of catalog tables: found by value, in the form of Hive, where their readers look.

use std::sync::atomic::Ordering;

use crate::conformance::catalog::Lake;

const OVERWRITE: &str =
    "path: 's3://lake/t', mode: overwrite, partitionBy: [k], catalog: {CATALOG}";

/// The fields of a write by these partition keys.
fn keyed(mode: &str, keys: &str, more: &str) -> String {
    format!("path: 's3://lake/t', mode: {mode}, partitionBy: [{keys}], catalog: {{CATALOG}}{more}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_another_case_finds_its_partitions_and_their_folders() {
    for kind in ["glue", "local"] {
        let lake = Lake::start().await;
        let write = async |sql: &str, write: &str| lake.written(kind, sql, write).await;
        let rows = async || {
            let sql = format!("SELECT uf, n, Nota FROM {kind}.d.t");
            lake.rows(&sql).await
        };
        let upper = "SELECT 1 AS n, 7 AS `Nota`, 'SP' AS `UF`";
        write(upper, &keyed("overwrite", "UF", "")).await;
        let more = "SELECT 2 AS n, 8 AS nota, 'SP' AS uf UNION ALL SELECT 3, 9, 'RJ'";
        write(more, &keyed("append", "uf", "")).await;
        assert_eq!(rows().await, ["RJ|3|9", "SP|1|7", "SP|2|8"], "{kind}");
        write(
            "SELECT 4 AS n, 6 AS nota, 'SP' AS uf",
            &keyed("overwrite", "uf", ", partitionOverwrite: dynamic"),
        )
        .await;
        assert_eq!(rows().await, ["RJ|3|9", "SP|4|6"], "{kind}");
        let visible = lake.server.visible("t");
        assert!(
            visible.iter().all(|path| path.starts_with("UF=")),
            "{visible:?}"
        );
        // Everything is replaced, the spelling too.
        write(
            "SELECT 5 AS n, 5 AS nota, 'SP' AS uf",
            &keyed("overwrite", "uf", ""),
        )
        .await;
        assert_eq!(rows().await, ["SP|5|5"], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_another_case_finds_its_partitions_in_a_local_folder() {
    let lake = Lake::start().await;
    let path = lake.warehouse.path().join("out/t").display().to_string();
    let local = |mode: &str, key: &str| keyed(mode, key, "").replace("s3://lake/t", &path);
    lake.written(
        "local",
        "SELECT 1 AS n, 'SP' AS `UF`",
        &local("overwrite", "UF"),
    )
    .await;
    lake.written("local", "SELECT 2 AS n, 'SP' AS uf", &local("append", "uf"))
        .await;
    let rows = lake.rows("SELECT uf, n FROM local.d.t").await;
    assert_eq!(rows, ["SP|1", "SP|2"]);
}

/// The values are those that Hive and Spark write; Trino 476 refuses `2024-02-29T13:14:15` and
/// `inf`.
#[tokio::test(flavor = "multi_thread")]
async fn timestamps_and_infinite_numbers_are_keys_in_the_form_of_hive() {
    let lake = Lake::start().await;
    let moment = "SELECT 1 AS n, CAST('2024-02-29T13:14:15.123456' AS TIMESTAMP) AS k \
                  UNION ALL SELECT 2, CAST('2024-02-29T13:14:15Z' AS TIMESTAMP)";
    lake.written("glue", moment, OVERWRITE).await;
    lake.written("glue", moment, &keyed("append", "k", ""))
        .await;
    let values = lake.glue.partition_values("d", "t");
    assert_eq!(
        values,
        [["2024-02-29 13:14:15"], ["2024-02-29 13:14:15.123456"]]
    );
    let at =
        "SELECT sum(n), count(*) FROM glue.d.t WHERE k = TIMESTAMP '2024-02-29 13:14:15.123456'";
    assert_eq!(lake.rows(at).await, ["2|2"]);
    let lake = Lake::start().await;
    let numbers =
        "SELECT 1 AS n, CAST('inf' AS DOUBLE) AS k UNION ALL SELECT 2, CAST('-inf' AS DOUBLE)";
    lake.written("glue", numbers, OVERWRITE).await;
    lake.written("glue", numbers, &keyed("append", "k", ""))
        .await;
    assert_eq!(
        lake.glue.partition_values("d", "t"),
        [["-Infinity"], ["Infinity"]]
    );
    let most = "SELECT sum(n), count(*) FROM glue.d.t WHERE k > 1e300";
    assert_eq!(lake.rows(most).await, ["2|2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_partition_projection_is_written_where_its_readers_compute() {
    let lake = Lake::start().await;
    let projected = |more: &str, parameters: &str| {
        OVERWRITE.replace(
            "CATALOG",
            &format!(
                "CATALOG{more}, parameters: {{projection.enabled: 'true', projection.k.type: integer, \
                 projection.k.range: '0,9'{parameters}}}"
            ),
        )
    };
    let rows = |n: u32| format!("SELECT {n} AS n, value AS `K` FROM generate_series(1, 3)");
    let folders = || {
        let files = lake.server.visible("t").into_iter();
        files
            .map(|f| f.rsplit_once('/').unwrap().0.to_owned())
            .collect::<Vec<_>>()
    };
    for n in [1, 2] {
        lake.written("glue", &rows(n), &projected("", "")).await;
        assert_eq!(
            folders(),
            ["k=1", "k=2", "k=3"],
            "in place, and nothing is kept"
        );
        let sum = lake.rows("SELECT sum(n), count(*) FROM glue.d.t").await;
        assert_eq!(sum, [format!("{}|3", 3 * n)]);
    }
    // The table stays projected, whether or not a write repeats the parameters.
    lake.written("glue", &rows(5), OVERWRITE).await;
    lake.written("glue", &rows(7), &keyed("append", "k", ""))
        .await;
    assert_eq!(folders(), ["k=1", "k=1", "k=2", "k=2", "k=3", "k=3"]);
    for (write, advice) in [
        (
            projected(", keepOldSeconds: 60", ""),
            "catalog.keepOldSeconds",
        ),
        (
            projected("", ", storage.location.template: 's3://lake/t/${k}/'"),
            "set it to s3://lake/t/k=${k}/",
        ),
    ] {
        let (success, text) = lake.write("glue", &rows(9), &write).await;
        assert!(!success && text.contains(advice), "{text}");
    }
    assert_eq!(folders().len(), 6);
}

/// With Trino 476, each of these is a table, or a column, that cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn what_readers_of_a_catalog_cannot_read_is_refused_before_anything_is_written() {
    let lake = Lake::start().await;
    lake.written("glue", "SELECT 1 AS n, 'abc' AS k", OVERWRITE)
        .await;
    // Reads are allowed: the commit record says whether an earlier attempt has written this step.
    let writes = lake.server.count_writes();
    let append = keyed("append", "k", "");
    let lz4 = keyed("append", "k", ", compression: lz4");
    let whole = "path: 's3://lake/t2', mode: overwrite, catalog: {CATALOG, table: t2}";
    for (sql, write, advice) in [
        (
            "SELECT 1 AS n, 7 AS k",
            append.as_str(),
            "of another type: k int instead of string",
        ),
        (
            "SELECT 1 AS n, arrow_cast('ab', 'Binary') AS k",
            whole_keyed(),
            "cast it to STRING",
        ),
        (
            "SELECT 1 AS n, make_array(1) AS k",
            whole_keyed(),
            "cast it to STRING",
        ),
        (
            "SELECT 1 AS n, 'abc' AS k",
            lz4.as_str(),
            "set write.compression to snappy",
        ),
        (
            "SELECT named_struct('a b', 1, 'c-d', 2) AS s",
            whole,
            "rename it",
        ),
    ] {
        let (success, text) = lake.write("glue", sql, write).await;
        assert!(!success && text.contains(advice), "{sql}: {text}");
    }
    lake.server.pass_all();
    assert_eq!(writes.load(Ordering::Relaxed), 0);
    assert_eq!(lake.rows("SELECT k, n FROM glue.d.t").await, ["abc|1"]);
}

fn whole_keyed() -> &'static str {
    "path: 's3://lake/t2', mode: overwrite, partitionBy: [k], catalog: {CATALOG, table: t2}"
}
