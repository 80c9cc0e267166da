//! `faisca explain` draws the stages that `faisca run` would run.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use faisca::job::Job;
use faisca::manifest::CheckedManifest;
use faisca::prelude::*;

use crate::support::{command, scratch};

const EXECUTORS: u32 = 2;

/// A manifest whose settings change the plan of its only step.
fn manifest(folder: &Path, conf: &str) -> String {
    let mut table = "k;x\n".to_owned();
    for row in 0..1_000 {
        writeln!(table, "{};{row}", row % 7).unwrap();
    }
    let root = folder.display();
    std::fs::write(folder.join("t.csv"), table).unwrap();
    format!(
        "apiVersion: faisca.dev/v1alpha1
kind: SparkApplication
metadata: {{name: explained}}
spec:
  conf: {{{conf}}}
  sources:
    - {{name: t, path: \"{root}/t.csv\", format: csv, delimiter: \";\"}}
  steps:
    - name: sums
      sql: SELECT a.k, sum(b.x) AS total FROM t a JOIN t b ON a.x = b.x WHERE b.k > 2 GROUP BY a.k
      write: {{path: \"{root}/out\", mode: overwrite}}
"
    )
}

fn explained(file: &Path, flags: &[&str]) -> String {
    let output = command()
        .arg("explain")
        .arg(file)
        .args(flags)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The drawing in a session that is started as `faisca run --executors 2` starts it.
async fn planned(text: &str) -> String {
    let manifest = CheckedManifest::load("job.yaml", text, &BTreeMap::new()).unwrap();
    let mut builder = Session::builder()
        .executors(EXECUTORS)
        .executor_binary(env!("CARGO_BIN_EXE_faisca"));
    for (key, value) in &manifest.spec().conf {
        builder = builder.config(key, value);
    }
    let session = builder.get_or_create().await.unwrap();
    let drawings = Job::new(&manifest).explain(&session).await.unwrap();
    session.stop().await;
    drawings
        .iter()
        .map(|(step, drawing)| format!("── step {step}\n{drawing}\n"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_plans_what_run_runs() {
    let folder = scratch("explain");
    let file = folder.path().join("job.yaml");
    let mut drawings = vec![];
    for conf in [
        "",
        "datafusion.execution.target_partitions: \"3\"",
        "datafusion.optimizer.hash_join_single_partition_threshold_rows: \"1\", datafusion.optimizer.hash_join_single_partition_threshold: \"1\"",
    ] {
        let text = manifest(folder.path(), conf);
        std::fs::write(&file, &text).unwrap();
        let explained = explained(&file, &["--executors", "2"]);
        assert_eq!(explained, planned(&text).await, "{conf}");
        drawings.push(explained);
    }
    assert!(drawings[0] != drawings[1] && drawings[0] != drawings[2]);
}
