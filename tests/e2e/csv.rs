//! One rule for every CSV file: however it is typed, compressed, split, or spread over files.
//!
//! Expected values are those of DuckDB 1.4 or of Spark 3.5's documentation.

use std::path::Path;

use arrow::datatypes::DataType;
use faisca::Session;

use crate::support::{Layout, files_below, rows, scratch, session, sorted};

/// One session for each layout; the files and the rules are the same.
async fn sessions() -> [Session; 2] {
    [
        session(Layout::Embedded, 3).await,
        session(Layout::Processes(3), 3).await,
    ]
}

struct Table<'a> {
    path: &'a Path,
    columns: &'a str,
    options: &'a str,
}

impl Table<'_> {
    async fn query(&self, session: &Session, sql: &str) -> Result<Vec<String>, String> {
        let create = format!(
            "CREATE OR REPLACE EXTERNAL TABLE t {} STORED AS CSV LOCATION '{}' OPTIONS (header true{}{})",
            self.columns,
            self.path.display(),
            if self.options.is_empty() { "" } else { ", " },
            self.options
        );
        session.sql(&create).await.map_err(|e| e.to_string())?;
        let frame = session.sql(sql).await.map_err(|e| e.to_string())?;
        let batches = frame.collect().await.map_err(|e| e.to_string())?;
        Ok(sorted(rows(&batches)))
    }

    /// Runs `sql` in both layouts, and expects these rows, sorted as text.
    async fn expect(&self, sql: &str, expected: &[&str]) {
        for session in sessions().await {
            assert_eq!(self.query(&session, sql).await.unwrap(), expected, "{sql}");
        }
    }

    /// Runs `sql` in both layouts, and expects an error with these parts.
    async fn refused(&self, sql: &str, parts: &[&str]) {
        for session in sessions().await {
            let error = self.query(&session, sql).await.unwrap_err();
            for part in parts {
                assert!(error.contains(part), "no `{part}` in: {error}");
            }
        }
    }
}

fn file(text: impl AsRef<[u8]>) -> tempfile::NamedTempFile {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = tempfile::Builder::new()
        .suffix(".csv")
        .tempfile_in(folder)
        .unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn table<'a>(path: &'a Path, columns: &'a str, options: &'a str) -> Table<'a> {
    Table {
        path,
        columns,
        options,
    }
}

/// Nanoseconds would end in 2262.
#[tokio::test(flavor = "multi_thread")]
async fn dates_of_the_years_1_to_9999_are_read() {
    let text = "ts,d\n9999-12-31 23:59:59.999999,9999-12-31\n0001-01-01 00:00:00,0001-01-01\n";
    let file = file(text);
    for columns in ["", "(ts TIMESTAMP, d DATE)"] {
        let table = Table {
            path: file.path(),
            columns,
            options: "",
        };
        let rows = [
            "0001-01-01T00:00:00Z|0001-01-01",
            "9999-12-31T23:59:59.999999Z|9999-12-31",
        ];
        table.expect("SELECT ts, d FROM t", &rows).await;
        let first = &rows[..1];
        let sql = "SELECT ts, d FROM t WHERE ts < TIMESTAMP '1500-01-01 00:00:00'";
        table.expect(sql, first).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_files_in_another_order_are_read_by_name() {
    let folder = scratch("csv");
    let path = folder.path();
    let mut first = String::from("a,b\n");
    (0..20_000).for_each(|i| first.push_str(&format!("{i},x{i}\n")));
    std::fs::write(path.join("a.csv"), first).unwrap();
    // Large enough to be split: ranges without a header must know the order too.
    let mut second = String::from("B;ignored\n").replace(";ignored", ",A");
    (0..1_500_000).for_each(|i| second.push_str(&format!("y{i},{}\n", i + 100_000)));
    std::fs::write(path.join("b.csv"), second).unwrap();
    let folder_path = path.join("");
    for columns in ["", "(a BIGINT, b STRING)", "(n BIGINT, name STRING)"] {
        let t = table(&folder_path, columns, "");
        let name = if columns.contains("name") {
            "name"
        } else {
            "b"
        };
        let sql = format!("select count(*), min({name}), max({name}) from t");
        t.expect(&sql, &["1520000|x0|y999999"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_with_other_columns_are_refused_by_name_of_the_file() {
    let folder = scratch("csv");
    let path = folder.path();
    let mut first = String::from("a,b\n");
    (0..20_000).for_each(|i| first.push_str(&format!("{i},x\n")));
    std::fs::write(path.join("a.csv"), first).unwrap();
    let folder_path = path.join("");
    for header in ["a,c", "a", "a,b,c"] {
        std::fs::write(path.join("b.csv"), format!("{header}\n")).unwrap();
        for columns in ["", "(a INT, b STRING)", "(x INT, y STRING)"] {
            let t = table(&folder_path, columns, "");
            t.refused("select * from t", &["/b.csv", "column"]).await;
        }
    }
    std::fs::remove_file(path.join("b.csv")).unwrap();
    let t = table(&folder_path, "(b INT, c STRING)", "");
    t.refused("select * from t", &["/a.csv", "column"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_that_is_not_closed_on_its_line_swallows_nothing() {
    let mut text = String::from("id;s\n");
    (0..1000).for_each(|i| match i {
        500 => text.push_str("500;\"v\n"),
        i => text.push_str(&format!("{i};v{i}\n")),
    });
    let text = file(text);
    let options = "'delimiter' ';'";
    let sql = "select count(*) from t";
    let t = table(text.path(), "", options);
    t.refused(sql, &["line 502", "quote", "multiLine"]).await;
    let t = table(text.path(), "(id INT, s STRING)", options);
    t.refused(sql, &["line 502", "multiLine"]).await;
    let t = table(text.path(), "", "'delimiter' ';', 'mode' 'DROPMALFORMED'");
    t.expect(sql, &["999"]).await;
    let t = table(text.path(), "", "'delimiter' ';', 'mode' 'PERMISSIVE'");
    t.expect("select count(*), count(s) from t", &["1000|999"])
        .await;
    let t = table(text.path(), "", "'delimiter' ';', 'multiLine' 'true'");
    t.refused(sql, &["line 502", "never closed"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_ends_with_a_record_and_counts_records() {
    let mut text = String::from("id,s,v\n");
    (0..9000).for_each(|i| text.push_str(&format!("{i},\"one, \"\"\n\ntwo\",1.5\n")));
    let text = file(text);
    let t = table(text.path(), "", "'multiLine' 'true', 'inferRows' '100'");
    t.expect(
        "select count(*), sum(v), max(id) from t",
        &["9000|1.350000000e4|8999"],
    )
    .await;
    let commas = file("id;s;v\n1;\"a\nb\";1,5\n2;\"\"\"x\";2,5\n3;\"\";\n");
    let t = table(
        commas.path(),
        "",
        "'multiLine' 'true', 'decimal' ',', 'delimiter' ';'",
    );
    t.expect("select sum(v), count(*) from t", &["4.000000000e0|3"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn null_texts_and_decimal_commas_reach_inference() {
    let text = file("a;b\n9;1,5\n10;NA\nNA;\"\"\n");
    let t = table(
        text.path(),
        "",
        "'nullValue' 'NA', 'decimal' ',', 'delimiter' ';'",
    );
    t.expect(
        "select max(a), arrow_typeof(max(a)), sum(b), count(b) from t",
        &["10|Int64|1.500000000e0|1"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quoted_empty_text_is_not_null() {
    let text = file("id,s,n\n1,\"\",\"\"\n2,,\n3,x,5\n");
    for options in ["", "'nullValue' 'NA'", "'mode' 'DROPMALFORMED'"] {
        for columns in ["", "(id INT, s STRING, n INT)"] {
            let t = table(text.path(), columns, options);
            t.expect(
                "select id, s is null, n from t",
                &["1|false|∅", "2|true|∅", "3|false|5"],
            )
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_not_utf8_are_refused_with_line_and_remedy() {
    let text = file(b"id,s\n1,x\n\n2,S\xe3o\n");
    for columns in ["", "(id INT, s STRING)"] {
        for options in [
            "",
            "'nullValue' 'NA'",
            "'decimal' ','",
            "'mode' 'DROPMALFORMED'",
            "'mode' 'PERMISSIVE'",
        ] {
            let t = table(text.path(), columns, options);
            for sql in ["select * from t", "select count(*) from t"] {
                t.refused(sql, &["line 4", "UTF-8", "encoding"]).await;
            }
        }
    }
    let t = table(text.path(), "", "'encoding' 'latin1'");
    t.expect("select * from t", &["1|x", "2|São"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn surplus_decimal_digits_are_rounded_half_up() {
    let text = file("a\n1.239\n-1.235\n1.234\n1.2e1\n");
    for options in ["", "'nullValue' 'NA'", "'mode' 'DROPMALFORMED'"] {
        let t = table(text.path(), "(a DECIMAL(5,2))", options);
        t.expect("select a from t", &["-1.24", "1.23", "1.24", "12.00"])
            .await;
    }
    let large = file("a\n1\n\n123456.7\n");
    let t = table(large.path(), "(a DECIMAL(5,2))", "");
    t.refused(
        "select a from t",
        &[".csv line 4", "123456.7", "DECIMAL(5, 2)"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn which_rows_are_dropped_does_not_depend_on_the_columns() {
    let text = file("a,b\n1,x\ny,z\n3,w\n4\n5,v,u\n");
    let dropping = table(text.path(), "(a INT, b STRING)", "'mode' 'DROPMALFORMED'");
    dropping.expect("select count(*) from t", &["2"]).await;
    dropping.expect("select count(a) from t", &["2"]).await;
    dropping.expect("select b from t", &["w", "x"]).await;
    let inferred = table(text.path(), "", "'mode' 'DROPMALFORMED'");
    inferred
        .expect("select * from t", &["1|x", "3|w", "y|z"])
        .await;
    let nulls = table(text.path(), "", "'mode' 'PERMISSIVE'");
    nulls
        .expect("select * from t", &["1|x", "3|w", "4|∅", "5|v", "y|z"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_counted_as_editors_count_them() {
    let text = file("# made today\r\nid,s\r\n\r\n1,\"a\nb\"\r\nx,c\r\n");
    let t = table(
        text.path(),
        "(id INT, s STRING)",
        "'multiLine' 'true', 'comment' '#'",
    );
    t.refused("select id from t", &[".csv line 6", "'x'", "INT"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headings_without_text_get_a_name_and_equal_ones_are_refused() {
    let text = file(",a,\n1,2,3\n");
    let t = table(text.path(), "", "");
    t.expect("select _c0, a, _c2 from t", &["1|2|3"]).await;
    let duplicate_header = file("a,b,a\n1,2,3\n");
    let t = table(duplicate_header.path(), "", "");
    t.refused("select * from t", &[".csv", "columns 1 and 3", "`a`"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stream_of_a_compressed_file_is_read() {
    use async_compression::Level;
    use async_compression::tokio::write::{BzEncoder, GzipEncoder, XzEncoder, ZstdEncoder};
    use tokio::io::AsyncWriteExt;

    let folder = scratch("csv");
    macro_rules! two_streams {
        ($ending:literal, $encoder:ident) => {{
            let path = folder.path().join(concat!("a.csv.", $ending));
            let mut bytes = vec![];
            for part in ["id,s\n1,x\n", "2,y\n"] {
                let mut encoder = $encoder::with_quality(&mut bytes, Level::Fastest);
                encoder.write_all(part.as_bytes()).await.unwrap();
                encoder.shutdown().await.unwrap();
            }
            std::fs::write(&path, bytes).unwrap();
            table(&path, "", "")
                .expect("select * from t", &["1|x", "2|y"])
                .await;
        }};
    }
    two_streams!("gz", GzipEncoder);
    two_streams!("BZ2", BzEncoder);
    two_streams!("xz", XzEncoder);
    two_streams!("zst", ZstdEncoder);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_read_back_as_it_was() {
    for session in sessions().await {
        let folder = scratch("csv");
        let rows_of =
            "(values (1, '', 'a\nb'), (2, null, 'x,\"y\"'), (3, 'null', null)) v(id, s, u)";
        for columns in ["id, s, u", "s"] {
            let path = folder.path().join(columns.replace(", ", "-"));
            let frame = session
                .sql(&format!("select {columns} from {rows_of}"))
                .await
                .unwrap();
            let expected = sorted(rows(&frame.clone().collect().await.unwrap()));
            frame.write().csv(path.to_str().unwrap()).await.unwrap();
            let read = session
                .read()
                .option("multiLine", true)
                .csv(path.to_str().unwrap())
                .await
                .unwrap();
            assert_eq!(sorted(rows(&read.collect().await.unwrap())), expected);
        }
    }
}

/// Spark writes these texts, and reads them as DOUBLE with and without a schema.
#[tokio::test(flavor = "multi_thread")]
async fn infinite_numbers_are_written_and_inferred_in_the_spelling_of_spark() {
    for session in sessions().await {
        let folder = scratch("csv");
        let path = folder.path().join("out");
        let path = path.to_str().unwrap();
        let frame = session
            .sql(
                "select cast(x as double) as d, cast(x as float) as f \
                 from (values ('Infinity'), ('-Infinity'), ('NaN'), ('1.5')) v(x)",
            )
            .await
            .unwrap();
        let expected = sorted(rows(&frame.clone().collect().await.unwrap()));
        frame.write().csv(path).await.unwrap();
        let files = files_below(folder.path());
        let texts = files.iter().filter(|file| file.ends_with(".csv"));
        let texts = texts.map(|file| std::fs::read_to_string(folder.path().join(file)).unwrap());
        let text = texts.collect::<String>();
        for line in ["Infinity,Infinity", "-Infinity,-Infinity", "NaN,NaN"] {
            assert!(text.lines().any(|actual| actual == line), "{text}");
        }
        let read = session.read().csv(path).await.unwrap();
        let read = sorted(rows(&read.collect().await.unwrap()));
        assert_eq!(read, expected);
        let texts = file("a\ninf\n-Inf\nInfinity\n-Infinity\nNaN\n");
        let read = session
            .read()
            .option("header", true)
            .csv(texts.path().to_str().unwrap())
            .await
            .unwrap();
        let schema = read.schema();
        assert_eq!(schema.field(0).data_type(), &DataType::Float64);
    }
}
