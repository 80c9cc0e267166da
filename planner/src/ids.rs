//! A newtype for every identity, so that an index cannot be mistaken for a count or for another
//! index.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A query. Unique within a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QueryId(pub u32);

/// A stage: its index in [`StageGraph::stages`](crate::stages::StageGraph::stages).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StageId(pub u32);

impl StageId {
    /// Returns the identity of the stage at this index of its graph.
    #[must_use]
    pub fn from_index(index: usize) -> Self {
        // A graph has a few hundred stages at most.
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Returns the stage's index in its graph.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A task: one slice of a stage's partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId {
    /// The query.
    pub query: QueryId,
    /// The stage of that query.
    pub stage: StageId,
    /// The index of the slice in its stage, from 0.
    pub index: u32,
}

/// The number of an attempt of a task, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attempt(pub u32);

/// A process that runs tasks and holds blocks. Never reused within a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExecutorId(pub u32);

impl ExecutorId {
    /// The driver process, which runs tasks itself if the session has an embedded executor.
    pub const DRIVER: Self = Self(0);
}

/// Where a block is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BlockHome {
    /// On an executor, with which it is lost.
    Executor(ExecutorId),
    /// In the object store of the durable exchange.
    ObjectStore,
}

/// A block: the sealed output of one attempt of one task, in partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlockId {
    /// The task that wrote it.
    pub task: TaskId,
    /// The attempt that wrote it.
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
        match *self {
            Self::DRIVER => f.write_str("driver"),
            Self(number) => write!(f, "executor-{number}"),
        }
    }
}

impl fmt::Display for BlockHome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Executor(id) => id.fmt(f),
            Self::ObjectStore => f.write_str("the object store"),
        }
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} attempt {}", self.task, self.attempt.0)
    }
}
