//! Faísca measured: against DataFusion in one process and its peers, after kills, at its start, in little
//! memory. The same rows, the same run, turn and turn about.
//!
//! `cargo run --release -p faisca-benches -- --help`; `cargo bench -p faisca-benches` for the parts.

mod compare;
mod enem;
mod lake;
mod memory;
#[path = "../../src/memory.rs"]
mod memory_kept;
mod peer;
mod picture;
mod plans;
mod recovery;
mod scheduler;
mod startup;
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
    /// The 22 queries of TPC-H against DataFusion in one process, and the peers asked for.
    Suite(tpch::SuiteArgs),
    /// Planning time, the rules' worth, FROM lists in other orders, skew.
    Plans(plans::PlansArgs),
    /// Reading from and writing to an object store, and the price of a durable exchange: see `benches/lake.sh`.
    Lake(lake::LakeArgs),
    /// What the death of one of four executors costs, by the time of its death.
    Recovery {
        /// Scale factor.
        #[arg(long, default_value_t = 10.0)]
        scale: f64,
        /// Queries of TPC-H.
        #[arg(long, value_delimiter = ',', default_value = "9,18,21")]
        queries: Vec<usize>,
        /// When the kill falls, in percent of the undisturbed run.
        #[arg(long, value_delimiter = ',', default_value = "25,50,75")]
        at: Vec<u32>,
    },
    /// From the command to its first task.
    Startup,
    /// The 22 queries of TPC-H in little memory: right, and how much the executors' processes held.
    Memory {
        /// Scale factor.
        #[arg(long, default_value_t = 10.0)]
        scale: f64,
        /// Memory of each executor, in MiB.
        #[arg(long, default_value_t = 1024)]
        memory: u64,
        /// Queries, if not all.
        #[arg(long, value_delimiter = ',')]
        queries: Vec<usize>,
    },
    /// The scheduler alone, with 1,000 executors and up to 1,000,000 tasks.
    Scheduler,
}

fn main() -> ExitCode {
    // DataFusion beside it, in this process, has the same.
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
    let ran = runtime.block_on(async {
        faisca_driver::serve_if_executor(&Default::default()).await?;
        let cli = Cli::parse();
        match cli.what {
            What::Enem { rows } => enem::run(&cli.data, rows, cli.runs, cli.executors).await,
            What::Suite(args) => tpch::suite(&cli.data, args, cli.runs, cli.executors).await,
            What::Plans(args) => plans::run(&cli.data, args, cli.runs, cli.executors).await,
            What::Lake(args) => lake::run(&cli.data, args, cli.runs, cli.executors).await,
            What::Recovery { scale, queries, at } => {
                recovery::run(&cli.data, scale, &queries, &at, cli.runs).await
            }
            What::Startup => startup::run(&cli.data, cli.runs),
            What::Memory {
                scale,
                memory,
                queries,
            } => memory::run(&cli.data, scale, memory, &queries, cli.executors.max(2)).await,
            What::Scheduler => {
                scheduler::run();
                Ok(())
            }
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
