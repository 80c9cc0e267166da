//! A driver that is killed and started again writes every row once, and skips what is finished.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use datafusion::prelude::SessionContext;

use crate::s3_server::{Act, S3Server};
use crate::support::{command, files_below, oracle_rows, output_text, scratch};

/// Writes a job whose second output is made of the first one, through a view.
fn write_job(folder: &Path, out: &str, mode: &str, total: &str) -> PathBuf {
    let text = format!(
        "apiVersion: faisca.dev/v1alpha1
kind: SparkApplication
metadata: {{name: resume-test}}
spec:
  conf: {{faisca.smallQueryBytes: \"0\"}}
  steps:
    - name: a
      sql: SELECT value AS x, value % 40 AS p FROM generate_series(1, 1000)
      write: {{path: {out}/a, format: parquet, mode: {mode}, partitionBy: [p]}}
    - name: v
      sql: SELECT x FROM a WHERE x > 0
    - name: b
      sql: {total}
      write: {{path: {out}/b, format: parquet, mode: {mode}}}
"
    );
    let job = folder.join("job.yaml");
    std::fs::write(&job, text).unwrap();
    job
}

const TOTAL: &str = "SELECT count(*) AS n, count(DISTINCT x) AS d FROM v";

/// A run of a job that keeps its state in this folder.
fn run(folder: &Path, job: &Path) -> Command {
    let mut command = command();
    command
        .arg("run")
        .arg(job)
        .env("XDG_STATE_HOME", folder.join("state"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn assert_success(command: &mut Command, case: &str) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{case}: {}", output_text(&output));
    output_text(&output)
}

/// Rows of the two outputs, as DataFusion reads them without us.
async fn outputs(out: &Path) -> [Vec<String>; 2] {
    let context = SessionContext::new();
    for name in ["a", "b"] {
        let folder = format!("{}/", out.join(name).display());
        context
            .register_parquet(name, folder, Default::default())
            .await
            .unwrap();
    }
    [
        oracle_rows(&context, "SELECT count(*), count(DISTINCT x) FROM a").await,
        oracle_rows(&context, "SELECT n, d FROM b ORDER BY n").await,
    ]
}

/// What two runs of a job leave; of one run, if the second would fail.
fn expected(mode: &str) -> [Vec<String>; 2] {
    match mode {
        "append" => [
            vec!["2000|1000".to_owned()],
            vec!["1000|1000".to_owned(), "2000|1000".to_owned()],
        ],
        _ => [vec!["1000|1000".to_owned()], vec!["1000|1000".to_owned()]],
    }
}

const MODES: [&str; 3] = ["append", "overwrite", "errorifexists"];

/// A moment of a write to a local folder.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// Its staging folder is there.
    Staged,
    /// The next version is being built.
    Building,
    /// The next version has been published; the old one may still be there.
    Published,
}

/// Whether the write to `out/name` has reached a moment. `before` is the file that remembers the
/// writes, as it was before the run.
fn has_come(out: &Path, name: &str, moment: Moment, before: Option<&[u8]>) -> bool {
    let staging = || {
        let entries = std::fs::read_dir(out).into_iter().flatten().flatten();
        let prefix = format!(".{name}.faisca-");
        let mut staging = entries.map(|entry| entry.path()).filter(|path| {
            let file_name = path.file_name().and_then(|n| n.to_str());
            file_name.is_some_and(|n| n.starts_with(&prefix)) && path.is_dir()
        });
        staging.next()
    };
    match moment {
        Moment::Staged => staging().is_some(),
        Moment::Building => staging().is_some_and(|path| path.join("next").exists()),
        Moment::Published => {
            let now = std::fs::read(out.join(name).join(".faisca.json")).ok();
            now.is_some() && now.as_deref() != before
        }
    }
}

/// Starts a run and kills it at a moment. Returns false if it ended first.
fn kill_at(folder: &Path, job: &Path, name: &str, moment: Moment) -> bool {
    let out = folder.join("out");
    let before = std::fs::read(out.join(name).join(".faisca.json")).ok();
    let mut child = run(folder, job).spawn().unwrap();
    let started = Instant::now();
    while !has_come(&out, name, moment, before.as_deref()) {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "{name} {moment:?}"
        );
        if child.try_wait().unwrap().is_some() {
            return false;
        }
    }
    child.kill().unwrap();
    !child.wait().unwrap().success()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_killed_at_any_moment_of_a_local_write_and_resumed_writes_every_row_once() {
    for mode in MODES {
        for name in ["a", "b"] {
            for moment in [Moment::Staged, Moment::Building, Moment::Published] {
                let case = format!("{mode}, {name}, {moment:?}");
                let mut was_killed = false;
                for _ in 0..8 {
                    let folder = scratch("resume");
                    let out = folder.path().join("out");
                    let job = write_job(folder.path(), out.to_str().unwrap(), mode, TOTAL);
                    if mode != "errorifexists" {
                        assert_success(&mut run(folder.path(), &job), &case);
                    }
                    was_killed = kill_at(folder.path(), &job, name, moment);
                    if was_killed {
                        assert_success(run(folder.path(), &job).arg("--resume"), &case);
                        assert_eq!(outputs(&out).await, expected(mode), "{case}");
                        let litter = files_below(&out).into_iter();
                        let litter: Vec<_> = litter.filter(|f| f.contains(".faisca-")).collect();
                        assert_eq!(litter, Vec::<String>::new(), "{case}");
                        break;
                    }
                }
                assert!(was_killed, "{case}: the run was always faster");
            }
        }
    }
}

/// A request of the commit to an object store: method, part of its address, and how many such
/// requests come before it.
const REQUESTS: [(&str, &str, usize); 7] = [
    ("PUT", "partNumber=", 3),
    ("PUT", "/a/_faisca/commit-", 0),
    ("POST", "uploadId=", 0),
    ("POST", "uploadId=", 7),
    ("PUT", "/a/_faisca/commit-", 1),
    ("PUT", "/b/_faisca/commit-", 0),
    ("PUT", "/b/_faisca/commit-", 1),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_killed_at_any_request_of_a_commit_and_resumed_writes_every_row_once() {
    for mode in MODES {
        for (method, part, skipped) in REQUESTS {
            for is_handled in [false, true] {
                let case = format!("{mode}, {method} {part} {skipped}, done {is_handled}");
                let (server, folder) = (S3Server::start().await, scratch("resume"));
                let job = write_job(folder.path(), "s3://lake", mode, TOTAL);
                let run = || {
                    let mut command = run(folder.path(), &job);
                    command.envs(server.environment());
                    command
                };
                if mode != "errorifexists" {
                    assert_success(&mut run(), &case);
                }
                let (sender, pid) = std::sync::mpsc::channel::<u32>();
                let (mut is_dead, mut to_skip) = (false, skipped);
                server.on_request(move |m, uri| {
                    if is_dead || m != method || !uri.contains(part) {
                        return Act::Pass;
                    }
                    if to_skip > 0 {
                        to_skip -= 1;
                        return Act::Pass;
                    }
                    is_dead = true;
                    crate::recovery::signal(pid.recv().unwrap(), "-KILL");
                    if is_handled {
                        Act::DoAndBreak
                    } else {
                        Act::Break
                    }
                });
                let child = run().spawn().unwrap();
                sender.send(child.id()).unwrap();
                let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
                let ended = ended.await.unwrap().unwrap();
                assert!(!ended.status.success(), "{case}: {}", output_text(&ended));
                server.pass_all();
                assert_success(run().arg("--resume"), &case);
                let bucket = server.root.path().join("lake");
                assert_eq!(outputs(&bucket).await, expected(mode), "{case}");
                // Uploads of a driver that died before its record stay until they are cleaned up.
                for name in ["a", "b"] {
                    let path = format!("s3://lake/{name}");
                    let mut clean = command();
                    clean.args(["clean", &path, "--older-than", "0", "--apply"]);
                    assert_success(clean.envs(server.environment()), &case);
                }
                assert_eq!(server.open_uploads(), Vec::<String>::new(), "{case}");
            }
        }
    }
}

#[test]
fn a_failed_job_that_is_corrected_goes_on_behind_its_finished_steps() {
    let folder = scratch("resume");
    let out = folder.path().join("out");
    let out = out.to_str().unwrap();
    let job = write_job(
        folder.path(),
        out,
        "errorifexists",
        "SELECT CAST(concat('x', max(x)) AS INT) AS n FROM v",
    );
    let failed = run(folder.path(), &job).output().unwrap();
    assert_eq!(failed.status.code(), Some(2));
    assert!(
        output_text(&failed).contains("--resume"),
        "{}",
        output_text(&failed)
    );
    write_job(folder.path(), out, "errorifexists", TOTAL);
    // Without the flag it is another run, which finds the output of the first.
    let state = folder.path().join("state/faisca/runs");
    let kept = files_below(&state);
    assert_eq!(kept.len(), 1);
    let id = std::fs::read(state.join(&kept[0])).unwrap();
    let other = run(folder.path(), &job).output().unwrap();
    assert_eq!(other.status.code(), Some(2), "{}", output_text(&other));
    std::fs::write(state.join(&kept[0]), id).unwrap();
    let text = assert_success(run(folder.path(), &job).arg("--resume"), "resume");
    assert!(
        text.contains("a → ") && text.contains("skipped: an earlier attempt"),
        "{text}"
    );
    // The run has succeeded, so there is nothing left to resume.
    assert_eq!(files_below(&state), Vec::<String>::new());
    let again = run(folder.path(), &job).arg("--resume").output().unwrap();
    let text = output_text(&again);
    assert!(
        text.contains("No unfinished run") && text.contains("already exists"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_run_writes_once_and_other_names_write_again() {
    let folder = scratch("resume");
    let out = folder.path().join("out");
    let job = write_job(folder.path(), out.to_str().unwrap(), "append", TOTAL);
    let named = |id: &str| {
        let mut command = run(folder.path(), &job);
        command.args(["--run-id", id]);
        assert_success(&mut command, id)
    };
    assert!(!named("monday").contains("skipped"));
    assert_eq!(
        named("monday")
            .matches("skipped: an earlier attempt")
            .count(),
        2
    );
    assert!(!named("tuesday").contains("skipped"));
    assert_eq!(
        named("monday")
            .matches("skipped: an earlier attempt")
            .count(),
        2
    );
    assert_eq!(outputs(&out).await, expected("append"));
    let script = folder.path().join("job.sql");
    std::fs::write(&script, "SELECT 1;").unwrap();
    let refused = run(folder.path(), &script)
        .arg("--resume")
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(output_text(&refused).contains("manifests"));
}
