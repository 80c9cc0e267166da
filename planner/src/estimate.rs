//! Estimates how many rows an operator returns, and how many distinct values its columns hold.
//!
//! Leaves have exact counts (Parquet footers, finished stages). Operators above them are estimated
//! with the usual assumptions: predicates are independent, values are evenly spread, and foreign
//! keys find their row.

mod join;
mod rows;
mod selectivity;

pub(crate) use join::shared_key_values;
pub(crate) use rows::estimate;
pub(crate) use selectivity::selectivity;
