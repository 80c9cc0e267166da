//! Spark's SQL on DataFusion: syntax, types, operators and functions.
//!
//! Faísca plans with DataFusion, whose SQL is close to that of PostgreSQL. This crate implements
//! where Spark differs: its syntax ([`dialect`]), commands ([`commands`]), types ([`coercion`]),
//! casts ([`casts`]), operators ([`operators`]), relations ([`relations`]), functions
//! ([`functions`]) and settings ([`legacy`]), with the types, nulls and errors of Spark's ANSI
//! mode, which is its default. [`columns`] builds the expressions of the dataframe API. The crate
//! reads no files and knows no session, so that any front end can use it.
//!
//! **Invariant.** No function awaits, reads a clock or opens anything: an executor runs them on the
//! rows of a task, and a task may run twice.

pub mod casts;
pub mod coercion;
pub mod columns;
pub mod commands;
pub mod dialect;
pub mod functions;
pub mod legacy;
pub mod operators;
pub mod relations;
pub mod text;
pub mod types;
