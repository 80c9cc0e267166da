//! Too little memory, disks that are full or closed, executors that cannot serve.

use std::os::unix::fs::PermissionsExt;

use faisca::Session;

use super::tpch;
use crate::support::{command, oracle_rows, scratch, session_rows, tpch_data, tpch_oracle};

const JOIN: &str = "SELECT count(*), sum(a.l_extendedprice) FROM lineitem a JOIN lineitem b ON a.l_orderkey = b.l_orderkey AND a.l_linenumber = b.l_linenumber";

fn sql(arguments: &[&str], statement: &str) -> (Option<i32>, String) {
    let table = format!(
        "CREATE EXTERNAL TABLE lineitem STORED AS PARQUET LOCATION '{}/'; {statement}",
        tpch_data().join("lineitem").display()
    );
    let run = command()
        .args(["sql", "-c", &table])
        .args(arguments)
        .output()
        .unwrap();
    (
        run.status.code(),
        String::from_utf8_lossy(&run.stderr).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_larger_than_memory_spills_and_is_right() {
    let session = Session::builder()
        .executors(2)
        .executor_cores(1)
        .memory_bytes(160 << 20)
        .executor_binary(env!("CARGO_BIN_EXE_faisca"))
        .get_or_create()
        .await
        .unwrap();
    tpch(&session).await;
    let actual = session_rows(&session, JOIN).await;
    let oracle = tpch_oracle().await;
    assert_eq!(actual, oracle_rows(&oracle, JOIN).await);
    let executors = session.progress().executors;
    assert!(
        executors.values().map(|e| e.spilled_bytes).sum::<u64>() > 0,
        "nothing was spilled"
    );
    session.stop().await;
}

#[test]
fn memory_that_is_too_little_to_start_is_refused_by_name() {
    for executors in ["0", "2"] {
        let (code, message) = sql(&["--memory", "1Mi", "--executors", executors], "SELECT 1");
        assert_eq!(code, Some(2), "{message}");
        assert!(
            message.contains("memory: 1048576 bytes are too little")
                && message.contains("32Mi for each"),
            "{message}"
        );
    }
}

#[test]
fn a_spill_folder_that_cannot_be_written_is_refused_before_any_work() {
    let (code, message) = sql(
        &["--spill-folder", "/proc/spill", "--executors", "2"],
        "SELECT 1",
    );
    assert_eq!(code, Some(2), "{message}");
    assert!(
        message.contains("spill folder /proc/spill") && message.contains("--spill-folder"),
        "{message}"
    );
}

/// Runs a shell line in a mount namespace of its own, as root there; `None` where the kernel does
/// not let us.
fn in_own_namespace(line: &str) -> Option<std::process::Command> {
    let unshare = |flags: &str, line: &str| {
        let mut command = std::process::Command::new("unshare");
        command
            .args([flags, "sh", "-c", line])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    };
    let allowed = ["-rm", "-m"].into_iter().find(|flags| {
        unshare(flags, "mount -t tmpfs tmpfs /mnt")
            .status()
            .is_ok_and(|s| s.success())
    });
    allowed.map(|flags| unshare(flags, line))
}

#[test]
fn a_full_disk_while_spilling_is_reported_by_name_and_leaves_the_old_output() {
    let folder = scratch("full");
    let spill = folder.path().join("spill");
    std::fs::create_dir(&spill).unwrap();
    let out = folder.path().join("out");
    let (code, message) = sql(
        &[],
        &format!(
            "COPY (SELECT * FROM lineitem WHERE l_orderkey < 100) TO '{}' STORED AS PARQUET",
            out.display()
        ),
    );
    assert_eq!(code, Some(0), "{message}");
    let before = crate::support::files_below(&out);
    let script = folder.path().join("job.sql");
    let table = format!(
        "CREATE EXTERNAL TABLE lineitem STORED AS PARQUET LOCATION '{}/';",
        tpch_data().join("lineitem").display()
    );
    let write = "INSERT OVERWRITE target SELECT a.* FROM lineitem a JOIN lineitem b ON a.l_orderkey = b.l_orderkey";
    let target = format!(
        "CREATE EXTERNAL TABLE target STORED AS PARQUET LOCATION '{}/';",
        out.display()
    );
    std::fs::write(&script, format!("{table} {target} {write};")).unwrap();
    let line = format!(
        "mount -t tmpfs -o size=4m tmpfs {spill} && exec {} run {} --spill-folder {spill} --memory 160Mi --executors 2 --executor-cores 1",
        env!("CARGO_BIN_EXE_faisca"),
        script.display(),
        spill = spill.display()
    );
    let Some(mut job) = in_own_namespace(&line) else {
        println!("not tried: only root can mount a small disk on this kernel");
        return;
    };
    let run = job.output().unwrap();
    let message = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(3), "{message}");
    assert!(
        message.contains("No space left on device") && message.contains("--spill-folder"),
        "{message}"
    );
    assert_eq!(crate::support::files_below(&out), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn executors_that_cannot_serve_end_the_job_at_once() {
    let folder = scratch("binary");
    let binary = folder.path().join("other");
    std::fs::write(
        &binary,
        "#!/bin/sh\necho 'driver refused: use one image for both' >&2\nexit 78\n",
    )
    .unwrap();
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
    let session = Session::builder()
        .executors(2)
        .executor_binary(&binary)
        .config("faisca.smallQueryBytes", "0")
        .get_or_create()
        .await
        .unwrap();
    let started = std::time::Instant::now();
    let error = session
        .sql("SELECT 1")
        .await
        .unwrap()
        .collect()
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("could not serve"), "{error}");
    assert!(started.elapsed().as_secs() < 5);
    session.stop().await;
}
