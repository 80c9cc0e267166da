//! Benchmarks of plans: planning time, the gain of the rules, the influence of the written join
//! order, and skewed keys.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use comfy_table::Table;
use faisca::{Result, Session};
use faisca_planner::rules::Switches;
use fastrand::Rng;

use crate::compare::{numeric_table, pair_cells, ratio, seconds};
use crate::tpch::{self, time_query};

/// Number of orders of a FROM list that are measured.
const SEEDS: u64 = 10;
/// Number of relations of the large join that is planned.
const RELATIONS: usize = 20;
/// Rows of the skewed table, and of the even one.
const FACT_ROWS: u64 = 20_000_000;
/// Rows of the table that both are joined with; also the number of their keys.
const DIMENSION_ROWS: u64 = 4_000_000;

/// Flags of `plans`.
#[derive(Debug, Args)]
pub(crate) struct PlansArgs {
    /// Scale factor.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Parts to measure; default: all.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "planning,rules,shuffled,skew"
    )]
    parts: Vec<Experiment>,
    /// Numbers of the queries; default: all 22.
    #[arg(long, value_delimiter = ',')]
    queries: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Experiment {
    /// Milliseconds from the SQL text of a query to its stages.
    Planning,
    /// Each query with all rules, and without rules.
    Rules,
    /// Each query with its FROM lists in ten orders.
    Shuffled,
    /// Joins and aggregates where one key has 90 % of the rows.
    Skew,
}

/// Measures the requested parts and prints a table for each.
pub(crate) async fn run(folder: &Path, args: PlansArgs, runs: u32, executors: u32) -> Result<()> {
    let data = tpch::data(folder, args.scale)?;
    let session = tpch::session(Session::builder().executors(executors), &data).await?;
    let queries = tpch::queries_or_all(&args.queries);
    for experiment in args.parts {
        let (title, table) = match experiment {
            Experiment::Planning => ("Planning", planning(&session, &queries, runs).await?),
            Experiment::Rules => (
                "All rules ÷ no rules",
                rules(&session, &queries, runs).await?,
            ),
            Experiment::Shuffled => (
                "FROM lists in ten orders",
                shuffled(&session, &queries, runs).await?,
            ),
            Experiment::Skew => (
                "One key with 90 % of the rows",
                skew(&session, folder, runs).await?,
            ),
        };
        println!("{title}, scale factor {}\n{table}", args.scale);
    }
    session.stop().await;
    Ok(())
}

/// Measures the planning of each query, and of a join of many tables.
async fn planning(session: &Session, queries: &[usize], runs: u32) -> Result<Table> {
    let mut table = numeric_table(&["", "ms"]);
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

/// Switches all rules on or off.
async fn switch_rules(session: &Session, on: bool) -> Result<()> {
    for rule in Switches::names() {
        session.sql(&format!("SET faisca.{rule} = {on}")).await?;
    }
    Ok(())
}

/// Measures each query with all rules and without rules.
async fn rules(session: &Session, queries: &[usize], runs: u32) -> Result<Table> {
    let mut table = numeric_table(&["", "with s", "without s", "ratio"]);
    let mut total = (Duration::ZERO, Duration::ZERO);
    for number in queries.iter().copied() {
        let sql = tpch::query(number)?;
        let mut best = (Duration::MAX, Duration::MAX);
        for _ in 0..runs {
            switch_rules(session, false).await?;
            best.1 = best.1.min(time_query(session, &sql).await?);
            switch_rules(session, true).await?;
            best.0 = best.0.min(time_query(session, &sql).await?);
        }
        total = (total.0 + best.0, total.1 + best.1);
        table.add_row(pair_row(format!("q{number}"), best.0, best.1));
    }
    table.add_row(pair_row("total".to_owned(), total.0, total.1));
    Ok(table)
}

/// Returns the row of two times and their ratio.
fn pair_row(name: String, time: Duration, reference: Duration) -> Vec<String> {
    std::iter::once(name)
        .chain(pair_cells(time, reference))
        .collect()
}

/// Shuffles each FROM list of three or more relations.
fn shuffle_relations(sql: &str, rng: &mut Rng) -> String {
    let mut shuffled_sql = String::new();
    let mut unread = sql;
    while let Some(start) = unread.find("from ").map(|at| at + "from ".len()) {
        let (before, list) = unread.split_at(start);
        let end = ["where", "group by", "order by", ")"]
            .iter()
            .filter_map(|word| list.find(word))
            .min()
            .unwrap_or(list.len());
        let mut relations: Vec<&str> = list[..end].split(',').map(str::trim).collect();
        // The commas of a subquery in the list do not separate relations.
        if relations.len() > 2 && !list[..end].contains('(') {
            rng.shuffle(&mut relations);
        }
        shuffled_sql.push_str(before);
        shuffled_sql.push_str(&relations.join(", "));
        shuffled_sql.push('\n');
        unread = &list[end..];
    }
    shuffled_sql + unread
}

/// Measures each query with shuffled FROM lists; queries that do not change are left out.
async fn shuffled(session: &Session, queries: &[usize], runs: u32) -> Result<Table> {
    let mut table = numeric_table(&["", "fastest s", "slowest s", "ratio"]);
    for number in queries.iter().copied() {
        let sql = tpch::query(number)?;
        if shuffle_relations(&sql, &mut Rng::with_seed(0))
            == shuffle_relations(&sql, &mut Rng::with_seed(1))
        {
            continue;
        }
        let mut times = vec![Duration::MAX; usize::try_from(SEEDS).unwrap_or(0)];
        for _ in 0..runs {
            for (seed, best) in (0..SEEDS).zip(&mut times) {
                *best = (*best).min(
                    time_query(session, &shuffle_relations(&sql, &mut Rng::with_seed(seed)))
                        .await?,
                );
                eprintln!("q{number}, order {seed}: {:.2} s", best.as_secs_f64());
            }
        }
        let (fastest, slowest) = times
            .iter()
            .fold((Duration::MAX, Duration::ZERO), |(low, high), time| {
                (low.min(*time), high.max(*time))
            });
        let mut row = vec![format!("q{number}"), seconds(fastest)];
        row.extend([seconds(slowest), format!("{:.2}", ratio(slowest, fastest))]);
        table.add_row(row);
    }
    Ok(table)
}

/// Columns and number of rows of each table for `skew`: `skewed` and `even` are joined with
/// `dimension`.
fn skew_tables() -> [(&'static str, String, u64); 3] {
    [
        (
            "skewed",
            format!(
                "CASE WHEN value % 10 > 0 THEN 7 ELSE value % {DIMENSION_ROWS} END AS k, value AS v"
            ),
            FACT_ROWS,
        ),
        (
            "even",
            format!("value * 7919 % {DIMENSION_ROWS} AS k, value AS v"),
            FACT_ROWS,
        ),
        (
            "dimension",
            "value AS k, value % 100 AS w".to_owned(),
            DIMENSION_ROWS,
        ),
    ]
}

/// Queries on a fact table, which `TABLE` stands for.
const SKEW_QUERIES: [(&str, &str); 3] = [
    (
        "join",
        "SELECT sum(f.v), sum(d.w) FROM TABLE f JOIN dimension d ON f.k = d.k",
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

/// Measures queries on a table where one key has nine tenths of the rows, and on an even one.
async fn skew(session: &Session, folder: &Path, runs: u32) -> Result<Table> {
    for (name, columns, rows) in skew_tables() {
        let path = folder.join("skew").join(name);
        if !path.exists() {
            session
                .sql(&format!(
                    "COPY (SELECT {columns} FROM range({rows}) AS r(value)) TO '{}' STORED AS PARQUET",
                    path.display()
                ))
                .await?;
        }
        session
            .sql(&format!(
                "CREATE OR REPLACE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{}/'",
                path.display()
            ))
            .await?;
    }
    let mut table = numeric_table(&["", "skewed s", "even s", "ratio"]);
    for (name, sql) in SKEW_QUERIES {
        let (mut skewed, mut even) = (Duration::MAX, Duration::MAX);
        for _ in 0..runs {
            skewed = skewed.min(time_query(session, &sql.replace("TABLE", "skewed")).await?);
            even = even.min(time_query(session, &sql.replace("TABLE", "even")).await?);
        }
        table.add_row(pair_row(name.to_owned(), skewed, even));
    }
    Ok(table)
}
