//! The job API: DataFusion's DataFrames underneath, functions that travel.

use arrow::datatypes::DataType;
use faisca::prelude::*;
use faisca_generate::enem;

use crate::support::{Layout, rows, scratch, session, session_rows, sorted};

async fn titanic(session: &Session) -> DataFrame {
    session
        .read()
        .option("delimiter", ";")
        .csv("examples/titanic/titanic.csv")
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn datafusion_frames_run_on_the_fleet_too() {
    let session = session(Layout::Processes(2), 4).await;
    let titanic = titanic(&session).await;
    let before = session
        .progress()
        .executors
        .values()
        .map(|e| e.tasks)
        .sum::<u32>();
    let inner = titanic.clone().into_inner();
    let rows_of_group =
        datafusion::functions_aggregate::expr_fn::count(datafusion::prelude::lit(1));
    let counted = inner
        .aggregate(vec![datafusion::prelude::ident("Sex")], vec![rows_of_group])
        .unwrap()
        .collect()
        .await
        .unwrap();
    assert_eq!(sorted(rows(&counted)), ["female|314", "male|577"]);
    assert!(
        session
            .progress()
            .executors
            .values()
            .map(|e| e.tasks)
            .sum::<u32>()
            > before
    );
    assert_eq!(titanic.count().await.unwrap(), 891);
    session.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spark_verbs_resolve_columns_in_any_case_and_keep_the_datas() {
    let session = session(Layout::Embedded, 3).await;
    let titanic = titanic(&session).await;
    let transformed = titanic
        .clone()
        .filter(col("AGE").gt(lit(60.0)))
        .unwrap()
        .with_column("Old", lit(true))
        .unwrap()
        .with_column_renamed("fare", "Preco")
        .unwrap()
        .drop_columns(&["cabin", "ticket", "name"])
        .unwrap();
    let names: Vec<_> = transformed
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    assert_eq!(
        names,
        [
            "PassengerId",
            "Survived",
            "Pclass",
            "Sex",
            "Age",
            "SibSp",
            "Parch",
            "Preco",
            "Embarked",
            "Old"
        ]
    );
    assert_eq!(transformed.clone().count().await.unwrap(), 22);
    let joined = transformed
        .join(titanic, &["passengerid"], JoinType::Left)
        .unwrap();
    assert_eq!(
        joined
            .schema()
            .fields()
            .iter()
            .filter(|f| f.name() == "PassengerId")
            .count(),
        1
    );
    assert_eq!(joined.count().await.unwrap(), 22);
    let error = session
        .read()
        .option("delimter", ";")
        .csv("x")
        .await
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("did you mean `delimiter`?"),
        "{error}"
    );
    session.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn written_tables_are_read_back_with_their_partitions() {
    let folder = scratch("api");
    let out = folder.path().join("by_sex");
    let session = session(Layout::Processes(2), 4).await;
    let titanic = titanic(&session).await;
    let summary = titanic
        .write()
        .mode(SaveMode::Overwrite)
        .partition_by(["sex"])
        .parquet(out.to_str().unwrap())
        .await
        .unwrap();
    assert_eq!(summary.rows, 891);
    assert!(out.join("Sex=female").is_dir() && out.join("Sex=male").is_dir());
    let back = session.read().parquet(out.to_str().unwrap()).await.unwrap();
    let counted = back
        .group_by(vec![col("sex")])
        .agg(vec![count(lit(1))])
        .unwrap();
    assert_eq!(counted.schema().field(0).data_type(), &DataType::Utf8);
    assert_eq!(
        sorted(rows(&counted.collect().await.unwrap())),
        ["female|314", "male|577"]
    );
    session.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_table_is_found_by_name_and_overwritten_as_a_whole() {
    let folder = scratch("warehouse");
    let warehouse = folder.path().to_str().unwrap();
    let session = Session::builder()
        .config("spark.sql.warehouse.dir", warehouse)
        .get_or_create()
        .await
        .unwrap();
    let titanic = titanic(&session).await;
    let women = titanic
        .clone()
        .filter(col("sex").eq(lit("female")))
        .unwrap();
    women
        .write()
        .mode(SaveMode::Overwrite)
        .save_as_table("Pessoas")
        .await
        .unwrap();
    assert_eq!(
        session
            .table("pessoas")
            .await
            .unwrap()
            .count()
            .await
            .unwrap(),
        314
    );
    let error = titanic
        .clone()
        .write()
        .mode(SaveMode::ErrorIfExists)
        .save_as_table("PESSOAS")
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("pessoas"), "{error}");
    titanic
        .write()
        .mode(SaveMode::Overwrite)
        .save_as_table("pessoas")
        .await
        .unwrap();
    assert_eq!(
        session_rows(&session, "SELECT count(*) FROM PESSOAS").await,
        ["891"]
    );
    assert!(folder.path().join("pessoas").is_dir());
    session.stop().await;
}

#[test]
fn a_programs_own_function_travels_to_its_executors() {
    let folder = scratch("udf");
    enem(folder.path(), 3_000).unwrap();
    // Cargo builds examples beside the tests.
    let tests = std::env::current_exe().unwrap();
    let example = tests
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/enem");
    let run = std::process::Command::new(example)
        .arg(folder.path())
        .arg("2")
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    assert!(
        String::from_utf8_lossy(&run.stdout).contains("3000 rows"),
        "{}",
        String::from_utf8_lossy(&run.stdout)
    );
}
