//! Signs of zeros and of NaN.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::prelude::SessionConfig;

use super::{Expected, Rows, check, upstream};

const SIGNS: &str = "CREATE VIEW z AS SELECT id, x FROM file";

/// Two zeros and two NaN, which differ by their signs.
fn write_signs(folder: &std::path::Path) -> String {
    let x = [
        Some(-0.0),
        Some(0.0),
        Some(f64::NAN),
        Some(-f64::NAN),
        Some(f64::NEG_INFINITY),
        Some(1.5),
        None,
    ];
    let columns: [(&str, ArrayRef); 2] = [
        ("id", Arc::new(Int64Array::from_iter_values(1..8))),
        ("x", Arc::new(Float64Array::from(x.to_vec()))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    // Two files, so that tasks and their exchange see both zeros.
    for (name, first, rows) in [("a", 0, 3), ("b", 3, 4)] {
        let file = std::fs::File::create(folder.join(format!("{name}.parquet"))).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch.slice(first, rows)).unwrap();
        writer.close().unwrap();
    }
    format!(
        "CREATE EXTERNAL TABLE file STORED AS PARQUET LOCATION '{}/'",
        folder.display()
    )
}

/// Keys of groups, joins, sets and windows.
const KEYS: &[(&str, Expected)] = &[
    (
        "SELECT count(*) FROM z GROUP BY x",
        Rows(&["1", "1", "1", "2", "2"]),
    ),
    (
        "SELECT count(*) FROM z GROUP BY ROLLUP (x)",
        Rows(&["1", "1", "1", "2", "2", "7"]),
    ),
    (
        "SELECT count(*) FROM z GROUP BY x + 1",
        Rows(&["1", "1", "1", "2", "2"]),
    ),
    (
        "SELECT count(*) FROM z GROUP BY struct(x)",
        Rows(&["1", "1", "1", "2", "2"]),
    ),
    (
        "SELECT count(*) FROM z GROUP BY array(id % 1, x)",
        Rows(&["1", "1", "1", "2", "2"]),
    ),
    (
        "SELECT count(*) FROM (SELECT DISTINCT x FROM z)",
        Rows(&["5"]),
    ),
    ("SELECT count(DISTINCT x) FROM z", Rows(&["4"])),
    (
        "SELECT count(DISTINCT x), count(DISTINCT id), sum(DISTINCT id % 2) FROM z",
        Rows(&["4|7|1"]),
    ),
    ("SELECT size(collect_set(x)) FROM z", Rows(&["4"])),
    (
        "SELECT p.id, q.id FROM z p JOIN z q ON p.x = q.x WHERE p.id < q.id",
        Rows(&["1|2", "3|4"]),
    ),
    (
        "SELECT count(*) FROM z p JOIN z q ON p.x <=> q.x",
        Rows(&["11"]),
    ),
    (
        "SELECT p.id FROM z p LEFT ANTI JOIN (SELECT x FROM z WHERE id IN (2, 4)) q ON p.x = q.x",
        Rows(&["5", "6", "7"]),
    ),
    ("SELECT count(*) FROM z p JOIN z q USING (x)", Rows(&["10"])),
    (
        "SELECT id FROM z WHERE x IN (SELECT x FROM z WHERE id IN (2, 4))",
        Rows(&["1", "2", "3", "4"]),
    ),
    (
        "SELECT id FROM z WHERE x NOT IN (SELECT x FROM z WHERE id IN (1, 3))",
        Rows(&["5", "6"]),
    ),
    (
        "SELECT x FROM z WHERE id IN (1, 3) EXCEPT SELECT x FROM z WHERE id IN (2, 4)",
        Rows(&[]),
    ),
    (
        "SELECT count(*) FROM (SELECT x FROM z WHERE id IN (1, 3) INTERSECT ALL SELECT x FROM z WHERE id IN (2, 4))",
        Rows(&["2"]),
    ),
    (
        "SELECT count(*) FROM (SELECT x FROM z UNION SELECT x FROM z)",
        Rows(&["5"]),
    ),
    (
        "SELECT id, count(*) OVER (PARTITION BY x) FROM z",
        Rows(&["1|2", "2|2", "3|2", "4|2", "5|1", "6|1", "7|1"]),
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn zeros_of_both_signs_are_one_key_and_so_are_all_nans() {
    let folder = crate::support::scratch("signs");
    let table = write_signs(folder.path());
    for kind in ["DOUBLE", "REAL"] {
        let view = format!("CREATE VIEW z AS SELECT id, CAST(x AS {kind}) AS x FROM file");
        check(&[&table, &view], KEYS).await;
    }
}

/// Conditions, extremes and orders.
const COMPARISONS: &[(&str, Expected)] = &[
    ("SELECT id FROM z WHERE x = 0.0", Rows(&["1", "2"])),
    ("SELECT id FROM z WHERE -0.0 = x", Rows(&["1", "2"])),
    ("SELECT id FROM z WHERE x <> 0", Rows(&["3", "4", "5", "6"])),
    ("SELECT id FROM z WHERE x < 0.0", Rows(&["5"])),
    ("SELECT id FROM z WHERE x <= -0.0", Rows(&["1", "2", "5"])),
    (
        "SELECT id FROM z WHERE x >= 0.0",
        Rows(&["1", "2", "3", "4", "6"]),
    ),
    ("SELECT id FROM z WHERE 1 < x", Rows(&["3", "4", "6"])),
    ("SELECT id FROM z WHERE x < 5", Rows(&["1", "2", "5", "6"])),
    ("SELECT id FROM z WHERE NOT x < 5", Rows(&["3", "4"])),
    ("SELECT id FROM z WHERE x > -1 AND x < 1", Rows(&["1", "2"])),
    (
        "SELECT id FROM z WHERE x BETWEEN 0.0 AND 2",
        Rows(&["1", "2", "6"]),
    ),
    (
        "SELECT id FROM z WHERE x NOT BETWEEN -0.0 AND 2",
        Rows(&["3", "4", "5"]),
    ),
    (
        "SELECT id FROM z WHERE x IN (0.0, 1.5)",
        Rows(&["1", "2", "6"]),
    ),
    (
        "SELECT id FROM z WHERE x NOT IN (-0.0, 1.5)",
        Rows(&["3", "4", "5"]),
    ),
    (
        "SELECT id FROM z WHERE x = CAST('NaN' AS DOUBLE)",
        Rows(&["3", "4"]),
    ),
    (
        "SELECT id FROM z WHERE x IS DISTINCT FROM 0.0",
        Rows(&["3", "4", "5", "6", "7"]),
    ),
    (
        "SELECT id FROM z WHERE CASE x WHEN 0.0 THEN 1 WHEN CAST('NaN' AS DOUBLE) THEN 2 END IS NOT NULL",
        Rows(&["1", "2", "3", "4"]),
    ),
    (
        "SELECT id FROM z WHERE nullif(x, 0.0) IS NULL",
        Rows(&["1", "2", "7"]),
    ),
    (
        "SELECT id FROM z WHERE equal_null(x, 0.0)",
        Rows(&["1", "2"]),
    ),
    (
        "SELECT id FROM z WHERE struct(x) = struct(0.0D)",
        Rows(&["1", "2"]),
    ),
    (
        "SELECT id FROM z WHERE array_contains(array(x), 0.0D)",
        Rows(&["1", "2"]),
    ),
    (
        "SELECT size(array_distinct(array(0.0D, -0.0D, 1D)))",
        Rows(&["2"]),
    ),
    (
        "SELECT 0.0D = -0.0D, -0.0D < 0.0D, 0.0D IN (1D, -0.0D), nullif(0.0D, -0.0D)",
        Rows(&["true|false|true|∅"]),
    ),
    (
        "SELECT CASE -0.0D WHEN 0.0D THEN 1 END, -0.0D BETWEEN 0.0D AND 0.0D, 0.0F <=> -0.0F",
        Rows(&["1|true|true"]),
    ),
    (
        "SELECT id FROM z WHERE isnan(greatest(x, 1))",
        Rows(&["3", "4"]),
    ),
    (
        "SELECT p.id, q.id FROM z p JOIN z q ON p.x < q.x WHERE p.id IN (1, 4) AND q.id IN (2, 4, 6)",
        Rows(&["1|4", "1|6"]),
    ),
    (
        "SELECT id FROM z WHERE x = (SELECT max(x) FROM z)",
        Rows(&["3", "4"]),
    ),
    (
        "SELECT min(x), max(x) FROM z WHERE id IN (4, 6)",
        Rows(&["1.500000000e0|NaN"]),
    ),
    (
        "SELECT id % 2, min(x), max(x) FROM z WHERE id IN (3, 4, 5, 6) GROUP BY 1",
        Rows(&["0|1.500000000e0|NaN", "1|-inf|NaN"]),
    ),
    (
        "SELECT max(x) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM z WHERE id IN (4, 6)",
        Rows(&["NaN", "NaN"]),
    ),
    (
        "SELECT max_by(id, x) FROM z WHERE id IN (4, 6)",
        Rows(&["4"]),
    ),
    // -inf, the zeros, 1.5, the NaN; ties by descending id.
    (
        "SELECT id, row_number() OVER (ORDER BY x, id DESC) FROM z",
        Rows(&["1|4", "2|3", "3|7", "4|6", "5|2", "6|5", "7|1"]),
    ),
    (
        "SELECT id, rank() OVER (ORDER BY x DESC) FROM z",
        Rows(&["1|4", "2|4", "3|1", "4|1", "5|6", "6|3", "7|7"]),
    ),
    (
        "SELECT id, count(*) OVER (ORDER BY x) FROM z",
        Rows(&["1|4", "2|4", "3|7", "4|7", "5|2", "6|5", "7|1"]),
    ),
    (
        "SELECT id FROM (SELECT id FROM z ORDER BY x DESC, id LIMIT 2)",
        Rows(&["3", "4"]),
    ),
    (
        "SELECT id FROM (SELECT id FROM z WHERE id < 3 ORDER BY x, id DESC LIMIT 1)",
        Rows(&["2"]),
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn comparisons_know_one_zero_and_one_nan_which_is_the_largest_number() {
    let folder = crate::support::scratch("signs");
    let table = write_signs(folder.path());
    check(&[&table, SIGNS], COMPARISONS).await;
    let pushdown = "SET datafusion.execution.parquet.pushdown_filters = true";
    check(&[pushdown, &table, SIGNS], COMPARISONS).await;
}

#[tokio::test]
async fn upstream_still_compares_signs_of_zeros() {
    let folder = crate::support::scratch("signs");
    let table = write_signs(folder.path());
    let sql = "SELECT count(*) FROM z GROUP BY x";
    let actual = upstream(SessionConfig::new(), &[&table, SIGNS], sql).await;
    assert_ne!(
        actual,
        Ok(["1", "1", "1", "2", "2"].map(str::to_owned).to_vec())
    );
}
