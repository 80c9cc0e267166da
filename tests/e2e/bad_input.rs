//! Mistakes of users: each a clear error with its place and remedy, exit code 2, nothing written.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};

use crate::support::{command, files_below, scratch, write_parquet};

fn manifest(folder: &Path, spec: &str) -> String {
    let text = format!(
        "apiVersion: faisca.dev/v1alpha1\nkind: SparkApplication\nmetadata: {{name: bad}}\nspec:\n{spec}"
    );
    let path = folder.join("job.yaml");
    std::fs::write(&path, text.replace("@", folder.to_str().unwrap())).unwrap();
    path.display().to_string()
}

fn run(folder: &Path, spec: &str) -> Output {
    command()
        .args(["run", &manifest(folder, spec)])
        .output()
        .unwrap()
}

/// Runs a bad job; returns its error after checking that nothing was written.
fn error(folder: &Path, spec: &str) -> String {
    let job = manifest(folder, spec);
    let before = files_below(folder);
    let run = command().args(["run", &job]).output().unwrap();
    let text = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(2), "{text}");
    assert_eq!(files_below(folder), before, "{text}");
    text
}

fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
}

const CSV: &str = "a;b;c\n1;x;1.5\n2;y;2.5\n3;z;3.5\n";

fn job(source: &str, sql: &str) -> String {
    format!(
        "  sources:\n    - {{name: t, path: \"@/in\", {source}}}\n  steps:\n    - name: out\n      sql: {sql}\n      write: {{path: \"@/out\", mode: overwrite}}\n"
    )
}

fn with_csv(text: &str) -> tempfile::TempDir {
    let folder = scratch("bad");
    std::fs::create_dir(folder.path().join("in")).unwrap();
    std::fs::write(folder.path().join("in/a.csv"), text).unwrap();
    folder
}

#[test]
fn manifests_with_mistakes_name_line_column_and_the_nearest_name() {
    let folder = scratch("bad");
    contains(
        &error(folder.path(), "  stepz: []\n"),
        &[
            "job.yaml:5:3",
            "unknown field `stepz`",
            "did you mean `steps`?",
        ],
    );
    contains(
        &error(
            folder.path(),
            "  steps:\n    - name: a\n      sql: select 1\n      write: {path: x, mode: overwritee}\n",
        ),
        &["job.yaml:8", "overwritee", "overwrite"],
    );
    contains(
        &error(folder.path(), "  steps: 5\n"),
        &["job.yaml:5", "expected array"],
    );
    contains(&error(folder.path(), "  steps: [\n"), &["job.yaml:"]);
    contains(
        &error(folder.path(), "  sources: []\n"),
        &["the job has no workload", "help:"],
    );
    contains(
        &error(
            folder.path(),
            "  parameters: {zone: x}\n  steps:\n    - {name: a, sql: \"select '${zoen}'\"}\n",
        ),
        &["no parameter `zoen`", "did you mean `zone`?"],
    );
}

#[test]
fn step_graphs_with_mistakes_are_refused_before_anything_runs() {
    let folder = scratch("bad");
    let steps = |text: &str| format!("  steps:\n{text}");
    contains(
        &error(
            folder.path(),
            &steps(
                "    - {name: a, sql: select * from b}\n    - {name: b, sql: select * from a}\n",
            ),
        ),
        &["depend on each other: a, b", "job.yaml:6"],
    );
    contains(
        &error(
            folder.path(),
            &steps(
                "    - {name: alpha, sql: select 1}\n    - {name: b, sql: select * from alfa}\n",
            ),
        ),
        &["no source or step is named `alfa`", "did you mean `alpha`?"],
    );
    contains(
        &error(
            folder.path(),
            &steps("    - {name: a, sql: select 1}\n    - {name: A, sql: select 2}\n"),
        ),
        &["the name `A` is already used by spec.steps[0].name"],
    );
    let write = |name: &str, path: &str| {
        format!(
            "    - name: {name}\n      sql: select 1 as x\n      write: {{path: \"@/{path}\"}}\n"
        )
    };
    contains(
        &error(
            folder.path(),
            &steps(&(write("a", "x") + &write("b", "x/"))),
        ),
        &["also written by step `a`"],
    );
    contains(
        &error(
            folder.path(),
            &steps(&(write("a", "x") + &write("b", "x/y"))),
        ),
        &["also written by step `a`"],
    );
    let overlap = "  sources:\n    - {name: t, path: \"@/in/\"}\n  steps:\n    - name: a\n      sql: select * from t\n      write: {path: \"@/in/sub\"}\n";
    contains(
        &error(folder.path(), overlap),
        &["the input", "of source `t` overlap"],
    );
}

#[test]
fn inputs_that_are_missing_or_empty_say_so() {
    let folder = scratch("bad");
    contains(
        &error(folder.path(), &job("format: csv", "select * from t")),
        &["source `t`", "there is no such file", "job.yaml:6:"],
    );
    std::fs::create_dir(folder.path().join("in")).unwrap();
    contains(
        &error(folder.path(), &job("format: csv", "select * from t")),
        &["there are no data files in this folder"],
    );
}

#[test]
fn wrong_names_in_sql_get_the_place_and_the_nearest() {
    let folder = with_csv(CSV);
    let csv = "format: csv, delimiter: \";\"";
    contains(
        &error(folder.path(), &job(csv, "select a, bb from t")),
        &[
            "job.yaml:9",
            "step `out`",
            "no column named `bb`",
            "did you mean `b`?",
        ],
    );
    contains(
        &error(folder.path(), &job(csv, "select uper(b) from t")),
        &[
            "job.yaml:9",
            "no function named `uper`",
            "did you mean `upper`?",
        ],
    );
    contains(
        &error(folder.path(), &job(csv, "selec a from t")),
        &["job.yaml:9"],
    );
    contains(
        &error(folder.path(), &job(csv, "select a, A from t")),
        &["a"],
    );
    let partitioned = job(csv, "select a, b from t")
        .replace("mode: overwrite", "mode: overwrite, partitionBy: [x]");
    contains(
        &error(folder.path(), &partitioned),
        &["partitionBy: no column `x`"],
    );
}

#[test]
fn malformed_csv_names_file_and_line_and_can_be_dropped_or_kept_as_nulls() {
    let mut text = String::from("a;b;c\n");
    (0..400_000).for_each(|i| text.push_str(&format!("{i};x;1.5\n")));
    text.push_str("7;too;many;values\n8;few\nnine;y;2.5\n10;ok;3.5\n");
    let folder = with_csv(&text);
    let csv = |mode: &str| {
        format!(
            "format: csv, delimiter: \";\", schema: \"a BIGINT, b STRING, c DOUBLE\", onMalformedRow: {mode}"
        )
    };
    let failed = error(folder.path(), &job(&csv("fail"), "select * from t"));
    contains(
        &failed,
        &["in/a.csv line 400002", "expected 3", "onMalformedRow"],
    );
    for (mode, rows) in [("drop", "400,001"), ("nulls", "400,004")] {
        let output = run(folder.path(), &job(&csv(mode), "select * from t"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        contains(&text, &[rows]);
        std::fs::remove_dir_all(folder.path().join("out")).unwrap();
    }
}

#[test]
fn a_value_of_another_type_names_its_line() {
    let folder = with_csv("a;b\n1;x\n2;y\nthree;z\n");
    let csv = "format: csv, delimiter: \";\", schema: \"a BIGINT, b STRING\"";
    contains(
        &error(folder.path(), &job(csv, "select * from t")),
        &["in/a.csv line 4", "three"],
    );
}

#[test]
fn a_type_that_the_format_lacks_is_found_before_the_job_runs() {
    let folder = with_csv(CSV);
    let sql = "select interval '1 month' as waiting from t";
    let spec = job("format: csv, delimiter: \";\"", sql);
    let parts = ["column `waiting`", "Parquet has no intervals", "cast"];
    contains(&error(folder.path(), &spec), &parts);
    let job = manifest(folder.path(), &spec);
    let plan = command().args(["plan", &job]).output().unwrap();
    let text = [plan.stdout, plan.stderr].concat();
    contains(&String::from_utf8_lossy(&text), &parts);
    assert_eq!(plan.status.code(), Some(2));
}

#[test]
fn options_that_are_not_one_character_name_their_field() {
    let folder = with_csv(CSV);
    for (option, parts) in [
        ("delimiter: \"||\"", ["delimiter", "character"]),
        ("quote: \"\"", ["quote", "character"]),
        ("decimal: \";\"", ["decimal", "unknown variant `;`"]),
    ] {
        let spec = job(&format!("format: csv, {option}"), "select * from t");
        let error = error(folder.path(), &spec);
        contains(&error, &["spec.sources[0].", "job.yaml:6:"]);
        contains(&error, &parts);
    }
}

#[test]
fn files_without_columns_are_named() {
    for (name, format, text) in [
        ("a.csv", "csv", "\n\n"),
        ("a.json", "ndjson", "\n"),
        ("a.json", "ndjson", "{}\n"),
    ] {
        let folder = scratch("bad");
        std::fs::create_dir(folder.path().join("in")).unwrap();
        std::fs::write(folder.path().join("in").join(name), text).unwrap();
        let error = error(
            folder.path(),
            &job(&format!("format: {format}"), "select * from t"),
        );
        contains(&error, &["source `t`", "no columns", "schema"]);
    }
}

#[test]
fn a_wrong_delimiter_is_guessed() {
    let folder = with_csv(CSV);
    contains(
        &error(folder.path(), &job("format: csv", "select * from t")),
        &["delimiter is `,`", "`;`"],
    );
}

#[test]
fn truncated_parquet_is_named() {
    let folder = scratch("bad");
    std::fs::create_dir(folder.path().join("in")).unwrap();
    std::fs::write(
        folder.path().join("in/a.parquet"),
        b"PAR1 and then nothing of use",
    )
    .unwrap();
    contains(
        &error(folder.path(), &job("format: parquet", "select * from t")),
        &["source `t`", "not valid Parquet, or is truncated"],
    );
}

/// Writes `in/a.parquet` with columns of these names, each with as many different values.
fn with_parquet(names: &[&str], rows: i64) -> tempfile::TempDir {
    let folder = scratch("bad");
    let field = |name: &&str| Field::new(*name, DataType::Int64, false);
    let schema = Schema::new(names.iter().map(field).collect::<Vec<_>>());
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let columns = vec![column; names.len()];
    let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    write_parquet(&folder.path().join("in/a.parquet"), &batch);
    folder
}

#[test]
fn parquet_that_is_shorter_than_its_footer_says_is_named_at_once() {
    let folder = with_parquet(&["a"], 3_000);
    let path = folder.path().join("in/a.parquet");
    let bytes = std::fs::read(&path).unwrap();
    let tail = bytes.len() - 8;
    let length = u32::from_le_bytes(bytes[tail..tail + 4].try_into().unwrap());
    let footer = tail - usize::try_from(length).unwrap();
    // Only the magic number and the footer are left.
    std::fs::write(&path, [&bytes[..4], &bytes[footer..]].concat()).unwrap();
    let text = error(folder.path(), &job("format: parquet", "select * from t"));
    contains(&text, &["in/a.parquet", "the file is damaged"]);
    assert!(!text.contains("attempt="), "{text}");
}

/// The reader of Parquet panics on the length of the page.
#[test]
fn parquet_with_a_damaged_page_is_named_without_a_backtrace() {
    let folder = with_parquet(&["a"], 1);
    let path = folder.path().join("in/a.parquet");
    // Without an index of pages, the reader takes their lengths from their headers.
    let properties = parquet::file::properties::WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_offset_index_disabled(true)
        .set_statistics_enabled(parquet::file::properties::EnabledStatistics::None)
        .build();
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..3_000));
    let batch = RecordBatch::try_from_iter([("a", column)]).unwrap();
    let file = std::fs::File::create(&path).unwrap();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let number_end = |bytes: &[u8], start: usize| {
        let rest = bytes[start..].iter();
        start + rest.take_while(|byte| **byte & 0x80 != 0).count() + 1
    };
    // The header of the first page has, after its type, its length before and after compression.
    let start = number_end(&bytes, 7) + 1;
    let last = number_end(&bytes, start) - 1;
    bytes[start..last].fill(0xFE);
    bytes[last] = 0x7E;
    std::fs::write(&path, bytes).unwrap();
    let text = error(folder.path(), &job("format: parquet", "select * from t"));
    contains(&text, &["in/a.parquet"]);
    for printed in ["panicked at", "backtrace", "attempt=2"] {
        assert!(!text.contains(printed), "{text}");
    }
}

#[test]
fn parquet_with_two_columns_of_one_name_is_refused() {
    for (names, expected) in [
        (["a", "a"], "the file has two columns named `a`"),
        (["a", "A"], "the columns `a` and `A` differ only by case"),
    ] {
        let folder = with_parquet(&names, 3);
        let text = error(folder.path(), &job("format: parquet", "select * from t"));
        contains(&text, &["in/a.parquet", expected]);
    }
    let folder = with_parquet(&["a", "a"], 3);
    let source = "format: parquet, schema: \"a BIGINT\"";
    let text = error(folder.path(), &job(source, "select * from t"));
    contains(&text, &["in/a.parquet", "two columns named `a`"]);
}

#[test]
fn outputs_that_cannot_be_written_are_refused() {
    let folder = with_csv(CSV);
    std::fs::write(folder.path().join("out"), "a file").unwrap();
    contains(
        &error(
            folder.path(),
            &job("format: csv, delimiter: \";\"", "select * from t"),
        ),
        &["is a file; an output is a folder", "job.yaml:10"],
    );
    let spec = job("format: csv, delimiter: \";\"", "select * from t")
        .replace("@/out", "/proc/nowhere/out");
    contains(&error(folder.path(), &spec), &["cannot", "/proc/nowhere"]);
}

/// The command as a user who may not write into `closed`: another one if we are root, who may all.
fn denied(folder: &Path, closed: &Path) -> std::process::Command {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(closed, std::fs::Permissions::from_mode(0o555)).unwrap();
    let binary = folder.join("faisca");
    std::fs::copy(env!("CARGO_BIN_EXE_faisca"), &binary).unwrap();
    let id = std::process::Command::new("id").arg("-u").output().unwrap();
    if id.stdout.trim_ascii() == b"0" {
        let mut command = std::process::Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(binary);
        command
    } else {
        std::process::Command::new(binary)
    }
}

#[test]
fn a_missing_right_to_write_is_reported_with_the_path() {
    use std::os::unix::fs::PermissionsExt;
    // Not below the build folder, which another user may not even enter.
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    std::fs::write(folder.path().join("in/a.csv"), CSV).unwrap();
    let spec =
        job("format: csv, delimiter: \";\"", "select * from t").replace("@/out", "@/closed/out");
    let path = manifest(folder.path(), &spec);
    let run = denied(folder.path(), &closed)
        .args(["run", &path])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(2), "{message}");
    assert!(
        message.contains("job.yaml:10")
            && message.contains("/closed")
            && message.to_lowercase().contains("permission denied"),
        "{message}"
    );
    assert_eq!(files_below(&closed), Vec::<String>::new());
}

#[test]
fn a_statement_may_begin_with_a_comment() {
    let run = command()
        .args(["sql", "-c", "-- the answer\nSELECT 42 AS answer"])
        .output()
        .unwrap();
    assert!(run.status.success());
    contains(&String::from_utf8_lossy(&run.stdout), &["42"]);
}
