//! `key=value` folders: what is written comes back, with the types that Spark infers.

use std::path::Path;

use crate::support::{Layout, query, refusal, register, scratch, session, write_text};

const LAYOUTS: [Layout; 2] = [Layout::Embedded, Layout::Processes(3)];

fn csv(folder: &Path, partition: &str, value: i64) {
    write_text(
        &folder.join(partition).join("a.csv"),
        format!("v\n{value}\n"),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn values_with_reserved_characters_and_nulls_come_back_and_are_found() {
    for layout in LAYOUTS {
        let session = session(layout, 3).await;
        for format in ["parquet", "csv", "json"] {
            let folder = scratch("partitions");
            let path = folder.path().join("out").display().to_string();
            let values = [
                "x:y",
                "a=b",
                "it''s",
                "{i}",
                "100%",
                "a%3Ab",
                "São Paulo",
                "a/b",
                "[z]",
                "q?",
            ];
            let rows: Vec<String> = values
                .iter()
                .enumerate()
                .map(|(n, v)| format!("({n}, '{v}')"))
                .collect();
            let write = format!(
                "COPY (SELECT column1 AS n, column2 AS k FROM (VALUES {}, (99, NULL)) AS v(column1, column2)) TO '{path}' STORED AS {format} PARTITIONED BY (k)",
                rows.join(", ")
            );
            session.sql(&write).await.unwrap().collect().await.unwrap();
            register(&session, format, &path).await.unwrap();
            for (n, value) in values.iter().enumerate() {
                for filter in [
                    format!("k = '{value}'"),
                    format!("k IN ('{value}', 'none')"),
                ] {
                    let actual = query(&session, &format!("select n from t where {filter}")).await;
                    assert_eq!(actual, [n.to_string()], "{format} {filter}");
                }
            }
            assert_eq!(
                query(&session, "select n, k from t where k is null").await,
                ["99|∅"]
            );
            assert_eq!(
                query(&session, "select count(*), count(k) from t").await,
                ["11|10"]
            );
            assert_eq!(
                query(&session, "select count(*) from t where k <> 'x:y'").await,
                ["9"]
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn types_of_keys_are_inferred_as_spark_does() {
    for layout in LAYOUTS {
        let session = session(layout, 3).await;
        for (values, types, check, expected) in [
            (&["2", "9", "10"][..], "Int32", "max(k), sum(k)", "10|21"),
            (
                &["007", "8"],
                "Int32",
                "min(k), count(*) filter (where k = 7)",
                "7|1",
            ),
            (&["1", "3000000000"], "Int64", "max(k)", "3000000000"),
            (&["1", "2.5"], "Float64", "max(k)", "2.500000000e0"),
            (
                &["2024-02-29", "2023-12-01"],
                "Date32",
                "max(k)",
                "2024-02-29",
            ),
            (
                &["2024-02-29 13%3A14%3A15"],
                "Timestamp(µs, \"UTC\")",
                "max(k)",
                "2024-02-29T13:14:15Z",
            ),
            (&["1", "x"], "Utf8", "max(k)", "x"),
            (
                &["9", "__HIVE_DEFAULT_PARTITION__"],
                "Int32",
                "max(k), count(k), count(*)",
                "9|1|2",
            ),
        ] {
            let folder = scratch("partitions");
            for value in values {
                csv(folder.path(), &format!("k={value}"), 1);
            }
            register(&session, "csv", &folder.path().display().to_string())
                .await
                .unwrap();
            let actual = query(&session, "select distinct arrow_typeof(k) from t").await;
            assert_eq!(actual, [types], "{values:?}");
            assert_eq!(
                query(&session, &format!("select {check} from t")).await,
                [expected]
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_type_wins_over_the_inferred_one() {
    let session = session(Layout::Embedded, 3).await;
    let folder = scratch("partitions");
    csv(folder.path(), "UF=007", 1);
    csv(folder.path(), "UF=12", 2);
    let path = folder.path().display();
    session
        .sql(&format!("CREATE EXTERNAL TABLE s (v INT, uf STRING) STORED AS CSV PARTITIONED BY (uf) LOCATION '{path}'"))
        .await
        .unwrap();
    assert_eq!(
        query(&session, "select uf, v from s where uf = '007'").await,
        ["007|1"]
    );
    let frame = session
        .read()
        .schema("v BIGINT, uf DECIMAL(5,1)")
        .csv(&path.to_string())
        .await
        .unwrap();
    frame.create_or_replace_temp_view("d").unwrap();
    assert_eq!(query(&session, "select max(uf) from d").await, ["12.0"]);
    let error = session
        .read()
        .schema("v BIGINT, uf BOOLEAN")
        .csv(&path.to_string())
        .await;
    let error = match error {
        Ok(frame) => frame.collect().await.unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    assert!(error.contains("`007`") && error.contains("`uf`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_below_different_keys_are_refused() {
    let session = session(Layout::Embedded, 3).await;
    for folders in [
        ["k=1", "j=1"],
        ["k=1", "k=1/j=2"],
        ["k=1", ""],
        ["k=1/K=2", "k=1/K=3"],
    ] {
        let folder = scratch("partitions");
        folders.iter().for_each(|name| csv(folder.path(), name, 1));
        let error = register(&session, "csv", &folder.path().display().to_string())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("key"), "{error}");
    }
    let folder = scratch("partitions");
    csv(folder.path(), "k=1", 1);
    register(&session, "csv", &folder.path().display().to_string())
        .await
        .unwrap();
    csv(folder.path(), "k=x", 2);
    let error = refusal(&session, "select * from t").await;
    assert!(error.contains("k=x") && error.contains("Int32"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_columns_of_the_files_work_together() {
    for layout in LAYOUTS {
        let session = session(layout, 3).await;
        let folder = scratch("partitions");
        for (partition, value) in [
            ("Ano=2023/m=1", 1),
            ("Ano=2023/m=2", 2),
            ("Ano=2024/m=1", 3),
        ] {
            csv(folder.path(), partition, value);
        }
        register(&session, "csv", &folder.path().display().to_string())
            .await
            .unwrap();
        for (sql, expected) in [
            ("select v from t where ano = 2023 and m + 1 = 3", &["2"][..]),
            (
                "select ano, sum(v) from t group by ano",
                &["2023|3", "2024|3"],
            ),
            ("select v from t where ano = '2024'", &["3"]),
            ("select m from t where v = 2", &["2"]),
            (
                "select a.v from t a join t b on a.m = b.m and a.ano = b.ano + 1",
                &["3"],
            ),
            ("select count(*) from t where ano > v + 2021", &["1"]),
            ("select max(ano) from t where m = 2", &["2023"]),
        ] {
            assert_eq!(query(&session, sql).await, expected, "{sql}");
        }
    }
}

/// The key of the first folder has a value, so its batches have no nulls.
#[tokio::test(flavor = "multi_thread")]
async fn null_keys_stay_null_in_what_is_written_after_other_keys() {
    let session = session(Layout::Embedded, 1).await;
    for format in ["csv", "json"] {
        for (value, data_type) in [
            ("1", "int"),
            ("1", "tinyint"),
            ("3000000000", "bigint"),
            ("2.5", "double"),
            ("2.5", "decimal(5, 2)"),
            ("2024-02-29", "date"),
            ("2024-02-29 10%3A00%3A00", "timestamp"),
            ("true", "boolean"),
            ("x", "string"),
        ] {
            let folder = scratch("partitions");
            let keys = [value, "__HIVE_DEFAULT_PARTITION__"];
            for (n, key) in keys.into_iter().enumerate() {
                let text = match format {
                    "csv" => format!("v\n{n}\n"),
                    _ => format!("{{\"v\":{n}}}\n"),
                };
                let file = format!("in/k={key}/a.{format}");
                write_text(&folder.path().join(file), text);
            }
            let (path, out) = (folder.path().join("in"), folder.path().join("out"));
            register(&session, format, path.to_str().unwrap())
                .await
                .unwrap();
            let copy = format!(
                "COPY (SELECT v, CAST(k AS {data_type}) AS k, named_struct('k', k) AS s FROM t) \
                 TO '{}' STORED AS PARQUET",
                out.display()
            );
            session.sql(&copy).await.unwrap().collect().await.unwrap();
            register(&session, "parquet", out.to_str().unwrap())
                .await
                .unwrap();
            let actual = query(&session, "select v, k is null, s.k is null from t").await;
            assert_eq!(
                actual,
                ["0|false|false", "1|true|true"],
                "{format} {data_type}"
            );
        }
    }
}
