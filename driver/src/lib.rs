//! Plans queries, schedules their tasks and commits their output.
//!
//! One pure function, [`scheduler::Scheduler::step`], makes every decision about tasks; one loop
//! calls it and owns all state about them. A driver therefore does not survive its own failure, but
//! every failure of anything else can be simulated.
//!
//! # Layout
//! From the top down; a folder imports only what is below it, and `.ci/arrows` checks that.
//! - [`page`] — serves the page of a run while it goes on
//! - [`report`] — one page that explains a run, from its journal
//! - [`job`] — runs, explains and plans a manifest, runs a script, crawls folders for tables
//! - `session` — [`Session`], [`DataFrame`], reader, writer, SQL: what users hold
//! - `output` — writes, save modes, layout, commit
//! - `services` — what a session owns
//! - `input` — files, registered tables, tables of catalogs, scans that several queries share
//! - `commit_record` — the object that decides that a write to an object store happens
//! - [`catalog`] — the local catalog and AWS Glue
//! - `statement` — DataFusion's plan → stages → running query → rows
//! - [`fleet`] — embedded executors, processes, their connections; the platform
//! - [`engine`] — the loop; queries ready to run, re-planning, progress
//! - [`scheduler`] — pure decisions
//! - [`journal`] — what was decided, when, in a file that outlives the driver
//! - `write_identity` — which writes of a run a folder holds
//! - `visibility` — which objects are data, by their names
//! - `random`, `stack`, `error`

pub mod catalog;
mod commit_record;
pub mod engine;
mod error;
pub mod fleet;
mod input;
pub mod job;
pub mod journal;
mod output;
pub mod page;
mod random;
pub mod report;
pub mod scheduler;
mod services;
mod session;
mod stack;
mod statement;
mod visibility;
mod write_identity;

pub use engine::progress::WriteSummary;
pub use error::{BoxedError, Error, NameKind, Result};
pub use fleet::serve_if_executor;
pub use output::commit::{CleanMode, Leftover, LeftoverKind, clean};
pub use random::random_hex;
pub use session::{
    DataFrame, DataFrameReader, DataFrameWriter, FillValue, GroupedData, MissingColumns, Outcome,
    PivotedData, Session, SessionBuilder, SortKey, Term,
};
pub use write_identity::{RunId, digest};
