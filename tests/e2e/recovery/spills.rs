//! Spilled data that is damaged, cut or removed; and what is left of it when processes die.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use faisca::Session;

use super::{QueryMoment, children, executors, is_alive, is_reached, signal, tpch, wait_until};
use crate::support::{command, files_below, rows, scratch, tpch_data, tpch_oracle};

const JOIN: &str = "SELECT count(*), sum(a.l_orderkey + b.l_partkey) FROM lineitem a JOIN lineitem b ON a.l_orderkey = b.l_orderkey AND a.l_linenumber = b.l_linenumber";
const SORT: &str = "SELECT sum(place * l_orderkey % 1000003) FROM (SELECT l_orderkey, row_number() OVER (ORDER BY l_comment, l_orderkey, l_linenumber) AS place FROM lineitem) t";

#[derive(Debug, Clone, Copy)]
enum Damage {
    Flip,
    Cut,
    Remove,
}

/// Files of executors whose names begin with `prefix` and that hold rows.
fn spill_files(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let own = format!("faisca-spill-{}-", std::process::id());
    let is_chosen = |name: &String| {
        let file = name.rsplit('/').next().unwrap_or_default();
        !name.starts_with(&own) && file.starts_with(prefix)
    };
    let names = files_below(folder).into_iter().filter(is_chosen);
    let files = names.map(|name| folder.join(name));
    let has_rows = |file: &PathBuf| std::fs::metadata(file).is_ok_and(|m| m.len() > 8192);
    files.filter(has_rows).collect()
}

/// Damages files, which executors may write and remove meanwhile. Returns the number of damaged
/// files.
fn damage(files: &[PathBuf], how: Damage) -> usize {
    let damaged = files.iter().filter(|path| match how {
        Damage::Remove => std::fs::remove_file(path).is_ok(),
        Damage::Flip | Damage::Cut => {
            let file = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(path);
            file.is_ok_and(|file| damage_file(&file, how).is_ok())
        }
    });
    damaged.count()
}

fn damage_file(file: &std::fs::File, how: Damage) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt;
    let middle = file.metadata()?.len() / 2;
    if matches!(how, Damage::Cut) {
        return file.set_len(middle);
    }
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle)?;
    file.write_all_at(&[byte[0] ^ 4], middle)
}

async fn memory_limited_session(spill: &Path) -> Session {
    let session = Session::builder()
        .executors(2)
        .executor_cores(1)
        .partitions(8)
        .memory_bytes(160 << 20)
        .spill_folder(spill)
        .executor_binary(env!("CARGO_BIN_EXE_faisca"))
        .config("faisca.smallQueryBytes", "0")
        .get_or_create()
        .await
        .unwrap();
    tpch(&session).await;
    session
}

async fn oracle(statement: &str) -> Vec<String> {
    let frame = tpch_oracle().await.sql(statement).await.unwrap();
    rows(&frame.collect().await.unwrap())
}

/// Runs a statement, and damages what it spilled as soon as it has spilled.
async fn run_damaged(session: &Session, spill: &Path, statement: &str, prefix: &str, how: Damage) {
    let (running, text) = (session.clone(), statement.to_owned());
    let result = tokio::task::spawn(async move {
        rows(&running.sql(&text).await.unwrap().collect().await.unwrap())
    });
    let mut damaged = 0;
    wait_until("spilled files", Duration::from_secs(60), || {
        if prefix == "operator-" || is_reached(QueryMoment::Committed, session) {
            damaged += damage(&spill_files(spill, prefix), how);
        }
        damaged > 0 || result.is_finished()
    })
    .await;
    assert!(damaged > 0, "nothing was spilled by {prefix}");
    assert_eq!(
        result.await.unwrap(),
        oracle(statement).await,
        "{how:?} {prefix}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_block_of_the_exchange_is_recomputed() {
    let spill = scratch("damaged");
    for how in [Damage::Flip, Damage::Cut, Damage::Remove] {
        let session = memory_limited_session(spill.path()).await;
        run_damaged(&session, spill.path(), JOIN, "exchange-", how).await;
        session.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_run_of_a_sort_yields_no_wrong_row() {
    let spill = scratch("runs");
    for how in [Damage::Flip, Damage::Cut] {
        let session = memory_limited_session(spill.path()).await;
        run_damaged(&session, spill.path(), SORT, "operator-", how).await;
        session.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_executor_spilled_is_removed() {
    let spill = scratch("killed");
    let session = memory_limited_session(spill.path()).await;
    let (running, text) = (session.clone(), JOIN);
    let result = tokio::task::spawn(async move {
        rows(&running.sql(text).await.unwrap().collect().await.unwrap())
    });
    wait_until("spilled files", Duration::from_secs(60), || {
        !spill_files(spill.path(), "").is_empty()
    })
    .await;
    let victim = executors(&session)[0];
    signal(victim, "-KILL");
    wait_until("removal", Duration::from_secs(5), || {
        let name = format!("faisca-spill-{victim}-");
        !files_below(spill.path())
            .iter()
            .any(|file| file.starts_with(&name))
    })
    .await;
    assert_eq!(result.await.unwrap(), oracle(JOIN).await);
    session.stop().await;
    drop(session);
    assert_eq!(files_below(spill.path()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ends_in_any_way_leaves_nothing_spilled() {
    let spill = scratch("ended");
    let statement = format!(
        "CREATE EXTERNAL TABLE lineitem STORED AS PARQUET LOCATION '{}/'; {JOIN}; {JOIN}; {JOIN}",
        tpch_data().join("lineitem").display()
    );
    let job = |statement: &str| {
        let mut job = command();
        job.args([
            "sql",
            "-c",
            statement,
            "--executors",
            "2",
            "--executor-cores",
            "1",
        ]);
        job.args([
            "--memory",
            "160Mi",
            "--spill-folder",
            spill.path().to_str().unwrap(),
        ]);
        job.stdout(Stdio::null()).stderr(Stdio::null());
        job
    };
    for name in ["-HUP", "-TERM", "-KILL"] {
        let mut running = job(&statement).spawn().unwrap();
        wait_until("spilled files", Duration::from_secs(60), || {
            !spill_files(spill.path(), "").is_empty()
        })
        .await;
        let executors = children(running.id());
        signal(running.id(), name);
        let code = running.wait().unwrap().code();
        assert_eq!(
            code,
            if name == "-KILL" { None } else { Some(130) },
            "{name}"
        );
        wait_until("end of executors", Duration::from_secs(10), || {
            !executors.iter().any(|pid| is_alive(*pid))
        })
        .await;
        // Only a process that was killed cannot clean up. The next one does.
        let killed = format!("faisca-spill-{}-", running.id());
        let left = files_below(spill.path());
        let is_own = |file: &String| name == "-KILL" && file.starts_with(&killed);
        assert!(left.iter().all(is_own), "{name}: {left:?}");
        assert!(job("SELECT 1").status().unwrap().success());
        assert_eq!(files_below(spill.path()), Vec::<String>::new(), "{name}");
    }
}
