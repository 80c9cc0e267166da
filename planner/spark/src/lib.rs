//! What Spark's SQL means.
//!
//! Faísca plans with DataFusion, whose SQL is close to that of PostgreSQL. This crate knows where Spark differs: its
//! syntax ([`dialect`]), its casts ([`casts`]), its operators ([`operators`]), its relations ([`relations`]) and its functions ([`functions`]),
//! with the types, nulls and errors of Spark's ANSI mode, which is its default. It reads no files and knows no session, so
//! that any front end can resolve through it.
//!
//! **Invariant.** No function awaits, reads a clock or opens anything: an executor runs them on the rows of a task, and a
//! task may run twice.

pub mod casts;
pub mod coercion;
pub mod columns;
pub mod commands;
pub mod dialect;
pub mod functions;
pub mod operators;
pub mod relations;
pub mod text;
pub mod types;
