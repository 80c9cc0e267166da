//! The scheduler: `step(event) -> actions`, pure.
//!
//! It decides which attempt runs where, what a loss costs, and when a statement is done. It reads no
//! clock, awaits nothing and owns no connection, so every order of kills, delays and duplicates can
//! be played in a unit test. One loop ([`crate::engine`]) owns it.
//!
//! **Invariants.** It changes only by [`Scheduler::step`]. A consumer is given only committed
//! attempts. A committed attempt is replaced only if its output is lost and still needed.

mod query;
#[cfg(test)]
mod simulation;

use std::collections::{BTreeMap, VecDeque};

use faisca_executor::wire::{BlockLocation, Failure, FailureKind, PendingFile, TaskReport, TaskSpec};
use faisca_planner::ids::{Attempt, BlockId, ExecutorId, QueryId, StageId, TaskId};

use query::{QueryState, Verdict};

/// Limits of retrying.
#[derive(Debug, Clone, Copy)]
pub struct RetryLimits {
    /// A task fails for good after so many failures of its own, as in Spark.
    pub task_failures_max: u32,
    /// A task whose inputs vanish so often is given up: something is systematically wrong.
    pub lost_inputs_max: u32,
}

impl Default for RetryLimits {
    fn default() -> Self {
        Self { task_failures_max: 4, lost_inputs_max: 100 }
    }
}

/// Where a statement may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// On the driver's own slots: too small to travel.
    Driver,
    /// On the fleet.
    Fleet,
}

/// What the scheduler needs to know of a stage.
#[derive(Debug, Clone)]
pub struct StageShape {
    /// Partitions of its body.
    pub partitions: u32,
    /// Producers, and whether a partition reads only the bucket of its own number.
    pub inputs: Vec<(StageId, bool)>,
    /// One task must run all partitions.
    pub whole: bool,
    /// Adjacent partitions may share a task, once the sizes of their inputs are known.
    pub may_merge: bool,
    /// Its tasks write files, which outlive their executor.
    pub sink: bool,
    /// Its blocks are by partition rather than by bucket.
    pub by_partition: bool,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// An executor is ready.
    ExecutorUp {
        /// Its name.
        id: ExecutorId,
        /// Tasks it runs at once.
        slots: u32,
        /// URL of its blocks.
        address: String,
        /// It is the driver itself.
        is_driver: bool,
    },
    /// An executor and all its blocks are gone.
    ExecutorDown(ExecutorId),
    /// A statement wants to run. Its last stage is the root.
    Submit {
        /// Its name.
        query: QueryId,
        /// Producers before consumers.
        stages: Vec<StageShape>,
        /// Where.
        placement: Placement,
        /// Slots to plan for, even if not all executors are up yet.
        slots_expected: u32,
    },
    /// An attempt sealed its output.
    Finished(ExecutorId, TaskReport),
    /// An attempt ended without output.
    Failed(ExecutorId, TaskId, Attempt, Failure),
    /// A reader outside the scheduler found a block of a finished statement gone.
    OutputLost(BlockId),
    /// Nobody wants the statement any more; its blocks may go.
    Release(QueryId),
}

/// What to do.
#[derive(Debug, Clone)]
pub enum Action {
    /// Start an attempt.
    Launch(ExecutorId, TaskSpec),
    /// Stop an attempt.
    Cancel(ExecutorId, TaskId, Attempt),
    /// Every task of the root is committed.
    Completed(QueryId, Output),
    /// The statement cannot be finished.
    Failed(QueryId, Failure),
    /// Forget the statement on these executors.
    Release(QueryId, Vec<ExecutorId>),
    /// A stage was cut into so many tasks.
    Sliced(QueryId, StageId, u32),
    /// A task's output is decided.
    Committed(ExecutorId, TaskReport),
}

/// A finished statement.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// Blocks of the root, in the order of its partitions.
    pub blocks: Vec<BlockLocation>,
    /// Files of the root.
    pub files: Vec<PendingFile>,
    /// Task attempts beyond the first.
    pub retried: u32,
}

#[derive(Debug)]
pub(crate) struct ExecutorState {
    pub(crate) slots: u32,
    pub(crate) busy: u32,
    pub(crate) address: String,
    pub(crate) is_driver: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Scheduler {
    limits: RetryLimits,
    executors: BTreeMap<ExecutorId, ExecutorState>,
    queries: BTreeMap<QueryId, QueryState>,
    /// Tasks whose inputs are complete, oldest statement first within a placement.
    ready: VecDeque<TaskId>,
    actions: Vec<Action>,
}

impl Scheduler {
    /// With these limits.
    #[must_use]
    pub fn new(limits: RetryLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes in what happened; answers what to do, in order.
    pub fn step(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::ExecutorUp { id, slots, address, is_driver } => {
                self.executors.insert(id, ExecutorState { slots, busy: 0, address, is_driver });
            }
            Event::ExecutorDown(id) => self.executor_down(id),
            Event::Submit { query, stages, placement, slots_expected } => {
                self.queries.insert(query, QueryState::new(query, stages, placement, slots_expected));
                self.advance(query);
            }
            Event::Finished(executor, report) => self.finished(executor, report),
            Event::Failed(executor, task, attempt, failure) => self.failed(executor, task, attempt, failure),
            Event::OutputLost(block) => self.output_lost(block),
            Event::Release(query) => self.release(query),
        }
        self.assign();
        std::mem::take(&mut self.actions)
    }

    /// Number of executors that are up, the driver's own slots left out.
    #[must_use]
    pub fn fleet_size(&self) -> usize {
        self.executors.values().filter(|e| !e.is_driver).count()
    }

    fn executor_down(&mut self, id: ExecutorId) {
        if self.executors.remove(&id).is_none() {
            return;
        }
        let queries: Vec<QueryId> = self.queries.keys().copied().collect();
        for query in queries {
            if let Some(state) = self.queries.get_mut(&query) {
                state.executor_lost(id);
            }
            self.advance(query);
        }
    }

    fn finished(&mut self, executor: ExecutorId, report: TaskReport) {
        let task = report.task;
        let Some(query) = self.queries.get_mut(&task.query) else { return };
        let Some(others) = query.commit(executor, &report) else { return };
        free_slot(&mut self.executors, executor);
        for (twin, twin_executor) in others {
            free_slot(&mut self.executors, twin_executor);
            self.actions.push(Action::Cancel(twin_executor, task, twin));
        }
        self.actions.push(Action::Committed(executor, report));
        self.advance(task.query);
    }

    fn failed(&mut self, executor: ExecutorId, task: TaskId, attempt: Attempt, failure: Failure) {
        let Some(query) = self.queries.get_mut(&task.query) else { return };
        if !query.forget_attempt(task, attempt) {
            return;
        }
        free_slot(&mut self.executors, executor);
        let verdict = match failure.kind {
            FailureKind::User => Verdict::GiveUp,
            FailureKind::Resource | FailureKind::Transient | FailureKind::Bug => query.count_failure(task, self.limits.task_failures_max),
            FailureKind::ExecutorLost => Verdict::Retry,
            FailureKind::BlockLost(block) => {
                query.output_lost(block);
                query.count_lost_input(task, self.limits.lost_inputs_max)
            }
        };
        match verdict {
            Verdict::Retry => {
                query.requeue(task);
                self.advance(task.query);
            }
            Verdict::GiveUp => self.give_up(task.query, failure),
        }
    }

    fn give_up(&mut self, id: QueryId, failure: Failure) {
        self.stop_running(id);
        if let Some(query) = self.queries.get_mut(&id)
            && query.end()
        {
            self.actions.push(Action::Failed(id, failure));
        }
    }

    fn output_lost(&mut self, block: BlockId) {
        if let Some(query) = self.queries.get_mut(&block.task.query) {
            query.reopen();
            query.output_lost(block);
            self.advance(block.task.query);
        }
    }

    fn release(&mut self, id: QueryId) {
        self.stop_running(id);
        if self.queries.remove(&id).is_some() {
            self.ready.retain(|task| task.query != id);
            self.actions.push(Action::Release(id, self.executors.keys().copied().collect()));
        }
    }

    fn stop_running(&mut self, id: QueryId) {
        let Some(query) = self.queries.get_mut(&id) else { return };
        for (task, attempt, executor) in query.take_running() {
            free_slot(&mut self.executors, executor);
            self.actions.push(Action::Cancel(executor, task, attempt));
        }
    }

    /// Queues what has become runnable and reports completion.
    fn advance(&mut self, id: QueryId) {
        let Some(query) = self.queries.get_mut(&id) else { return };
        for (stage, tasks) in query.slice_ready_stages() {
            self.actions.push(Action::Sliced(id, stage, tasks));
        }
        self.ready.extend(query.take_runnable());
        if let Some(output) = query.take_output(&self.executors) {
            self.actions.push(Action::Completed(id, output));
        }
    }

    /// Gives ready tasks to free slots, the emptiest executor first.
    fn assign(&mut self) {
        let mut waiting = VecDeque::new();
        while let Some(task) = self.ready.pop_front() {
            let Some(query) = self.queries.get_mut(&task.query) else { continue };
            if !query.may_start(task) {
                continue;
            }
            let to_driver = query.placement == Placement::Driver;
            match emptiest(&self.executors, to_driver) {
                Some(executor) => {
                    let spec = query.start(task, executor, &self.executors);
                    if let Some(state) = self.executors.get_mut(&executor) {
                        state.busy += 1;
                    }
                    self.actions.push(Action::Launch(executor, spec));
                }
                None => {
                    waiting.push_back(task);
                    // No slot of either placement: nothing behind it can start either.
                    if emptiest(&self.executors, !to_driver).is_none() {
                        break;
                    }
                }
            }
        }
        waiting.append(&mut self.ready);
        self.ready = waiting;
    }
}

fn free_slot(executors: &mut BTreeMap<ExecutorId, ExecutorState>, id: ExecutorId) {
    if let Some(executor) = executors.get_mut(&id) {
        executor.busy = executor.busy.saturating_sub(1);
    }
}

fn emptiest(executors: &BTreeMap<ExecutorId, ExecutorState>, is_driver: bool) -> Option<ExecutorId> {
    let free = executors.iter().filter(|(_, e)| e.is_driver == is_driver && e.busy < e.slots);
    free.max_by_key(|(id, e)| (e.slots - e.busy, std::cmp::Reverse(**id))).map(|(id, _)| *id)
}
