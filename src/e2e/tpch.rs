//! The 22 queries, against DataFusion in one process.

use crate::support::{LAYOUTS, Layout, register_folders, rows, session, sorted, tpch_data, tpch_oracle, tpch_query};
use faisca::generate::TPCH_TABLES;

#[tokio::test(flavor = "multi_thread")]
async fn all_queries_equal_one_datafusion_process_at_every_layout_and_partitioning() {
    let oracle = tpch_oracle().await;
    let mut expected = vec![];
    for number in 1..=22 {
        let frame = oracle.sql(&tpch_query(number)).await.unwrap();
        expected.push(rows(&frame.collect().await.unwrap()));
    }
    assert!(expected.iter().all(|rows| !rows.is_empty()) || std::env::var("FAISCA_TEST_TPCH_SCALE").is_ok());
    for layout in LAYOUTS {
        for partitions in [1, 7, 16] {
            let session = session(layout, partitions).await;
            register_folders(&session, tpch_data(), &TPCH_TABLES).await;
            for number in 1..=22 {
                let sql = tpch_query(number);
                let found = rows(&session.sql(&sql).await.unwrap().collect().await.unwrap());
                let expected = expected[number - 1].clone();
                if sql.contains("order by") {
                    assert_eq!(found, expected, "q{number} at {layout:?} × {partitions}");
                } else {
                    assert_eq!(sorted(found), sorted(expected), "q{number} at {layout:?} × {partitions}");
                }
            }
            session.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_change_plans_and_no_result() {
    const RULES: [(&str, &[usize]); 7] = [
        ("semi_join_first", &[18]),
        ("join_order", &[5, 7, 9]),
        ("reduce_first", &[17, 20]),
        ("build_side", &[17, 20]),
        ("keys_before_shuffle", &[21]),
        ("share_stages", &[15]),
        ("conjunct_order", &[12]),
    ];
    let oracle = tpch_oracle().await;
    let mut expected = vec![];
    for number in 1..=22 {
        expected.push(sorted(rows(&oracle.sql(&tpch_query(number)).await.unwrap().collect().await.unwrap())));
    }
    for layout in [Layout::Embedded, Layout::Processes(3)] {
        let session = session(layout, 7).await;
        register_folders(&session, tpch_data(), &TPCH_TABLES).await;
        let explained = async |number| session.sql(&tpch_query(number)).await.unwrap().explain().await.unwrap();
        let mut without = vec![];
        // None of them, then each alone.
        for alone in std::iter::once(None).chain(RULES.map(Some)) {
            for (rule, _) in RULES {
                session.sql(&format!("SET faisca.{rule} = {}", alone.is_some_and(|(alone, _)| alone == rule))).await.unwrap();
            }
            let mut plans = vec![];
            for number in 1..=22 {
                let found = rows(&session.sql(&tpch_query(number)).await.unwrap().collect().await.unwrap());
                assert_eq!(sorted(found), expected[number - 1], "q{number} at {layout:?} with {alone:?} alone");
                plans.push(explained(number).await);
            }
            if let Some((rule, changes)) = alone {
                let changed: Vec<_> = (1..=22).filter(|number| plans[number - 1] != without[number - 1]).collect();
                assert!(changes.iter().all(|number| changed.contains(number)), "{rule} changes {changed:?}");
            } else {
                without = plans;
            }
        }
        session.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_are_the_approved_ones() {
    let session = session(Layout::Embedded, 4).await;
    register_folders(&session, tpch_data(), &TPCH_TABLES).await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tpch/plans");
    for number in 1..=22 {
        let plan = session.sql(&tpch_query(number)).await.unwrap().explain().await.unwrap();
        let plan = without_files(&plan);
        let path = folder.join(format!("q{number:02}.txt"));
        if std::env::var_os("FAISCA_APPROVE").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &plan).unwrap();
        }
        let approved = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(plan, approved, "q{number}: run with FAISCA_APPROVE=1 to approve the new plan");
    }
    session.stop().await;
}

/// A plan without the names and sizes of the files that it scans.
fn without_files(plan: &str) -> String {
    let line = |line: &str| match (line.find("file_groups={"), line.find("]]}")) {
        (Some(start), Some(end)) => {
            let groups = line[start + "file_groups={".len()..].split(" group").next().unwrap_or_default();
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
    session.sql(&tpch_query(1)).await.unwrap().collect().await.unwrap();
    session.sql(&tpch_query(9)).await.unwrap().collect().await.unwrap();
    let progress = session.progress();
    let busy: Vec<_> = progress.executors.iter().filter(|(id, _)| id.0 > 0).map(|(_, totals)| totals.tasks).collect();
    assert_eq!(busy.len(), 3, "{:?}", progress.executors);
    assert!(busy.iter().all(|tasks| *tasks >= 5), "{busy:?}");
    session.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_names_rules_and_analyze_tells_what_came_of_the_estimates() {
    let session = session(Layout::Embedded, 4).await;
    register_folders(&session, tpch_data(), &TPCH_TABLES).await;
    let stages = async |sql: &str| {
        let told = session.sql(sql).await.unwrap().collect().await.unwrap();
        rows(&told).pop().unwrap()
    };
    let explained = stages(&format!("EXPLAIN {}", tpch_query(18))).await;
    let rules = explained.lines().find(|line| line.starts_with("Rules that shaped it: ")).unwrap();
    assert!(rules.contains("semi_join_first") && !rules.contains("share_stages"), "{rules}");
    session.sql("SET faisca.semi_join_first = false").await.unwrap();
    assert!(!stages(&format!("EXPLAIN {}", tpch_query(18))).await.contains("semi_join_first"));
    // Two stages: four flags and states, of each of four partitions, and then once.
    let analyzed = stages(&format!("EXPLAIN ANALYZE {}", tpch_query(1))).await;
    let ran: Vec<_> = analyzed.lines().filter(|line| line.contains("Ran: ")).collect();
    assert!(ran.iter().any(|line| line.contains("Ran: 16 rows")) && ran.iter().any(|line| line.contains("Ran: 4 rows")), "{analyzed}");
    assert!(ran.iter().all(|line| line.contains("× the estimate")), "{analyzed}");
    session.stop().await;
}
