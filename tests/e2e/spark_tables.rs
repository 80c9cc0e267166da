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

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_inserted_into_partitions_and_by_name() {
    let folder = scratch("warehouse");
    let session = warehouse_session(folder.path()).await;
    run(
        &session,
        "CREATE TABLE p (v INT, w STRING, k STRING, j INT) USING parquet PARTITIONED BY (k, j)",
    )
    .await;
    for insert in [
        "INSERT INTO p PARTITION (k = 'z', j) SELECT 1, 'a', 10",
        "INSERT INTO p PARTITION (k = 'y', j = -3) VALUES (2, 'b'), (3, NULL)",
        "INSERT INTO p PARTITION (k, j) SELECT 4, 'c', 'z', 10",
        "INSERT INTO p PARTITION (k = 'x', j) (j, v) SELECT 7, 5",
        "INSERT INTO p BY NAME SELECT 1 AS J, 'w' AS k, 6 AS v",
        "FROM VALUES (8) AS s(n) INSERT INTO p PARTITION (k = 'v', j = 0) BY NAME SELECT n AS v",
    ] {
        run(&session, insert).await;
    }
    let all = "SELECT * FROM p ORDER BY v";
    let mut expected = vec![
        "1|a|z|10",
        "2|b|y|-3",
        "3|∅|y|-3",
        "4|c|z|10",
        "5|∅|x|7",
        "6|∅|w|1",
        "8|∅|v|0",
    ];
    assert_eq!(session_rows(&session, all).await, expected);
    run(
        &session,
        "INSERT OVERWRITE p PARTITION (k = 'z', j = 10) SELECT 1, 'new'",
    )
    .await;
    expected[0] = "1|new|z|10";
    expected.remove(3);
    assert_eq!(session_rows(&session, all).await, expected);
    let none = "INSERT OVERWRITE TABLE p PARTITION (k = 'y', j = -3) SELECT 1, 'x' WHERE false";
    run(&session, none).await;
    let count = "SELECT count(*) FROM p WHERE k = 'y'";
    assert_eq!(session_rows(&session, count).await, ["0"]);
    for (sql, part) in [
        (
            "INSERT INTO p PARTITION (v = 1) SELECT 1, 'a', 2",
            "not a partition column",
        ),
        (
            "INSERT INTO p PARTITION (k = 'a', j) SELECT 1, 2",
            "3: v, w, j",
        ),
        (
            "INSERT INTO p BY NAME SELECT 1 AS v, 2 AS other",
            "no column `other`",
        ),
        (
            "INSERT INTO p PARTITION (k = 'a') BY NAME SELECT 1 AS v, 'b' AS k",
            "no column `k`",
        ),
        (
            "INSERT OVERWRITE p PARTITION (k = 'a', j) SELECT 1, 'a', 2",
            "a value for each",
        ),
    ] {
        let refused = error(&session, sql).await;
        assert!(refused.contains(part), "{sql}: {refused}");
    }
    session.stop().await;
}

/// Spark refuses these when it plans them (`spark.sql.storeAssignmentPolicy=ANSI`).
#[tokio::test(flavor = "multi_thread")]
async fn a_column_keeps_its_type_whatever_is_inserted() {
    let folder = scratch("warehouse");
    let session = warehouse_session(folder.path()).await;
    let path = folder.path().join("c");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("a.csv"), "n,s\n1,x\n").unwrap();
    let create = format!(
        "CREATE TABLE c USING csv OPTIONS (header 'true') LOCATION '{}'",
        path.display()
    );
    run(&session, &create).await;
    for insert in [
        "INSERT INTO c SELECT '7', 'y'",
        "INSERT INTO c SELECT true, 'y'",
    ] {
        let refused = error(&session, insert).await;
        assert!(refused.contains("the column `n` is BIGINT"), "{refused}");
    }
    let types = "SELECT DISTINCT typeof(n), typeof(s) FROM c";
    run(&session, "INSERT OVERWRITE c SELECT 2, 3").await;
    assert_eq!(session_rows(&session, types).await, ["bigint|string"]);
    run(&session, "INSERT INTO c SELECT CAST('4' AS INT), 5.5").await;
    assert_eq!(session_rows(&session, types).await, ["bigint|string"]);
    let rows = session_rows(&session, "SELECT * FROM c ORDER BY n").await;
    assert_eq!(rows, ["2|3", "4|5.5"]);
    session.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_csv_files_without_a_header_have_the_names_of_spark() {
    let folder = scratch("warehouse");
    let session = warehouse_session(folder.path()).await;
    let path = folder.path().join("h");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("a.csv"), "1,x\n2,y\n").unwrap();
    for (table, columns) in [("h", ""), ("d", "(a INT, b STRING)")] {
        let create = format!(
            "CREATE TABLE {table} {columns} USING csv OPTIONS (header 'false') LOCATION '{}'",
            path.display()
        );
        run(&session, &create).await;
    }
    let rows = session_rows(&session, "SELECT _c1, _c0 + 1 FROM h ORDER BY 1").await;
    assert_eq!(rows, ["x|2", "y|3"]);
    let rows = session_rows(&session, "SELECT b, a + 1 FROM d ORDER BY 1").await;
    assert_eq!(rows, ["x|2", "y|3"]);
    session.stop().await;
}
