//! Plans measured: how long planning takes, what the rules are worth, whether the written order of joins matters, and what
//! a key with most of the rows costs.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use comfy_table::Table;
use faisca::{Result, Session};
use faisca_planner::rules::Switches;
use fastrand::Rng;

use crate::compare::{aligned, by};
use crate::tpch;

/// Orders of a FROM list that are tried.
const SEEDS: u64 = 10;
/// Relations of the large join that is planned.
const RELATIONS: usize = 20;
/// Of skewed rows, nine of ten have one key.
const SKEWED_ROWS: u64 = 20_000_000;
const OTHER_ROWS: u64 = 4_000_000;

/// Flags of `plans`.
#[derive(Debug, Args)]
pub(crate) struct PlansArgs {
    /// Scale factor.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// What is measured, if not all.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "planning,rules,shuffled,skew"
    )]
    parts: Vec<Part>,
    /// Queries, if not all 22.
    #[arg(long, value_delimiter = ',')]
    queries: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Milliseconds from a query's text to its stages.
    Planning,
    /// Each query with all rules, and with none.
    Rules,
    /// FROM lists in ten orders.
    Shuffled,
    /// One key with 90 % of the rows.
    Skew,
}

pub(crate) async fn run(folder: &Path, args: PlansArgs, runs: u32, executors: u32) -> Result<()> {
    let data = tpch::data(folder, args.scale)?;
    let session = tpch::session(Session::builder().executors(executors), &data).await?;
    let queries = if args.queries.is_empty() {
        (1..=22).collect()
    } else {
        args.queries
    };
    for part in args.parts {
        let (title, table) = match part {
            Part::Planning => ("Planning", planning(&session, &queries, runs).await?),
            Part::Rules => (
                "All rules against none",
                rules(&session, &queries, runs).await?,
            ),
            Part::Shuffled => (
                "FROM lists in ten orders",
                shuffled(&session, &queries, runs).await?,
            ),
            Part::Skew => (
                "One key with 90 % of the rows",
                skew(&session, folder, runs).await?,
            ),
        };
        println!("{title}, scale factor {}\n{table}", args.scale);
    }
    session.stop().await;
    Ok(())
}

async fn planning(session: &Session, queries: &[usize], runs: u32) -> Result<Table> {
    let mut table = aligned(&["", "ms"]);
    let chain: Vec<String> = (1..RELATIONS)
        .map(|n| format!("n{}.n_nationkey = n{n}.n_nationkey", n - 1))
        .collect();
    let from: Vec<String> = (0..RELATIONS).map(|n| format!("nation n{n}")).collect();
    let large = format!(
        "SELECT count(*) FROM {} WHERE {}",
        from.join(", "),
        chain.join(" AND ")
    );
    let mut all = vec![(format!("join of {RELATIONS} tables"), large)];
    for number in queries.iter().copied() {
        all.push((format!("q{number}"), tpch::query(number)?));
    }
    for (name, sql) in all {
        let mut best = Duration::MAX;
        for _ in 0..runs {
            let started = Instant::now();
            session
                .sql(&sql)
                .await?
                .into_inner()
                .create_physical_plan()
                .await?;
            best = best.min(started.elapsed());
        }
        table.add_row([name, format!("{:.1}", best.as_secs_f64() * 1000.0)]);
    }
    Ok(table)
}

async fn timed(session: &Session, sql: &str) -> Result<Duration> {
    let started = Instant::now();
    session.sql(sql).await?.collect().await?;
    Ok(started.elapsed())
}

async fn switch(session: &Session, on: bool) -> Result<()> {
    for rule in Switches::names() {
        session.sql(&format!("SET faisca.{rule} = {on}")).await?;
    }
    Ok(())
}

async fn rules(session: &Session, queries: &[usize], runs: u32) -> Result<Table> {
    let mut table = aligned(&["", "with s", "without s", "ratio"]);
    let mut row = |name: String, with: Duration, without: Duration| {
        let seconds = |time: Duration| format!("{:.2}", time.as_secs_f64());
        table.add_row([
            name,
            seconds(with),
            seconds(without),
            format!("{:.2}", by(with, without)),
        ]);
    };
    let mut total = (Duration::ZERO, Duration::ZERO);
    for number in queries.iter().copied() {
        let sql = tpch::query(number)?;
        let mut best = (Duration::MAX, Duration::MAX);
        for _ in 0..runs {
            switch(session, false).await?;
            best.1 = best.1.min(timed(session, &sql).await?);
            switch(session, true).await?;
            best.0 = best.0.min(timed(session, &sql).await?);
        }
        total = (total.0 + best.0, total.1 + best.1);
        row(format!("q{number}"), best.0, best.1);
    }
    row("total".to_owned(), total.0, total.1);
    Ok(table)
}

/// A query with each of its FROM lists of three relations or more in another order.
fn reordered(sql: &str, rng: &mut Rng) -> String {
    let mut out = String::new();
    let mut rest = sql;
    while let Some(start) = rest.find("from ").map(|at| at + "from ".len()) {
        let (before, list) = rest.split_at(start);
        let end = ["where", "group by", "order by", ")"]
            .iter()
            .filter_map(|word| list.find(word))
            .min()
            .unwrap_or(list.len());
        let mut relations: Vec<&str> = list[..end].split(',').map(str::trim).collect();
        // A subquery in the list has commas of its own.
        if relations.len() > 2 && !list[..end].contains('(') {
            rng.shuffle(&mut relations);
        }
        out.push_str(before);
        out.push_str(&relations.join(", "));
        out.push('\n');
        rest = &list[end..];
    }
    out + rest
}

async fn shuffled(session: &Session, queries: &[usize], runs: u32) -> Result<Table> {
    let mut table = aligned(&["", "fastest s", "slowest s", "ratio"]);
    for number in queries.iter().copied() {
        let sql = tpch::query(number)?;
        if reordered(&sql, &mut Rng::with_seed(0)) == reordered(&sql, &mut Rng::with_seed(1)) {
            continue;
        }
        let mut times = vec![Duration::MAX; usize::try_from(SEEDS).unwrap_or(0)];
        for _ in 0..runs {
            for (seed, best) in (0..SEEDS).zip(&mut times) {
                *best =
                    (*best).min(timed(session, &reordered(&sql, &mut Rng::with_seed(seed))).await?);
                eprintln!("q{number}, order {seed}: {:.2} s", best.as_secs_f64());
            }
        }
        let (fastest, slowest) = times
            .iter()
            .fold((Duration::MAX, Duration::ZERO), |(low, high), time| {
                (low.min(*time), high.max(*time))
            });
        let seconds = |time: Duration| format!("{:.2}", time.as_secs_f64());
        table.add_row([
            format!("q{number}"),
            seconds(fastest),
            seconds(slowest),
            format!("{:.2}", by(slowest, fastest)),
        ]);
    }
    Ok(table)
}

async fn skew(session: &Session, folder: &Path, runs: u32) -> Result<Table> {
    let folder = folder.join("skew");
    for (name, key) in [
        (
            "skewed",
            "CASE WHEN value % 10 > 0 THEN 7 ELSE value % 4000000 END",
        ),
        ("even", "value * 7919 % 4000000"),
    ] {
        let path = folder.join(name);
        if !path.exists() {
            session
                .sql(&format!("COPY (SELECT {key} AS k, value AS v FROM range({SKEWED_ROWS}) AS r(value)) TO '{}' STORED AS PARQUET", path.display()))
                .await?;
        }
        session
            .sql(&format!(
                "CREATE OR REPLACE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{}/'",
                path.display()
            ))
            .await?;
    }
    let other = folder.join("other");
    if !other.exists() {
        session
            .sql(&format!(
                "COPY (SELECT value AS k, value % 100 AS w FROM range({OTHER_ROWS}) AS r(value)) TO '{}' STORED AS PARQUET",
                other.display()
            ))
            .await?;
    }
    session
        .sql(&format!(
            "CREATE OR REPLACE EXTERNAL TABLE other STORED AS PARQUET LOCATION '{}/'",
            other.display()
        ))
        .await?;
    let mut table = aligned(&["", "skewed s", "even s", "ratio"]);
    let queries = [
        (
            "join",
            "SELECT sum(f.v), sum(o.w) FROM TABLE f JOIN other o ON f.k = o.k",
        ),
        (
            "aggregation",
            "SELECT count(*), max(s) FROM (SELECT k, sum(v) AS s FROM TABLE GROUP BY k) x",
        ),
        (
            "distinct aggregation",
            "SELECT count(*), max(s) FROM (SELECT k, count(DISTINCT v % 1000) AS s FROM TABLE GROUP BY k) x",
        ),
    ];
    for (name, sql) in queries {
        let mut best = (Duration::MAX, Duration::MAX);
        for _ in 0..runs {
            best.0 = best
                .0
                .min(timed(session, &sql.replace("TABLE", "skewed")).await?);
            best.1 = best
                .1
                .min(timed(session, &sql.replace("TABLE", "even")).await?);
        }
        let seconds = |time: Duration| format!("{:.2}", time.as_secs_f64());
        table.add_row([
            name.to_owned(),
            seconds(best.0),
            seconds(best.1),
            format!("{:.2}", by(best.0, best.1)),
        ]);
    }
    Ok(table)
}
