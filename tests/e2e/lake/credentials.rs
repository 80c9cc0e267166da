//! Who pays, which key encrypts, and who we are: what requests to AWS say of it.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use faisca::Session;
use faisca::prelude::*;
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::{put, query, stores};
use crate::s3_server::S3Server;
use crate::support::{command, output_text, scratch};

#[tokio::test(flavor = "multi_thread")]
async fn requests_say_who_pays_and_which_key_encrypts() {
    let server = S3Server::start().await;
    let mut settings = stores(&server);
    for bucket in settings.values_mut() {
        bucket.requester_pays = true;
        bucket.kms_key_id = Some("arn:aws:kms:us-east-1:1:key/lake".to_owned());
    }
    let session = Session::builder()
        .stores(settings)
        .partitions(2)
        .get_or_create()
        .await
        .unwrap();
    put(
        &session,
        "SELECT value AS a FROM generate_series(1, 1000)",
        SaveMode::Overwrite,
        "s3://lake/t",
    )
    .await
    .unwrap();
    let written = server.take_seen_headers();
    // A plain object (the commit's record) and an upload in parts: parts inherit the key of their
    // upload.
    for method in ["PUT", "POST"] {
        assert!(
            written.contains(&format!("{method} x-amz-server-side-encryption: aws:kms")),
            "{written:?}"
        );
        let key = format!(
            "{method} x-amz-server-side-encryption-aws-kms-key-id: arn:aws:kms:us-east-1:1:key/lake"
        );
        assert!(written.contains(&key), "{written:?}");
    }
    session
        .sql("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 's3://lake/t/'")
        .await
        .unwrap();
    assert_eq!(query(&session, "SELECT sum(a) FROM t").await, ["500500"]);
    let paying_requests = written
        .iter()
        .chain(&server.take_seen_headers())
        .filter(|header| header.ends_with("x-amz-request-payer: requester"))
        .count();
    assert_eq!(
        paying_requests,
        server.requests.load(std::sync::atomic::Ordering::Relaxed),
        "some request did not say who pays"
    );
    session.stop().await;
}

/// The services that issue credentials: STS, the agent of EKS, the metadata of an instance. All
/// return the same key, and a token that names the service.
struct Identities {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Identities {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(vec![]));
        let served = Self {
            url,
            requests: Arc::clone(&requests),
        };
        tokio::task::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let requests = Arc::clone(&requests);
                let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let requests = Arc::clone(&requests);
                    async move {
                        let (head, body) = request.into_parts();
                        let form =
                            String::from_utf8(body.collect().await?.to_bytes().to_vec()).unwrap();
                        let authorization = head
                            .headers
                            .get("authorization")
                            .map_or("", |value| value.to_str().unwrap());
                        requests.lock().unwrap().push(format!(
                            "{} {} {authorization} {form}",
                            head.method,
                            head.uri.path()
                        ));
                        Ok::<_, hyper::Error>(credentials_response(head.uri.path()))
                    }
                });
                tokio::task::spawn(
                    http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
                );
            }
        });
        served
    }
}

/// Far from expiry, so that it is asked for once.
const EXPIRES: &str = "2099-01-01T00:00:00Z";

fn credentials_response(path: &str) -> hyper::Response<Full<bytes::Bytes>> {
    let json = |token: &str| {
        format!(
            r#"{{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "test", "SecretAccessKey": "secret", "Token": "{token}", "Expiration": "{EXPIRES}", "LastUpdated": "2026-01-01T00:00:00Z"}}"#
        )
    };
    let body = match path {
        "/" => format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleWithWebIdentityResult><Credentials>\
             <AccessKeyId>test</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>web-identity</SessionToken>\
             <Expiration>{EXPIRES}</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        ),
        "/v1/credentials" => json("pod-identity"),
        "/latest/api/token" => "session".to_owned(),
        "/latest/meta-data/iam/security-credentials/" => "node".to_owned(),
        "/latest/meta-data/iam/security-credentials/node" => json("instance"),
        _ => {
            return hyper::Response::builder()
                .status(404)
                .body(Full::default())
                .unwrap();
        }
    };
    hyper::Response::builder()
        .header("x-aws-ec2-metadata-token-ttl-seconds", "21600")
        .body(Full::from(body))
        .unwrap()
}

/// A way to credentials: name, which is also the token that the store must see; variables; what the
/// service must be asked.
type CredentialSource = (&'static str, Vec<(&'static str, String)>, &'static str);

fn credential_sources(folder: &Path, identities: &str) -> [CredentialSource; 4] {
    let file = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name).display().to_string()
    };
    let profile = "[profile lake]\nregion = us-east-1\n[lake]\naws_access_key_id = test\naws_secret_access_key = secret\naws_session_token = profile\n";
    [
        (
            "profile",
            vec![
                ("AWS_SHARED_CREDENTIALS_FILE", file("profiles", profile)),
                ("AWS_PROFILE", "lake".to_owned()),
            ],
            "",
        ),
        (
            "web-identity",
            vec![
                (
                    "AWS_WEB_IDENTITY_TOKEN_FILE",
                    file("web", "of-the-service-account"),
                ),
                ("AWS_ROLE_ARN", "arn:aws:iam::1:role/lake".to_owned()),
                ("AWS_ENDPOINT_URL_STS", identities.to_owned()),
            ],
            "WebIdentityToken=of-the-service-account",
        ),
        (
            "pod-identity",
            vec![
                (
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                    format!("{identities}/v1/credentials"),
                ),
                (
                    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                    file("pod", "of-the-pod"),
                ),
            ],
            "GET /v1/credentials of-the-pod",
        ),
        (
            "instance",
            vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", identities.to_owned())],
            "GET /latest/meta-data/iam/security-credentials/node",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_come_from_wherever_aws_tools_find_them() {
    let (server, folder, identities) = (
        S3Server::start().await,
        scratch("lake"),
        Identities::start().await,
    );
    let session = Session::builder()
        .stores(stores(&server))
        .get_or_create()
        .await
        .unwrap();
    put(
        &session,
        "SELECT value AS a FROM generate_series(1, 1000)",
        SaveMode::Overwrite,
        "s3://lake/t",
    )
    .await
    .unwrap();
    session.stop().await;
    for (source, variables, expected_request) in credential_sources(folder.path(), &identities.url)
    {
        server.take_seen_headers();
        let mut job = command();
        // Executors find their credentials themselves: none travels.
        job.args(["sql", "--executors", "1", "-c", "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 's3://lake/t/'; SELECT sum(a) FROM t"]);
        job.args(["--conf", "faisca.smallQueryBytes=0"])
            .stdin(Stdio::null());
        let environment = server
            .environment()
            .into_iter()
            .filter(|(name, _)| !name.starts_with("AWS_ACCESS") && !name.starts_with("AWS_SECRET"));
        job.env("HOME", folder.path())
            .envs(environment)
            .envs(variables);
        let output = tokio::task::spawn_blocking(move || job.output().unwrap())
            .await
            .unwrap();
        let text = output_text(&output);
        assert!(
            output.status.success() && text.contains("500500"),
            "{source}: {text}"
        );
        let seen_headers = server.take_seen_headers();
        assert!(
            !seen_headers.is_empty()
                && seen_headers
                    .iter()
                    .all(|line| line.ends_with(&format!("x-amz-security-token: {source}"))),
            "{source}: {seen_headers:?}"
        );
        let requests = std::mem::take(&mut *identities.requests.lock().unwrap());
        assert_eq!(
            requests
                .iter()
                .any(|request| request.contains(expected_request)),
            !expected_request.is_empty(),
            "{source}: {requests:?}"
        );
        assert!(
            !text.contains("of-the-") && !text.contains("secret"),
            "{source}: {text}"
        );
    }
}
