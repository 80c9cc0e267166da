//! Errors of a lake that say how to fix the mistake.

use faisca::Session;
use faisca::prelude::*;
use faisca_planner::manifest::SecretRef;

use super::{put, session, stores};
use crate::s3_server::{Act, S3Server};
use crate::support::scratch;

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_reported_by_name() {
    let (server, warehouse) = (S3Server::start().await, scratch("lake"));
    let open = session(&server, warehouse.path()).await;
    let error = put(&open, "SELECT 1 AS a", SaveMode::Append, "s3://other/t")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("NoSuchBucket") && error.contains("check its name"),
        "{error}"
    );
    let error = open
        .read()
        .parquet("s3://lake/nothing/")
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("no data files in this folder: s3://lake/nothing/"),
        "{error}"
    );
    let error = put(&open, "SELECT 1 AS a", SaveMode::Append, "s3://lake")
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("whole bucket"), "{error}");
    open.stop().await;
    let mut settings = stores(&server);
    std::fs::write(server.root.path().join("key"), "wrong").unwrap();
    let session = Session::builder()
        .stores(settings.clone())
        .get_or_create()
        .await
        .unwrap();
    let error = session
        .read()
        .parquet("s3://lake/t/")
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("the secret access key is wrong") && !error.contains("wrong\n"),
        "{error}"
    );
    session.stop().await;
    for settings in settings.values_mut() {
        let token = SecretRef::Env("FAISCA_NO_SUCH_TOKEN".to_owned());
        settings.credentials.as_mut().unwrap().session_token = Some(token);
    }
    let session = Session::builder()
        .stores(settings)
        .get_or_create()
        .await
        .unwrap();
    let error = session
        .read()
        .parquet("s3://lake/t/")
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("FAISCA_NO_SUCH_TOKEN"), "{error}");
    session.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_of_the_store_become_advice() {
    let (server, warehouse) = (S3Server::start().await, scratch("lake"));
    let session = session(&server, warehouse.path()).await;
    put(
        &session,
        "SELECT 1 AS a",
        SaveMode::Overwrite,
        "s3://lake/t",
    )
    .await
    .unwrap();
    for (status, code, advice) in [
        (403, "AccessDenied", "access denied"),
        (400, "ExpiredToken", "have expired"),
        (403, "RequestTimeTooSkewed", "clock"),
        (403, "InvalidAccessKeyId", "unknown to the store"),
        (400, "KMS.DisabledException", "KMS"),
    ] {
        server.on_request(move |_, _| Act::Refuse(status, code));
        let error = session
            .read()
            .parquet("s3://lake/t/")
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(code) && error.contains(advice), "{error}");
        let error = put(
            &session,
            "SELECT 2 AS a",
            SaveMode::Overwrite,
            "s3://lake/t",
        )
        .await
        .unwrap_err()
        .to_string();
        assert!(error.contains(code) && error.contains(advice), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    server.pass_all();
    session.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_vanishes_after_its_listing_is_an_error() {
    let (server, warehouse) = (S3Server::start().await, scratch("lake"));
    let session = session(&server, warehouse.path()).await;
    put(
        &session,
        "SELECT value AS a FROM generate_series(1, 3)",
        SaveMode::Overwrite,
        "s3://lake/t",
    )
    .await
    .unwrap();
    session
        .sql("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 's3://lake/t/'")
        .await
        .unwrap();
    server.on_request(|method, uri| {
        if method == "GET" && uri.contains(".parquet") {
            Act::Refuse(404, "NoSuchKey")
        } else {
            Act::Pass
        }
    });
    let error = session
        .sql("SELECT * FROM t")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("the object no longer exists"), "{error}");
    server.pass_all();
    assert_eq!(
        super::query(&session, "SELECT sum(a) FROM t").await,
        ["6"],
        "something was lost"
    );
    session.stop().await;
}
