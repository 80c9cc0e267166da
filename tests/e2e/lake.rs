//! A data lake: object storage that fails, processes that die, tables by name.

mod by_path;
mod commits;
mod credentials;
mod durable;
mod faults;
mod mistakes;
mod others;
mod partitions;
mod records;
mod tables;

use std::path::Path;

use faisca::Session;
use faisca::prelude::*;
use faisca_planner::manifest::{SecretRef, StoreCredentials, StoreSettings, Stores};

use crate::s3_server::S3Server;
use crate::support::{session_rows, sorted};

/// Settings that reach the server without the environment, which all tests share.
pub fn stores(server: &S3Server) -> Stores {
    let folder = server.root.path();
    let secret = |name: &str, value: &str| {
        std::fs::write(folder.join(name), value).unwrap();
        SecretRef::File(folder.join(name).display().to_string())
    };
    let credentials = StoreCredentials {
        access_key_id: secret("id", "test"),
        secret_access_key: secret("key", "secret"),
        session_token: None,
    };
    let settings = StoreSettings {
        endpoint: Some(server.url.clone()),
        credentials: Some(credentials),
        region: Some("us-east-1".to_owned()),
        ..Default::default()
    };
    Stores::from([("s3://".to_owned(), settings)])
}

pub async fn session(server: &S3Server, warehouse: &Path) -> Session {
    let builder = Session::builder()
        .stores(stores(server))
        .partitions(4)
        .config("faisca.smallQueryBytes", "0");
    builder
        .config("faisca.warehouse", warehouse.display().to_string())
        .get_or_create()
        .await
        .unwrap()
}

pub async fn query(session: &Session, sql: &str) -> Vec<String> {
    sorted(session_rows(session, sql).await)
}

pub async fn put(session: &Session, sql: &str, mode: SaveMode, path: &str) -> faisca::Result<()> {
    session
        .sql(sql)
        .await
        .unwrap()
        .write()
        .mode(mode)
        .parquet(path)
        .await
        .map(drop)
}

pub const JOB: &str = r#"
apiVersion: faisca.dev/v1alpha1
kind: SparkApplication
metadata: {name: lake}
spec:
  parameters: {n: "10", mode: overwrite}
  steps:
    - name: numbers
      sql: SELECT value AS Id, value % 3 AS K, CAST(value AS INT UNSIGNED) AS U FROM generate_series(1, ${n})
      write:
        path: s3://lake/numbers/
        mode: overwrite
        catalog: {type: local, database: d, createDatabase: true, comment: all of them, columnComments: {id: the number}}
    - name: by_k
      sql: SELECT Id, K FROM local.d.numbers
      write:
        path: s3://lake/by_k/
        mode: overwrite
        partitionBy: [K]
        partitionOverwrite: PARTS
        catalog: {type: local, database: d}
"#;
