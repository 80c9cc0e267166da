//! Adapts the plan of a task before it runs: joins to the exact sizes of their inputs, and scans of
//! Parquet to the columns of each file.
//!
//! ```text
//! build side fits into a quarter of the task's memory ──► hash join; by array if keys are dense
//! it does not fit, or the task ran out of memory ───────► sort-merge join, which spills
//! ```

mod array_join;
mod file_columns;
mod guarded_scan;
mod join_by_merge;

pub(crate) use array_join::key_density_min;
pub(crate) use file_columns::adapt_scans;
pub(crate) use join_by_merge::JoinsByMerge;
