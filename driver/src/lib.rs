//! Decides, and owns the truth: plans statements, schedules their tasks, commits their output.
//!
//! All decisions about tasks are in one pure function, [`scheduler::Scheduler::step`]; all truth
//! about them is in the one loop that calls it. What that gave up is a driver that survives its own
//! death; what it won is that every failure of anything else can be simulated.
//!
//! # Layout
//! - [`Session`], [`DataFrame`]: what users hold; `settings`, `sql`, `read`, `write`, `source`,
//!   `tables` below them
//! - [`job`] — runs a manifest or a script; [`preflight`]: looks at one before
//! - [`crawl`] — tables for folders that others wrote
//! - `planner`, `cluster`, `result`: DataFusion's plan → stages → running statement → rows
//! - [`scheduler`] — pure decisions; [`engine`]: the loop that owns them
//! - [`fleet`] — embedded and process executors; [`control`]: their connections
//! - `commit`, `layout`: output becomes visible; [`catalog`], `partitioned`: tables by name; [`progress`]: what is shown while it runs

mod adaptive;
pub mod catalog;
mod cluster;
mod commit;
pub mod control;
pub mod crawl;
mod dataframe;
pub mod engine;
mod error;
mod explain;
pub mod fleet;
pub mod job;
mod layout;
mod partitioned;
mod planner;
pub mod platform;
pub mod preflight;
pub mod progress;
mod read;
mod result;
pub mod scheduler;
mod session;
mod settings;
mod shared;
mod source;
mod sql;
mod tables;
mod write;

pub use commit::{Leftover, LeftoverKind, clean};
pub use dataframe::{DataFrame, DataFrameWriter, GroupedData};
pub use error::{Error, Result};
pub use read::DataFrameReader;
pub use session::{Session, SessionBuilder, random_hex, serve_if_executor};
pub use sql::Outcome;
pub use write::{WriteSummary, end_abandoned_writes};
