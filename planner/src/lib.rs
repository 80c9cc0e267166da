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
//! - [`exchange`] — the leaf that reads another stage
//! - [`slices`] — how many tasks a stage runs as, from exact sizes
//! - [`determinism`] — what a second run of a task would yield
//! - [`rules`] — physical optimizer rules that make plans fit for cutting
//! - [`codec`] — plans as bytes
//! - [`ids`] — identities

pub mod codec;
pub mod cut;
pub mod determinism;
mod draw;
pub mod exchange;
mod graph;
pub mod ids;
pub mod manifest;
pub mod names;
pub mod rules;
pub mod slices;

pub use exchange::{ExchangeHandle, ExchangeReadExec, ExchangeSource, InputMode};
pub use graph::{Slicing, Stage, StageGraph, StageInput, StageOutput};
