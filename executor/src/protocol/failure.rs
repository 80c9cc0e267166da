//! The failure of a task attempt, as executors report it to the driver.

use std::fmt;

use faisca_planner::ids::{BlockHome, BlockId};
use serde::{Deserialize, Serialize};

/// Why an attempt failed. Displays as its message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    /// What the scheduler does about it.
    pub kind: FailureKind,
    /// The text for the user, without the layers and prefixes of the libraries below.
    pub message: String,
}

/// Kind of a failure; the scheduler's reaction depends on nothing else.
///
/// Assigned in [`crate::error::classify`] and nowhere else, except for panics and lost executors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The query or its data is wrong. Final.
    User,
    /// Memory or disk is exhausted. Retried elsewhere, or with less input per task.
    Resource,
    /// An external service failed temporarily. Retried.
    Transient,
    /// An input block is no longer where it was stored, so the block's producer must run again
    /// first. Does not count as a try.
    BlockLost(BlockId, BlockHome),
    /// The executor was lost. Does not count as a try.
    ExecutorLost,
    /// A defect of Faísca: a panic or a broken invariant. Retried, in case it depends on the
    /// executor.
    Bug,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
