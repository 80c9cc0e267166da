//! Which tasks of a query may have crashed an executor, and when that is proven.

use faisca_executor::protocol::{Failure, FailureKind};
use faisca_planner::ids::{ExecutorId, StageId, TaskId};

use super::QueryState;
use crate::scheduler::quarantine::Tenancy;
use crate::scheduler::task::{RunningAttempt, TaskPhase, TaskState};
use crate::scheduler::{InputReads, LossCause, StageInput};

/// A task that crashed this many executors is the cause.
const TASK_CRASHES_MAX: u32 = 3;
/// A task that crashed an executor while it ran alone is the cause if its stage crashed this many.
const STAGE_CRASHES_MAX: u32 = 4;

const MIB: u64 = 1 << 20;

impl QueryState {
    /// Counts a loss without a known cause.
    pub(in crate::scheduler) fn note_unexplained(&mut self, id: TaskId) {
        if let Some(task) = self.task_mut(id) {
            task.losses.unexplained += 1;
        }
    }

    /// Withdraws a loss that was counted as unexplained.
    pub(in crate::scheduler) fn note_explanation(&mut self, id: TaskId) {
        if let Some(task) = self.task_mut(id) {
            task.losses.unexplained = task.losses.unexplained.saturating_sub(1);
        }
    }

    /// Makes a suspect of a task, and returns whether it is one now. A task that was committed
    /// since is none: it has run to its end.
    pub(in crate::scheduler) fn note_crash(&mut self, id: TaskId) -> bool {
        let task = self.task_mut(id);
        let Some(task) = task.filter(|task| task.committed().is_none()) else {
            return false;
        };
        task.losses.crashes += 1;
        true
    }

    /// Removes the running attempts of a task, unless one of them runs where it may, and returns
    /// them.
    pub(in crate::scheduler) fn stop_attempts(
        &mut self,
        id: TaskId,
        may_run_on: impl Fn(ExecutorId) -> bool,
    ) -> Vec<RunningAttempt> {
        let Some(task) = self.task_mut(id) else {
            return vec![];
        };
        let TaskPhase::Running(running) = &task.phase else {
            return vec![];
        };
        if running.iter().any(|attempt| may_run_on(attempt.executor)) {
            return vec![];
        }
        let running = task.take_running().into_iter();
        running.flat_map(|running| running.attempts()).collect()
    }

    /// Counts a crash that tasks of a stage may have caused.
    pub(in crate::scheduler) fn note_stage_crash(&mut self, stage: StageId) {
        if let Some(stage) = self.stages.get_mut(stage.index()) {
            stage.crashes += 1;
        }
    }

    /// Returns why the query fails, if its task is proven to be the cause of the latest loss.
    pub(in crate::scheduler) fn proven_failure(
        &self,
        id: TaskId,
        tenancy: Tenancy,
        cause: LossCause,
    ) -> Option<Failure> {
        let task = self.task(id)?;
        let crashes = task.losses.crashes;
        let is_proven = tenancy == Tenancy::Exclusive && crashes > 0;
        let is_repeated = self.stage(id.stage)?.crashes >= STAGE_CRASHES_MAX;
        if crashes < TASK_CRASHES_MAX && !(is_proven && is_repeated) {
            return None;
        }
        let (kind, remedy) = match cause {
            LossCause::OutOfMemory => (
                FailureKind::Resource,
                "give the executors more memory or fewer slots, or a memory limit, so that tasks spill",
            ),
            LossCause::Unknown
            | LossCause::Drained
            | LossCause::Killed
            | LossCause::Unreachable
            | LossCause::Crashed => (
                FailureKind::Bug,
                "a function that the job uses ends its process; the executors' log may name it",
            ),
        };
        let message = format!(
            "task {} of stage {}.{} ended {crashes} executors: the last one {cause}. {}; {remedy}",
            id.index,
            id.query,
            id.stage,
            self.describe_inputs(id, task)
        );
        Some(Failure { kind, message })
    }

    /// Describes what a task reads, the largest input first.
    fn describe_inputs(&self, id: TaskId, task: &TaskState) -> String {
        let stage = &self.stages[id.stage.index()];
        let bytes_read = |input: &StageInput| {
            let sizes = &self.stages[input.stage.index()].partition_bytes;
            match input.reads {
                InputReads::AllPartitions => sizes.iter().sum::<u64>(),
                InputReads::OwnPartition => {
                    let own = task.range().filter_map(|p| sizes.get(p as usize));
                    own.sum()
                }
            }
        };
        let mut inputs: Vec<_> = stage
            .info
            .inputs
            .iter()
            .map(|i| (bytes_read(i), i.stage))
            .collect();
        inputs.sort_unstable_by(|a, b| b.cmp(a));
        let shares: Vec<String> = inputs
            .into_iter()
            .map(|(bytes, producer)| format!("{} MiB of {producer}", bytes.div_ceil(MIB)))
            .collect();
        let partitions = task.partitions;
        if shares.is_empty() {
            format!(
                "It scans {partitions} of {} partitions",
                stage.info.partitions
            )
        } else {
            format!("It reads {}", shares.join(", "))
        }
    }
}
