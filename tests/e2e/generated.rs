//! Generated queries: seeded, over small tables with nulls, duplicates and nothing, against
//! DataFusion alone.
//!
//! A failure names its number;
//! `FAISCA_GENERATED_NUMBER=4711 cargo test --release --test e2e generated` runs that one.

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use datafusion::prelude::SessionContext;
use faisca::Session;
use faisca_planner::rules::Switches;
use fastrand::Rng;

use crate::support::{
    Generated, LAYOUTS, oracle_over, register_folders, rows, scratch, session, sorted,
};

/// No query takes a tenth of this.
const PATIENCE: Duration = Duration::from_secs(60);
/// Side by side, as many as there are cores to expect.
const AT_ONCE: usize = 2;
const TABLES: [&str; 4] = ["a", "b", "c", "d"];

/// Tables of one shape and different sizes: `k` and `n` with duplicates and nulls, `s` text, `v` a
/// value.
async fn data(folder: &Path) {
    let context = SessionContext::new();
    for (table, files, size, keys) in [
        ("a", 3, 12, 7),
        ("b", 2, 9, 11),
        ("c", 1, 5, 5),
        ("d", 4, 20, 40),
    ] {
        for file in 0..files {
            let path = folder.join(table).join(format!("{file}.parquet"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let columns = format!(
                "value AS id, CASE WHEN value % 10 = 3 THEN NULL ELSE value * 31 % {keys} END AS k,
                 CASE WHEN value % 4 = 1 THEN NULL ELSE value % 6 END AS n,
                 CASE WHEN value % 9 = 5 THEN NULL ELSE concat('s', value % 8) END AS s, value * 17 % 23 AS v"
            );
            let sql = format!(
                "COPY (SELECT {columns} FROM range({}, {}) AS r(value)) TO '{}' STORED AS PARQUET",
                file * size,
                (file + 1) * size,
                path.display()
            );
            context.sql(&sql).await.unwrap().collect().await.unwrap();
        }
    }
}

fn pick<'a>(rng: &mut Rng, choices: &[&'a str]) -> &'a str {
    choices[rng.usize(..choices.len())]
}

/// A table, or a part of one: sometimes nothing of it.
fn relation(rng: &mut Rng) -> String {
    let table = pick(rng, &TABLES);
    match rng.u8(..12) {
        0 => format!("(SELECT * FROM {table} WHERE id < 0)"),
        1 => format!(
            "(SELECT k, max(n) AS n, min(s) AS s, sum(v) AS v, count(*) AS id FROM {table} GROUP BY k)"
        ),
        2 => format!(
            "(SELECT DISTINCT k, n, s, v, id FROM {table} WHERE v > {})",
            rng.u8(..23)
        ),
        3 => "shared".to_owned(),
        _ => table.to_owned(),
    }
}

fn condition(rng: &mut Rng, alias: &str) -> String {
    let column = pick(rng, &["k", "n", "v", "id"]);
    match rng.u8(..14) {
        0 => format!("{alias}.s = 's{}'", rng.u8(..9)),
        1 => format!("{alias}.s LIKE '%{}'", rng.u8(..9)),
        2 => format!(
            "{alias}.{column} IN ({}, {}, {})",
            rng.u8(..9),
            rng.u8(..9),
            rng.u8(..20)
        ),
        3 => format!("{alias}.{column} IS NULL"),
        4 => format!("{alias}.{column} IS NOT NULL"),
        5 => format!(
            "({alias}.k = {} OR {alias}.v < {})",
            rng.u8(..9),
            rng.u8(..20)
        ),
        6 => format!(
            "{alias}.{column} BETWEEN {} AND {}",
            rng.u8(..9),
            rng.u8(5..30)
        ),
        7 => format!(
            "EXISTS (SELECT 1 FROM {} x WHERE x.{} = {alias}.{} AND x.v <> {alias}.v)",
            relation(rng),
            pick(rng, &["k", "n"]),
            pick(rng, &["k", "n"])
        ),
        8 => format!(
            "NOT EXISTS (SELECT 1 FROM {} x WHERE x.k = {alias}.{} AND x.n > {})",
            relation(rng),
            pick(rng, &["k", "n"]),
            rng.u8(..6)
        ),
        9 => format!(
            "{alias}.{} IN (SELECT x.k FROM {} x GROUP BY x.k HAVING sum(x.v) > {})",
            pick(rng, &["k", "n"]),
            relation(rng),
            rng.u8(..90)
        ),
        10 => format!(
            "{alias}.k NOT IN (SELECT x.n FROM {} x WHERE x.v < {})",
            relation(rng),
            rng.u8(..23)
        ),
        11 => format!(
            "{alias}.v > (SELECT 0.5 * avg(x.v) FROM {} x WHERE x.k = {alias}.k)",
            relation(rng)
        ),
        _ => format!(
            "{alias}.{column} {} {}",
            pick(rng, &["<", ">", "=", "<>", ">="]),
            rng.u8(..20)
        ),
    }
}

fn key(rng: &mut Rng) -> &'static str {
    // Keys on `k` mostly, so that equalities chain.
    pick(rng, &["k", "k", "k", "n", "s", "id"])
}

/// Relations joined: by commas and conditions, or by `JOIN`s of every kind.
fn joined(rng: &mut Rng, aliases: &[&str]) -> (String, Vec<String>) {
    let mut from = format!("{} {}", relation(rng), aliases[0]);
    let mut conditions = vec![];
    for (index, alias) in aliases.iter().enumerate().skip(1) {
        let other = aliases[rng.usize(..index)];
        let join_column = key(rng);
        let mut join_condition = format!("{alias}.{join_column} = {other}.{join_column}");
        if rng.u8(..6) == 0 {
            let _ = write!(join_condition, " AND {alias}.n = {other}.n");
        }
        if rng.u8(..7) == 0 {
            let _ = write!(join_condition, " AND {alias}.v <> {other}.v");
        }
        if rng.u8(..3) == 0 {
            let kind = pick(rng, &["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
            let _ = write!(
                from,
                " {kind} {} {alias} ON {join_condition}",
                relation(rng)
            );
            match (kind, rng.u8(..4)) {
                // Rows without a match: another way to write an anti join.
                ("LEFT JOIN", 0) => conditions.push(format!("{alias}.{join_column} IS NULL")),
                // Few rows of the preserved side.
                ("LEFT JOIN", 1) => {
                    let few = format!("(SELECT id FROM {} WHERE v < 3)", pick(rng, &TABLES));
                    let _ = write!(from, " JOIN {few} {alias}f ON {alias}f.id = {other}.id");
                }
                _ => {}
            }
        } else {
            // Inner joins, all in one list, so that there is an order to choose.
            let _ = write!(from, " JOIN {} {alias} ON {join_condition}", relation(rng));
            if rng.u8(..5) == 0 {
                conditions.push(format!("{alias}.v + {other}.v > {}", rng.u8(..30)));
            }
        }
    }
    (from, conditions)
}

fn select(rng: &mut Rng) -> String {
    let aliases = &["t1", "t2", "t3", "t4", "t5"][..1 + rng.usize(..5)];
    let (from, mut conditions) = joined(rng, aliases);
    for _ in 0..rng.u8(..4) {
        let alias = pick(rng, aliases);
        conditions.push(condition(rng, alias));
    }
    let filter = if conditions.is_empty() {
        String::new()
    } else {
        format!(" WHERE {}", conditions.join(" AND "))
    };
    let (x, y) = (pick(rng, aliases), pick(rng, aliases));
    match rng.u8(..5) {
        0 => format!("SELECT {x}.k AS p, {y}.s AS q, {x}.v AS r FROM {from}{filter}"),
        1 => format!("SELECT DISTINCT {x}.n AS p, {y}.s AS q, {y}.k AS r FROM {from}{filter}"),
        2 => format!("SELECT count(*) AS p, min({y}.s) AS q, sum({x}.v) AS r FROM {from}{filter}"),
        3 => format!(
            "SELECT {x}.k AS p, max({y}.s) AS q, sum({y}.v) AS r FROM {from}{filter} GROUP BY {x}.k"
        ),
        _ => format!(
            "SELECT {x}.n AS p, {y}.s AS q, count(DISTINCT {y}.v) AS r FROM {from}{filter} GROUP BY {x}.n, {y}.s HAVING count(*) > {}",
            rng.u8(..3)
        ),
    }
}

fn query(number: u64) -> String {
    let mut rng = Rng::with_seed(number);
    let shared = format!(
        "WITH shared AS (SELECT k, max(n) AS n, max(s) AS s, sum(v) AS v, min(id) AS id FROM {} GROUP BY k) ",
        pick(&mut rng, &TABLES)
    );
    let first = select(&mut rng);
    let all = match rng.u8(..10) {
        0 => format!("{first} UNION ALL {}", select(&mut rng)),
        1 => format!("SELECT p, count(*) AS q, max(r) AS r FROM ({first}) z GROUP BY p"),
        _ => first,
    };
    shared + &all
}

/// What each session is like: all rules, none, and each alone; first embedded, then on processes.
async fn sessions(folder: &Path) -> Vec<(String, Session)> {
    let mut all = vec![];
    let mut add = async |name: String, layout, is_enabled: &dyn Fn(&str) -> bool| {
        let session = session(layout, 3).await;
        register_folders(&session, folder, &TABLES).await;
        for rule in Switches::names() {
            session
                .sql(&format!("SET faisca.{rule} = {}", is_enabled(&rule)))
                .await
                .unwrap();
        }
        // Tables are small: what is small among them is smaller.
        session
            .sql("SET datafusion.optimizer.hash_join_single_partition_threshold_rows = 12")
            .await
            .unwrap();
        session
            .sql("SET datafusion.optimizer.hash_join_single_partition_threshold = 1000")
            .await
            .unwrap();
        all.push((name, session));
    };
    for layout in LAYOUTS {
        add(format!("{layout:?}, every rule"), layout, &|_| true).await;
        add(format!("{layout:?}, no rule"), layout, &|_| false).await;
        for enabled_rule in Switches::names() {
            add(
                format!("{layout:?}, {enabled_rule} alone"),
                layout,
                &|rule| rule == enabled_rule,
            )
            .await;
        }
    }
    all
}

/// A rule that changes none of these plans would be right for nothing.
async fn assert_every_rule_has_work(sessions: &[(String, Session)]) {
    const LOOKED_AT: u64 = 400;
    let mut idle = Switches::names();
    for number in 0..LOOKED_AT {
        let explained = async |session: &Session| match session.sql(&query(number)).await {
            Ok(frame) => frame.explain().await.ok(),
            Err(_) => None,
        };
        let plan_without_rules = explained(&sessions[1].1).await;
        for (rule_index, rule) in Switches::names().iter().enumerate() {
            if idle.contains(rule)
                && explained(&sessions[2 + rule_index].1).await != plan_without_rules
            {
                idle.retain(|other| other != rule);
            }
        }
        // What is changed while a query runs, no plan shows before.
        if idle.iter().any(|rule| rule == "adaptive")
            && analyzed(&sessions[0].1, &query(number))
                .await
                .contains("Re-planned")
        {
            idle.retain(|rule| rule != "adaptive");
        }
    }
    assert_eq!(
        idle,
        Vec::<String>::new(),
        "rules that change none of {LOOKED_AT} plans"
    );
}

async fn analyzed(session: &Session, query: &str) -> String {
    let Ok(frame) = session.sql(&format!("EXPLAIN ANALYZE {query}")).await else {
        return String::new();
    };
    frame
        .collect()
        .await
        .map_or_else(|_| String::new(), |batches| rows(&batches).join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_queries_are_right() {
    let folder = scratch("generated");
    data(folder.path()).await;
    let generated = Generated::from_environment();
    let is_alone = generated.count == 1;
    let sessions = sessions(folder.path()).await;
    let oracle = oracle_over(folder.path(), &TABLES).await;
    oracle
        .sql("SET datafusion.execution.target_partitions = 1")
        .await
        .unwrap();
    let (next, run, yielding) = (
        AtomicU64::new(generated.first),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let work = async || {
        while run.load(Ordering::Relaxed) < usize::try_from(generated.count).unwrap() {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let sql = query(number);
            // What DataFusion cannot plan or run is no query.
            let Ok(frame) = oracle.sql(&sql).await else {
                continue;
            };
            let Ok(expected) = frame.collect().await else {
                continue;
            };
            let expected = sorted(rows(&expected));
            // Every other query with every rule; all sessions have their turn.
            let session_turn = usize::try_from(number).unwrap();
            let session_index = if session_turn.is_multiple_of(2) {
                0
            } else {
                session_turn / 2 % sessions.len()
            };
            for (name, session) in if is_alone {
                &sessions[..]
            } else {
                &sessions[session_index..=session_index]
            } {
                let actual = tokio::time::timeout(PATIENCE, async {
                    session.sql(&sql).await?.collect().await
                })
                .await;
                let actual = actual
                    .unwrap_or_else(|_| panic!("query {number} with {name} does not end\n{sql}"));
                let actual = actual
                    .unwrap_or_else(|error| panic!("query {number} with {name}: {error}\n{sql}"));
                assert!(
                    sorted(rows(&actual)) == expected,
                    "query {number} with {name} is wrong\n{sql}"
                );
            }
            run.fetch_add(1, Ordering::Relaxed);
            yielding.fetch_add(usize::from(!expected.is_empty()), Ordering::Relaxed);
        }
    };
    futures::future::join_all((0..AT_ONCE).map(|_| work())).await;
    if !is_alone {
        assert_every_rule_has_work(&sessions).await;
    }
    // Queries without rows would prove little.
    assert!(
        is_alone || yielding.into_inner() > run.into_inner() / 2,
        "most queries yield nothing"
    );
    for (_, session) in sessions {
        session.stop().await;
    }
}
