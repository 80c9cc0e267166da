//! SQL behaviour in `.slt` files, run twice: on DataFusion alone, and on the cluster.
//!
//! `FAISCA_SLT_UPDATE=1 cargo test --release slt` lets DataFusion alone write the expected rows.
//! Records marked `skipif datafusion` are those for which DataFusion is wrong (see
//! `right_results`); their rows are DuckDB's.

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::prelude::SessionContext;
use faisca::Session;
use faisca_planner::rules::Switches;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};

use crate::support::{LAYOUTS, oracle_over, register_folders, rows, scratch, session};

const TABLES: [&str; 3] = ["t", "u", "e"];

enum Engine {
    DataFusion(SessionContext),
    Faisca(Session),
}

#[async_trait]
impl AsyncDB for Engine {
    type Error = std::io::Error;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, std::io::Error> {
        let batches = match self {
            Self::DataFusion(context) => match context.sql(sql).await {
                Ok(frame) => frame.collect().await.map_err(std::io::Error::other)?,
                Err(error) => return Err(std::io::Error::other(error)),
            },
            Self::Faisca(session) => {
                let frame = session.sql(sql).await.map_err(std::io::Error::other)?;
                frame.collect().await.map_err(std::io::Error::other)?
            }
        };
        Ok(output(&batches))
    }

    async fn shutdown(&mut self) {}
}

fn output(batches: &[RecordBatch]) -> DBOutput<DefaultColumnType> {
    let columns = batches.first().map_or(0, RecordBatch::num_columns);
    let rows = rows(batches).into_iter().map(|row| vec![row]).collect();
    DBOutput::Rows {
        types: vec![DefaultColumnType::Any; columns.min(1)],
        rows,
    }
}

/// Small tables over several files, with nulls, duplicates, nested values, and one that is empty.
async fn data(folder: &Path) {
    let context = SessionContext::new();
    let t = "SELECT value AS id, value % 7 AS k, CASE WHEN value % 11 = 0 THEN NULL ELSE value % 13 END AS n,
             CASE WHEN value % 5 = 0 THEN NULL ELSE concat('s', value % 10) END AS s, value * 1.5 AS f,
             CAST(value AS DECIMAL(12, 2)) / 4 AS d, CAST(DATE '2020-01-01' + CAST(value % 400 AS INT) AS DATE) AS day,
             [value, value % 3] AS l, named_struct('x', value % 4, 'y', concat('y', value % 2)) AS st, value % 2 = 0 AS even";
    let u = "SELECT value AS uid, value % 9 AS k, CASE WHEN value % 4 = 0 THEN NULL ELSE value % 17 END AS n,
             concat('s', value % 12) AS s, value * 10 AS v";
    for part in 0..4 {
        for (table, columns, size) in [("t", t, 250), ("u", u, 75), ("e", u, 0)] {
            if table == "e" && part > 0 {
                continue;
            }
            let (start, end) = (part * size, (part + 1) * size);
            let path = folder.join(table).join(format!("{part}.parquet"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let sql = format!(
                "COPY ({columns} FROM range({start}, {end}) AS r(value)) TO '{}' STORED AS PARQUET",
                path.display()
            );
            context.sql(&sql).await.unwrap().collect().await.unwrap();
        }
    }
    // Without rows COPY writes no file.
    if !folder.join("e/0.parquet").exists() {
        let sql = format!(
            "COPY ({u} FROM range(0, 1) AS r(value)) TO '{}/e/0.parquet' STORED AS PARQUET",
            folder.display()
        );
        context.sql(&sql).await.unwrap().collect().await.unwrap();
    }
}

fn corpus() -> Vec<PathBuf> {
    let files = files("tests/e2e/slt");
    assert!(files.len() >= 6);
    files
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "slt"))
        .collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn the_corpus_holds_on_one_datafusion_process() {
    let folder = scratch("slt");
    data(folder.path()).await;
    for file in corpus() {
        let path = folder.path().to_path_buf();
        let mut runner = Runner::new(move || {
            let path = path.clone();
            async move { Ok(Engine::DataFusion(oracle_over(&path, &TABLES).await)) }
        });
        runner.add_label("datafusion");
        if std::env::var_os("FAISCA_SLT_UPDATE").is_some() {
            let normalize = sqllogictest::default_normalizer;
            runner
                .update_test_file(
                    &file,
                    " ",
                    sqllogictest::default_validator,
                    normalize,
                    sqllogictest::default_column_validator,
                )
                .await
                .unwrap();
        } else {
            runner.run_file_async(&file).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_corpus_holds_on_every_cluster() {
    let folder = scratch("slt");
    data(folder.path()).await;
    for layout in LAYOUTS {
        for partitions in [1, 7] {
            let session = session(layout, partitions).await;
            register_folders(&session, folder.path(), &TABLES).await;
            run_corpus(&session, &format!("{layout:?} × {partitions}")).await;
            session.stop().await;
        }
    }
}

/// What Spark documents, which DataFusion alone does not know.
#[tokio::test(flavor = "multi_thread")]
async fn sql_means_what_spark_documents() {
    for layout in LAYOUTS {
        let session = session(layout, 4).await;
        run_files(&session, &files("tests/e2e/spark"), &format!("{layout:?}")).await;
        session.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_corpus_holds_without_rules_and_with_each_alone() {
    let folder = scratch("slt");
    data(folder.path()).await;
    for layout in LAYOUTS {
        let session = session(layout, 4).await;
        register_folders(&session, folder.path(), &TABLES).await;
        for enabled_rule in std::iter::once("none".to_owned()).chain(Switches::names()) {
            for rule in Switches::names() {
                session
                    .sql(&format!("SET faisca.{rule} = {}", rule == enabled_rule))
                    .await
                    .unwrap();
            }
            run_corpus(&session, &format!("{layout:?} with {enabled_rule} alone")).await;
        }
        session.stop().await;
    }
}

async fn run_corpus(session: &Session, description: &str) {
    run_files(session, &corpus(), description).await;
}

async fn run_files(session: &Session, files: &[PathBuf], description: &str) {
    for file in files {
        let session = session.clone();
        let mut runner = Runner::new(move || {
            let session = session.clone();
            async move { Ok(Engine::Faisca(session)) }
        });
        runner
            .run_file_async(file)
            .await
            .unwrap_or_else(|e| panic!("{description}: {e}"));
    }
}
