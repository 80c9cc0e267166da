//! Whole numbers and sums that do not fit their type.

use datafusion::prelude::SessionConfig;
use faisca::Session;

use super::{Error, Rows, check, outcome, upstream};

const MAX: &str = "CREATE TABLE m AS SELECT 9223372036854775807 AS x, CAST(32767 AS SMALLINT) AS s, 1 AS k \
                   UNION ALL SELECT 9223372036854775807, CAST(1 AS SMALLINT), 2";
const DECIMALS: &str = "CREATE TABLE d AS SELECT CAST('99999999999999999999999999999999999999' AS DECIMAL(38, 0)) AS d, 1 AS k \
                        UNION ALL SELECT CAST('1' AS DECIMAL(38, 0)), 1";

#[tokio::test(flavor = "multi_thread")]
async fn overflow_is_an_error() {
    let error = "overflow";
    check(
        &[MAX, DECIMALS],
        &[
            ("SELECT 9223372036854775807 + 1 AS a", Error(error)),
            (
                "SELECT CAST(32767 AS SMALLINT) + CAST(2 AS SMALLINT) AS b",
                Error(error),
            ),
            ("SELECT 10000000000 * 10000000000 AS c", Error(error)),
            ("SELECT -9223372036854775807 - 2", Error(error)),
            ("SELECT x + 1 FROM m", Error(error)),
            ("SELECT k FROM m WHERE x + k > 0", Error(error)),
            ("SELECT x * 2 FROM m", Error(error)),
            ("SELECT s + s FROM m", Error(error)),
            ("SELECT -(-x - 1) FROM m", Error(error)),
            ("SELECT sum(x) FROM m", Error(error)),
            ("SELECT k % 1 AS g, sum(x) FROM m GROUP BY g", Error(error)),
            ("SELECT sum(x) OVER (ORDER BY k) FROM m", Error(error)),
            ("SELECT sum(DISTINCT x - k) FROM m", Error(error)),
            ("SELECT sum(d) FROM d", Error(error)),
            ("SELECT k, sum(d) FROM d GROUP BY k", Error(error)),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_is_as_ever() {
    check(
        &[MAX, DECIMALS],
        &[
            ("SELECT x - 1, s - s, -k FROM m WHERE k = 1", Rows(&["9223372036854775806|0|-1"])),
            ("SELECT sum(k), sum(s), sum(x - 9223372036854775800) FROM m", Rows(&["3|32768|14"])),
            ("SELECT k, sum(x) FROM m GROUP BY k", Rows(&["1|9223372036854775807", "2|9223372036854775807"])),
            (
                "SELECT k, sum(x) OVER (ORDER BY k ROWS BETWEEN CURRENT ROW AND CURRENT ROW) FROM m",
                Rows(&["1|9223372036854775807", "2|9223372036854775807"]),
            ),
            ("SELECT sum(x) FROM m WHERE k > 5", Rows(&["∅"])),
            ("SELECT sum(DISTINCT x) FROM m", Rows(&["9223372036854775807"])),
            ("SELECT sum(1.5 * k), sum(CAST(k AS DOUBLE)) FROM m", Rows(&["4.5|3.000000000e0"])),
            ("SELECT k + 1 FROM m GROUP BY k + 1 HAVING sum(k) > 1", Rows(&["3"])),
            ("SELECT 2 * 3 + 1 - 4", Rows(&["3"])),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_ansi_numbers_wrap_around() {
    let session = Session::builder()
        .config("spark.sql.ansi.enabled", "false")
        .get_or_create()
        .await
        .unwrap();
    let sql = "SELECT 9223372036854775807 + 1";
    assert_eq!(
        outcome(&session, sql).await,
        Ok(vec!["-9223372036854775808".to_owned()])
    );
    session
        .sql("SET spark.sql.ansi.enabled = true")
        .await
        .unwrap();
    assert!(
        outcome(&session, sql)
            .await
            .unwrap_err()
            .contains("overflow")
    );
    session.stop().await;
}

#[tokio::test]
async fn upstream_still_wraps_around() {
    let wraps = async |sql: &str| upstream(SessionConfig::new(), &[MAX], sql).await.is_ok();
    assert!(wraps("SELECT x + 1 FROM m").await);
    assert!(wraps("SELECT sum(x) FROM m").await);
}
