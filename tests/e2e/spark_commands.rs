//! Commands of Spark's SQL about tables: DESCRIBE, SHOW, ALTER TABLE, and TRUNCATE TABLE of a partition. The rows are those
//! that Spark prints.

use faisca::Session;

use crate::spark_tables::{error, run, warehouse_session};
use crate::support::{files_below, scratch, session_rows, sorted};

async fn session(folder: &std::path::Path) -> Session {
    let session = warehouse_session(folder).await;
    run(
        &session,
        "CREATE TABLE sales (Id INT COMMENT 'the number', price DECIMAL(5, 2), at TIMESTAMP, k STRING, y INT) USING parquet \
         PARTITIONED BY (k, y) COMMENT 'it''s sold' TBLPROPERTIES ('owner' = 'ana', size 3)",
    )
    .await;
    run(
        &session,
        "INSERT INTO sales VALUES (1, 1.5, null, 'a', 2023), (2, 2, null, 'b', 2023), (3, 3, null, 'b', 2024)",
    )
    .await;
    session
}

/// Runs statements, and compares the rows of each.
async fn check(session: &Session, cases: &[(&str, &[&str])]) {
    for (sql, expected) in cases {
        assert_eq!(session_rows(session, sql).await, *expected, "{sql}");
    }
}

/// Runs statements that are refused, each with a part of its error.
async fn check_errors(session: &Session, cases: &[(&str, &str)]) {
    for (sql, expected) in cases {
        let text = error(session, sql).await;
        assert!(text.contains(expected), "{sql}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn describe_shows_columns_partitions_and_what_is_known_of_a_table() {
    let folder = scratch("warehouse");
    let session = session(folder.path()).await;
    let columns = [
        "Id|int|the number",
        "price|decimal(5,2)|∅",
        "at|timestamp|∅",
        "k|string|∅",
        "y|int|∅",
        "# Partition Information||",
        "# col_name|data_type|comment",
        "k|string|∅",
        "y|int|∅",
    ];
    let cases: [(&str, &[&str]); 6] = [
        ("DESCRIBE sales", &columns),
        ("desc table default.sales;", &columns),
        (
            "DESC sales ID",
            &["col_name|Id", "data_type|int", "comment|the number"],
        ),
        (
            "DESCRIBE QUERY SELECT 1 AS a, array('x') AS B",
            &["a|int|∅", "B|array<string>|∅"],
        ),
        ("DESCRIBE SELECT 1L AS a", &["a|bigint|∅"]),
        ("DESCRIBE FUNCTION no_such_scalar_function_is_called", &[]),
    ];
    check(&session, &cases[..5]).await;
    let extended = session_rows(&session, "DESCRIBE EXTENDED sales").await;
    assert_eq!(extended[..columns.len()], columns);
    for line in [
        "# Detailed Table Information||",
        "Type|MANAGED|",
        "Provider|parquet|",
        "Comment|it's sold|",
        "Table Properties|[owner=ana, size=3]|",
    ] {
        assert!(extended.iter().any(|row| row == line), "{extended:?}");
    }
    let function = session_rows(&session, "DESCRIBE FUNCTION EXTENDED abs").await;
    assert_eq!(function[0], "Function: abs");
    check_errors(
        &session,
        &[
            ("DESCRIBE sale", "did you mean `sales`"),
            ("DESCRIBE sales prise", "did you mean `price`"),
            ("DESCRIBE FUNCTION abz", "did you mean"),
            ("DESCRIBE sales PARTITION (k = 'a')", "SHOW PARTITIONS"),
            (cases[5].0, "no function named"),
        ],
    )
    .await;
    session.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn show_lists_partitions_properties_functions_and_definitions() {
    let folder = scratch("warehouse");
    let session = session(folder.path()).await;
    run(&session, "CREATE TEMPORARY VIEW v AS SELECT 1 AS a").await;
    let cases: [(&str, &[&str]); 12] = [
        (
            "SHOW PARTITIONS sales",
            &["k=a/y=2023", "k=b/y=2023", "k=b/y=2024"],
        ),
        (
            "SHOW PARTITIONS sales PARTITION (k = 'b', y = 2024)",
            &["k=b/y=2024"],
        ),
        ("SHOW TBLPROPERTIES sales", &["owner|ana", "size|3"]),
        ("SHOW TBLPROPERTIES sales ('owner')", &["owner|ana"]),
        ("SHOW FUNCTIONS LIKE 'absx*|sqrt'", &["sqrt"]),
        ("SHOW USER FUNCTIONS", &[]),
        ("SHOW TABLES", &["default|sales|false", "|v|true"]),
        ("SHOW VIEWS IN default LIKE 'v*'", &["|v|true"]),
        ("SHOW DATABASES LIKE 'd*'", &["default"]),
        ("SHOW CATALOGS", &["spark_catalog"]),
        ("SHOW CURRENT SCHEMA", &["spark_catalog|default"]),
        (
            "SET spark.sql.caseSensitive",
            &["spark.sql.caseSensitive|false"],
        ),
    ];
    check(&session, &cases).await;
    let definition = session_rows(&session, "SHOW CREATE TABLE sales").await;
    let expected = "CREATE TABLE spark_catalog.default.sales (\n  Id INT COMMENT 'the number',\n  price DECIMAL(5,2),\n  \
                    at TIMESTAMP,\n  k STRING,\n  y INT)\nUSING parquet\nPARTITIONED BY (k, y)\nCOMMENT 'it\\'s \
                    sold'\nTBLPROPERTIES (\n  'owner' = 'ana',\n  'size' = '3')\n";
    assert_eq!(definition, [expected]);
    // The definition creates the table again.
    run(&session, "DROP TABLE sales").await;
    run(&session, expected).await;
    assert_eq!(
        session_rows(&session, "SHOW CREATE TABLE sales").await,
        [expected]
    );
    check_errors(
        &session,
        &[
            ("SHOW PARTITIONS v", "only tables of files"),
            (
                "SHOW PARTITIONS sales PARTITION (z = 1)",
                "is not a partition column",
            ),
            ("SHOW CREATE TABLE v", "it is a view"),
            ("SHOW TABLE EXTENDED LIKE 's*'", "DESCRIBE TABLE EXTENDED"),
        ],
    )
    .await;
    session.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_partition_is_deleted_and_the_others_stay() {
    let folder = scratch("warehouse");
    let session = session(folder.path()).await;
    run(
        &session,
        "TRUNCATE TABLE sales PARTITION (k = 'b', y = 2024)",
    )
    .await;
    let rows = session_rows(&session, "SELECT id, y FROM sales").await;
    assert_eq!(sorted(rows), ["1|2023", "2|2023"]);
    run(
        &session,
        "ALTER TABLE sales DROP IF EXISTS PARTITION (k = 'c')",
    )
    .await;
    run(
        &session,
        "ALTER TABLE sales ADD IF NOT EXISTS PARTITION (k = 'c', y = 1)",
    )
    .await;
    run(
        &session,
        "ALTER TABLE sales DROP PARTITION (k = 'b'), PARTITION (k = 'a') PURGE",
    )
    .await;
    assert!(
        session_rows(&session, "SELECT * FROM sales")
            .await
            .is_empty()
    );
    run(&session, "INSERT INTO sales VALUES (9, 1, null, 'z', 1)").await;
    assert_eq!(
        session_rows(&session, "SELECT id, k, y FROM sales").await,
        ["9|z|1"]
    );
    check_errors(
        &session,
        &[
            (
                "ALTER TABLE sales DROP PARTITION (k = 'x')",
                "PARTITIONS_NOT_FOUND",
            ),
            ("TRUNCATE TABLE sales PARTITION (id = 1)", "those are: k, y"),
            ("TRUNCATE TABLE sales PARTITION k", "list in parentheses"),
            (
                "ALTER TABLE sales ADD PARTITION (k = 'a') LOCATION '/x'",
                "not supported",
            ),
        ],
    )
    .await;
    session.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_get_columns_names_and_properties() {
    let folder = scratch("warehouse");
    let session = session(folder.path()).await;
    for format in ["parquet", "json"] {
        let create = format!("CREATE TABLE t (a INT) USING {format}");
        run(&session, &create).await;
        run(&session, "INSERT INTO t VALUES (1)").await;
        let add = "ALTER TABLE t ADD COLUMNS (B STRING COMMENT 'new', c ARRAY<INT>)";
        run(&session, add).await;
        run(&session, "ALTER TABLE t ADD COLUMN e INT").await;
        let described = session_rows(&session, "DESCRIBE t").await;
        let expected = ["a|int|∅", "B|string|new", "c|array<int>|∅", "e|int|∅"];
        assert_eq!(described, expected, "{format}");
        let rows = session_rows(&session, "SELECT a, b, e FROM t").await;
        assert_eq!(rows, ["1|∅|∅"], "{format}");
        run(&session, "INSERT INTO t VALUES (2, 'x', array(5), 7)").await;
        let rows = session_rows(&session, "SELECT a, b, c[0], e FROM t WHERE a > 1").await;
        assert_eq!(rows, ["2|x|5|7"], "{format}");
        run(&session, "DROP TABLE t").await;
    }
    run(&session, "CREATE TABLE text USING csv AS SELECT 1 AS a").await;
    run(&session, "ALTER TABLE sales ADD COLUMNS (note STRING)").await;
    run(&session, "ALTER TABLE sales RENAME TO sold").await;
    assert!(files_below(&folder.path().join("sales")).is_empty());
    let rows = session_rows(&session, "SELECT * EXCEPT (at) FROM sold WHERE id = 3").await;
    assert_eq!(rows, ["3|3.00|∅|b|2024"]);
    run(&session, "ALTER TABLE sold SET TBLPROPERTIES ('a.b' = 'c')").await;
    run(
        &session,
        "ALTER TABLE sold UNSET TBLPROPERTIES IF EXISTS ('owner', 'x')",
    )
    .await;
    let properties = session_rows(&session, "SHOW TBLPROPERTIES sold").await;
    assert_eq!(properties, ["a.b|c", "size|3"]);
    check_errors(
        &session,
        &[
            (
                "ALTER TABLE text ADD COLUMN b INT",
                "CREATE TABLE … AS SELECT",
            ),
            ("SELECT * FROM sales", "no table named"),
            (
                "ALTER TABLE sold ADD COLUMNS (ID INT)",
                "FIELD_ALREADY_EXISTS",
            ),
            (
                "ALTER TABLE sold DROP COLUMN id",
                "CREATE TABLE … AS SELECT",
            ),
            ("ALTER TABLE sold RENAME TO sold", "already exists"),
            ("DELETE FROM sold WHERE id = 1", "INSERT OVERWRITE"),
            ("UPDATE sold SET id = 2", "INSERT OVERWRITE"),
            (
                "MERGE INTO sold USING sold AS s ON sold.id = s.id WHEN MATCHED THEN DELETE",
                "INSERT OVERWRITE",
            ),
        ],
    )
    .await;
    session.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_one_database() {
    let folder = scratch("warehouse");
    let session = session(folder.path()).await;
    run(&session, "CREATE DATABASE IF NOT EXISTS default").await;
    run(&session, "DROP SCHEMA IF EXISTS other").await;
    run(&session, "MSCK REPAIR TABLE sales").await;
    run(
        &session,
        "ANALYZE TABLE sales COMPUTE STATISTICS FOR ALL COLUMNS",
    )
    .await;
    check_errors(
        &session,
        &[
            ("CREATE DATABASE other", "one database"),
            ("CREATE SCHEMA default", "SCHEMA_ALREADY_EXISTS"),
            ("DROP DATABASE default", "cannot be dropped"),
            ("DROP DATABASE other", "SCHEMA_NOT_FOUND"),
            ("USE other", "is unknown"),
        ],
    )
    .await;
    session.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_have_values_until_they_are_dropped() {
    let folder = scratch("warehouse");
    let session = session(folder.path()).await;
    run(&session, "DECLARE VARIABLE x INT DEFAULT 5").await;
    run(&session, "DECLARE OR REPLACE y = 'text'").await;
    run(&session, "DECLARE n BIGINT").await;
    let cases: [(&str, &[&str]); 5] = [
        (
            "SELECT x, x + 1, session.y, system.session.n",
            &["5|6|text|∅"],
        ),
        ("SELECT typeof(x), typeof(n)", &["int|bigint"]),
        (
            "SELECT id FROM sales WHERE id < x - 2 ORDER BY id",
            &["1", "2"],
        ),
        // A column wins, and a variable can be named in full.
        ("SELECT x, session.x FROM VALUES (7) AS t(x)", &["7|5"]),
        ("SELECT 1 AS x, x", &["1|1"]),
    ];
    check(&session, &cases).await;
    run(&session, "SET VAR x = x + 10, n = x").await;
    check(&session, &[("SELECT x, n", &["15|5"])]).await;
    run(
        &session,
        "SET VARIABLE (x, y) = (SELECT max(id), 'z' FROM sales)",
    )
    .await;
    check(&session, &[("SELECT x, y", &["3|z"])]).await;
    run(&session, "SET VAR (x, y) = (SELECT 1, 'a' WHERE false)").await;
    check(&session, &[("SELECT x, y", &["∅|∅"])]).await;
    run(&session, "SET VAR x = DEFAULT").await;
    check(&session, &[("SELECT x", &["5"])]).await;
    check_errors(
        &session,
        &[
            ("DECLARE x INT", "VARIABLE_ALREADY_EXISTS"),
            ("SET VAR z = 1", "UNRESOLVED_VARIABLE"),
            ("SET VAR x = 1, x = 2", "DUPLICATE_ASSIGNMENTS"),
            ("SET VAR (x) = (SELECT id FROM sales)", "TOO_MANY_ROWS"),
            (
                "SELECT x, (SELECT max(x) FROM VALUES (1) AS t(x))",
                "write session.x",
            ),
        ],
    )
    .await;
    run(&session, "DROP TEMPORARY VARIABLE x").await;
    run(&session, "DROP TEMPORARY VARIABLE IF EXISTS x").await;
    check_errors(
        &session,
        &[
            ("SELECT x", "no column named `x`"),
            ("DROP TEMPORARY VARIABLE x", "UNRESOLVED_VARIABLE"),
        ],
    )
    .await;
    session.stop().await;
}
