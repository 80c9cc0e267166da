//! Deterministic test data of any size, for the tests, the benchmarks and `faisca generate`.
//!
//! The same arguments give the same bytes on any machine and in any version.

mod enem;
mod random;
mod tpch;

pub use enem::{EnemFiles, enem};
pub use tpch::{TPCH_TABLES, tpch};
