//! Which results a lost block invalidates.
//!
//! ```text
//!   s0/1 lost, deterministic          s0/1 lost, indeterminate
//!
//!   s0/1 runs again                   s0/1 runs again, and yields other rows
//!   s1   readers of s0/1 wait         s1   every result and attempt is withdrawn
//!   s2   unaffected                   s2   and so is all that reads s1
//! ```

use faisca_planner::ids::{BlockId, StageId, TaskId};

use super::{QueryPhase, QueryState, count};
use crate::scheduler::BlockHome;
use crate::scheduler::task::{RunningAttempt, TaskState};

/// What a lost block invalidates.
#[derive(Debug, Default)]
pub(in crate::scheduler) struct Loss {
    /// Running attempts that have read, or may have read, rows that cannot be reproduced.
    pub(in crate::scheduler) cancelled: Vec<(TaskId, RunningAttempt)>,
    /// Results that are withdrawn, with the home of each.
    pub(in crate::scheduler) withdrawn: Vec<(TaskId, BlockHome)>,
}

impl QueryState {
    /// Withdraws a lost block, if it is committed and still needed, and queues its task again. If
    /// the stage is indeterminate, everything computed from its rows is withdrawn as well.
    pub(in crate::scheduler) fn withdraw_lost(&mut self, block: BlockId, home: BlockHome) -> Loss {
        let mut loss = Loss::default();
        let committed = self.task(block.task).and_then(TaskState::committed);
        let is_committed = committed.is_some_and(|c| c.is_at(block.attempt, home));
        if self.phase != QueryPhase::Running
            || !is_committed
            || !self.is_output_needed(block.task.stage)
        {
            return loss;
        }
        self.withdraw(block.task, &mut loss);
        if self.stages[block.task.stage.index()].info.is_indeterminate {
            self.roll_back_consumers(block.task.stage, &mut loss);
        }
        loss
    }

    fn roll_back_consumers(&mut self, producer: StageId, loss: &mut Loss) {
        for consumer in self.consumers(producer) {
            for index in 0..count(self.stages[consumer.index()].tasks.len()) {
                let id = self.task_id(consumer, index);
                let running = self.task_mut(id).and_then(TaskState::take_running);
                let attempts = running.into_iter().flat_map(|r| r.attempts());
                loss.cancelled.extend(attempts.map(|attempt| (id, attempt)));
                self.withdraw(id, loss);
            }
            self.roll_back_consumers(consumer, loss);
        }
    }

    /// Withdraws a task's result, if it has one, and queues the task again.
    fn withdraw(&mut self, id: TaskId, loss: &mut Loss) {
        let stage = &mut self.stages[id.stage.index()];
        let withdrawn = stage.uncommit(id.index);
        loss.withdrawn
            .extend(withdrawn.map(|committed| (id, committed.home)));
        stage.park(id.index);
    }
}
