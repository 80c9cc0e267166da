//! `faisca sql` as scripts and people use it: formats, inputs, errors, settings.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::{command, output_text, python_with, scratch};

fn sql(arguments: &[&str]) -> Output {
    command().arg("sql").args(arguments).output().unwrap()
}

/// Feeds statements through a pipe.
fn piped(arguments: &[&str], statements: &str) -> Output {
    let mut child = command()
        .arg("sql")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(statements.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", output_text(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const STATEMENTS: &str = "SELECT 1 AS n, '' AS t; SET faisca.join_order = true; SELECT CAST(NULL AS INT) AS n, 'a\"b' AS t";

#[test]
fn formats_of_programs_have_rows_and_nothing_else() {
    for (format, expected) in [
        ("csv", "n,t\n1,\"\"\nn,t\n,\"a\"\"b\"\n"),
        ("tsv", "n\tt\n1\t\nn\tt\n\\N\ta\"b\n"),
        (
            "json",
            "[\n{\"n\":1,\"t\":\"\"}\n]\n[\n{\"n\":null,\"t\":\"a\\\"b\"}\n]\n",
        ),
        (
            "ndjson",
            "{\"n\":1,\"t\":\"\"}\n{\"n\":null,\"t\":\"a\\\"b\"}\n",
        ),
    ] {
        let output = sql(&["--format", format, "-c", STATEMENTS]);
        assert_eq!(stdout(&output), expected, "{format}");
        assert_eq!(stderr(&output), "", "{format}");
        let output = piped(&["--format", format], &format!("{STATEMENTS};\n"));
        assert_eq!(stdout(&output), expected, "{format} through a pipe");
    }
}

#[test]
fn a_table_ends_with_its_number_of_rows() {
    let output = sql(&[
        "-c",
        "SELECT col1 AS n, col2 AS t FROM VALUES (1, 'a'), (20, NULL)",
    ]);
    let expected = "+----+------+\n|  n | t    |\n+----+------+\n|  1 | a    |\n| 20 | NULL |\n+----+------+\n2 rows\n";
    assert_eq!(stdout(&output), expected);
}

#[test]
fn a_program_that_feeds_statements_sees_their_end_by_the_time() {
    let text = stdout(&piped(
        &[],
        "SELECT\n1 AS a; -- one\nSET faisca.join_order = true;\n",
    ));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..6],
        ["+---+", "| a |", "+---+", "| 1 |", "+---+", "1 row"]
    );
    let is_time = |line: &&str| {
        line.strip_suffix(" s")
            .is_some_and(|n| n.parse::<f64>().is_ok())
    };
    assert!(lines[6..].iter().all(is_time) && lines.len() == 8, "{text}");
}

#[test]
fn values_are_written_as_spark_writes_them() {
    let query = "SELECT TIMESTAMP '2020-01-01 00:00:00.123' AS at, CAST(1 AS DOUBLE) AS d, 1e10 AS e, CAST('NaN' AS DOUBLE) AS nan,
                 CAST(1.10 AS DECIMAL(4, 2)) AS dec, array(1, NULL) AS l, map('k', 1) AS m, named_struct('x', 1, 'y', 'z') AS s, X'01ff' AS b";
    let expected = "at\td\te\tnan\tdec\tl\tm\ts\tb\n2020-01-01 00:00:00.123\t1.0\t1.0E10\tNaN\t1.10\t[1,null]\t{\"k\":1}\t{\"x\":1,\"y\":\"z\"}\t01ff\n";
    assert_eq!(stdout(&sql(&["--format", "tsv", "-c", query])), expected);
    let output = sql(&[
        "--format",
        "csv",
        "-c",
        "SET spark.sql.session.timeZone = America/Sao_Paulo; SELECT to_timestamp('2020-01-01T00:00:00Z') AS at",
    ]);
    assert_eq!(stdout(&output), "at\n2019-12-31 21:00:00\n");
}

#[test]
fn commands_and_scripts_run_in_the_order_of_the_command_line() {
    let folder = scratch("scripts");
    let script = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let first = script("first.sql", "CREATE VIEW v AS SELECT 1 AS a;\n");
    let second = script("second.sql", "SELECT a + 1 AS b FROM v\n");
    let output = sql(&[
        "--format",
        "csv",
        "-f",
        &first,
        "-c",
        "SELECT a FROM v",
        "-f",
        &second,
    ]);
    assert_eq!(stdout(&output), "a\n1\nb\n2\n");
    assert_eq!(
        stdout(&sql(&["--format", "csv", &first, &second])),
        "b\n2\n"
    );
}

#[test]
fn an_error_names_its_statement_and_line_and_stops_a_script() {
    let folder = scratch("errors");
    let path = folder.path().join("job.sql");
    std::fs::write(&path, "SELECT 1 AS a;\n\nSELECT missing;\nSELECT 3 AS c;\n").unwrap();
    let file = path.display().to_string();
    let output = sql(&["--format", "csv", "-f", &file]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stdout, b"a\n1\n");
    let expected = format!("error: {file}:3, statement 2: ");
    assert!(
        stderr(&output).starts_with(&expected),
        "{}",
        stderr(&output)
    );

    let output = sql(&["--format", "csv", "--continue-on-error", "-f", &file]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stdout, b"a\n1\nc\n3\n");
    let message = stderr(&output);
    assert!(message.contains("1 of 3 statements failed"), "{message}");

    let output = sql(&["-c", "SELECT 1 AS a; SELECT missing"]);
    assert!(
        stderr(&output).starts_with("error: statement 2, line 1: "),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_pipe_goes_on_after_an_error_and_fails_at_its_end() {
    let output = piped(
        &["--format", "csv"],
        "SELECT 1 AS a;\nSELECT\nmissing;\n\\nonsense\nSELECT 2 AS b\n",
    );
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stdout, b"a\n1\nb\n2\n");
    let message = stderr(&output);
    assert!(
        message.contains("error: line 2, statement 2: "),
        "{message}"
    );
    assert!(message.contains("no command \\nonsense"), "{message}");
}

#[test]
fn an_explain_is_text_with_whole_paths() {
    let folder = scratch("explain-text");
    let path = folder.path().join("t.csv");
    std::fs::write(&path, "a\n1\n").unwrap();
    let statements = format!(
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{}'; EXPLAIN SELECT a FROM t",
        path.display()
    );
    let text = stdout(&sql(&["-c", &statements]));
    assert!(text.contains(&format!("[[{}]]", path.display())), "{text}");
    assert!(
        text.contains("\nStage s0: ") && !text.contains('|'),
        "{text}"
    );
}

#[test]
fn commands_of_the_shell_list_tables_and_columns_and_write_files() {
    let folder = scratch("commands");
    let path = folder.path().join("out.csv");
    let statements = format!(
        "CREATE VIEW v AS SELECT CAST(1 AS INT) AS n, 'x' AS t;\n\\format csv\n\\dt\n\\d v\n\\o {}\nSELECT * FROM v;\n\\o\nSELECT 2 AS b;\n\\q\nSELECT 3;\n",
        path.display()
    );
    let text = stdout(&piped(&["--format", "tsv"], &statements));
    assert_eq!(
        text,
        "table\nv\ncolumn,type,nullable\nn,int,false\nt,string,false\nb\n2\n"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "n,t\n1,x\n");
}

fn with_configuration(folder: &Path, text: &str, statement: &str) -> Output {
    std::fs::create_dir_all(folder.join("faisca")).unwrap();
    std::fs::write(folder.join("faisca/config.toml"), text).unwrap();
    let mut command = command();
    command.env("XDG_CONFIG_HOME", folder);
    command.args(["sql", "-c", statement]).output().unwrap()
}

#[test]
fn the_configuration_sets_format_and_session() {
    let folder = scratch("configuration");
    let text = "format = \"csv\"\n[conf]\nspark.sql.session.timeZone = \"Asia/Tokyo\"\n";
    let query = "SELECT to_timestamp('2020-01-01T00:00:00Z') AS at";
    let output = with_configuration(folder.path(), text, query);
    assert_eq!(stdout(&output), "at\n2020-01-01 09:00:00\n");

    let output = with_configuration(folder.path(), "# ours\nformt = \"csv\"\n", query);
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    assert!(
        message.contains("config.toml:2: unknown key `formt`"),
        "{message}"
    );
}

#[test]
fn a_reader_that_ends_early_is_no_error() {
    let line = format!(
        "{} sql --format csv -c 'SELECT value FROM generate_series(1, 2000000)' | head -n 1; test ${{PIPESTATUS[0]}} = 0",
        env!("CARGO_BIN_EXE_faisca")
    );
    let output = Command::new("bash").args(["-c", &line]).output().unwrap();
    assert_eq!(stdout(&output), "value\n");
    assert_eq!(stderr(&output), "");
}

#[test]
fn completions_know_the_flags() {
    for shell in ["bash", "zsh", "fish"] {
        let output = command().args(["completions", shell]).output().unwrap();
        assert!(stdout(&output).contains("continue-on-error"), "{shell}");
    }
}

/// Types into a terminal of util-linux's `script`. Returns what the terminal shows, or `None`
/// without that program.
fn typed(parts: &[(&str, Duration)]) -> Option<String> {
    let line = format!(
        "stty rows 30 cols 60; exec {} sql",
        env!("CARGO_BIN_EXE_faisca")
    );
    let folder = scratch("terminal");
    let mut child = Command::new("script")
        .args(["-qefc", &line, "/dev/null"])
        .env("XDG_STATE_HOME", folder.path())
        .env("XDG_CONFIG_HOME", folder.path())
        .env("TERM", "xterm")
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take()?;
    for (text, pause) in parts {
        std::thread::sleep(*pause);
        stdin.write_all(text.as_bytes()).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_terminal_runs_statements_and_ctrl_c_stops_only_the_running_one() {
    let second = Duration::from_secs(1);
    let shown = typed(&[
        ("SELECT repeat('wide ', 30) AS w, 6 * 7 AS n;\r", second * 2),
        (
            "SELECT sum(a.value * b.value) FROM generate_series(1, 3000000) a, generate_series(1, 3000000) b;\r",
            second,
        ),
        ("\x03", second),
        ("SELECT 'still here' AS t;\r", second),
        ("\\q\r", second),
    ]);
    let Some(shown) = shown else { return };
    assert!(
        shown.contains("| 42 |") && shown.contains("values are cut to the terminal"),
        "{shown}"
    );
    assert!(
        shown.contains("cancelled") && shown.contains("| still here |"),
        "{shown}"
    );
}

#[test]
fn the_runner_of_suites_counts_right_rows_and_refusals() {
    let Some(python) = python_with("json") else {
        return;
    };
    let folder = scratch("suite");
    let statement = |sql: &str, schema: &str, output: &str| serde_json::json!({"sql": sql, "schema": schema, "output": output});
    let statements = [
        statement(
            "SELECT 1 AS a, NULL AS b, 'x' AS c",
            "struct<a:int,b:void,c:string>",
            "1\tNULL\tx",
        ),
        statement(
            "SELECT INTERVAL 26 HOURS AS i",
            "struct<i:interval hour>",
            "1 02:00:00.000000000",
        ),
        statement("SELECT 2 AS a", "struct<a:int>", "3"),
        statement(
            "SELECT missing",
            "struct<>",
            "org.apache.spark.sql.AnalysisException\n{}",
        ),
        statement("SELECT no_such_function(1) AS a", "struct<a:int>", "1"),
    ];
    let suite = serde_json::json!([{"file": "own.sql", "conf": {}, "statements": statements}]);
    let path = folder.path().join("suite.json");
    std::fs::write(&path, suite.to_string()).unwrap();
    let output = Command::new(python)
        .arg("tests/integration/spark_suite.py")
        .arg(&path)
        .args(["--binary", env!("CARGO_BIN_EXE_faisca")])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let text = stdout(&output);
    let totals = "queries 4: right 2 (50.0 %), order 0, differ 1, error 1";
    assert!(
        text.contains(totals) && text.contains("refused 1"),
        "{text}"
    );
}
