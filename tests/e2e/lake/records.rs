//! Commit records that someone else has put into a folder.

use faisca::prelude::*;
use serde_json::{Value, json};

use super::{JOB, put, query, session};
use crate::s3_server::S3Server;
use crate::support::{command, scratch};

const TARGET: &str = "s3://lake/public/out";

/// Puts a record into the folder `public/out`: that of its last commit, unfinished, with these
/// fields.
fn plant(server: &S3Server, fields: &Value) {
    let records = server.root.path().join("lake/public/out/_faisca");
    let last = std::fs::read(records.join("commit-0000000001.json")).unwrap();
    let mut record: Value = serde_json::from_slice(&last).unwrap();
    record["state"] = json!("completing");
    for (name, value) in fields.as_object().unwrap() {
        record[name] = value.clone();
    }
    std::fs::write(records.join("commit-0000000002.json"), record.to_string()).unwrap();
}

fn clean() -> std::process::Command {
    let mut clean = command();
    clean.args(["clean", TARGET, "--apply", "--older-than", "0"]);
    clean
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_record_removes_nothing_of_other_folders() {
    let (server, warehouse) = (S3Server::start().await, scratch("lake"));
    let session = session(&server, warehouse.path()).await;
    let payroll = "s3://lake/payroll";
    put(&session, "SELECT 1 AS salary", SaveMode::Append, payroll)
        .await
        .unwrap();
    put(&session, "SELECT 1 AS a", SaveMode::Append, TARGET)
        .await
        .unwrap();
    let salaries = server.visible("payroll");
    assert_eq!(salaries.len(), 1);
    plant(
        &server,
        &json!({"remove": [format!("payroll/{}", salaries[0])]}),
    );

    let written = put(&session, "SELECT 2 AS a", SaveMode::Append, TARGET).await;
    let error = written.unwrap_err().to_string();
    assert!(
        error.contains("commit-0000000002.json is refused") && error.contains(&salaries[0]),
        "{error}"
    );
    let cleaned = clean().envs(server.environment()).output().unwrap();
    assert!(!cleaned.status.success());
    assert_eq!(server.visible("payroll"), salaries);
    session.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_record_moves_no_table_of_other_folders() {
    let (server, warehouse) = (S3Server::start().await, scratch("lake"));
    let job = warehouse.path().join("job.yaml");
    std::fs::write(&job, JOB.replace("PARTS", "static")).unwrap();
    let conf = format!("faisca.warehouse={}", warehouse.path().display());
    let run = command()
        .args(["run", job.to_str().unwrap(), "--conf", &conf])
        .envs(server.environment())
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let session = session(&server, warehouse.path()).await;
    put(&session, "SELECT 1 AS id", SaveMode::Append, TARGET)
        .await
        .unwrap();
    let registration = json!({
        "kind": "local", "database": "d", "create_database": false, "skip_archive": false,
        "on_schema_change": "fail", "partitions": null,
        "commit": format!("{TARGET}/_faisca/commit-0000000002.json"),
        "table": {
            "name": "numbers", "columns": [], "partition_keys": [], "parameters": {},
            "location": format!("{TARGET}/"), "format": "parquet",
        },
    });
    plant(&server, &json!({"registration": registration}));

    let numbers = "SELECT count(*) FROM local.d.numbers";
    let written = put(&session, "SELECT 2 AS id", SaveMode::Append, TARGET).await;
    let error = written.unwrap_err().to_string();
    assert!(error.contains("would move the table d.numbers"), "{error}");
    let cleaned = clean()
        .args(["--conf", &conf])
        .envs(server.environment())
        .output();
    assert!(!cleaned.unwrap().status.success());
    assert_eq!(query(&session, numbers).await, ["10"]);
    session.stop().await;
}
