//! Attempts of tasks: which may start, which one becomes the result, and what follows a failure.

use std::time::Duration;

use faisca_executor::protocol::{TaskReport, TaskSpec};
use faisca_planner::ids::{Attempt, ExecutorId, StageId, TaskId};

use super::{QueryPhase, QueryState, count};
use crate::scheduler::executors::Executors;
use crate::scheduler::stage::StagePhase;
use crate::scheduler::task::{
    Committed, CommittedBlock, RunningAttempt, StartReason, TaskPhase, TaskState,
};
use crate::scheduler::{BlockHome, TaskGrouping};

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scheduler) enum Verdict {
    /// The task runs again.
    Retry,
    /// The query fails.
    GiveUp,
}

impl Verdict {
    /// Returns what follows the failure with this number.
    fn after(failures: u32, failures_max: u32) -> Self {
        if failures >= failures_max {
            Self::GiveUp
        } else {
            Self::Retry
        }
    }
}

impl QueryState {
    /// Takes the parked tasks that may run now, each once. Producers come first: when their tasks
    /// run again after a loss, other tasks wait for them.
    pub(in crate::scheduler) fn take_runnable(&mut self) -> Vec<TaskId> {
        let mut runnable = vec![];
        if self.phase != QueryPhase::Running {
            return runnable;
        }
        for id in self.stage_ids() {
            if !self.stages[id.index()].parked.is_empty() && self.may_run(id) {
                let parked = std::mem::take(&mut self.stages[id.index()].parked);
                runnable.extend(parked.into_iter().map(|index| self.task_id(id, index)));
            }
        }
        runnable
    }

    /// Returns whether tasks of a stage may run: its inputs are complete, and its plan is final.
    fn may_run(&self, stage: StageId) -> bool {
        let is_waiting = matches!(
            self.stages[stage.index()].phase,
            StagePhase::Waiting | StagePhase::Dropped
        );
        let may_be_replaced = is_waiting && self.revision.is_requested();
        !may_be_replaced && self.inputs_complete(stage)
    }

    /// Returns whether a task from the ready queue may start. Parks it again if an input was lost
    /// or the query was completed since it became ready.
    pub(in crate::scheduler) fn may_start(&mut self, id: TaskId) -> bool {
        let may_run = self.may_run(id.stage);
        let is_running = self.phase == QueryPhase::Running;
        let Some(task) = self.task_mut(id) else {
            // Its stage was dropped.
            return false;
        };
        if !matches!(task.phase, TaskPhase::Queued) {
            return false;
        }
        if is_running && may_run {
            return true;
        }
        // Also after the result was delivered: if part of that is lost, the query continues, and
        // the task may be needed.
        task.phase = TaskPhase::Idle;
        self.requeue(id);
        false
    }

    /// Starts an attempt and returns what the executor needs to run it.
    pub(in crate::scheduler) fn start(
        &mut self,
        id: TaskId,
        executor: ExecutorId,
        executors: &Executors,
        now: Duration,
    ) -> Option<TaskSpec> {
        let task = self.task(id)?;
        let (range, split, reduces_memory) = (task.range(), task.split, task.reduces_memory);
        let inputs = self.task_inputs(id.stage, &range, split, executors);
        let stage = self.stages.get_mut(id.stage.index())?;
        if stage.phase == StagePhase::Waiting {
            stage.phase = StagePhase::Started;
        }
        let task = stage.tasks.get_mut(id.index as usize)?;
        let (attempt, reason) = task.start(executor, now);
        match reason {
            StartReason::First => {}
            StartReason::Retry => self.retried += 1,
            StartReason::Speculation => self.speculated += 1,
        }
        Some(TaskSpec {
            task: id,
            attempt,
            partitions: range.collect(),
            inputs,
            reduces_memory,
        })
    }

    /// Makes an attempt the task's result. Returns the other attempt, if one was running too: it
    /// must be cancelled.
    ///
    /// Returns `None` if the attempt does not run: the report is late, a duplicate, or of a
    /// cancelled attempt.
    pub(in crate::scheduler) fn commit(
        &mut self,
        executor: ExecutorId,
        report: &TaskReport,
        now: Duration,
    ) -> Option<Option<RunningAttempt>> {
        let stage = self.stages.get_mut(report.task.stage.index())?;
        let task = stage.tasks.get_mut(report.task.index as usize)?;
        let TaskPhase::Running(running) = &task.phase else {
            return None;
        };
        let is_reported =
            |a: &RunningAttempt| a.attempt == report.attempt && a.executor == executor;
        let reported = running.iter().find(|a| is_reported(a)).copied()?;
        let other = running.iter().find(|a| !is_reported(a)).copied();
        task.phase = TaskPhase::Committed(Committed {
            attempt: report.attempt,
            home: BlockHome::Executor(executor),
            block: CommittedBlock::from_report(report),
            files: report.files.clone(),
            statistics: report.statistics.clone(),
        });
        // The sizes of a second run must not be added to those of the first.
        if !std::mem::replace(&mut task.is_measured, true) {
            stage.add_sizes(&report.partitions);
        }
        stage.durations.add(now.saturating_sub(reported.since));
        stage.committed += 1;
        stage.blocks = None;
        if stage.finish_and_compare() {
            self.revision.note_surprise();
        }
        Some(other)
    }

    /// Removes a running attempt. Returns whether it was running.
    pub(in crate::scheduler) fn forget_attempt(&mut self, id: TaskId, attempt: Attempt) -> bool {
        let task = self.task_mut(id);
        task.and_then(|task| task.remove_attempt(attempt)).is_some()
    }

    /// Counts a failure of the task on this executor.
    pub(in crate::scheduler) fn count_failure(
        &mut self,
        id: TaskId,
        executor: ExecutorId,
        max: u32,
    ) -> Verdict {
        let Some(task) = self.task_mut(id) else {
            return Verdict::GiveUp;
        };
        task.failures += 1;
        if !task.failed_on.contains(&executor) {
            task.failed_on.push(executor);
        }
        Verdict::after(task.failures, max)
    }

    /// Counts an attempt that failed because an input was lost.
    pub(in crate::scheduler) fn count_lost_input(&mut self, id: TaskId, max: u32) -> Verdict {
        let Some(task) = self.task_mut(id) else {
            return Verdict::GiveUp;
        };
        task.lost_inputs += 1;
        Verdict::after(task.lost_inputs, max)
    }

    /// Reduces the memory that a task needs after it ran out: it runs in low-memory mode from now
    /// on, and is split in half if the stage allows it. Returns the stage's new number of tasks if
    /// it was.
    pub(in crate::scheduler) fn shrink(&mut self, id: TaskId) -> Option<u32> {
        let stage = self.stages.get_mut(id.stage.index())?;
        let is_splittable = stage.info.grouping != TaskGrouping::Whole;
        let task = stage.tasks.get_mut(id.index as usize)?;
        task.reduces_memory = true;
        // While another attempt runs, the task's partitions must not change.
        let is_running = matches!(task.phase, TaskPhase::Running(_));
        if task.partitions < 2 || !is_splittable || is_running {
            return None;
        }
        let kept = task.partitions / 2;
        let second_half = TaskState {
            first: task.first + kept,
            partitions: task.partitions - kept,
            origin: task.origin,
            reduces_memory: true,
            losses: task.losses,
            ..TaskState::default()
        };
        task.partitions = kept;
        let index = count(stage.tasks.len());
        stage.tasks.push(second_half);
        stage.park(index);
        Some(index + 1)
    }

    /// Queues the task again, to run once its inputs are complete.
    pub(in crate::scheduler) fn requeue(&mut self, id: TaskId) {
        if let Some(stage) = self.stages.get_mut(id.stage.index()) {
            stage.park(id.index);
        }
    }
}
