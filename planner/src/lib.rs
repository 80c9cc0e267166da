//! Turns what a user asks for into stages that executors can run.
//!
//! DataFusion plans a statement for one node; [`cut`] splits that plan where rows must change
//! hands, without altering an operator. What it gave up for that is freedom to plan across stages
//! at once; what it won is every operator, and every fix, of DataFusion.
//!
//! **Invariant.** Nothing here awaits, reads a clock or opens anything.
//!
//! # Layout
//! - [`manifest`] — the job as users write it: types, parsing with positions, checks
//! - [`names`] — table and column names without regard to case
//! - [`cut`] — where exchanges go
//! - [`share`] — one stage of equal ones
//! - [`exchange`] — the leaf that reads another stage
//! - `key_filter` — rows filtered by the keys of a finished stage
//! - `materialize` — the mark where a stage ends that is read twice
//! - [`slices`] — how many tasks a stage runs as, from exact sizes
//! - `estimate` — how many rows an operator will yield
//! - `divide` — inputs of which several tasks of a partition may each read a part
//! - [`determinism`] — what a second run of a task would yield
//! - `physical` — small steps over physical plans
//! - [`rules`] — physical optimizer rules that make plans fit for cutting
//! - [`revise`] — what is left of a statement, planned again from what its finished stages yielded
//! - [`codec`] — plans as bytes
//! - [`ids`] — identities

pub mod codec;
pub mod cut;
pub mod determinism;
mod divide;
mod draw;
mod estimate;
pub mod exchange;
mod graph;
pub mod ids;
mod key_filter;
pub mod manifest;
pub mod materialize;
pub mod names;
mod physical;
pub mod revise;
pub mod rules;
pub mod share;
pub mod slices;

pub use draw::about;
pub use exchange::{ExchangeHandle, ExchangeReadExec, ExchangeSource, InputMode};
pub use graph::{Slicing, Stage, StageGraph, StageInput, StageOutput};
