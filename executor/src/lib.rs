//! Runs one attempt of one task at a time per slot, and owns the bytes that it makes.
//!
//! An executor knows no other executor, no scheduler, no catalog and no cluster: it is given a plan
//! and places to read from, and reports what it sealed. What it gave up is any decision of its own;
//! what it won is that it can be killed at any instant.
//!
//! # Layout
//! - [`wire`] — the only serialized types, and the protocol's steps
//! - [`control`] — those types between processes; [`executor`]: the life of an executor
//! - `task`: one attempt; `join_by_merge`: joins that spill; `array_join`: joins that find rows by an array; [`exchange`]: blocks, their writer, store and reader; [`sink`]: files
//! - [`flight`] — serves blocks; [`csv`]: the CSV source; [`codec`]: plans as bytes
//! - [`stores`] — object stores by URL, their credentials, uploads and request counts
//! - [`environment`] — pool, functions; [`error`]: what kind a failure is; [`canary`]; `resident`

mod array_join;
pub mod canary;
pub mod codec;
pub mod control;
pub mod csv;
pub mod environment;
pub mod error;
pub mod exchange;
pub mod executor;
pub mod flight;
mod join_by_merge;
mod resident;
pub mod sink;
pub mod stores;
mod task;
pub mod wire;
