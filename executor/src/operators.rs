//! The joins of a task's plan, adapted to the exact sizes of its inputs before it runs.
//!
//! ```text
//! build side fits into a quarter of the task's memory ──► hash join; by array if keys are dense
//! it does not fit, or the task ran out of memory ───────► sort-merge join, which spills
//! ```

mod array_join;
mod join_by_merge;

pub(crate) use array_join::key_density_min;
pub(crate) use join_by_merge::JoinsByMerge;
