//! Faísca: dataframes and SQL on ephemeral executors, in one binary, without a JVM.
//!
//! A job runs inside one process, on local processes, or on Kubernetes, unchanged. This crate is
//! the job API and the `faisca` command; the engine is in the crates below it.
//!
//! ```no_run
//! use faisca::prelude::*;
//!
//! # async fn example() -> faisca::Result<()> {
//! let session = Session::builder().app_name("titanic").get_or_create().await?;
//! let people = session.read().option("delimiter", ";").csv("examples/titanic/titanic.csv").await?;
//! people
//!     .filter(col("Age").gt(lit(18)))?
//!     .group_by(vec![col("Sex")])?
//!     .agg(vec![avg(col("Survived")).alias("survived")])?
//!     .write()
//!     .mode(SaveMode::Overwrite)
//!     .parquet("out/survival")
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//! - [`prelude`] — what a job needs
//! - [`generate`] — data to try it on

pub mod generate;
mod memory;
pub mod prelude;
mod start;

pub use faisca_driver::{
    DataFrame, DataFrameReader, DataFrameWriter, Error, GroupedData, Outcome, Result, Session,
    SessionBuilder, WriteSummary,
};
pub use faisca_driver::{
    Leftover, LeftoverKind, catalog, clean, crawl, end_abandoned_writes, engine, fleet, job,
    platform, preflight, progress, scheduler, serve_if_executor,
};
pub use faisca_executor as executor;
pub use faisca_planner as planner;
pub use memory::keep_freed_memory;
pub use start::NewSession;
