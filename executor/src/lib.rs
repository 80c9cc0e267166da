//! The executor: runs attempts of tasks, one at a time per slot, and owns the bytes they produce.
//!
//! An executor knows no scheduler, catalog or cluster, and other executors only by the addresses of
//! the blocks that a task reads. It receives plans and block locations, and reports what it sealed.
//! It makes no decision of its own; in return it can be killed at any moment, and the driver only
//! has to run tasks again.
//!
//! ```text
//! driver ◄─ control ─► executor ─► task ─► plan: reads exchange, storage; writes exchange, sink
//!                                               ▲
//!                             peers ◄─ block service of the exchange
//! ```
//!
//! # Layout
//! Each module uses only those above it.
//!
//! - [`descriptors`]: the limit of open files; [`signals`]: requests to end
//! - [`protocol`]: everything that crosses processes: messages, settings, Flight transport
//! - [`storage`]: object stores by URL, credentials, uploads, request counts, advice for errors
//! - [`error`]: failures, and the kind of each
//! - [`spill`]: the folder of a process for spilled data, and files with checksums
//! - [`exchange`]: blocks, their writer, store and reader; the durable copy; the block service
//! - [`environment`]: what all tasks of an executor share: memory pool, stores, functions
//! - [`formats`]: the CSV source; [`codec`]: plans as bytes
//! - `operators`: adapts joins to the sizes of a task's inputs, and scans to the columns of their
//!   files; [`sink`]: output files
//! - `task`: one attempt; `stall`: notices one without progress
//! - `memory`: peak memory of the process; [`canary`]: the partitioner's fingerprint
//! - [`executor`]: the life of an executor; [`control`]: its connection to the driver

pub mod canary;
pub mod codec;
pub mod control;
pub mod descriptors;
pub mod environment;
pub mod error;
pub mod exchange;
pub mod executor;
pub mod formats;
mod memory;
mod operators;
pub mod protocol;
pub mod signals;
pub mod sink;
pub mod spill;
mod stall;
pub mod storage;
mod task;
