//! Sessions, data and comparison for the tests.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use faisca::Session;
use faisca_generate::TPCH_TABLES;

/// Where tasks run in a test.
#[derive(Debug, Clone, Copy)]
pub enum Layout {
    Embedded,
    Processes(u32),
}

pub const LAYOUTS: [Layout; 3] = [Layout::Embedded, Layout::Processes(1), Layout::Processes(3)];

/// A session that distributes even the smallest statement.
pub async fn session(layout: Layout, partitions: usize) -> Session {
    let builder = Session::builder()
        .partitions(partitions)
        .config("faisca.smallQueryBytes", "0");
    let builder = match layout {
        Layout::Embedded => builder,
        Layout::Processes(count) => builder
            .executors(count)
            .executor_cores(1)
            .executor_binary(env!("CARGO_BIN_EXE_faisca")),
    };
    builder.get_or_create().await.unwrap()
}

/// Which generated queries a test runs.
pub struct Generated {
    pub first: u64,
    pub count: u64,
}

impl Generated {
    /// In the gate; `just nightly` sets more.
    const COUNT: u64 = 3_000;

    /// The query `FAISCA_GENERATED_NUMBER` alone, or the first `FAISCA_GENERATED`.
    pub fn from_environment() -> Self {
        let number = |name: &str| -> Option<u64> {
            std::env::var(name).ok().map(|value| value.parse().unwrap())
        };
        match number("FAISCA_GENERATED_NUMBER") {
            Some(first) => Self { first, count: 1 },
            None => Self {
                first: 0,
                count: number("FAISCA_GENERATED").unwrap_or(Self::COUNT),
            },
        }
    }
}

/// The command itself.
pub fn command() -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_faisca"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("RUST_BACKTRACE")
        // The settings of the person who runs the tests do not count.
        .env(
            "XDG_CONFIG_HOME",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/no-configuration"),
        )
        .env(
            "XDG_STATE_HOME",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/state"),
        );
    command
}

pub fn scratch(name: &str) -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix(name)
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .unwrap()
}

/// TPC-H data, generated once for all runs of the tests.
pub fn tpch_data() -> &'static Path {
    static DATA: OnceLock<PathBuf> = OnceLock::new();
    DATA.get_or_init(|| {
        let scale: f64 =
            std::env::var("FAISCA_TEST_TPCH_SCALE").map_or(1.0, |s| s.parse().unwrap());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tpch-{scale}"));
        if !folder.join("done").exists() {
            faisca_generate::tpch(&folder, scale).unwrap();
            std::fs::write(folder.join("done"), "").unwrap();
        }
        folder
    })
}

pub fn tpch_query(number: usize) -> String {
    let path = format!(
        "{}/tests/queries/q{number:02}.sql",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read_to_string(path).unwrap()
}

/// The query for DataFusion, whose quotients of decimals have other types than Spark's.
pub fn tpch_oracle_query(number: usize) -> String {
    let (columns, order) = match number {
        8 => (
            "o_year, CAST(mkt_share AS DECIMAL(38, 6))",
            " order by o_year",
        ),
        14 => ("CAST(promo_revenue AS DECIMAL(38, 6))", ""),
        17 => ("CAST(avg_yearly AS DECIMAL(30, 6))", ""),
        _ => return tpch_query(number),
    };
    format!("SELECT {columns} FROM ({}) AS q{order}", tpch_query(number))
}

/// DataFusion alone over the same files. It has its defaults but for Spark's order of nulls and one
/// rule, which applies filters above outer joins to the wrong side where both sides have a column
/// of the same name.
pub async fn oracle_over(folder: &Path, tables: &[&str]) -> SessionContext {
    let mut rules = PhysicalOptimizer::new().rules;
    rules.retain(|rule| !rule.name().starts_with("FilterPushdown"));
    let config =
        SessionConfig::new().set_str("datafusion.sql_parser.default_null_ordering", "nulls_min");
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .with_physical_optimizer_rules(rules)
        .build();
    let context = SessionContext::new_with_state(state);
    for table in tables {
        let path = format!("{}/", folder.join(table).display());
        context
            .register_parquet(*table, path, ParquetReadOptions::default())
            .await
            .unwrap();
    }
    context
}

pub async fn tpch_oracle() -> SessionContext {
    oracle_over(tpch_data(), &TPCH_TABLES).await
}

pub async fn register_folders(session: &Session, folder: &Path, tables: &[&str]) {
    for table in tables {
        let sql = format!(
            "CREATE OR REPLACE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{}/'",
            folder.join(table).display()
        );
        session.sql(&sql).await.unwrap();
    }
}

/// Rows as text, floats to nine digits: sums of floats depend on the order of addition.
pub fn rows(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("∅");
    let mut rows = vec![];
    for batch in batches {
        let formatters: Vec<_> = batch
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c, &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let cell = |(column, formatter): (usize, &ArrayFormatter)| match batch
                .column(column)
                .data_type()
            {
                DataType::Float64 | DataType::Float32 if batch.column(column).is_valid(row) => {
                    let value: f64 = formatter.value(row).to_string().parse().unwrap();
                    format!("{value:.9e}")
                }
                _ => formatter.value(row).to_string(),
            };
            rows.push(
                formatters
                    .iter()
                    .enumerate()
                    .map(cell)
                    .collect::<Vec<_>>()
                    .join("|"),
            );
        }
    }
    rows
}

/// Runs a query, and returns its rows in their order.
pub async fn session_rows(session: &Session, sql: &str) -> Vec<String> {
    rows(&session.sql(sql).await.unwrap().collect().await.unwrap())
}

/// Runs a query on DataFusion alone, and returns its rows in their order.
pub async fn oracle_rows(context: &SessionContext, sql: &str) -> Vec<String> {
    rows(&context.sql(sql).await.unwrap().collect().await.unwrap())
}

/// What a command wrote to both of its streams.
pub fn output_text(output: &std::process::Output) -> String {
    let (stdout, stderr) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(stdout).into_owned() + &String::from_utf8_lossy(stderr)
}

pub fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

/// Names below a folder, sorted; the tests' way to see litter.
pub fn files_below(folder: &Path) -> Vec<String> {
    fn walk(base: &Path, folder: &Path, files: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                walk(base, &entry.path(), files);
            } else {
                files.push(
                    entry
                        .path()
                        .strip_prefix(base)
                        .unwrap()
                        .display()
                        .to_string(),
                );
            }
        }
    }
    let mut files = vec![];
    walk(folder, folder, &mut files);
    files.sort();
    files
}

/// A Python that has these modules: the one that `.ci/run tools` installs, or the machine's own.
pub fn python_with(modules: &str) -> Option<PathBuf> {
    let tools = std::env::var_os("FAISCA_TOOLS").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/faisca/tools"),
        PathBuf::from,
    );
    [tools.join("duckdb/bin/python"), PathBuf::from("python3")]
        .into_iter()
        .find(|python| {
            std::process::Command::new(python)
                .args(["-c", &format!("import {modules}")])
                .stderr(std::process::Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
}

/// Rows of a query, sorted.
pub async fn query(session: &Session, sql: &str) -> Vec<String> {
    let frame = session.sql(sql).await.unwrap();
    sorted(rows(&frame.collect().await.unwrap()))
}

/// What a query, or the table behind it, is refused with.
pub async fn refusal(session: &Session, sql: &str) -> String {
    match session.sql(sql).await {
        Ok(frame) => frame.collect().await.unwrap_err().to_string(),
        Err(error) => error.to_string(),
    }
}

/// Registers `t` over a path.
pub async fn register(session: &Session, format: &str, path: &str) -> faisca::Result<()> {
    let sql = format!("CREATE OR REPLACE EXTERNAL TABLE t STORED AS {format} LOCATION '{path}'");
    session.sql(&sql).await.map(drop)
}

/// Writes one Parquet file.
pub fn write_parquet(path: &Path, batch: &RecordBatch) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

/// Writes one text file.
pub fn write_text(path: &Path, text: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}
