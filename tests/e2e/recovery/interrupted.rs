//! A job that is cancelled leaves nothing behind.

use std::time::Duration;

use super::{children, is_alive, signal as send};
use crate::support::{command, files_below, scratch, tpch_data};

#[test]
fn an_interrupted_job_leaves_no_child_and_no_partial_output() {
    let folder = scratch("cancel");
    let out = folder.path().join("out");
    let script = folder.path().join("job.sql");
    let sql = format!(
        "CREATE EXTERNAL TABLE lineitem STORED AS PARQUET LOCATION '{}/'; COPY (SELECT a.* FROM lineitem a JOIN lineitem b ON a.l_orderkey = b.l_orderkey) TO '{}' STORED AS PARQUET;",
        tpch_data().join("lineitem").display(),
        out.display()
    );
    std::fs::write(&script, sql).unwrap();
    for signal in ["-INT", "-TERM", "-KILL"] {
        let mut job = command()
            .args(["run", script.to_str().unwrap(), "--executors", "2"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        let executors = children(job.id());
        assert_eq!(executors.len(), 2, "{signal}");
        send(job.id(), signal);
        let status = job.wait().unwrap();
        if signal != "-KILL" {
            assert_eq!(status.code(), Some(130), "{signal}");
        }
        std::thread::sleep(Duration::from_secs(3));
        for pid in executors {
            assert!(!is_alive(pid), "{signal}: executor {pid} is still there");
        }
        assert!(!out.exists());
        if signal != "-KILL" {
            assert_eq!(files_below(folder.path()), ["job.sql"], "{signal}");
        }
    }
}
