//! ndjson from elsewhere: marks, mixed types, several compressed streams, and clear refusals.

use faisca::Session;

use crate::support::{Layout, rows, scratch, session, session_rows, sorted};

async fn query(session: &Session, path: &str, columns: &str) -> Result<Vec<String>, String> {
    let create =
        format!("CREATE OR REPLACE EXTERNAL TABLE t {columns} STORED AS JSON LOCATION '{path}'");
    session.sql(&create).await.map_err(|e| e.to_string())?;
    let frame = session.sql("select * from t").await;
    let batches = frame.map_err(|e| e.to_string())?.collect().await;
    Ok(sorted(rows(&batches.map_err(|e| e.to_string())?)))
}

async fn check(text: impl AsRef<[u8]>, columns: &str, expected: Result<&[&str], &[&str]>) {
    let folder = scratch("ndjson");
    let path = folder.path().join("a.json");
    std::fs::write(&path, text).unwrap();
    let path = path.display().to_string();
    for layout in [Layout::Embedded, Layout::Processes(3)] {
        let actual = query(&session(layout, 3).await, &path, columns).await;
        match expected {
            Ok(rows) => assert_eq!(actual.unwrap(), rows),
            Err(parts) => {
                let error = actual.unwrap_err();
                for part in parts {
                    assert!(error.contains(part), "no `{part}` in: {error}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_and_mixed_types_are_read() {
    check("\u{feff}{\"a\":1}\r\n\r\n{\"a\":2}", "", Ok(&["1", "2"])).await;
    check(
        "{\"a\":1}\n{\"a\":\"x\"}\n{\"a\":null}\n",
        "",
        Ok(&["1", "x", "∅"]),
    )
    .await;
    check(
        "{\"a\":1.5}\n{\"a\":true}\n",
        "(a STRING)",
        Ok(&["1.5", "true"]),
    )
    .await;
    check("{\"a\":null}\n", "", Ok(&["∅"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_and_arrays_are_their_json_where_the_column_is_text() {
    check(
        "{\"a\":\"x\"}\n{\"a\":{\"b\": [1, null], \"c\":\"\\\"\"}}\n{\"a\":[ 1.50,{} ]}\n{\"a\":2}\n{\"a\":null}\n",
        "(a STRING)",
        Ok(&["2", "[ 1.50,{} ]", "x", "{\"b\": [1, null], \"c\":\"\\\"\"}", "∅"]),
    )
    .await;
    check(
        "{\"s\":{\"t\":[1]},\"l\":[{},\"x\"],\"n\":1.5}\n",
        "(s STRUCT<t: STRING>, l ARRAY<STRING>, n DECIMAL(3, 1))",
        Ok(&["{t: [1]}|[{}, x]|1.5"]),
    )
    .await;
    let refused = ["a.json line 2", "a"];
    check("{\"a\":{}}\n{\"a\":[}\n", "(a STRING)", Err(&refused)).await;
}

/// As the sample of the schema, other rows may have fractions.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_lose_no_digits() {
    let mut text = "{\"a\":1}\n".repeat(10_000);
    text.push_str("{\"a\":2.5}\n");
    let refused = ["a.json line 10001", "'2.5' of column a is not a BIGINT"];
    check(&text, "", Err(&refused)).await;
    check(
        "{\"a\":2.0}\n{\"a\":1e3}\n{\"a\":\"7\"}\n{\"a\":null}\n{}\n",
        "(a INT)",
        Ok(&["1000", "2", "7", "∅", "∅"]),
    )
    .await;
    check(
        "{\"a\":1.005}\n{\"a\":-1.005}\n{\"a\":1.239e1}\n",
        "(a DECIMAL(5, 2))",
        Ok(&["-1.01", "1.01", "12.39"]),
    )
    .await;
    check(
        "{\"a\":9007199254740993}\n{\"a\":-9007199254740993}\n",
        "",
        Ok(&["-9007199254740993", "9007199254740993"]),
    )
    .await;
    let nested = "{\"a\":{\"b\":[1]}}\n".repeat(10_000) + "{\"a\":{\"b\":[1.5]}}\n";
    check(nested, "", Err(&["line 10001", "'1.5' of column a.b"])).await;
}

/// As Spark infers them.
#[tokio::test(flavor = "multi_thread")]
async fn whole_numbers_beyond_bigint_keep_their_digits() {
    check(
        "{\"a\":1}\n{\"a\":12345678901234567890}\n{\"a\":-9223372036854775809}\n",
        "",
        Ok(&["-9223372036854775809", "1", "12345678901234567890"]),
    )
    .await;
    check(
        "{\"a\":[{\"b\":12345678901234567890123456789}]}\n",
        "",
        Ok(&["[{b: 12345678901234567890123456789}]"]),
    )
    .await;
    let mut text = "{\"a\":1}\n".repeat(10_000);
    text.push_str("{\"a\":12345678901234567890}\n");
    check(
        &text,
        "",
        Err(&["a.json line 10001", "12345678901234567890"]),
    )
    .await;
}

/// Spark reads all rows to infer a schema, and ignores fields that a given one lacks.
#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_the_sample_lacks_is_refused_unless_a_schema_is_given() {
    let mut text = "{\"a\":1,\"s\":{\"b\":1}}\n".repeat(10_000);
    text.push_str("{\"a\":2,\"s\":{\"b\":1,\"c\":2}}\n");
    let refused = [
        "a.json line 10001",
        "`s.c`",
        "give a schema",
        "inferRows to 0",
    ];
    check(&text, "", Err(&refused)).await;
    let folder = scratch("ndjson");
    let path = folder.path().join("a.json");
    std::fs::write(&path, &text).unwrap();
    let session = session(Layout::Embedded, 2).await;
    for (columns, options) in [("(a BIGINT)", ""), ("", "OPTIONS ('inferRows' '0')")] {
        let path = path.display();
        let create = format!(
            "CREATE OR REPLACE EXTERNAL TABLE t {columns} STORED AS JSON LOCATION '{path}' {options}"
        );
        session.sql(&create).await.unwrap();
        let frame = session.sql("SELECT sum(a) FROM t").await.unwrap();
        let batches = frame.collect().await.unwrap();
        assert_eq!(rows(&batches), ["10002"]);
    }
}

/// In each row one of the two would be null.
#[tokio::test(flavor = "multi_thread")]
async fn a_field_in_two_spellings_is_refused() {
    let folder = scratch("ndjson");
    let path = folder.path().join("a.json");
    std::fs::write(&path, "{\"s\":{\"Aa\":1}}\n{\"s\":{\"aa\":2}}\n").unwrap();
    let session = session(Layout::Embedded, 2).await;
    query(&session, &path.display().to_string(), "")
        .await
        .unwrap();
    let error = session.sql("SELECT s.aa FROM t").await.err().unwrap();
    let error = error.to_string();
    assert!(error.contains("both `Aa` and `aa`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_name_file_and_line() {
    check(
        "{\"a\":1}\n\n{\"a\":\n",
        "",
        Err(&["a.json line 3", "not valid JSON"]),
    )
    .await;
    check(
        "[{\"a\":1},\n{\"a\":2}]\n",
        "",
        Err(&["a.json line 1", "array"]),
    )
    .await;
    check("{\"a\":1} {\"a\":2}\n", "(a INT)", Err(&["a.json line 1"])).await;
    check(
        b"{\"a\":\"x\"}\n{\"a\":\"S\xe3o\"}\n",
        "",
        Err(&["a.json line 2", "UTF-8"]),
    )
    .await;
    let mut text = String::new();
    (0..600_000).for_each(|i| text.push_str(&format!("{{\"a\":{i},\"b\":\"some text\"}}\n")));
    text.push_str("{\"a\":\"x\"}\n");
    check(text, "(a BIGINT)", Err(&["a.json line 600001"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_lines_are_refused_and_do_not_fill_the_memory() {
    let line = format!("{{\"a\":\"{}\"}}\n", "x".repeat(70 << 20));
    check(&line, "(a STRING)", Err(&["a.json line 1", "64 MiB"])).await;
    check(&line, "", Err(&["a.json line 1", "32 MiB", "schema"])).await;
    let array = format!("[{}", "{\"a\":1},".repeat(8 << 20));
    for columns in ["", "(a INT)"] {
        check(&array, columns, Err(&["a.json line 1", "array"])).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stream_of_a_compressed_file_is_read() {
    use async_compression::tokio::write::ZstdEncoder;
    use tokio::io::AsyncWriteExt;

    let folder = scratch("ndjson");
    let path = folder.path().join("a.json.zst");
    let mut bytes = vec![];
    for part in ["{\"a\":1}\n", "{\"a\":2}\n"] {
        let mut encoder = ZstdEncoder::new(&mut bytes);
        encoder.write_all(part.as_bytes()).await.unwrap();
        encoder.shutdown().await.unwrap();
    }
    std::fs::write(&path, bytes).unwrap();
    let session = session(Layout::Embedded, 2).await;
    let actual = query(&session, &path.display().to_string(), "").await;
    assert_eq!(actual.unwrap(), ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_declared_with_nested_columns() {
    let folder = scratch("ndjson");
    let line = r#"{"S": {"a b": 1, "t": "2024-01-01 10:00:00"}, "l": [{"x": 1.5}], "m": {"k": "2024-01-01"}}"#;
    std::fs::write(folder.path().join("a.json"), line).unwrap();
    let session = session(Layout::Embedded, 2).await;
    let declaration = format!(
        "create external table t (s struct<`a b`: bigint, t: timestamp>, l array<struct<x: decimal(5, 2)>>, \
         m map<string, timestamp>) stored as json location '{}'",
        folder.path().display()
    );
    session.sql(&declaration).await.unwrap();
    let sql = "select s.`a b`, s.t, l[0].x, m['k'] from t";
    let actual = session_rows(&session, sql).await;
    assert_eq!(actual, ["1|2024-01-01T10:00:00Z|1.50|2024-01-01T00:00:00Z"]);
}

/// As in Spark. Arrow's decoder finds exact names only.
#[tokio::test(flavor = "multi_thread")]
async fn nested_fields_of_a_declared_table_are_found_in_any_case() {
    let folder = scratch("ndjson");
    let lines = [
        r#"{"s":{"Bar":1,"baz":2},"l":[{"Qux":3}]}"#,
        r#"{"l":[{"qux":6},{"QUX":7}],"s":{"BAZ":5,"bar":4}}"#,
        r#"{"s":{"Bar":0,"bar":8},"l":null}"#,
    ];
    std::fs::write(folder.path().join("a.json"), lines.join("\n")).unwrap();
    let session = session(Layout::Embedded, 2).await;
    let declaration = format!(
        "create external table t (s struct<Bar: int, baz: int>, l array<struct<Qux: int>>) \
         stored as json location '{}'",
        folder.path().display()
    );
    session.sql(&declaration).await.unwrap();
    let sql = "select s.bar, s.baz, l[0].qux, get(l, 1).qux from t order by 1";
    let actual = session_rows(&session, sql).await;
    assert_eq!(actual, ["1|2|3|∅", "4|5|6|7", "8|∅|∅|∅"]);
}
