//! Stores that are not S3. `just clouds` runs the pipeline on servers of Azure's and Google's
//! protocols.

use std::path::Path;
use std::sync::Arc;

use faisca::Session;
use faisca::prelude::*;
use http_body_util::Full;
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, LAST_MODIFIED, RANGE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::query;
use crate::s3_server::S3Server;
use crate::support::{command, output_text, scratch};

type Answer = hyper::Response<Full<bytes::Bytes>>;

/// Files of a folder, whole and in ranges, as any web server gives them.
fn file(folder: &Path, request: &hyper::Request<hyper::body::Incoming>) -> Answer {
    let path = request.uri().path().replace("%20", " ");
    let Ok(all) = std::fs::read(folder.join(path.trim_start_matches('/'))) else {
        return hyper::Response::builder()
            .status(404)
            .body(Full::default())
            .unwrap();
    };
    let builder = hyper::Response::builder().header(LAST_MODIFIED, "Mon, 23 Nov 2026 00:00:00 GMT");
    if request.method() == "HEAD" {
        return builder
            .header(CONTENT_LENGTH, all.len())
            .body(Full::default())
            .unwrap();
    }
    let range = request
        .headers()
        .get(RANGE)
        .and_then(|value| value.to_str().unwrap().strip_prefix("bytes="));
    let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
        return builder.body(Full::from(all)).unwrap();
    };
    let (first, last) = match first.parse::<usize>() {
        Ok(first) => (
            first,
            last.parse()
                .map_or(all.len(), |last: usize| (last + 1).min(all.len())),
        ),
        Err(_) => (all.len().saturating_sub(last.parse().unwrap()), all.len()),
    };
    let range = format!("bytes {first}-{}/{}", last - 1, all.len());
    builder
        .status(206)
        .header(CONTENT_RANGE, range)
        .body(Full::from(all[first..last].to_vec()))
        .unwrap()
}

async fn serve(folder: &Path) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let folder: Arc<Path> = folder.into();
    tokio::task::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            let folder = Arc::clone(&folder);
            let answer = service_fn(move |request| {
                std::future::ready(Ok::<_, std::convert::Infallible>(file(&folder, &request)))
            });
            tokio::task::spawn(
                http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
            );
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_web_server_are_read_and_never_written() {
    let folder = scratch("http");
    let session = Session::builder()
        .partitions(4)
        .config("faisca.smallQueryBytes", "0")
        .get_or_create()
        .await
        .unwrap();
    let local = folder.path().join("t").display().to_string();
    super::put(
        &session,
        "SELECT value AS a, value % 7 AS k FROM generate_series(1, 50000)",
        SaveMode::Overwrite,
        &local,
    )
    .await
    .unwrap();
    let name = crate::support::files_below(&folder.path().join("t"))
        .into_iter()
        .find(|name| name.ends_with(".parquet"))
        .unwrap();
    std::fs::rename(
        folder.path().join("t").join(name),
        folder.path().join("a file.parquet"),
    )
    .unwrap();
    std::fs::write(folder.path().join("names.csv"), "k;name\n0;zero\n1;um\n").unwrap();
    let url = serve(folder.path()).await;
    session
        .read()
        .parquet(&format!("{url}/a file.parquet"))
        .await
        .unwrap()
        .create_or_replace_temp_view("t")
        .unwrap();
    session
        .read()
        .option("delimiter", ";")
        .csv(&format!("{url}/names.csv"))
        .await
        .unwrap()
        .create_or_replace_temp_view("names")
        .unwrap();
    assert_eq!(
        query(
            &session,
            "SELECT name, count(*) FROM t JOIN names USING (k) GROUP BY name"
        )
        .await,
        ["um|7143", "zero|7142"]
    );
    let missing = format!("{url}/none.parquet");
    let error = session.read().parquet(&missing).await.err().unwrap();
    let error = error.to_string();
    assert!(error.contains("none.parquet"), "{error}");
    let out = format!("{url}/out");
    let error = super::put(&session, "SELECT 1 AS a", SaveMode::Overwrite, &out)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`http://` can be read, but not written"),
        "{error}"
    );
    session.stop().await;
}

/// Google's XML interface to multipart uploads is S3's, which its usual emulator lacks.
#[tokio::test(flavor = "multi_thread")]
async fn googles_store_takes_uploads_that_the_driver_completes() {
    let (server, folder) = (S3Server::start_open().await, scratch("gcs"));
    let account = folder.path().join("account.json");
    let text = serde_json::json!({"gcs_base_url": server.url, "disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": ""});
    std::fs::write(&account, text.to_string()).unwrap();
    let faisca = async |statement: &str| {
        let mut command = command();
        command
            .args(["sql", "--conf", "faisca.smallQueryBytes=0", "-c", statement])
            .env("GOOGLE_SERVICE_ACCOUNT", &account);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap();
        let text = output_text(&output);
        assert!(output.status.success(), "{text}");
        text
    };
    for rows in [5000, 3000] {
        let numbers = format!("SELECT value AS a FROM generate_series(1, {rows})");
        faisca(&format!(
            "COPY ({numbers}) TO 'gs://lake/t/' STORED AS PARQUET OPTIONS ('mode' 'overwrite')"
        ))
        .await;
        let output = faisca("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 'gs://lake/t/'; SELECT count(DISTINCT a), count(*) FROM t").await;
        assert_eq!(output.matches(&rows.to_string()).count(), 2, "{output}");
        assert_eq!(
            (server.visible("t").len(), server.open_uploads().len()),
            (1, 0)
        );
    }
}
