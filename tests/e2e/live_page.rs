//! The page of a run while it goes on, over real HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{command, scratch, tpch_data};

/// A job that runs for a few seconds.
fn write_job(folder: &Path) -> PathBuf {
    let job = folder.join("job.yaml");
    let text = format!(
        "apiVersion: faisca.dev/v1alpha1
kind: SparkApplication
metadata: {{name: live-test}}
spec:
  conf: {{faisca.smallQueryBytes: \"0\"}}
  sources:
    - {{name: lineitem, path: {data}, format: parquet}}
  steps:
    - name: by_order
      sql: SELECT l_orderkey, count(*) AS n, max(l_comment) AS c FROM lineitem GROUP BY l_orderkey, l_shipdate, l_comment
      write: {{path: {out}/by_order, format: parquet, mode: overwrite}}
",
        data = tpch_data().join("lineitem").display(),
        out = folder.join("out").display()
    );
    std::fs::write(&job, text).unwrap();
    job
}

/// A run with a page, killed if its test fails.
struct Run {
    process: Child,
    address: SocketAddr,
    /// The part of the printed URL after the address.
    path: String,
}

impl Run {
    fn start(folder: &Path, ui: &str) -> Self {
        let mut process = command()
            .arg("run")
            .arg(write_job(folder))
            .args(["--executors", "2", ui])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = process.stdout.take().unwrap();
        let mut lines = BufReader::new(output).lines();
        let line = lines.next().unwrap().unwrap();
        // What follows is read, so that the run never waits for this test.
        std::thread::spawn(move || lines.for_each(drop));
        let url = line.strip_prefix("Page: http://").unwrap();
        let (address, path) = url.split_once('/').unwrap();
        let address = address.replace("0.0.0.0", "127.0.0.1").parse().unwrap();
        let path = format!("/{path}");
        Self {
            process,
            address,
            path,
        }
    }

    fn get(&self, path: &str) -> Response {
        get(self.address, path, &[]).unwrap()
    }

    /// Requests the state until it fulfils a condition.
    fn wait_for_state(&self, is_reached: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let state: Value = serde_json::from_str(&self.get("/state").body).unwrap();
            if is_reached(&state) {
                return state;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "{state}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Response {
    status: u16,
    head: String,
    body: String,
}

/// Sends a request for a path, with headers besides `Host`, or instead of it.
fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> std::io::Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        request += &format!("Host: {address}\r\n");
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    write!(stream, "{request}\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Ok(Response {
        status: status.ok_or(std::io::ErrorKind::InvalidData)?,
        head: head.to_lowercase(),
        body: body.to_owned(),
    })
}

#[test]
fn a_run_shows_what_it_does_while_it_runs_and_its_end() {
    let folder = scratch("live");
    let mut run = Run::start(folder.path(), "--ui=0");
    let state = run.wait_for_state(|state| state["tasks_finished"].as_u64() > Some(0));
    assert_eq!(state["state"], "running");
    assert_eq!(state["application"], "live-test");
    assert_eq!(state["executors_ready"].as_u64(), Some(2), "{state}");
    let page = run.get("/");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("script-src 'nonce-"), "{}", page.head);
    for part in [
        "Running</span> for",
        "by_order",
        "<h2 id=\"h-now\">Now</h2>",
        "stages/q1.s0",
        "Logs.",
    ] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    let tasks = run.get("/stages/q1.s0?order=longest");
    assert_eq!(tasks.status, 200);
    assert!(tasks.body.contains("finished") && tasks.body.contains("DataSourceExec"));
    for (path, status) in [
        ("/stages/q9.s9", 404),
        ("/other", 404),
        ("/stages/q1.s0?page=x", 404),
    ] {
        assert_eq!(run.get(path).status, status, "{path}");
    }
    assert!(
        run.get("/journal")
            .body
            .starts_with("{\"at_ms\":0,\"record\":\"run_started\"")
    );
    // Another site whose name points to this machine must not read it.
    let other = get(run.address, "/", &[("Host", "example.com")]).unwrap();
    assert_eq!(other.status, 403);
    // A browser requests the part that changes about once a second, and gets the end as well.
    let mut last = String::new();
    while let Ok(part) = get(run.address, "/?part=1", &[]) {
        last = part.body;
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(run.process.wait().unwrap().success());
    for part in ["data-state=\"ended\"", "Succeeded</span> in"] {
        assert!(last.contains(part), "{part}: {last}");
    }
    assert!(!last.contains("stages/q1.s0"), "its server has ended");
}

#[test]
fn a_page_beyond_loopback_needs_its_token() {
    let folder = scratch("live");
    let run = Run::start(folder.path(), "--ui=0.0.0.0:0");
    for path in ["/", "/state", "/journal", "/?token=0"] {
        assert_eq!(run.get(path).status, 403, "{path}");
    }
    let first = run.get(&run.path);
    assert_eq!(first.status, 303);
    let (_, cookie) = first.head.split_once("set-cookie: ").unwrap();
    assert!(cookie.contains("httponly") && cookie.contains("samesite=strict"));
    let cookie = cookie.split(';').next().unwrap();
    let page = get(run.address, "/", &[("Cookie", cookie)]).unwrap();
    assert_eq!(page.status, 200);
}

#[test]
fn a_page_that_cannot_be_served_names_its_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = scratch("live");
    let run = command()
        .arg("run")
        .arg(write_job(folder.path()))
        .arg(format!("--ui={address}"))
        .output()
        .unwrap();
    let error = String::from_utf8(run.stderr).unwrap();
    assert!(error.contains(&format!("--ui: {address}: ")), "{error}");
    assert_eq!(run.status.code(), Some(2), "{error}");
}
