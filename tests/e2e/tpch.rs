//! The 22 queries, against DataFusion in one process.

use crate::support::{
    LAYOUTS, Layout, oracle_over, oracle_rows, register_folders, rows, scratch, session,
    session_rows, sorted, tpch_data, tpch_oracle, tpch_oracle_query, tpch_query,
};
use faisca::Session;
use faisca_generate::TPCH_TABLES;
use faisca_planner::rules::Switches;

/// Each rule, and queries whose plan it changes where it is the only one: `adaptive` changes plans
/// that run, and no query has an outer or anti join below an inner one.
const RULES: [(&str, &[usize]); 11] = [
    ("semi_join_first", &[18]),
    ("anti_join", &[]),
    ("inner_join_first", &[]),
    ("join_order", &[5, 7, 9]),
    ("reduce_first", &[17, 20]),
    ("build_side", &[20, 21]),
    ("keys_before_shuffle", &[21]),
    ("key_filter", &[21]),
    ("share_stages", &[15]),
    ("conjunct_order", &[12]),
    ("adaptive", &[]),
];

#[tokio::test(flavor = "multi_thread")]
async fn all_queries_equal_one_datafusion_process_at_every_layout_and_partitioning() {
    let oracle = tpch_oracle().await;
    let mut expected = vec![];
    for number in 1..=22 {
        let frame = oracle.sql(&tpch_oracle_query(number)).await.unwrap();
        expected.push(rows(&frame.collect().await.unwrap()));
    }
    assert!(
        expected.iter().all(|rows| !rows.is_empty())
            || std::env::var("FAISCA_TEST_TPCH_SCALE").is_ok()
    );
    for layout in LAYOUTS {
        for partitions in [1, 7, 16] {
            let session = session(layout, partitions).await;
            register_folders(&session, tpch_data(), &TPCH_TABLES).await;
            for number in 1..=22 {
                let sql = tpch_query(number);
                let actual = session_rows(&session, &sql).await;
                let expected = expected[number - 1].clone();
                if sql.contains("order by") {
                    assert_eq!(actual, expected, "q{number} at {layout:?} × {partitions}");
                } else {
                    assert_eq!(
                        sorted(actual),
                        sorted(expected),
                        "q{number} at {layout:?} × {partitions}"
                    );
                }
            }
            session.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_change_plans_and_no_result() {
    let oracle = tpch_oracle().await;
    let mut expected = vec![];
    for number in 1..=22 {
        expected.push(sorted(
            oracle_rows(&oracle, &tpch_oracle_query(number)).await,
        ));
    }
    for layout in LAYOUTS {
        let session = session(layout, 7).await;
        register_folders(&session, tpch_data(), &TPCH_TABLES).await;
        let explained = async |number| {
            session
                .sql(&tpch_query(number))
                .await
                .unwrap()
                .explain()
                .await
                .unwrap()
        };
        let mut plans_without_rules = vec![];
        // None of them, then each alone.
        for enabled_rule in std::iter::once(None).chain(RULES.map(Some)) {
            enable_only(
                &session,
                enabled_rule.map_or("", |(enabled_rule, _)| enabled_rule),
            )
            .await;
            let mut plans = vec![];
            for number in 1..=22 {
                let actual = session_rows(&session, &tpch_query(number)).await;
                assert_eq!(
                    sorted(actual),
                    expected[number - 1],
                    "q{number} at {layout:?} with {enabled_rule:?} alone"
                );
                plans.push(explained(number).await);
            }
            if let Some((rule, changes)) = enabled_rule {
                let changed: Vec<_> = (1..=22)
                    .filter(|number| plans[number - 1] != plans_without_rules[number - 1])
                    .collect();
                assert!(
                    changes.iter().all(|number| changed.contains(number)),
                    "{rule} changes {changed:?}"
                );
            } else {
                plans_without_rules = plans;
            }
        }
        session.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_that_all_shuffle_are_right_and_filter_by_keys() {
    let oracle = tpch_oracle().await;
    for layout in [Layout::Embedded, Layout::Processes(3)] {
        let session = session(layout, 7).await;
        register_folders(&session, tpch_data(), &TPCH_TABLES).await;
        session
            .sql("SET datafusion.optimizer.hash_join_single_partition_threshold_rows = 100")
            .await
            .unwrap();
        let mut filtered = vec![];
        for number in 1..=22 {
            let frame = session.sql(&tpch_query(number)).await.unwrap();
            if frame
                .clone()
                .explain()
                .await
                .unwrap()
                .contains("KeyFilterExec")
            {
                filtered.push(number);
            }
            let expected = oracle_rows(&oracle, &tpch_oracle_query(number)).await;
            assert_eq!(
                sorted(rows(&frame.collect().await.unwrap())),
                sorted(expected),
                "q{number} at {layout:?}"
            );
        }
        assert!(filtered.len() >= 8, "{filtered:?}");
        session.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn skewed_joins_are_right_and_divided() {
    let folder = scratch("skew");
    let generator = datafusion::prelude::SessionContext::new();
    for (table, key, rows) in [
        (
            "f",
            "CASE WHEN value % 10 > 0 THEN 7 ELSE value % 3000 END",
            6_000_000,
        ),
        ("o", "value", 2000),
    ] {
        let sql = format!(
            "COPY (SELECT CASE WHEN value % 1000 = 3 THEN NULL ELSE {key} END AS k, value AS v FROM range({rows}) AS r(value))
             TO '{}/{table}/0.parquet' STORED AS PARQUET",
            folder.path().display()
        );
        generator.sql(&sql).await.unwrap().collect().await.unwrap();
    }
    let oracle = oracle_over(folder.path(), &["f", "o"]).await;
    for layout in [Layout::Embedded, Layout::Processes(3)] {
        let session = session(layout, 4).await;
        register_folders(&session, folder.path(), &["f", "o"]).await;
        // No broadcast, no choice of sides: the skewed table is built in one half of them, and
        // looked up in the other.
        session
            .sql("SET datafusion.optimizer.hash_join_single_partition_threshold_rows = 1")
            .await
            .unwrap();
        session
            .sql("SET datafusion.optimizer.hash_join_single_partition_threshold = 1")
            .await
            .unwrap();
        session.sql("SET faisca.build_side = false").await.unwrap();
        let mut divided = vec![];
        for join in [
            "JOIN",
            "LEFT JOIN",
            "RIGHT JOIN",
            "FULL JOIN",
            "LEFT SEMI JOIN",
            "LEFT ANTI JOIN",
            "RIGHT SEMI JOIN",
            "RIGHT ANTI JOIN",
        ] {
            for (left, right) in [("f", "o"), ("o", "f")] {
                let preserved_side = if join.starts_with("RIGHT ") && !join.ends_with("T JOIN") {
                    right
                } else {
                    left
                };
                let sql = format!(
                    "SELECT {preserved_side}.k % 100, count(*), sum({preserved_side}.v) FROM {left} {join} {right} ON {left}.k = {right}.k GROUP BY {preserved_side}.k % 100"
                );
                let expected = oracle.sql(&sql).await.unwrap().collect().await.unwrap();
                let actual = session_rows(&session, &sql).await;
                assert_eq!(sorted(actual), sorted(rows(&expected)), "{layout:?}: {sql}");
                let analyzed = format!("EXPLAIN ANALYZE {sql}");
                let report = session_rows(&session, &analyzed).await.pop().unwrap();
                if report.contains("skewed ones split") {
                    divided.push(format!("{left} {join} {right}"));
                }
            }
        }
        assert!(divided.len() >= 6, "{divided:?}");
        assert!(
            divided.iter().all(|join| !join.contains("FULL")),
            "{divided:?}"
        );
        session.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_are_the_approved_ones() {
    let session = session(Layout::Embedded, 4).await;
    register_folders(&session, tpch_data(), &TPCH_TABLES).await;
    let mut cases: Vec<(usize, String, &str)> = (1..=22)
        .map(|number| (number, format!("q{number:02}.txt"), ""))
        .collect();
    cases.extend(RULES.iter().filter_map(|(rule, changes)| {
        Some((*changes.first()?, format!("rules/{rule}.txt"), *rule))
    }));
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    for (number, file, enabled_rule) in cases {
        if !enabled_rule.is_empty() {
            enable_only(&session, enabled_rule).await;
        }
        let plan = session
            .sql(&tpch_query(number))
            .await
            .unwrap()
            .explain()
            .await
            .unwrap();
        let plan = without_files(&plan);
        let path = folder.join(&file);
        if std::env::var_os("FAISCA_APPROVE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &plan).unwrap();
        }
        let approved = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            plan, approved,
            "{file}: run with FAISCA_APPROVE=1 to approve the new plan"
        );
    }
    session.stop().await;
}

/// Turns this rule on, and all others off.
async fn enable_only(session: &Session, enabled_rule: &str) {
    assert_eq!(RULES.len(), Switches::names().len());
    for (rule, _) in RULES {
        session
            .sql(&format!("SET faisca.{rule} = {}", rule == enabled_rule))
            .await
            .unwrap();
    }
}

/// A plan without the names and sizes of the files that it scans.
fn without_files(plan: &str) -> String {
    let line = |line: &str| match (line.find("file_groups={"), line.find("]]}")) {
        (Some(start), Some(end)) => {
            let groups = line[start + "file_groups={".len()..]
                .split(" group")
                .next()
                .unwrap_or_default();
            format!("{}file_groups={groups}{}", &line[..start], &line[end + 3..])
        }
        _ => line.to_owned(),
    };
    plan.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn every_executor_works_and_no_large_stage_runs_in_one_task() {
    let session = session(Layout::Processes(3), 12).await;
    register_folders(&session, tpch_data(), &TPCH_TABLES).await;
    session
        .sql(&tpch_query(1))
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    session
        .sql(&tpch_query(9))
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let progress = session.progress();
    let busy: Vec<_> = progress
        .executors
        .iter()
        .filter(|(id, _)| id.0 > 0)
        .map(|(_, totals)| totals.tasks)
        .collect();
    assert_eq!(busy.len(), 3, "{:?}", progress.executors);
    assert!(busy.iter().all(|tasks| *tasks >= 5), "{busy:?}");
    session.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_names_rules_and_analyze_compares_estimates_with_actual_rows() {
    let session = session(Layout::Embedded, 4).await;
    register_folders(&session, tpch_data(), &TPCH_TABLES).await;
    let stages = async |sql: &str| {
        let report = session.sql(sql).await.unwrap().collect().await.unwrap();
        rows(&report).pop().unwrap()
    };
    let explained = stages(&format!("EXPLAIN {}", tpch_query(18))).await;
    let rules = explained
        .lines()
        .find(|line| line.starts_with("Optimizer rules that changed the plan: "))
        .unwrap();
    assert!(
        rules.contains("semi_join_first") && !rules.contains("reduce_first"),
        "{rules}"
    );
    let estimates_line = explained
        .lines()
        .find(|line| line.starts_with("Estimated rows of all operators"))
        .unwrap();
    assert!(
        estimates_line.contains("without semi_join_first"),
        "{estimates_line}"
    );
    session
        .sql("SET faisca.semi_join_first = false")
        .await
        .unwrap();
    assert!(
        !stages(&format!("EXPLAIN {}", tpch_query(18)))
            .await
            .contains("semi_join_first")
    );
    // Two stages: four flags and states, of each of four partitions, and then once.
    let analyzed = stages(&format!("EXPLAIN ANALYZE {}", tpch_query(1))).await;
    let actual_lines: Vec<_> = analyzed
        .lines()
        .filter(|line| line.contains("Actual: "))
        .collect();
    assert!(
        actual_lines
            .iter()
            .any(|line| line.contains("Actual: 16 rows"))
            && actual_lines
                .iter()
                .any(|line| line.contains("Actual: 4 rows")),
        "{analyzed}"
    );
    assert!(
        actual_lines
            .iter()
            .all(|line| line.contains("× the estimate")),
        "{analyzed}"
    );
    session.stop().await;
}
