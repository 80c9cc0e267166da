//! The exit code and the message say whose turn it is: the user's, or a second try's.

use std::time::{Duration, Instant};

use crate::support::{command, scratch};

/// Runs a statement. Returns its exit code and its message.
fn sql(statement: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let run = command()
        .args(["sql", "-c", statement])
        .args(arguments)
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&run.stderr).into_owned();
    (run.status.code(), message)
}

fn refused(statement: &str) -> String {
    let (code, message) = sql(statement, &[]);
    assert_eq!(code, Some(2), "{statement}: {message}");
    message
}

#[test]
fn a_pattern_that_does_not_parse_is_the_users_mistake() {
    let constant = refused("SELECT regexp_like('a', '(')");
    assert!(!constant.contains("Optimizer rule"), "{constant}");
    let column = refused("SELECT regexp_replace(col1, '(', '') FROM (VALUES ('a'), ('b')) t");
    assert!(column.contains("regex parse error"), "{column}");
}

#[test]
fn a_setting_with_a_wrong_value_is_the_users_mistake() {
    let message = refused("SET datafusion.execution.batch_size = 'abc'");
    assert!(message.contains("batch_size"), "{message}");
}

#[test]
fn a_function_of_wrong_types_blames_no_one_else() {
    let message = refused("SELECT sum('text')");
    assert!(message.contains("No function matches"), "{message}");
    assert!(!message.contains("bug"), "{message}");
}

#[test]
fn deep_nesting_names_the_setting_that_allows_it() {
    let nested = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    let message = refused(&nested);
    assert!(message.contains("recursion_limit"), "{message}");
}

#[test]
fn links_that_lead_in_a_circle_are_the_users_mistake() {
    let folder = scratch("loop");
    let (first, second) = (folder.path().join("one.parquet"), folder.path().join("two"));
    std::os::unix::fs::symlink(&second, &first).unwrap();
    std::os::unix::fs::symlink(&first, &second).unwrap();
    refused(&format!(
        "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{}'; SELECT * FROM t",
        first.display()
    ));
}

#[test]
fn a_pipe_is_refused_as_an_input() {
    let folder = scratch("pipe");
    let pipe = folder.path().join("rows.csv");
    let status = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(status.unwrap().success());
    let message = refused(&format!(
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{}'; SELECT * FROM t",
        pipe.display()
    ));
    assert!(
        message.contains("rows.csv") && message.contains("pipes"),
        "{message}"
    );
}

#[test]
fn a_statement_without_end_is_ended_by_its_timeout() {
    let endless = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i % 1000 + 1 FROM n) SELECT max(i) FROM n";
    let started = Instant::now();
    let (code, message) = sql(endless, &["--conf", "faisca.statement.timeout=2s"]);
    assert_eq!(code, Some(2), "{message}");
    assert!(
        message.contains("longer than 2 s") && message.contains("faisca.statement.timeout"),
        "{message}"
    );
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_job_that_ignores_the_end_of_its_terminal_goes_on() {
    let line = format!(
        "trap '' HUP; exec {} sql -c 'SELECT sum(n) FROM generate_series(1, 300000000) AS t(n)'",
        env!("CARGO_BIN_EXE_faisca")
    );
    let mut job = std::process::Command::new("sh")
        .args(["-c", &line])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(700));
    crate::recovery::signal(job.id(), "-HUP");
    assert_eq!(job.wait().unwrap().code(), Some(0));
}

#[test]
fn an_age_that_is_no_duration_is_refused_by_the_clean_up() {
    for hours in ["inf", "1e300", "nan", "-1", "day"] {
        let run = command()
            .args(["clean", "s3://lake/out", &format!("--older-than={hours}")])
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(2), "{hours}: {message}");
        assert!(message.contains("number of hours"), "{hours}: {message}");
    }
}
