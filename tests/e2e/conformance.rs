//! Contracts that every implementation of a trait must keep: one function for each contract, run
//! for each implementation.

pub mod catalog;
mod commit;
mod fleet;
