//! What follows the loss of an executor, of a block, or the failure of an attempt.
//!
//! When an executor is lost:
//!
//! 1. Its running attempts are forgotten, and their tasks queued again. This is not a failure of
//!    theirs, unless the executor crashed or its memory was exhausted (`quarantine`).
//! 2. Each block that it held and that is still needed is replaced, consumers before producers: a
//!    consumer that must run again needs the blocks of its producers again.
//!    1. A block with a copy in the object store is read from there from now on.
//!    2. Otherwise the task's result is withdrawn, and the task is queued until its own inputs are
//!       complete. If the task would yield other rows, all that was computed from the old ones is
//!       withdrawn too.
//! 3. Attempts that were launched with the location of a lost block fail with
//!    [`FailureKind::BlockLost`]. Such a failure leads to 2. and does not count against their task.
//! 4. A block that is no longer needed is not recomputed: all its consumers are complete.
//!
//! A reader of the delivered result that misses a block reopens the query, and continues with 2.

use std::collections::BTreeSet;

use faisca_executor::protocol::{Failure, FailureKind};
use faisca_planner::ids::{Attempt, BlockId, ExecutorId, QueryId, TaskId};

use super::query::{Loss, Verdict};
use super::{Action, BlockHome, LossCause, Scheduler};

impl Scheduler {
    pub(super) fn executor_down(&mut self, id: ExecutorId, cause: LossCause) {
        let Some(executor) = self.executors.remove(id) else {
            return;
        };
        for query in self.queries.values_mut() {
            query.note_lost_executor();
        }
        let mut affected = BTreeSet::new();
        let running: Vec<TaskId> = executor.running.iter().map(|(task, _)| *task).collect();
        for (task, attempt) in executor.running {
            if let Some(query) = self.queries.get_mut(&task.query) {
                query.forget_attempt(task, attempt);
            }
        }
        // Before they are queued again: they may run alone from now on, or not at all.
        self.suspect(id, running.clone(), cause);
        for task in running {
            if let Some(query) = self.queries.get_mut(&task.query) {
                query.requeue(task);
                affected.insert(task.query);
            }
        }
        let home = BlockHome::Executor(id);
        // Task ids are ordered by stage, and producers have lower ids than their consumers.
        for task in executor.held.into_iter().rev() {
            let query = self.queries.get(&task.query);
            if let Some(block) = query.and_then(|query| query.needed_block(task, home)) {
                self.block_lost(block, home);
            }
            affected.insert(task.query);
        }
        for query in affected {
            self.advance(query);
        }
    }

    pub(super) fn attempt_failed(
        &mut self,
        executor: ExecutorId,
        task: TaskId,
        attempt: Attempt,
        failure: Failure,
    ) {
        let Some(query) = self.queries.get_mut(&task.query) else {
            return;
        };
        if !query.forget_attempt(task, attempt) {
            return;
        }
        self.executors.end_attempt(executor, task, attempt);
        let failures_max = self.limits.task_failures_max;
        let verdict = match failure.kind {
            FailureKind::User => Verdict::GiveUp,
            FailureKind::Resource => {
                let verdict = query.count_failure(task, executor, failures_max);
                self.shrink(task);
                verdict
            }
            // A panic is its task's fault far more often than its executor's.
            FailureKind::Bug => query.count_failure(task, executor, failures_max),
            FailureKind::Transient => {
                let verdict = query.count_failure(task, executor, failures_max);
                if self.executors.record_failure(executor) {
                    self.actions.push(Action::Excluded(executor));
                }
                verdict
            }
            FailureKind::ExecutorLost => Verdict::Retry,
            FailureKind::BlockLost(block, home) => {
                let verdict = query.count_lost_input(task, self.limits.lost_inputs_max);
                self.blocks_lost(block, home);
                verdict
            }
        };
        match verdict {
            Verdict::Retry => {
                if let Some(query) = self.queries.get_mut(&task.query) {
                    query.requeue(task);
                }
                self.advance(task.query);
            }
            Verdict::GiveUp => self.fail(task.query, failure),
        }
    }

    /// Shrinks a task so that it needs less memory, and announces the stage's new number of tasks
    /// if it was split.
    pub(super) fn shrink(&mut self, task: TaskId) {
        let query = self.queries.get_mut(&task.query);
        if let Some(tasks) = query.and_then(|query| query.shrink(task)) {
            let sliced = Action::Sliced(task.query, task.stage, tasks);
            self.actions.push(sliced);
        }
    }

    /// Fails a query for good.
    pub(super) fn fail(&mut self, id: QueryId, failure: Failure) {
        self.stop_running(id);
        if let Some(query) = self.queries.get_mut(&id)
            && query.end()
        {
            self.actions.push(Action::Failed(id, failure));
        }
    }

    pub(super) fn result_lost(&mut self, block: BlockId, home: BlockHome) {
        if let Some(query) = self.queries.get_mut(&block.task.query) {
            query.reopen();
            self.blocks_lost(block, home);
            self.advance(block.task.query);
        }
    }

    /// Replaces a block that a reader missed. The other blocks of the stage at a lost home are
    /// lost as well: they are recomputed at once, rather than after a failed read of each.
    fn blocks_lost(&mut self, block: BlockId, home: BlockHome) {
        let is_home_lost = match home {
            BlockHome::Executor(id) => !self.executors.contains(id),
            // An object that was deleted there is rarely the only one.
            BlockHome::ObjectStore => true,
        };
        let query = self.queries.get(&block.task.query);
        let same_home_blocks = query
            .filter(|_| is_home_lost)
            .map(|query| query.needed_blocks(block.task.stage, home))
            .unwrap_or_default();
        self.block_lost(block, home);
        for block in same_home_blocks {
            self.block_lost(block, home);
        }
    }

    /// Redirects readers of a lost block to its durable copy, or else withdraws its task's result.
    pub(super) fn block_lost(&mut self, block: BlockId, home: BlockHome) {
        let Some(query) = self.queries.get_mut(&block.task.query) else {
            return;
        };
        if query.has_durable_copy(block, home)
            && query.relocate(block, home, BlockHome::ObjectStore)
        {
            self.executors.remove_block(home, block.task);
            return;
        }
        let Loss {
            cancelled,
            withdrawn,
        } = query.withdraw_lost(block, home);
        for (task, running) in cancelled {
            self.cancel(task, running);
        }
        for (task, home) in withdrawn {
            self.executors.remove_block(home, task);
            self.actions.push(Action::Uncommitted(task));
        }
    }
}
