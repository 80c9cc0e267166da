//! A newtype for every identity, so that an index is never taken for a count or for another index.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One statement of a job. Unique within a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QueryId(pub u32);

/// A sub-plan with no exchange inside; its index in [`crate::stages::StageGraph::stages`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StageId(pub u32);

impl StageId {
    /// Returns the index of the stage in [`crate::stages::StageGraph::stages`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// Returns the id of the stage with this index.
    #[must_use]
    pub fn from_index(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }
}

/// A slice of a stage's partitions. `index` counts from 0 within the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId {
    /// The statement.
    pub query: QueryId,
    /// The stage of that statement.
    pub stage: StageId,
    /// The slice, from 0.
    pub index: u32,
}

/// How often a task has been started, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attempt(pub u32);

/// One executor of a fleet. Never reused within a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExecutorId(pub u32);

impl ExecutorId {
    /// Not an executor, but where blocks lie that outlive theirs.
    pub const STORE: Self = Self(u32::MAX);
}

/// The output of one attempt of one task: a sealed set of buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlockId {
    /// The task that made it.
    pub task: TaskId,
    /// The attempt that made it.
    pub attempt: Attempt,
}

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "q{}", self.0)
    }
}

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}/{}", self.query, self.stage, self.index)
    }
}

impl fmt::Display for ExecutorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("driver"),
            u32::MAX => f.write_str("the object store"),
            n => write!(f, "executor-{n}"),
        }
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} attempt {}", self.task, self.attempt.0)
    }
}
