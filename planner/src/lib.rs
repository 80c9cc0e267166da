//! Plans queries and jobs: from SQL text or a manifest to stages that executors run.
//!
//! DataFusion plans a query for one node. [`stages`] splits that plan where rows must move between
//! tasks, without changing an operator. The price is that no rule plans across stages at once; the
//! gain is every operator, and every fix, of DataFusion.
//!
//! **Invariant.** Nothing here awaits, reads a clock or opens anything.
//!
//! # Layout
//! From the bottom up; a module uses only those above it in this list.
//! - [`ids`] — identities of queries, stages, tasks, attempts, blocks and executors
//! - [`names`] — case-insensitive table and column names
//! - [`nested_types`] — converts types within lists, maps and structs
//! - [`stack`] — enough stack for recursion over plans and expressions
//! - [`statement`] — parses SQL text into a statement that is safe to plan
//! - [`manifest`] — the job as users write it: types, parsing with positions, checks
//! - `cost` — the numbers that decisions depend on
//! - `statistics` — what is known or expected of an operator's output
//! - `physical` — small helpers for physical plans
//! - `nodes` — the plan nodes that are not DataFusion's, and their encoding
//! - `determinism` — whether a second run of a task returns the same rows
//! - `estimate` — how many rows an operator is expected to return
//! - [`workarounds`] — rules that keep DataFusion's own wrong results from users
//! - [`rules`] — optimizer rules that make plans cheaper, and fit to be cut into stages
//! - [`stages`] — where a plan is cut, which stages are shared, how many tasks run them, and
//!   planning again while they run

mod cost;
mod determinism;
mod estimate;
pub mod ids;
pub mod manifest;
pub mod names;
pub mod nested_types;
mod nodes;
mod physical;
pub mod rules;
pub mod stack;
pub mod stages;
pub mod statement;
mod statistics;
pub mod workarounds;

pub use determinism::Determinism;
pub use nodes::{
    ExchangeHandle, ExchangeReadExec, ExchangeSource, InputMode, MaterializeExec, NodeTag,
    PackingConverter, decode_node, encode_node, unpack_expr,
};
pub use physical::leaves;
