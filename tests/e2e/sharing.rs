//! Steps of a manifest that read the same rows: these are computed once, and each step yields what
//! it would yield alone.

use std::fmt::Write;
use std::path::Path;
use std::process::Output;

use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, SessionContext};

use crate::support::{command, files_below, rows, scratch, sorted};

const ROWS: u64 = 20_000;
const VIEW: (&str, &str) = (
    "named",
    "SELECT t.k, t.x, t.s, n.name FROM t JOIN names n ON t.k = n.k WHERE t.y >= 10",
);
/// Steps that read the text `t`, the view or both.
const SHARING_STEPS: [(&str, &str); 5] = [
    (
        "sums",
        "SELECT k, sum(x) AS total, min(s) AS least FROM t WHERE y > 900 GROUP BY k",
    ),
    (
        "counts",
        "SELECT s, count(*) AS n, count(y) AS known FROM t WHERE k % 3 = 1 OR s = 's4' GROUP BY s",
    ),
    (
        "pairs",
        "SELECT a.k, count(*) AS n FROM t a JOIN t b ON a.x = b.y WHERE b.k < 5 GROUP BY a.k",
    ),
    (
        "by_name",
        "SELECT name, count(*) AS n, max(x) AS most FROM named GROUP BY name",
    ),
    (
        "chosen",
        "SELECT k, x, name FROM named WHERE x % 7 = 3 AND s IN (SELECT s FROM t WHERE y = 11)",
    ),
];
/// One that reads another's output.
const DEPENDENT_STEP: (&str, &str) = (
    "after",
    "SELECT count(*) AS n, sum(total) AS total FROM sums",
);

/// `t` of numbers, nulls and text, and the names of some of its keys.
fn data(folder: &Path) {
    let mut t = "k;x;y;s\n".to_owned();
    for row in 0..ROWS {
        let y = if row % 11 == 0 {
            String::new()
        } else {
            (row * 7 % 1_000).to_string()
        };
        writeln!(t, "{};{};{y};s{}", row * row % 97, row % 1_009, row % 13).unwrap();
    }
    let names = (0..50).fold("k;name\n".to_owned(), |names, k| {
        names + &format!("{k};name {}\n", k % 7)
    });
    for (name, text) in [("t", t), ("names", names)] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
        std::fs::write(folder.join(name).join("a.csv"), text).unwrap();
    }
}

fn manifest(folder: &Path, steps: &[(&str, &str)]) -> String {
    let root = folder.display();
    let mut text = "apiVersion: faisca.dev/v1alpha1\nkind: SparkApplication\nmetadata: {name: sharing}\nspec:\n  sources:\n".to_owned();
    for name in ["t", "names"] {
        writeln!(
            text,
            "    - {{name: {name}, path: \"{root}/{name}\", format: csv, delimiter: \";\"}}"
        )
        .unwrap();
    }
    writeln!(
        text,
        "  steps:\n    - name: {}\n      sql: {}",
        VIEW.0, VIEW.1
    )
    .unwrap();
    for (name, sql) in steps {
        writeln!(text, "    - name: {name}\n      sql: {sql}\n      write: {{path: \"{root}/out/{name}\", mode: overwrite}}").unwrap();
    }
    let path = folder.join("job.yaml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

async fn expected(folder: &Path) -> Vec<(&'static str, Vec<String>)> {
    let context = SessionContext::new();
    for name in ["t", "names"] {
        let path = format!("{}/", folder.join(name).display());
        context
            .register_csv(name, path, CsvReadOptions::new().delimiter(b';'))
            .await
            .unwrap();
    }
    let mut all = vec![];
    for (name, sql) in [&[VIEW], &SHARING_STEPS[..], &[DEPENDENT_STEP]].concat() {
        let frame = context.sql(sql).await.unwrap();
        context
            .register_table(name, frame.clone().into_view())
            .unwrap();
        all.push((name, sorted(rows(&frame.collect().await.unwrap()))));
    }
    all.split_off(1)
}

fn run(job: &str, arguments: &[&str]) -> Output {
    command()
        .args([
            "run",
            job,
            "--partitions",
            "4",
            "--conf",
            "faisca.smallQueryBytes=0",
        ])
        .args(arguments)
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_that_read_the_same_rows_have_what_they_would_have_alone() {
    let folder = scratch("sharing");
    data(folder.path());
    let expected = expected(folder.path()).await;
    let job = manifest(
        folder.path(),
        &[&SHARING_STEPS[..], &[DEPENDENT_STEP]].concat(),
    );
    for arguments in [
        &[][..],
        &["--executors", "3"],
        &["--conf", "faisca.share_stages=false"],
        &["--executors", "3", "--conf", "faisca.share_stages=false"],
    ] {
        let output = run(&job, arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let context = SessionContext::new();
        for (name, rows_expected) in &expected {
            let path = format!("{}/out/{name}/", folder.path().display());
            let actual = context
                .read_parquet(path, ParquetReadOptions::default())
                .await
                .unwrap()
                .collect()
                .await
                .unwrap();
            assert_eq!(
                sorted(rows(&actual)),
                *rows_expected,
                "{arguments:?}: {name}"
            );
        }
        let litter: Vec<_> = files_below(folder.path())
            .into_iter()
            .filter(|file| file.contains("faisca-"))
            .collect();
        assert!(litter.is_empty(), "{litter:?}");
        std::fs::remove_dir_all(folder.path().join("out")).unwrap();
    }
}

#[test]
fn a_text_is_parsed_once_for_all_steps() {
    let folder = scratch("sharing");
    data(folder.path());
    let job = manifest(
        folder.path(),
        &[&SHARING_STEPS[..], &[DEPENDENT_STEP]].concat(),
    );
    let explain = |arguments: &[&str]| {
        let output = command()
            .args(["explain", &job])
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let shared_plan = explain(&[]);
    assert!(
        shared_plan.contains("sums + counts + pairs + by_name + chosen"),
        "{shared_plan}"
    );
    assert!(
        shared_plan.contains("Scanned once for all of these steps: `named`, `t`"),
        "{shared_plan}"
    );
    // Of the last step nothing but columns is known yet: its plan is that of what it reads.
    let (shared_plan, _) = shared_plan.split_once("step after").unwrap();
    assert_eq!(shared_plan.matches("/t/a.csv").count(), 1, "{shared_plan}");
    let separate_plan = explain(&["--conf", "faisca.share_stages=false"]);
    assert!(
        !separate_plan.contains("Scanned once for all")
            && separate_plan.matches("/t/a.csv").count() > 5,
        "{separate_plan}"
    );
}

#[test]
fn a_step_that_fails_is_named_though_it_ran_with_others() {
    let folder = scratch("sharing");
    data(folder.path());
    let job = manifest(
        folder.path(),
        &[
            SHARING_STEPS[0],
            ("bad", "SELECT x / (y - y) AS never FROM t"),
            SHARING_STEPS[1],
        ],
    );
    for arguments in [&[][..], &["--executors", "2"]] {
        let output = run(&job, arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(
            text.contains("bad") && text.contains("division by zero"),
            "{text}"
        );
        assert!(
            !folder.path().join("out").exists()
                || files_below(&folder.path().join("out")).is_empty(),
            "{:?}",
            files_below(folder.path())
        );
    }
}
