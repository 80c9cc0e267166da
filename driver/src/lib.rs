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

pub mod catalog;
pub mod engine;
mod error;
pub mod fleet;
mod input;
pub mod job;
mod output;
mod random;
pub mod scheduler;
mod services;
mod session;
mod statement;

pub use engine::progress::{self, WriteSummary};
pub use error::{Error, Result};
pub use fleet::{control, platform, serve_if_executor};
pub use job::{crawl, plan as preflight};
pub use output::commit::{Leftover, LeftoverKind, clean};
pub use output::write::end_abandoned_writes;
pub use random::random_hex;
pub use session::{
    DataFrame, DataFrameReader, DataFrameWriter, GroupedData, Outcome, Session, SessionBuilder,
};
