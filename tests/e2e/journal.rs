//! The journal of a run: it says what ran, survives a kill, and makes a page.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use faisca::prelude::*;
use faisca_driver::journal::record::{Record, TaskCommitted};
use faisca_driver::journal::{RecordedRun, read};
use faisca_planner::ids::ExecutorId;

use crate::recovery::{children, signal, wait_until};
use crate::support::{command, output_text, scratch, tpch_data};

/// A job of two steps: the second reads the first one's output.
fn write_job(folder: &Path, sql: &str) -> std::path::PathBuf {
    let (data, out) = (tpch_data().join("lineitem"), folder.join("out"));
    let job = folder.join("job.yaml");
    let text = format!(
        "apiVersion: faisca.dev/v1alpha1
kind: SparkApplication
metadata: {{name: journal-test}}
spec:
  conf: {{faisca.smallQueryBytes: \"0\"}}
  sources:
    - {{name: lineitem, path: {data}, format: parquet}}
  steps:
    - name: by_part
      sql: {sql}
      write: {{path: {out}/by_part, format: parquet, mode: overwrite}}
    - name: total
      sql: SELECT count(*) AS parts, sum(n) AS n FROM by_part
      write: {{path: {out}/total, format: parquet, mode: overwrite}}
",
        data = data.display(),
        out = out.display()
    );
    std::fs::write(&job, text).unwrap();
    job
}

fn load(journal: &Path) -> RecordedRun {
    read(&std::fs::read_to_string(journal).unwrap()).unwrap()
}

const BY_PART: &str =
    "SELECT l_partkey, count(*) AS n, max(l_comment) AS c FROM lineitem GROUP BY l_partkey";

/// A step that can be interrupted while it runs.
const SLOW: &str = "SELECT l_orderkey AS l_partkey, count(*) AS n, max(l_comment) AS c FROM lineitem \
                    GROUP BY l_orderkey, l_shipdate, l_comment";

#[test]
fn a_journal_says_which_steps_tasks_and_executors_ran_and_becomes_a_page() {
    for executors in ["0", "2"] {
        let folder = scratch("journal");
        let job = write_job(folder.path(), BY_PART);
        let (journal, page) = (
            folder.path().join("run.jsonl"),
            folder.path().join("run.html"),
        );
        let run = command()
            .arg("run")
            .arg(&job)
            .args(["--executors", executors, "--journal"])
            .arg(&journal)
            .arg("--report")
            .arg(&page)
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", output_text(&run));
        let recorded = load(&journal);
        assert_eq!(recorded.started.application, "journal-test");
        assert_eq!(recorded.started.executors.to_string(), executors);
        assert_eq!(recorded.unknown, 0);
        let (mut started, mut committed, mut rows, mut steps) =
            (BTreeSet::new(), BTreeSet::new(), vec![], vec![]);
        for line in &recorded.lines {
            match &line.record {
                Record::AttemptStarted { task, attempt, .. } => {
                    started.insert((*task, *attempt));
                }
                Record::TaskCommitted(TaskCommitted { task, attempt, .. }) => {
                    assert!(started.contains(&(*task, *attempt)), "{task}");
                    committed.insert(*task);
                }
                Record::StepFinished { step, output, .. } => {
                    steps.push(step.clone());
                    rows.push(output.as_ref().unwrap().rows);
                }
                _ => {}
            }
        }
        assert_eq!(steps, ["by_part", "total"]);
        assert_eq!(rows, [200_000, 1]);
        assert!(committed.len() >= 3, "{committed:?}");
        assert_eq!(recorded.lines.last().unwrap().record, Record::RunFinished);
        let text = std::fs::read_to_string(&page).unwrap();
        assert!(text.contains("by_part") && text.contains("total"));
        // The page is made of the journal alone.
        let again = folder.path().join("again.html");
        let report = command()
            .arg("report")
            .arg(&journal)
            .arg("-o")
            .arg(&again)
            .output()
            .unwrap();
        assert!(report.status.success(), "{}", output_text(&report));
        assert_eq!(std::fs::read_to_string(again).unwrap(), text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_shows_lost_executors_and_ends_where_its_driver_was_killed() {
    let folder = scratch("journal");
    let job = write_job(folder.path(), SLOW);
    let journal = folder.path().join("run.jsonl");
    let mut run = command()
        .arg("run")
        .arg(&job)
        .args(["--executors", "2", "--journal"])
        .arg(&journal)
        .spawn()
        .unwrap();
    let records = || match read(&std::fs::read_to_string(&journal).unwrap_or_default()) {
        Ok(recorded) => recorded.lines,
        Err(_) => vec![],
    };
    wait_until("a committed task", Duration::from_secs(60), || {
        records()
            .iter()
            .any(|line| matches!(line.record, Record::TaskCommitted(_)))
    })
    .await;
    signal(children(run.id())[0], "-KILL");
    let is_loss = |record: &Record| matches!(record, Record::ExecutorDown { executor, drained: false, .. } if *executor != ExecutorId::DRIVER);
    wait_until("the loss", Duration::from_secs(60), || {
        records().iter().any(|line| is_loss(&line.record))
    })
    .await;
    run.kill().unwrap();
    run.wait().unwrap();
    let recorded = load(&journal);
    let last = &recorded.lines.last().unwrap().record;
    assert_ne!(*last, Record::RunFinished);
    let report = command().arg("report").arg(&journal).output().unwrap();
    assert!(report.status.success(), "{}", output_text(&report));
    assert!(folder.path().join("run.html").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_stop_its_session_has_a_whole_journal() {
    for executors in [0, 2] {
        let folder = scratch("journal");
        let journal = folder.path().join("run.jsonl");
        let session = Session::builder()
            .executors(executors)
            .config("faisca.journal.path", journal.display().to_string())
            .get_or_create()
            .await
            .unwrap();
        session
            .sql("SELECT 1")
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        drop(session);
        let recorded = load(&journal);
        assert_eq!(recorded.lines.last().unwrap().record, Record::RunFinished);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_interrupted_says_so_in_its_journal() {
    let folder = scratch("journal");
    let job = write_job(folder.path(), SLOW);
    let journal = folder.path().join("run.jsonl");
    let mut run = command()
        .arg("run")
        .arg(&job)
        .arg("--journal")
        .arg(&journal)
        .spawn()
        .unwrap();
    wait_until("the first step", Duration::from_secs(60), || {
        std::fs::read_to_string(&journal).is_ok_and(|text| text.contains("step_started"))
    })
    .await;
    signal(run.id(), "-INT");
    assert_eq!(run.wait().unwrap().code(), Some(130));
    let recorded = load(&journal);
    let failures = recorded.lines.iter().filter_map(|line| match &line.record {
        Record::JobFailed { message } => Some(message.as_str()),
        _ => None,
    });
    assert_eq!(failures.collect::<Vec<_>>(), ["cancelled"]);
}

#[test]
fn a_failed_job_explains_itself_too() {
    let folder = scratch("journal");
    let job = write_job(
        folder.path(),
        "SELECT CAST(l_comment AS INT) AS n FROM lineitem",
    );
    let page = folder.path().join("run.html");
    let run = command()
        .arg("run")
        .arg(&job)
        .arg("--report")
        .arg(&page)
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(2), "{}", output_text(&run));
    assert!(std::fs::read_to_string(&page).unwrap().contains("failed"));
}

#[test]
fn what_is_not_a_journal_is_refused_by_name() {
    let folder = scratch("journal");
    let file = folder.path().join("other.jsonl");
    let newer = r#"{"at_ms":0,"record":"run_started","format":99,"application":"a","build":"9.0.0","started_unix_ms":0,"executors":0,"slots":1,"memory_bytes":null,"settings":{}}"#;
    for (content, expected) in [("{}\n", "not a journal"), (newer, "format 99")] {
        std::fs::write(&file, content).unwrap();
        let report = command().arg("report").arg(&file).output().unwrap();
        assert_eq!(report.status.code(), Some(2));
        let message = output_text(&report);
        assert!(
            message.contains("other.jsonl") && message.contains(expected),
            "{message}"
        );
    }
}
