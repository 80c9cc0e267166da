//! Runs in formats of other tools, and lists of runs.

use std::path::Path;

use serde_json::Value;

use crate::support::{command, output_text, scratch};

/// Runs a job of two steps, and returns what a command prints.
fn run_job(folder: &Path, journal: &str, rows: u32) {
    let out = folder.join("out");
    let job = folder.join("job.yaml");
    let text = format!(
        "apiVersion: faisca.dev/v1alpha1
kind: SparkApplication
metadata: {{name: exported}}
spec:
  conf:
    faisca.smallQueryBytes: \"0\"
    spark.openlineage.parentJobNamespace: prod
    spark.openlineage.parentJobName: dag.task
    spark.openlineage.parentRunId: 01993d4d-3d35-7bd0-8f24-3c1f2a5b6c7d
  steps:
    - name: numbers
      sql: SELECT value AS n, CAST(value AS STRING) AS s FROM generate_series(1, {rows})
      write: {{path: {out}/numbers, format: parquet, mode: overwrite}}
    - name: total
      sql: SELECT s, count(*) AS c FROM numbers GROUP BY s
      write: {{path: {out}/total, format: parquet, mode: overwrite}}
",
        out = out.display()
    );
    std::fs::write(&job, text).unwrap();
    let journal = folder.join(journal);
    std::fs::create_dir_all(journal.parent().unwrap()).unwrap();
    let run = command()
        .arg("run")
        .arg(&job)
        .arg("--journal")
        .arg(&journal)
        .output();
    let run = run.unwrap();
    assert!(run.status.success(), "{}", output_text(&run));
}

fn faisca(arguments: &[&str]) -> String {
    let output = command().args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", output_text(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_run_is_exported_for_spark_perfetto_and_openlineage() {
    let folder = scratch("exports");
    run_job(folder.path(), "run.jsonl", 1000);
    let journal = folder.path().join("run.jsonl");
    for format in ["spark-events", "trace", "openlineage"] {
        faisca(&["report", journal.to_str().unwrap(), "--format", format]);
    }
    // Spark would take the ending of a file's name for a codec.
    let events = lines(&folder.path().join("run-spark-events"));
    assert_eq!(events[0]["Event"], "SparkListenerLogStart");
    let written: u64 = events
        .iter()
        .filter_map(|event| event["Task Metrics"]["Output Metrics"]["Records Written"].as_u64())
        .sum();
    assert_eq!(written, 2000);
    let trace = std::fs::read_to_string(folder.path().join("run.trace.json")).unwrap();
    let trace: Value = serde_json::from_str(&trace).unwrap();
    let is_step = |event: &&Value| event["cat"] == "step";
    let spans = trace["traceEvents"].as_array().unwrap();
    assert_eq!(spans.iter().filter(is_step).count(), 2);
    let events = lines(&folder.path().join("run.openlineage.jsonl"));
    let last = &events[events.len() - 1];
    assert_eq!(last["eventType"], "COMPLETE");
    assert_eq!(last["run"]["facets"]["parent"]["job"]["name"], "dag.task");
    assert_eq!(last["outputs"].as_array().unwrap().len(), 2);
    let total = events
        .iter()
        .find(|event| event["job"]["name"] == "exported.total" && event["eventType"] == "COMPLETE");
    let total = total.unwrap();
    let input = total["inputs"][0]["name"].as_str().unwrap();
    assert!(input.contains("out/numbers"), "{total}");
    let fields = &total["outputs"][0]["facets"]["schema"]["fields"];
    assert_eq!(fields[0]["name"], "s");
    assert_eq!(fields[0]["type"], "string");
    assert_eq!(fields[1]["type"], "bigint");
}

#[test]
fn runs_are_listed_searched_and_compared() {
    let folder = scratch("history");
    run_job(folder.path(), "runs/a.jsonl", 1000);
    run_job(folder.path(), "runs/deeper/b.jsonl", 500);
    let runs = folder.path().join("runs");
    std::fs::write(runs.join("other.jsonl"), "{}\n").unwrap();
    let runs = runs.to_str().unwrap();
    let list = faisca(&["history", runs]);
    let position = |text: &str| list.find(text).unwrap_or_else(|| panic!("{text}: {list}"));
    assert!(position("deeper/b.jsonl") < position("a.jsonl"), "{list}");
    assert!(list.contains("2,000") && list.contains("1,000"), "{list}");
    assert!(list.contains("not journals of this version: 1"), "{list}");
    let filtered = faisca(&["history", runs, "--search", "DEEPER"]);
    assert!(
        filtered.contains("b.jsonl") && !filtered.contains(" a.jsonl"),
        "{filtered}"
    );
    assert!(faisca(&["history", runs, "--search", "nothing"]).contains("no runs"));
    let compared = faisca(&["history", runs, "--compare", "2", "deeper"]);
    for text in ["numbers", "total", "rows A", "1,000", "500", "s0"] {
        assert!(compared.contains(text), "{text}: {compared}");
    }
    let refused = command()
        .args(["history", runs, "--compare", "jsonl", "2"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        output_text(&refused).contains("2 journals"),
        "{}",
        output_text(&refused)
    );
}
