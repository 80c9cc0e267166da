//! Tables of files that SQL creates, as Spark does: `CREATE TABLE … USING`, INSERT, TRUNCATE and
//! DROP.

use faisca::Session;

use crate::support::{files_below, scratch, session_rows, sorted};

/// Starts a session whose tables are in `folder`.
pub async fn warehouse_session(folder: &std::path::Path) -> Session {
    Session::builder()
        .partitions(2)
        .config("faisca.warehouse", folder.display().to_string())
        .get_or_create()
        .await
        .unwrap()
}

pub async fn run(session: &Session, sql: &str) {
    session.sql(sql).await.unwrap();
}

pub async fn error(session: &Session, sql: &str) -> String {
    session.sql(sql).await.unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_the_warehouse_is_written_and_goes_with_its_folder() {
    let folder = scratch("warehouse");
    let session = warehouse_session(folder.path()).await;
    for format in ["parquet", "csv", "json"] {
        let create = format!("CREATE TABLE t (A INT, b STRING) USING {format} COMMENT 'numbers'");
        run(&session, &create).await;
        assert!(session_rows(&session, "SELECT * FROM t").await.is_empty());
        run(&session, "INSERT INTO t VALUES (1, 'x'), (2, NULL)").await;
        run(&session, "INSERT INTO TABLE default.t SELECT 3, 'z'").await;
        let rows = session_rows(&session, "SELECT a, b FROM t").await;
        assert_eq!(sorted(rows), ["1|x", "2|∅", "3|z"], "{format}");
        let exists = error(&session, &create).await;
        assert!(exists.contains("already exists"), "{exists}");
        run(&session, "TRUNCATE TABLE t").await;
        assert!(session_rows(&session, "SELECT * FROM t").await.is_empty());
        run(&session, "INSERT INTO t VALUES (4, 'y')").await;
        assert_eq!(session_rows(&session, "SELECT a FROM t").await, ["4"]);
        run(&session, "DROP TABLE t").await;
        assert!(files_below(folder.path()).is_empty());
    }
    session.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_has_partitions_types_and_the_rows_of_a_query() {
    let folder = scratch("warehouse");
    let session = warehouse_session(folder.path()).await;
    run(
        &session,
        "CREATE TABLE p USING parquet PARTITIONED BY (k) AS SELECT 1 AS v, 'a' AS k UNION ALL SELECT 2, 'b'",
    )
    .await;
    let rows = session_rows(&session, "SELECT v FROM p WHERE k = 'b'").await;
    assert_eq!(rows, ["2"]);
    let files = files_below(folder.path());
    assert!(files.iter().any(|f| f.contains("k=a")), "{files:?}");
    run(
        &session,
        "CREATE TABLE n (m MAP<STRING, INT>, l ARRAY<INT>, d DECIMAL(5, 2)) USING parquet",
    )
    .await;
    run(
        &session,
        "INSERT INTO n SELECT map('k', 1), array(1, 2), 1.5",
    )
    .await;
    let rows = session_rows(&session, "SELECT m['k'], l[1], d FROM n").await;
    assert_eq!(rows, ["1|2|1.50"]);
    session.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_location_is_read_and_stays_after_drop() {
    let folder = scratch("warehouse");
    let session = warehouse_session(folder.path()).await;
    let path = folder.path().join("elsewhere");
    run(
        &session,
        &format!(
            "COPY (SELECT 1 AS a) TO '{}' STORED AS PARQUET",
            path.display()
        ),
    )
    .await;
    run(
        &session,
        &format!("CREATE TABLE l USING parquet LOCATION '{}'", path.display()),
    )
    .await;
    assert_eq!(session_rows(&session, "SELECT a FROM l").await, ["1"]);
    let refused = error(&session, "TRUNCATE TABLE l").await;
    assert!(refused.contains("INSERT OVERWRITE"), "{refused}");
    run(&session, "DROP TABLE l").await;
    assert!(!files_below(&path).is_empty());
    for (sql, expected) in [
        (
            "CREATE TABLE elsewhere (a INT) USING parquet",
            "is not empty",
        ),
        ("CREATE TABLE other.t (a INT) USING parquet", "is unknown"),
        ("CREATE TABLE t (a INT) USING orc", "format `orc`"),
        (
            "CREATE TABLE `../t` (a INT) USING csv",
            "cannot be the name",
        ),
    ] {
        let text = error(&session, sql).await;
        assert!(text.contains(expected), "{sql}: {text}");
    }
    session.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_spark_are_obeyed_or_accepted() {
    let folder = scratch("warehouse");
    let session = warehouse_session(folder.path()).await;
    run(&session, "SET spark.sql.shuffle.partitions = 8").await;
    run(&session, "SET spark.sql.optimizer.excludedRules=a.b,c.d").await;
    run(&session, "SET spark.sql.ansi.enabled = false").await;
    run(&session, "SELECT 9223372036854775807 + 1").await;
    run(&session, "SET spark.sql.session.timeZone = Europe/Lisbon").await;
    let fixed = error(&session, "SET spark.sql.warehouse.dir = x").await;
    assert!(fixed.contains("--conf"), "{fixed}");
    session.stop().await;
}
