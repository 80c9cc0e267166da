//! Random kills over TPC-H and the pipeline: 12 of them in every run of the tests, 200 at night
//! (`FAISCA_KILLS=200`, see `just nightly`).

use std::time::Duration;

use super::{all_up, children, executors, expected, fleet, signal, start, stop, wait_until};
use crate::support::{command, files_below, oracle_over, oracle_rows, scratch, sorted};

const ROUNDS_PER_FLEET: u32 = 6;

fn kills() -> u32 {
    std::env::var("FAISCA_KILLS").map_or(12, |n| n.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn random_kills_over_tpch_change_no_result() {
    // The same seed kills at the same times.
    let mut random = fastrand::Rng::with_seed(20_261_123);
    let mut killed = 0;
    while killed < kills() {
        // A fleet replaces a bounded number of executors: a fresh one for every few rounds.
        let session = fleet(3).await;
        for _ in 0..ROUNDS_PER_FLEET {
            let number = random.usize(1..=22);
            all_up(&session, 3).await;
            let running = start(&session, number);
            tokio::time::sleep(Duration::from_millis(random.u64(..700))).await;
            for pid in executors(&session).iter().take(random.usize(1..=3)) {
                signal(*pid, "-KILL");
                killed += 1;
            }
            assert_eq!(
                running.await.unwrap(),
                expected(number).await,
                "q{number} after {killed} kills"
            );
            wait_until("the news", Duration::from_secs(5), || {
                session.progress().executors_lost > 0
            })
            .await;
        }
        stop(session).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_kills_over_the_pipeline_change_no_table() {
    let mut random = fastrand::Rng::with_seed(7);
    let folder = scratch("kills");
    faisca_generate::enem(folder.path(), 60_000).unwrap();
    let run = || {
        let mut job = command();
        let set = format!("data={}", folder.path().display());
        job.args([
            "run",
            "examples/enem/enem.yaml",
            "--executors",
            "3",
            "--set",
            &set,
        ]);
        job.stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    assert!(run().wait().unwrap().success());
    let tables = [
        "consumer/enem_uf",
        "consumer/enem_anon",
        "processing/enem",
        "processing/edsup2019/aluno",
    ];
    let contents = || async {
        let mut all = vec![];
        for table in tables {
            let context = oracle_over(folder.path(), &[table]).await;
            let sql = format!("SELECT * FROM `{table}`");
            all.push(sorted(oracle_rows(&context, &sql).await));
        }
        all
    };
    let (expected, files) = (contents().await, files_below(folder.path()).len());
    let mut killed = 0;
    while killed < kills() / 4 {
        let mut job = run();
        tokio::time::sleep(Duration::from_millis(random.u64(100..1000))).await;
        for pid in children(job.id()).iter().take(random.usize(1..=3)) {
            signal(*pid, "-KILL");
            killed += 1;
        }
        assert!(job.wait().unwrap().success(), "after {killed} kills");
        assert!(
            contents().await == expected,
            "a table differs after {killed} kills"
        );
        assert_eq!(
            files_below(folder.path()).len(),
            files,
            "litter after {killed} kills"
        );
    }
}
