//! Faísca against DataFusion in one process: the same rows, the same run, turn and turn about.
//!
//! `cargo run --release -p faisca-benches -- enem` · `… -- tpch` · `--help`

mod compare;
mod enem;
mod tpch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Compares Faísca with DataFusion in one process.
#[derive(Debug, Parser)]
struct Cli {
    /// Folder for generated data and outputs.
    #[arg(long, default_value = "target/bench", global = true)]
    data: PathBuf,
    /// Runs of each side; the fastest counts.
    #[arg(long, default_value_t = 3, global = true)]
    runs: u32,
    /// Executors as processes; 0 is embedded.
    #[arg(long, default_value_t = 0, global = true)]
    executors: u32,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The user's pipeline: CSV to Parquet, four tables of means and counts, joins, anonymisation.
    Enem {
        /// Rows of the CSV, about 600 bytes each.
        #[arg(long, default_value_t = 1_000_000)]
        rows: u64,
    },
    /// The 22 queries of TPC-H.
    Tpch {
        /// Scale factor.
        #[arg(long, default_value_t = 1.0)]
        scale: f64,
    },
}

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ran = runtime.block_on(async {
        faisca::serve_if_executor(&Default::default()).await?;
        let cli = Cli::parse();
        match cli.what {
            What::Enem { rows } => enem::run(&cli.data, rows, cli.runs, cli.executors).await,
            What::Tpch { scale } => tpch::run(&cli.data, scale, cli.runs, cli.executors).await,
        }
    });
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
