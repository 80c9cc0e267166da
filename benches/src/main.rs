//! Benchmarks of Faísca: against DataFusion in one process and other engines, with killed
//! executors, at start, and with little memory. All engines read the same rows, and their runs are
//! interleaved.
//!
//! `cargo run --release -p faisca-benches -- --help`; `cargo bench -p faisca-benches` measures
//! components.

mod compare;
mod enem;
mod error;
mod lake;
mod measure;
mod memory;
#[path = "../../src/memory.rs"]
mod memory_kept;
mod peer;
mod picture;
mod plans;
mod recovery;
mod results;
mod scheduler;
mod startup;
mod suite;
mod tables;
mod tpcds;
mod tpch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Faísca.
#[derive(Debug, Parser)]
struct Cli {
    /// Folder for generated data and outputs.
    #[arg(long, default_value = "target/bench", global = true)]
    data: PathBuf,
    /// Runs per engine; the fastest counts.
    #[arg(long, default_value_t = 3, global = true)]
    runs: u32,
    /// Number of executor processes; with 0, tasks run in this process.
    #[arg(long, default_value_t = 0, global = true)]
    executors: u32,
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// Run the ENEM pipeline: CSV to Parquet, four tables of means and counts, joins,
    /// anonymisation.
    Enem {
        /// Rows of the CSV, about 600 bytes each.
        #[arg(long, default_value_t = 1_000_000)]
        rows: u64,
    },
    /// Run the 22 queries of TPC-H, or the 99 of TPC-DS, on Faísca, DataFusion in one process, and
    /// the given peers.
    Suite(suite::SuiteArgs),
    /// Measure planning time, the gain of rules, reordered FROM lists, and skew.
    Plans(plans::PlansArgs),
    /// Read from and write to an object store, and measure the durable exchange: see
    /// `benches/lake.sh`.
    Lake(lake::LakeArgs),
    /// Measure the cost of killing one of four executors at different times.
    Recovery {
        /// Scale factor.
        #[arg(long, default_value_t = 10.0)]
        scale: f64,
        /// Queries of TPC-H.
        #[arg(long, value_delimiter = ',', default_value = "9,18,21")]
        queries: Vec<usize>,
        /// Time of the kill, in percent of the undisturbed run.
        #[arg(long, value_delimiter = ',', default_value = "25,50,75")]
        at: Vec<u32>,
    },
    /// Measure the time from the start of the command to its first task.
    Startup,
    /// Run the 22 queries of TPC-H with little memory; check results and peak memory of executors.
    Memory {
        /// Scale factor.
        #[arg(long, default_value_t = 10.0)]
        scale: f64,
        /// Memory of each executor, in MiB.
        #[arg(long, default_value_t = 1024)]
        memory: u64,
        /// Numbers of the queries; default: all 22.
        #[arg(long, value_delimiter = ',')]
        queries: Vec<usize>,
    },
    /// Measure the scheduler alone, with 1,000 executors and up to 1,000,000 tasks.
    Scheduler,
}

fn main() -> ExitCode {
    // Both engines run in this process, so DataFusion gets the same setting.
    memory_kept::keep_freed_memory();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        faisca_driver::serve_if_executor(&Default::default()).await?;
        let cli = Cli::parse();
        match cli.benchmark {
            Benchmark::Enem { rows } => {
                enem::run(&cli.data, rows, cli.runs, cli.executors).await?;
            }
            Benchmark::Suite(args) => {
                suite::run(&cli.data, args, cli.runs, cli.executors).await?;
            }
            Benchmark::Plans(args) => {
                plans::run(&cli.data, args, cli.runs, cli.executors).await?;
            }
            Benchmark::Lake(args) => {
                lake::run(&cli.data, args, cli.runs, cli.executors).await?;
            }
            Benchmark::Recovery { scale, queries, at } => {
                recovery::run(&cli.data, scale, &queries, &at, cli.runs).await?;
            }
            Benchmark::Startup => startup::run(&cli.data, cli.runs)?,
            Benchmark::Memory {
                scale,
                memory,
                queries,
            } => memory::run(&cli.data, scale, memory, &queries, cli.executors.max(2)).await?,
            Benchmark::Scheduler => scheduler::run(),
        }
        Ok::<(), error::BenchError>(())
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
