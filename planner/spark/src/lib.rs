//! What Spark's SQL means.
//!
//! Faísca plans with DataFusion, whose SQL is close to that of PostgreSQL. This crate knows where Spark differs: its
//! syntax ([`dialect`]) and its operators ([`operators`]). It reads no files and knows no session, so that any front end can
//! resolve through it.

pub mod commands;
pub mod dialect;
pub mod operators;
pub mod relations;
pub mod types;
