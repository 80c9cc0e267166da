//! Data to try things on: rows of the layout of real files, deterministic, of any size.

mod enem;
mod random;
mod tpch;

pub use enem::{EnemFiles, enem};
pub use tpch::{TPCH_TABLES, tpch};
