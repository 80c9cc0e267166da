//! One stage's tasks, in little space: a statement may have a million of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use faisca_executor::wire::{BlockLocation, PendingFile};
use faisca_planner::ids::{Attempt, ExecutorId};
use faisca_planner::stages::Part;

use super::{StageShape, Written};

#[derive(Debug)]
pub(super) struct StageState {
    pub(super) shape: StageShape,
    /// Empty until all inputs are complete for the first time. Grows only when a task is split.
    pub(super) tasks: Vec<TaskState>,
    pub(super) committed: usize,
    /// Tasks to queue once the inputs are complete.
    pub(super) parked: Vec<u32>,
    /// Exact bytes of each bucket, summed over the tasks that committed once.
    pub(super) bucket_bytes: Vec<u64>,
    /// Where the output lies; made when a consumer starts, forgotten when that changes.
    pub(super) blocks: Option<Arc<Vec<BlockLocation>>>,
    pub(super) durations: Durations,
    /// Rows of all tasks that committed once.
    pub(super) rows: u64,
    /// A task of it was launched: from now on it stays what it is.
    pub(super) has_started: bool,
    /// It was complete, and its rows were looked at.
    pub(super) is_judged: bool,
    /// It was planned otherwise: it has no tasks, reads nothing and is read by nobody.
    pub(super) dropped: bool,
}

impl StageState {
    pub(super) fn new(shape: StageShape) -> Self {
        Self {
            shape,
            tasks: vec![],
            committed: 0,
            parked: vec![],
            bucket_bytes: vec![],
            blocks: None,
            durations: Durations::default(),
            rows: 0,
            has_started: false,
            is_judged: false,
            dropped: false,
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        !self.tasks.is_empty() && self.committed == self.tasks.len()
    }

    /// What its tasks wrote.
    pub(super) fn written(&self) -> Written {
        let committed = || self.tasks.iter().filter_map(|task| task.committed.as_ref());
        let statistics = committed()
            .filter_map(|task| task.statistics.clone())
            .collect();
        Written {
            files: committed().flat_map(|task| task.files.clone()).collect(),
            statistics,
        }
    }

    /// Takes it off the books; answers the attempts that run.
    pub(super) fn drop_tasks(&mut self) -> Vec<(u32, Running)> {
        let tasks = std::mem::take(&mut self.tasks);
        let shape = StageShape {
            inputs: vec![],
            ..std::mem::take(&mut self.shape)
        };
        *self = Self {
            dropped: true,
            ..Self::new(shape)
        };
        (0..)
            .zip(tasks)
            .flat_map(|(index, task)| {
                task.running
                    .into_iter()
                    .map(move |running| (index, running))
            })
            .collect()
    }

    /// Whether it is complete for the first time, with rows that nobody expected.
    pub(super) fn surprises(&mut self) -> bool {
        let is_news = self.is_complete() && !std::mem::replace(&mut self.is_judged, true);
        is_news
            && self
                .shape
                .unsurprising
                .as_ref()
                .is_some_and(|expected| !expected.contains(&self.rows))
    }

    /// Wants a task run (again) as soon as the inputs are complete, unless somebody is at it.
    pub(super) fn park(&mut self, index: u32) {
        if let Some(task) = self.tasks.get_mut(index as usize)
            && !task.queued
            && task.running.is_empty()
            && task.committed.is_none()
        {
            task.queued = true;
            self.parked.push(index);
        }
    }

    /// Takes a task's result back; answers where it lay.
    pub(super) fn uncommit(&mut self, index: u32) -> Option<Committed> {
        let committed = self.tasks.get_mut(index as usize)?.committed.take()?;
        self.committed -= 1;
        self.blocks = None;
        Some(committed)
    }
}

#[derive(Debug, Default)]
pub(super) struct TaskState {
    /// Adjacent partitions, from this one.
    pub(super) first: u32,
    pub(super) partitions: u32,
    /// The task that it was split from, or itself: readers of a part of the stage read the same rows whatever was split since.
    pub(super) origin: u32,
    /// What it reads of a divided input, if it has its partition not to itself.
    pub(super) part: Option<Part>,
    pub(super) attempts: u32,
    pub(super) failures: u32,
    pub(super) lost_inputs: u32,
    pub(super) running: Vec<Running>,
    pub(super) committed: Option<Committed>,
    /// Where it failed.
    pub(super) avoid: Vec<ExecutorId>,
    /// It is parked or ready.
    pub(super) queued: bool,
    /// Its buckets are in the stage's sums.
    pub(super) measured: bool,
    /// It ran out of memory before.
    pub(super) frugal: bool,
}

impl TaskState {
    pub(super) fn range(&self) -> std::ops::Range<u32> {
        self.first..self.first + self.partitions
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) attempt: Attempt,
    pub(super) executor: ExecutorId,
    pub(super) since: Duration,
}

#[derive(Debug)]
pub(super) struct Committed {
    pub(super) attempt: Attempt,
    pub(super) executor: ExecutorId,
    /// No bucket has a row.
    pub(super) empty: bool,
    /// The block has a copy in the object store.
    pub(super) durable: bool,
    pub(super) files: Vec<PendingFile>,
    pub(super) statistics: Option<Bytes>,
}

/// How long committed attempts took: counts by powers of the fourth root of two, of milliseconds.
#[derive(Debug, Default)]
pub(super) struct Durations {
    counts: BTreeMap<u32, u32>,
    total: u32,
}

const STEPS_PER_OCTAVE: f64 = 4.0;

impl Durations {
    pub(super) fn add(&mut self, duration: Duration) {
        let step = ((duration.as_secs_f64() * 1e3).max(1.0).log2() * STEPS_PER_OCTAVE).ceil();
        *self.counts.entry(step as u32).or_default() += 1;
        self.total += 1;
    }

    /// Within a fifth above the true median; zero if nothing was added.
    pub(super) fn median(&self) -> Duration {
        let mut seen = 0;
        for (step, count) in &self.counts {
            seen += count;
            if seen * 2 >= self.total {
                return Duration::from_secs_f64((f64::from(*step) / STEPS_PER_OCTAVE).exp2() / 1e3);
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_at_most_a_fifth_too_long() {
        let mut durations = Durations::default();
        assert_eq!(durations.median(), Duration::ZERO);
        (1..=999).for_each(|ms| durations.add(Duration::from_millis(ms)));
        let median = durations.median().as_secs_f64();
        assert!((0.5..0.6).contains(&median), "{median}");
    }
}
