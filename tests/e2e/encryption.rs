//! Driver and executors of a job encrypt their connections, and refuse the members of other jobs.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use arrow_flight::FlightDescriptor;
use arrow_flight::flight_service_client::FlightServiceClient;
use faisca_executor::protocol::flight::{Credentials, Encryption, connect};
use tonic::{Code, Request};

use crate::recovery::children;
use crate::support::{command, scratch, tpch_data};

/// A job whose connections are encrypted although they stay on this machine.
struct Job {
    child: Child,
    executor: u32,
    /// The environment of its executor.
    environment: HashMap<String, String>,
}

impl Job {
    #[expect(clippy::zombie_processes, reason = "`count` waits for the process")]
    fn start() -> Self {
        let child = command()
            .args(["sql", "--executors", "1", "--executor-cores", "1"])
            .args(["--conf", "faisca.network.encryption=on"])
            .env("HOME", env!("CARGO_TARGET_TMPDIR"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let started = Instant::now();
        loop {
            if let Some(executor) = children(child.id()).first() {
                let text = std::fs::read_to_string(format!("/proc/{executor}/environ"));
                let variables = text.unwrap_or_default();
                let pairs = variables.split('\0').filter_map(|v| v.split_once('='));
                let environment: HashMap<String, String> =
                    pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
                if environment.contains_key("FAISCA_DRIVER") {
                    return Self {
                        child,
                        executor: *executor,
                        environment,
                    };
                }
            }
            assert!(started.elapsed().as_secs() < 20, "no executor");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn driver(&self) -> &str {
        &self.environment["FAISCA_DRIVER"]
    }

    fn token(&self) -> &str {
        &self.environment["FAISCA_TOKEN"]
    }

    /// Counts the rows of a table over the fleet, then ends.
    fn count(mut self) -> String {
        let mut stdin = self.child.stdin.take().unwrap();
        let table = tpch_data().join("orders");
        writeln!(
            stdin,
            "CREATE EXTERNAL TABLE orders STORED AS PARQUET LOCATION '{}/';\nSELECT count(*), sum(o_orderkey) FROM orders;",
            table.display()
        )
        .unwrap();
        drop(stdin);
        let mut text = String::new();
        let mut stdout = self.child.stdout.take().unwrap();
        stdout.read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success());
        text
    }
}

/// Calls a method that no process serves. A member receives that status; others do not get that
/// far.
async fn call(address: &str, credentials: &Credentials) -> Result<Code, String> {
    let channel = connect(address, credentials)
        .await
        .map_err(|e| e.to_string())?;
    let mut request = Request::new(FlightDescriptor::default());
    credentials.authorize(&mut request).unwrap();
    let response = FlightServiceClient::new(channel)
        .get_flight_info(request)
        .await;
    match response.map_err(|status| status.code()) {
        Err(code @ (Code::Unimplemented | Code::Unauthenticated)) => Ok(code),
        other => Err(format!("{other:?}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_another_job_is_refused_by_its_certificate() {
    let (job, other) = (Job::start(), Job::start());
    assert!(job.driver().starts_with("https://"), "{}", job.driver());

    let own = Credentials::new(job.token(), Encryption::On).unwrap();
    assert_eq!(call(job.driver(), &own).await, Ok(Code::Unimplemented));
    let stranger = Credentials::new(other.token(), Encryption::On).unwrap();
    assert!(call(job.driver(), &stranger).await.is_err());
    let plain = job.driver().replace("https:", "http:");
    let unencrypted = Credentials::unencrypted(job.token());
    assert!(call(&plain, &unencrypted).await.is_err());

    // An executor of the other job that dials this driver ends, and the job does not notice.
    let mut lost = command();
    lost.envs(&other.environment)
        .env("FAISCA_DRIVER", job.driver())
        .stderr(Stdio::null());
    assert!(!lost.status().unwrap().success());
    assert!(std::path::Path::new(&format!("/proc/{}", job.executor)).exists());
    assert!(job.count().contains("1500000"));
    assert!(other.count().contains("1500000"));
}

#[test]
fn what_the_wire_shows_of_an_encrypted_job_is_no_row_and_no_token() {
    let job = Job::start();
    let port: u16 = job.driver().rsplit(':').next().unwrap().parse().unwrap();
    // A server of TLS does not speak HTTP/2 to those who do not.
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    let mut reply = vec![];
    let _ = stream.read_to_end(&mut reply);
    // An alert of TLS (21), or nothing.
    assert!(reply.first().is_none_or(|first| *first == 21), "{reply:?}");
    job.count();
}

#[test]
fn a_program_that_is_replaced_while_it_runs_starts_executors_of_its_own_build() {
    let folder = scratch("replaced");
    let program = folder.path().join("faisca");
    std::fs::copy(env!("CARGO_BIN_EXE_faisca"), &program).unwrap();
    let script = folder.path().join("job.sql");
    let out = folder.path().join("out");
    std::fs::write(
        &script,
        format!(
            "COPY (SELECT 1 AS n) TO '{}' STORED AS PARQUET;",
            out.display()
        ),
    )
    .unwrap();
    // The shell replaces the file after the program was loaded, and before it starts its executors.
    let line = format!(
        "exec 9<{p}; rm {p}; printf '#!/bin/sh\\nexit 78\\n' > {p}; chmod +x {p}; exec /proc/self/fd/9 run {} --executors 1",
        script.display(),
        p = program.display()
    );
    let run = std::process::Command::new("sh")
        .args(["-c", &line])
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{message}");
    assert!(out.exists());
}
