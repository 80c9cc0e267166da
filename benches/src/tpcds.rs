//! The 99 queries of TPC-DS. DuckDB's extension generates the data, the text of the queries and
//! their results; `benches/peers/tpcds.py` writes them to files.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{BenchError, Result};

pub(crate) const TABLES: [&str; 24] = [
    "call_center",
    "catalog_page",
    "catalog_returns",
    "catalog_sales",
    "customer",
    "customer_address",
    "customer_demographics",
    "date_dim",
    "household_demographics",
    "income_band",
    "inventory",
    "item",
    "promotion",
    "reason",
    "ship_mode",
    "store",
    "store_returns",
    "store_sales",
    "time_dim",
    "warehouse",
    "web_page",
    "web_returns",
    "web_sales",
    "web_site",
];

/// Number of the queries.
pub(crate) const QUERIES: usize = 99;

/// Returns the folder of the tables, which are generated on first use.
pub(crate) fn data(folder: &Path, scale: f64) -> Result<PathBuf> {
    let data = folder.join(format!("tpcds-{scale}"));
    let done = data.join("done");
    if !done.exists() {
        eprintln!("generating {}", data.display());
        let python = python(&folder.join("tpcds-python"))?;
        let mut generate = Command::new(python);
        generate.arg("benches/peers/tpcds.py").arg(&data);
        succeed(generate.arg(scale.to_string()))?;
        std::fs::write(&done, "").map_err(BenchError::process("generation"))?;
    }
    Ok(data)
}

/// Returns the path of a query's text.
pub(crate) fn query(data: &Path, number: usize) -> PathBuf {
    data.join(format!("queries/q{number:02}.sql"))
}

/// Returns the path of a query's result.
pub(crate) fn result(data: &Path, number: usize) -> PathBuf {
    data.join(format!("results/q{number:02}.parquet"))
}

/// Returns a Python with DuckDB's extension, which is installed on first use.
fn python(environment: &Path) -> Result<PathBuf> {
    let python = environment.join("bin/python");
    if !python.exists() {
        succeed(
            Command::new("python3")
                .args(["-m", "venv"])
                .arg(environment),
        )?;
    }
    let requirements = "benches/peers/tpcds-requirements.txt";
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "-r", requirements]);
    succeed(&mut install)?;
    Ok(python)
}

/// Runs a command from the root of the repository to its end.
fn succeed(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command.status().map_err(BenchError::process(&shown))?;
    if status.success() {
        return Ok(());
    }
    Err(BenchError::Unusable {
        process: shown,
        problem: format!("failed: {status}; its message is above"),
    })
}
