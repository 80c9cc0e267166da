//! What is written is read back as it was: every type in every format, with and without partitions,
//! from one process and from several; by us, by PyArrow and by DuckDB.
//!
//! ```text
//!   type × format × partitioned × layout ─► write ─┬► refused with a sentence, where the format lacks the type
//!                                                  ├► read by us: the same rows and types
//!                                                  └► read by PyArrow and DuckDB: the values of this table
//! ```

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use faisca::Session;
use serde_json::{Value, json};

use crate::support::{Layout, python_with, rows, scratch, session, sorted};

/// A type, with two values and what other readers make of them.
struct Kind {
    /// As SQL and `readers.py` name it.
    name: &'static str,
    /// Two values in SQL.
    sql: [&'static str; 2],
    /// As the readers return them.
    read: [&'static str; 2],
    /// Formats that do not have it.
    lacking: &'static [&'static str],
}

const fn kind(name: &'static str, sql: [&'static str; 2], read: [&'static str; 2]) -> Kind {
    Kind {
        name,
        sql,
        read,
        lacking: &[],
    }
}

/// A type that is not in these formats.
const fn lacking(
    lacking: &'static [&'static str],
    name: &'static str,
    sql: [&'static str; 2],
    read: [&'static str; 2],
) -> Kind {
    Kind {
        name,
        sql,
        read,
        lacking,
    }
}

const KINDS: [Kind; 28] = [
    kind("boolean", ["true", "false"], ["true", "false"]),
    kind(
        "tinyint",
        ["arrow_cast(-128, 'Int8')", "arrow_cast(127, 'Int8')"],
        ["-128", "127"],
    ),
    kind(
        "smallint",
        ["arrow_cast(-32768, 'Int16')", "arrow_cast(7, 'Int16')"],
        ["-32768", "7"],
    ),
    kind(
        "int",
        ["cast(-2147483648 as int)", "cast(7 as int)"],
        ["-2147483648", "7"],
    ),
    kind(
        "bigint",
        ["-9007199254740993", "9007199254740993"],
        ["-9007199254740993", "9007199254740993"],
    ),
    kind(
        "utinyint",
        ["arrow_cast(0, 'UInt8')", "arrow_cast(255, 'UInt8')"],
        ["0", "255"],
    ),
    kind(
        "usmallint",
        ["arrow_cast(0, 'UInt16')", "arrow_cast(65535, 'UInt16')"],
        ["0", "65535"],
    ),
    kind(
        "uint",
        [
            "arrow_cast(0, 'UInt32')",
            "arrow_cast(4294967295, 'UInt32')",
        ],
        ["0", "4294967295"],
    ),
    kind(
        "ubigint",
        [
            "arrow_cast(0, 'UInt64')",
            "arrow_cast('18446744073709551615', 'UInt64')",
        ],
        ["0", "18446744073709551615"],
    ),
    kind(
        "float",
        ["cast(1.5 as real)", "cast(-0.25 as real)"],
        ["1.5", "-0.25"],
    ),
    kind(
        "double",
        ["cast(1e300 as double)", "cast(-0.1 as double)"],
        ["1e+300", "-0.1"],
    ),
    kind(
        "decimal(9,2)",
        [
            "cast(1234567.89 as decimal(9,2))",
            "cast(-0.01 as decimal(9,2))",
        ],
        ["1234567.89", "-0.01"],
    ),
    kind(
        "decimal(38,10)",
        [
            "cast('9007199254740993.0000000001' as decimal(38,10))",
            "cast('-1' as decimal(38,10))",
        ],
        ["9007199254740993.0000000001", "-1.0000000000"],
    ),
    kind(
        "string",
        ["''", "'007, \"ção\";| NULL'"],
        ["", "007, \"ção\";| NULL"],
    ),
    lacking(
        &["csv", "ndjson"],
        "binary",
        ["arrow_cast('a', 'Binary')", "x'00ff'"],
        ["61", "00ff"],
    ),
    kind(
        "date",
        ["date '1582-10-15'", "date '9999-12-31'"],
        ["1582-10-15", "9999-12-31"],
    ),
    kind(
        "timestamp(0)",
        [
            "arrow_cast('1500-01-01T00:00:01', 'Timestamp(Second, None)')",
            "arrow_cast('9999-12-31T23:59:59', 'Timestamp(Second, None)')",
        ],
        ["1500-01-01 00:00:01.000000", "9999-12-31 23:59:59.000000"],
    ),
    kind(
        "timestamp(3)",
        [
            "arrow_cast('1500-01-01T00:00:01.001', 'Timestamp(Millisecond, None)')",
            "arrow_cast('9999-12-31T23:59:59.999', 'Timestamp(Millisecond, None)')",
        ],
        ["1500-01-01 00:00:01.001000", "9999-12-31 23:59:59.999000"],
    ),
    kind(
        "timestamp(6)",
        [
            "arrow_cast('1500-01-01T00:00:01.000001', 'Timestamp(Microsecond, None)')",
            "arrow_cast('9999-12-31T23:59:59.999999', 'Timestamp(Microsecond, None)')",
        ],
        ["1500-01-01 00:00:01.000001", "9999-12-31 23:59:59.999999"],
    ),
    kind(
        "timestamp(9)",
        [
            "arrow_cast('1700-01-01T00:00:01.000001', 'Timestamp(Nanosecond, None)')",
            "arrow_cast('2200-12-31T23:59:59.999999', 'Timestamp(Nanosecond, None)')",
        ],
        ["1700-01-01 00:00:01.000001", "2200-12-31 23:59:59.999999"],
    ),
    kind(
        "timestamp(6) with time zone",
        [
            "arrow_cast('1500-01-01T00:00:01.000001', 'Timestamp(Microsecond, Some(\"UTC\"))')",
            "arrow_cast('2024-06-01T12:00:00', 'Timestamp(Microsecond, Some(\"UTC\"))')",
        ],
        ["1500-01-01 00:00:01.000001", "2024-06-01 12:00:00.000000"],
    ),
    kind(
        "time",
        [
            "arrow_cast('10:20:30.000001', 'Time64(Microsecond)')",
            "arrow_cast('23:59:59', 'Time64(Microsecond)')",
        ],
        ["10:20:30.000001", "23:59:59.000000"],
    ),
    lacking(
        &["csv"],
        "list",
        [
            "arrow_cast(make_array(1, NULL), 'List(Int32)')",
            "arrow_cast(make_array(2), 'List(Int32)')",
        ],
        ["[1,None]", "[2]"],
    ),
    lacking(
        &["csv"],
        "struct",
        [
            "named_struct('a', cast(1 as int), 'b', 'x,y')",
            "named_struct('a', cast(NULL as int), 'b', '')",
        ],
        ["{a:1,b:x,y}", "{a:None,b:}"],
    ),
    lacking(
        &["csv"],
        "map",
        [
            "map_from_arrays(['k'], [cast(1 as int)])",
            "map_from_arrays(['l', 'm'], [cast(2 as int), cast(3 as int)])",
        ],
        ["{k:1}", "{l:2,m:3}"],
    ),
    lacking(
        &["csv"],
        "list of structs",
        [
            "make_array(named_struct('t', arrow_cast('2024-01-01T00:00:00.5', 'Timestamp(Nanosecond, None)')))",
            "make_array(named_struct('t', arrow_cast(NULL, 'Timestamp(Nanosecond, None)')))",
        ],
        ["[{t:2024-01-01 00:00:00.500000}]", "[{t:None}]"],
    ),
    lacking(
        &["parquet", "csv", "ndjson"],
        "interval",
        ["interval '1 month'", "interval '2 days'"],
        ["", ""],
    ),
    lacking(
        &["csv", "ndjson"],
        "map of numbers",
        [
            "map_from_arrays([1L], ['x'])",
            "map_from_arrays([2L], ['y'])",
        ],
        ["{1:x}", "{2:y}"],
    ),
];

const FORMATS: [&str; 3] = ["parquet", "csv", "ndjson"];
const LAYOUTS: [Layout; 2] = [Layout::Embedded, Layout::Processes(2)];
const CELLS: usize = KINDS.len() * FORMATS.len() * 2 * LAYOUTS.len();

/// Combinations that a reader other than ours does not read, though the files are right.
fn is_unread(reader: &str, format: &str, kind: &str) -> bool {
    match (reader, format) {
        // PyArrow's JSON reader has no such conversions.
        ("PyArrow", "ndjson") => matches!(kind, "date" | "time" | "map"),
        _ => false,
    }
}

struct Written {
    kind: &'static Kind,
    cell: Value,
    label: String,
}

/// Writes one cell and reads it back. `None` if the format refuses the type.
async fn write(
    session: &Session,
    folder: &Path,
    kind: &'static Kind,
    format: &'static str,
    is_partitioned: bool,
) -> Result<Option<Value>, String> {
    let path = folder.join(format!(
        "{} {format} {is_partitioned}",
        kind.name.replace(' ', "_")
    ));
    let path = path.to_str().unwrap();
    let sql = format!(
        "SELECT cast(id AS INT) AS id, v{} FROM (VALUES (1, {}, 'São Paulo'), (2, {}, 'a'), (3, NULL, 'x y')) t(id, v, k)",
        if is_partitioned { ", k" } else { "" },
        kind.sql[0],
        kind.sql[1],
    );
    let frame = session.sql(&sql).await.unwrap();
    let expected = sorted(rows(&frame.clone().collect().await.unwrap()));
    let writer = frame.write();
    let writer = match is_partitioned {
        true => writer.partition_by(["k"]),
        false => writer,
    };
    let written = match format {
        "parquet" => writer.parquet(path).await,
        "csv" => writer.csv(path).await,
        _ => writer.json(path).await,
    };
    if kind.lacking.contains(&format) {
        let error = written.err().unwrap().to_string();
        assert!(
            error.contains("column `v`") && error.contains(" has no "),
            "{error}"
        );
        assert!(!Path::new(path).exists());
        return Ok(None);
    }
    written.map_err(|e| e.to_string())?;
    // SQL has no name for the type of a map, and without it an object is a struct.
    if (kind.name, format) != ("map", "ndjson") {
        let actual = read(session, path, kind, format, is_partitioned).await?;
        if actual != expected {
            return Err(format!("{actual:?} instead of {expected:?}"));
        }
    }
    Ok(Some(
        json!({"path": path, "format": format, "type": kind.name, "is_partitioned": is_partitioned}),
    ))
}

/// Reads by us. Files of text are read with their types.
async fn read(
    session: &Session,
    path: &str,
    kind: &Kind,
    format: &str,
    is_partitioned: bool,
) -> Result<Vec<String>, String> {
    let key = if is_partitioned { ", k STRING" } else { "" };
    let sql_type = match kind.name {
        "utinyint" => "TINYINT UNSIGNED",
        "usmallint" => "SMALLINT UNSIGNED",
        "uint" => "INT UNSIGNED",
        "ubigint" => "BIGINT UNSIGNED",
        "timestamp(0)" => "TIMESTAMP_NTZ(0)",
        "timestamp(3)" => "TIMESTAMP_NTZ(3)",
        "timestamp(6)" => "TIMESTAMP_NTZ(6)",
        "timestamp(9)" => "TIMESTAMP_NTZ(9)",
        "list" | "struct" | "list of structs" => return inferred(session, path, format).await,
        name => name,
    };
    let columns = match format {
        "parquet" => String::new(),
        _ => format!("(id INT, v {sql_type}{key})"),
    };
    let create = format!(
        "CREATE OR REPLACE EXTERNAL TABLE t {columns} STORED AS {format} {} LOCATION '{path}/'",
        if is_partitioned && !columns.is_empty() {
            "PARTITIONED BY (k)"
        } else {
            ""
        },
    );
    let failed = |e: faisca::Error| format!("{create}: {e}");
    session.sql(&create).await.map_err(failed)?;
    let read = session.sql("SELECT * FROM t").await.map_err(failed)?;
    Ok(sorted(rows(&read.collect().await.map_err(failed)?)))
}

/// Reads without a schema types that SQL cannot name.
async fn inferred(session: &Session, path: &str, format: &str) -> Result<Vec<String>, String> {
    let frame = match format {
        "parquet" => session.read().parquet(path).await,
        _ => session.read().json(path).await,
    };
    let read = frame.map_err(|e| e.to_string())?.collect().await;
    Ok(sorted(rows(&read.map_err(|e| e.to_string())?)))
}

/// What PyArrow and DuckDB read; `None` where Python lacks them.
fn read_by_others(cells: &[Written]) -> Option<Vec<Value>> {
    let python = python_with("duckdb, pyarrow, pytz")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/round_trip/readers.py");
    let mut process = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let request: Vec<&Value> = cells.iter().map(|written| &written.cell).collect();
    let mut stdin = process.stdin.take().unwrap();
    writeln!(stdin, "{}", json!(request)).unwrap();
    drop(stdin);
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_in_every_format_is_read_back_by_us_and_by_others() {
    let folder = scratch("round_trip");
    let (mut written, mut failures) = (vec![], vec![]);
    let (mut cells, mut refused) = (0, 0);
    for layout in LAYOUTS {
        let session = session(layout, 2).await;
        let output = folder.path().join(format!("{layout:?}"));
        for kind in &KINDS {
            for format in FORMATS {
                for is_partitioned in [false, true] {
                    let label = format!(
                        "{}, {format}, {layout:?}, partitioned: {is_partitioned}",
                        kind.name
                    );
                    cells += 1;
                    match write(&session, &output, kind, format, is_partitioned).await {
                        Ok(Some(cell)) => written.push(Written { kind, label, cell }),
                        Ok(None) => refused += 1,
                        Err(error) => failures.push(format!("ours: {label}: {error}")),
                    }
                }
            }
        }
        session.stop().await;
    }
    assert_eq!(cells, CELLS);
    let Some(results) = read_by_others(&written) else {
        println!("skipped the other readers: no Python with DuckDB, PyArrow and pytz");
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        return;
    };
    assert_eq!(results.len(), written.len());
    for (written, result) in written.iter().zip(&results) {
        let [first, second] = written.kind.read;
        let expected = json!({"values": [first, second, null]});
        for reader in ["PyArrow", "DuckDB"] {
            let format = written.cell["format"].as_str().unwrap();
            let is_unread = is_unread(reader, format, written.kind.name);
            if (result[reader] == expected) == is_unread {
                failures.push(format!("{reader}: {}: {}", written.label, result[reader]));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        2 * written.len(),
        failures.join("\n")
    );
    println!(
        "{} cells read by three readers, {refused} refused",
        written.len()
    );
}
