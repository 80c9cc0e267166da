//! Which files are data: Spark's rules, the same for schemas and scans, on disks and in buckets.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use faisca::Session;

use crate::lake::stores;
use crate::s3_server::S3Server;
use crate::support::{
    Layout, query, refusal, register, scratch, session, write_parquet, write_text,
};

fn number(value: i64) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("a", DataType::Int64, true)]);
    RecordBatch::try_new(
        Arc::new(schema),
        vec![Arc::new(Int64Array::from(vec![value]))],
    )
    .unwrap()
}

fn write(format: &str, path: &Path, value: i64) {
    match format {
        "csv" => write_text(path, format!("a\n{value}\n")),
        "json" => write_text(path, format!("{{\"a\":{value}}}\n")),
        _ => write_parquet(path, &number(value)),
    }
}

const FORMATS: [&str; 3] = ["parquet", "csv", "json"];
const LAYOUTS: [Layout; 2] = [Layout::Embedded, Layout::Processes(3)];

#[tokio::test(flavor = "multi_thread")]
async fn hidden_files_and_subfolders_beside_files_are_left_out() {
    for layout in LAYOUTS {
        let session = session(layout, 3).await;
        for format in FORMATS {
            let folder = scratch("listing");
            let at = |name: &str| folder.path().join(name);
            for (name, value) in [("part-0", 1), ("part-1.ending", 2), ("_k=v", 4)] {
                write(format, &at(name), value);
            }
            write_text(&at(".part-0.crc"), "\0\0crc");
            write_text(&at("_SUCCESS"), "");
            for name in [
                "_old",
                ".tmp",
                "copy._COPYING_",
                "_temporary/x",
                ".git/y",
                "sub/z",
            ] {
                write(format, &at(name), 98);
            }
            let path = folder.path().display().to_string();
            register(&session, format, &format!("{path}/"))
                .await
                .unwrap();
            assert_eq!(
                query(&session, "select a from t").await,
                ["1", "2", "4"],
                "{format}"
            );
            // Without the slash at its end a folder is the same folder.
            register(&session, format, &path).await.unwrap();
            assert_eq!(
                query(&session, "select count(*) from t").await,
                ["3"],
                "{format}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_only_subfolders_hold_are_refused_by_name_and_read_by_a_glob() {
    let session = session(Layout::Embedded, 3).await;
    for format in FORMATS {
        let folder = scratch("listing");
        write(format, &folder.path().join("2024/a"), 1);
        write(format, &folder.path().join("2025/k=1/b"), 2);
        let path = folder.path().display().to_string();
        let error = register(&session, format, &path)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("2024, 2025"), "{error}");
        register(&session, format, &format!("{path}/2024/*"))
            .await
            .unwrap();
        assert_eq!(query(&session, "select a from t").await, ["1"]);
        write(format, &folder.path().join("2026/b"), 3);
        register(&session, format, &format!("{path}/20[0-9]?/[ab]"))
            .await
            .unwrap();
        assert_eq!(query(&session, "select a from t").await, ["1", "3"]);
        register(&session, format, &format!("{path}/{{2024,2026}}"))
            .await
            .unwrap();
        assert_eq!(query(&session, "select a from t").await, ["1", "3"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn globs_go_through_partitions_and_keep_their_keys() {
    for layout in LAYOUTS {
        let session = session(layout, 3).await;
        for format in FORMATS {
            let folder = scratch("listing");
            for key in [1, 2, 3] {
                write(
                    format,
                    &folder.path().join(format!("k={key}/a.{format}")),
                    key * 10,
                );
            }
            let path = folder.path().display();
            for (pattern, expected) in [
                (format!("*/*.{format}"), &["10|1", "20|2", "30|3"][..]),
                (format!("k=*/a.{format}"), &["10|1", "20|2", "30|3"]),
                ("k=[12]".to_owned(), &["10|1", "20|2"]),
                ("k={1,3}/*".to_owned(), &["10|1", "30|3"]),
                ("**".to_owned(), &["10|1", "20|2", "30|3"]),
            ] {
                register(&session, format, &format!("{path}/{pattern}"))
                    .await
                    .unwrap();
                assert_eq!(
                    query(&session, "select a, k from t").await,
                    expected,
                    "{pattern}"
                );
            }
            let error = register(&session, format, &format!("{path}/x*"))
                .await
                .unwrap_err();
            assert!(
                error
                    .to_string()
                    .contains("no data files match this pattern"),
                "{error}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_exists_is_meant_itself_whatever_characters_it_has() {
    let folder = scratch("listing");
    let session = session(Layout::Embedded, 2).await;
    for (value, name) in [
        "a[1].csv",
        "b*.csv",
        "{c,d}.csv",
        "e f%20.csv",
        "dir[0]/x.csv",
    ]
    .iter()
    .enumerate()
    {
        write("csv", &folder.path().join(name), value as i64);
        register(
            &session,
            "csv",
            &folder.path().join(name).display().to_string(),
        )
        .await
        .unwrap();
        assert_eq!(
            query(&session, "select a from t").await,
            [value.to_string()],
            "{name}"
        );
    }
    let path = folder.path().join("dir[0]").display().to_string();
    register(&session, "csv", &path).await.unwrap();
    assert_eq!(query(&session, "select a from t").await, ["4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_compressed_in_different_ways_are_one_table() {
    for layout in LAYOUTS {
        let session = session(layout, 3).await;
        let folder = scratch("listing");
        let at = |name: &str| folder.path().join(name);
        write_text(&at("t/a.csv"), "a,b\n1,x\n");
        write_text(&at("plain.csv"), "a,b\n2.5,y\n");
        for (program, ending) in [("gzip", "GZ"), ("bzip2", "bz2")] {
            let output = std::process::Command::new(program)
                .arg("-c")
                .arg(at("plain.csv"))
                .output();
            let Ok(output) = output else { continue };
            write_text(&at(&format!("t/b.csv.{ending}")), output.stdout);
        }
        let count = std::fs::read_dir(at("t")).unwrap().count();
        register(&session, "csv", &at("t").display().to_string())
            .await
            .unwrap();
        let actual = query(&session, "select count(*), max(a), min(b) from t").await;
        let expected = match count {
            1 => "1|1|x".to_owned(),
            count => format!("{count}|{:.9e}|x", 2.5),
        };
        assert_eq!(actual, [expected]);
        assert_eq!(
            query(&session, "select b from t where a < 2 limit 5").await,
            ["x"]
        );
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn pipes_are_refused_by_name_and_skipped_in_folders() {
    let folder = scratch("listing");
    let pipe = folder.path().join("pipe.csv");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let session = session(Layout::Embedded, 2).await;
    let error = register(&session, "csv", &pipe.display().to_string())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("neither a file nor a folder"),
        "{error}"
    );
    write("csv", &folder.path().join("a.csv"), 1);
    register(&session, "csv", &folder.path().display().to_string())
        .await
        .unwrap();
    assert_eq!(query(&session, "select a from t").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_damaged_is_named_and_is_its_users_to_fix() {
    let session = session(Layout::Processes(1), 2).await;
    let folder = scratch("listing");
    write("parquet", &folder.path().join("a.parquet"), 1);
    write_text(
        &folder.path().join("b.parquet"),
        "PAR1 this is not a Parquet file PAR1",
    );
    let error = register(&session, "parquet", &folder.path().display().to_string())
        .await
        .unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    assert!(
        error.to_string().contains("b.parquet") && error.to_string().contains("not valid Parquet"),
        "{error}"
    );
}

/// Objects put as they are, read by the same rules as files.
#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_listed_as_disks_are() {
    let server = S3Server::start().await;
    let session = Session::builder()
        .stores(stores(&server))
        .partitions(3)
        .config("faisca.smallQueryBytes", "0")
        .get_or_create()
        .await
        .unwrap();
    let bucket = server.root.path().join("lake");
    for (name, value) in [
        ("t/k=1/a.csv", 1),
        ("t/k=2/b.csv", 2),
        ("t/k=2/_hidden.csv", 98),
        ("t/.x.csv", 98),
        ("plain/2024/c.csv", 3),
        ("plain[1]/d.csv", 4),
    ] {
        write("csv", &bucket.join(name), value);
    }
    for (path, expected) in [
        ("t/", &["1", "2"][..]),
        ("t", &["1", "2"]),
        ("t/k=*/*.csv", &["1", "2"]),
        ("t/k={2,3}", &["2"]),
        ("plain/*/c.csv", &["3"]),
        ("plain[1]/d.csv", &["4"]),
        ("plain[1]", &["4"]),
        ("t/k=1/a.csv", &["1"]),
    ] {
        register(&session, "csv", &format!("s3://lake/{path}"))
            .await
            .unwrap();
        assert_eq!(query(&session, "select a from t").await, expected, "{path}");
    }
    let error = register(&session, "csv", "s3://lake/plain/")
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("2024"), "{error}");
    let error = register(&session, "csv", "s3://lake/none*")
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("no data files match"), "{error}");
}

/// A full listing, or footers of other partitions, would cost requests in proportion to the table.
#[tokio::test(flavor = "multi_thread")]
async fn filters_on_keys_list_and_open_only_the_folders_that_match() {
    let server = S3Server::start().await;
    let session = Session::builder()
        .stores(stores(&server))
        .partitions(3)
        .get_or_create()
        .await
        .unwrap();
    let bucket = server.root.path().join("lake");
    for day in 1..=30 {
        for (hour, value) in [(0, day), (1, day + 100)] {
            let file = format!("t/Day=2024-01-{day:02}/h={hour}/a.parquet");
            write("parquet", &bucket.join(file), value);
        }
    }
    session
        .sql(
            "CREATE EXTERNAL TABLE t (a BIGINT, day DATE, h INT) STORED AS parquet \
             PARTITIONED BY (day, h) LOCATION 's3://lake/t/'",
        )
        .await
        .unwrap();
    let requests = Arc::new(std::sync::Mutex::new(vec![]));
    let recorded = Arc::clone(&requests);
    server.on_request(move |method, path| {
        recorded.lock().unwrap().push(format!("{method} {path}"));
        crate::s3_server::Act::Pass
    });
    for (filter, expected, folder) in [
        (
            "day = DATE '2024-01-07'",
            &["107", "7"][..],
            "Day=2024-01-07",
        ),
        (
            "day = '2024-01-07' and h = 1",
            &["107"],
            "Day=2024-01-07/h=1",
        ),
        ("day > '2024-01-29' and a < 100", &["30"], "Day=2024-01-30"),
    ] {
        requests.lock().unwrap().clear();
        let rows = query(&session, &format!("select a from t where {filter}")).await;
        assert_eq!(rows, expected, "{filter}");
        let requests = requests.lock().unwrap().clone();
        let decode = |request: &String| request.replace("%2F", "/").replace("%3D", "=");
        let outside: Vec<String> = requests
            .iter()
            .map(decode)
            .filter(|request| !request.contains("delimiter=/") && !request.contains(folder))
            .collect();
        assert!(!requests.is_empty() && outside.is_empty(), "{outside:?}");
    }
    // The filter on the inner key alone lists everything.
    let rows = query(&session, "select count(*) from t where h = 1").await;
    assert_eq!(rows, ["30"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_sees_files_that_were_added_later() {
    let folder = scratch("listing");
    let session = session(Layout::Embedded, 2).await;
    write("parquet", &folder.path().join("a.parquet"), 1);
    register(&session, "parquet", &folder.path().display().to_string())
        .await
        .unwrap();
    write("parquet", &folder.path().join("b.parquet"), 2);
    assert_eq!(query(&session, "select a from t").await, ["1", "2"]);
    assert_eq!(query(&session, "select max(a) from t").await, ["2"]);
    write("parquet", &folder.path().join("k=1/c.parquet"), 3);
    let error = refusal(&session, "select a from t").await;
    assert!(error.contains("k=1"), "{error}");
    let frame = session
        .read()
        .csv(&folder.path().join("none").display().to_string())
        .await;
    assert!(frame.err().unwrap().to_string().contains("no such file"));
}
