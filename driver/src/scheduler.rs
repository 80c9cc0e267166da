//! The scheduler: `step(event) -> actions`, pure.
//!
//! It decides which attempt runs where, what a loss costs, and when a statement is done. It reads no
//! clock, awaits nothing and owns no connection, so every order of kills, delays and duplicates can
//! be played in a unit test. One loop ([`crate::engine`]) owns it.
//!
//! **Invariants.** It changes only by [`Scheduler::step`]. A consumer is given only committed
//! attempts. A committed attempt is replaced only if its output is lost and still needed.

mod event;
mod executors;
mod query;
#[cfg(test)]
mod simulation;
mod speculation;
mod stage;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use faisca_executor::wire::{Failure, FailureKind, TaskReport};
use faisca_planner::ids::{Attempt, BlockId, ExecutorId, QueryId, TaskId};

pub use event::{Action, Event, Output, Placement, StageShape, Written};
use executors::Executors;
use query::{Loss, QueryState, Verdict};

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
        Self {
            task_failures_max: 4,
            lost_inputs_max: 100,
        }
    }
}

/// Tasks that one step passes over because the only free executors are those they failed on.
const PASSED_OVER_MAX: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub struct Scheduler {
    limits: RetryLimits,
    now: Duration,
    executors: Executors,
    queries: BTreeMap<QueryId, QueryState>,
    /// Tasks whose inputs are complete: for the driver's own slots, for the fleet.
    ready: [VecDeque<TaskId>; 2],
    /// Counts hand-overs, so that heirs take turns.
    turn: usize,
    /// Executors can bring blocks to an object store.
    has_store: bool,
    actions: Vec<Action>,
}

impl Scheduler {
    /// With these limits.
    #[must_use]
    pub fn new(limits: RetryLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// With an object store, to which executors that end bring their blocks.
    #[must_use]
    pub fn with_store(mut self, has_store: bool) -> Self {
        self.has_store = has_store;
        self
    }

    /// Takes in what happened, `now` after the start; answers what to do, in order.
    pub fn step(&mut self, now: Duration, event: Event) -> Vec<Action> {
        self.now = self.now.max(now);
        match event {
            Event::ExecutorUp {
                id,
                slots,
                address,
                is_driver,
            } => {
                self.executors.insert(id, slots, address, is_driver);
                self.hand_over_all();
            }
            Event::ExecutorDown(id) => self.executor_down(id),
            Event::Draining(id) => {
                self.executors.drain(id);
                self.hand_over_all();
            }
            Event::HandedOver { block, from, to } => self.handed_over(block, from, to),
            Event::Submit {
                query,
                stages,
                placement,
                slots_expected,
            } => {
                self.queries.insert(
                    query,
                    QueryState::new(query, stages, placement, slots_expected),
                );
                self.advance(query);
            }
            Event::Revised { query, stages } => self.revised(query, stages),
            Event::Finished(executor, report) => self.finished(executor, report),
            Event::Durable(block, executor) => {
                if let Some(query) = self.queries.get_mut(&block.task.query) {
                    query.durable(block, executor);
                }
            }
            Event::Failed(executor, task, attempt, failure) => {
                self.failed(executor, task, attempt, failure)
            }
            Event::OutputLost(block, from) => self.result_lost(block, from),
            Event::Release(query) => self.release(query),
            Event::Tick => self.speculate(),
        }
        self.assign(Placement::Driver);
        self.assign(Placement::Fleet);
        self.actions.extend(
            self.executors
                .take_drained()
                .into_iter()
                .map(Action::Dismiss),
        );
        std::mem::take(&mut self.actions)
    }

    /// Number of executors that are up, the driver's own slots left out.
    #[must_use]
    pub fn fleet_size(&self) -> usize {
        self.executors.fleet_size()
    }

    /// Slots that the fleet's tasks would take if there were enough: those that run, and those that wait.
    #[must_use]
    pub fn slots_wanted(&self) -> usize {
        self.ready[Placement::Fleet as usize].len() + self.executors.busy(Placement::Fleet)
    }

    fn executor_down(&mut self, id: ExecutorId) {
        let Some(gone) = self.executors.remove(id) else {
            return;
        };
        self.queries
            .values_mut()
            .for_each(|query| query.lost_executor = true);
        let mut touched = BTreeSet::new();
        for (task, attempt) in gone.running {
            let Some(query) = self.queries.get_mut(&task.query) else {
                continue;
            };
            query.forget_attempt(task, attempt);
            query.requeue(task);
            touched.insert(task.query);
        }
        // Consumers first: a consumer that must run again needs its producers' blocks again.
        for task in gone.held.into_iter().rev() {
            let lost = self
                .queries
                .get(&task.query)
                .and_then(|query| query.needed_block(task, id));
            lost.into_iter()
                .for_each(|block| self.block_lost(block, id));
            touched.insert(task.query);
        }
        touched.into_iter().for_each(|query| self.advance(query));
    }

    fn finished(&mut self, executor: ExecutorId, report: TaskReport) {
        let task = report.task;
        let Some(query) = self.queries.get_mut(&task.query) else {
            return;
        };
        let Some(others) = query.commit(executor, &report, self.now) else {
            return;
        };
        let files_only = query
            .stage(task)
            .is_some_and(|stage| stage.shape.sink.is_some());
        self.executors.ended(executor, task, report.attempt);
        self.executors.succeeded(executor);
        if !files_only {
            self.executors.hold(executor, task);
        }
        others
            .into_iter()
            .for_each(|twin| self.cancel(task, twin.attempt, twin.executor));
        self.actions.push(Action::Committed(executor, report));
        self.advance(task.query);
        if self.executors.get(executor).is_some_and(|e| e.draining) {
            self.hand_over(executor);
        }
    }

    fn revised(&mut self, id: QueryId, stages: Vec<StageShape>) {
        let in_vain = self
            .queries
            .get_mut(&id)
            .map(|query| query.revised(stages))
            .unwrap_or_default();
        in_vain
            .into_iter()
            .for_each(|(task, running)| self.cancel(task, running.attempt, running.executor));
        self.advance(id);
    }

    fn cancel(&mut self, task: TaskId, attempt: Attempt, executor: ExecutorId) {
        self.executors.ended(executor, task, attempt);
        self.actions.push(Action::Cancel(executor, task, attempt));
    }

    fn failed(&mut self, executor: ExecutorId, task: TaskId, attempt: Attempt, failure: Failure) {
        let Some(query) = self.queries.get_mut(&task.query) else {
            return;
        };
        if !query.forget_attempt(task, attempt) {
            return;
        }
        self.executors.ended(executor, task, attempt);
        let verdict = match failure.kind {
            FailureKind::User => Verdict::GiveUp,
            FailureKind::Resource => {
                if let Some(tasks) = query.shrink(task) {
                    self.actions
                        .push(Action::Sliced(task.query, task.stage, tasks));
                }
                query.count_failure(task, executor, self.limits.task_failures_max)
            }
            FailureKind::Transient | FailureKind::Bug => {
                let verdict = query.count_failure(task, executor, self.limits.task_failures_max);
                if self.executors.failed(executor) {
                    self.actions.push(Action::Excluded(executor));
                }
                verdict
            }
            FailureKind::ExecutorLost => Verdict::Retry,
            FailureKind::BlockLost(block, from) => {
                let verdict = query.count_lost_input(task, self.limits.lost_inputs_max);
                self.output_lost(block, from);
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

    /// A reader says that a block is gone. If its executor is gone, so are all others of the stage there.
    fn output_lost(&mut self, block: BlockId, from: ExecutorId) {
        let gone = self.executors.get(from).is_none();
        let others = self
            .queries
            .get(&block.task.query)
            .filter(|_| gone)
            .map(|query| query.blocks_on(block.task.stage, from));
        self.block_lost(block, from);
        others
            .into_iter()
            .flatten()
            .for_each(|other| self.block_lost(other, from));
    }

    fn block_lost(&mut self, block: BlockId, from: ExecutorId) {
        let Some(query) = self.queries.get_mut(&block.task.query) else {
            return;
        };
        if query.outlives(block, from) && query.moved(block, from, ExecutorId::STORE) {
            self.executors.let_go(from, block.task);
            return;
        }
        let Loss { cancelled, dropped } = query.output_lost(block, from);
        for (task, running) in cancelled {
            self.cancel(task, running.attempt, running.executor);
        }
        for (task, executor) in dropped {
            self.executors.let_go(executor, task);
            self.actions.push(Action::Uncommitted(task));
        }
    }

    fn result_lost(&mut self, block: BlockId, from: ExecutorId) {
        if let Some(query) = self.queries.get_mut(&block.task.query) {
            query.reopen();
            self.output_lost(block, from);
            self.advance(block.task.query);
        }
    }

    fn release(&mut self, id: QueryId) {
        self.stop_running(id);
        if let Some(query) = self.queries.remove(&id) {
            self.ready
                .iter_mut()
                .for_each(|ready| ready.retain(|task| task.query != id));
            self.executors.forget_query(id);
            self.actions
                .push(Action::Release(id, self.executors.ids().collect()));
            if self.has_store && query.lost_executor {
                self.actions.push(Action::Sweep(query.attempts()));
            }
        }
    }

    fn stop_running(&mut self, id: QueryId) {
        let running = self
            .queries
            .get_mut(&id)
            .map(QueryState::take_running)
            .unwrap_or_default();
        running
            .into_iter()
            .for_each(|(task, running)| self.cancel(task, running.attempt, running.executor));
    }

    /// Asks executors that drain to bring away what is still needed and not yet under way.
    fn hand_over_all(&mut self) {
        self.executors
            .draining()
            .into_iter()
            .for_each(|id| self.hand_over(id));
    }

    fn hand_over(&mut self, from: ExecutorId) {
        let Some(state) = self.executors.get(from) else {
            return;
        };
        let needed = |task: &TaskId| self.queries.get(&task.query)?.needed_block(*task, from);
        let blocks: Vec<BlockId> = state
            .held
            .iter()
            .filter_map(needed)
            .filter(|block| !state.leaving.contains(block))
            .collect();
        let outlives = |block: &BlockId| {
            self.queries
                .get(&block.task.query)
                .is_some_and(|query| query.outlives(*block, from))
        };
        let (kept, blocks): (Vec<BlockId>, Vec<BlockId>) = blocks.into_iter().partition(outlives);
        kept.into_iter()
            .for_each(|block| self.handed_over(block, from, Some(ExecutorId::STORE)));
        if blocks.is_empty() {
            return;
        }
        self.turn += 1;
        let heir = if self.has_store {
            Some(ExecutorId::STORE)
        } else {
            self.executors.heir(from, self.turn)
        };
        let Some(to) = heir else { return };
        let address = self
            .executors
            .get(to)
            .map(|e| e.address.clone())
            .unwrap_or_default();
        self.executors.leaving(from, &blocks);
        self.actions.push(Action::HandOver {
            from,
            to,
            address,
            blocks,
        });
    }

    fn handed_over(&mut self, block: BlockId, from: ExecutorId, to: Option<ExecutorId>) {
        self.executors.left(from, block);
        let Some(query) = self.queries.get_mut(&block.task.query) else {
            return;
        };
        match to.filter(|to| *to == ExecutorId::STORE || self.executors.get(*to).is_some()) {
            Some(to) if query.moved(block, from, to) => {
                self.executors.let_go(from, block.task);
                self.executors.hold(to, block.task);
                self.executors.keep_for_readers(
                    from,
                    &query.consumers(block.task.stage),
                    block.task.query,
                );
            }
            Some(_) => {}
            // Nobody took it: it is made again, now rather than when its executor has gone.
            None => self.block_lost(block, from),
        }
        self.advance(block.task.query);
    }

    /// Queues what has become runnable and reports completion.
    fn advance(&mut self, id: QueryId) {
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        self.actions
            .extend(query.take_question().map(|facts| Action::Revise(id, facts)));
        for (stage, tasks) in query.slice_ready_stages() {
            self.actions.push(Action::Sliced(id, stage, tasks));
        }
        self.ready[query.placement as usize].extend(query.take_runnable());
        if let Some(output) = query.take_output(&self.executors) {
            self.actions.push(Action::Completed(id, output));
        }
    }

    /// Gives ready tasks to free slots, the emptiest executor first.
    fn assign(&mut self, placement: Placement) {
        let mut passed_over = vec![];
        while passed_over.len() < PASSED_OVER_MAX && self.executors.has_free(placement) {
            let Some(task) = self.ready[placement as usize].pop_front() else {
                break;
            };
            let Some(query) = self.queries.get_mut(&task.query) else {
                continue;
            };
            if !query.may_start(task) {
                continue;
            }
            let avoid = query
                .task(task)
                .map(|t| t.avoid.as_slice())
                .unwrap_or_default();
            match self.executors.pick(placement, avoid) {
                Some(executor) => self.launch(task, executor),
                None => passed_over.push(task),
            }
        }
        passed_over
            .into_iter()
            .rev()
            .for_each(|task| self.ready[placement as usize].push_front(task));
    }

    fn launch(&mut self, task: TaskId, executor: ExecutorId) {
        let Some(query) = self.queries.get_mut(&task.query) else {
            return;
        };
        let spec = query.start(task, executor, &self.executors, self.now);
        self.executors.started(executor, task, spec.attempt);
        self.actions.push(Action::Launch(executor, spec));
    }

    /// Slots that would stay idle run twins of slow attempts.
    fn speculate(&mut self) {
        if !self.ready[Placement::Fleet as usize].is_empty()
            || !self.executors.has_free(Placement::Fleet)
        {
            return;
        }
        let attempts = self
            .executors
            .ids()
            .filter_map(|id| Some((id, &self.executors.get(id)?.running)));
        let attempts: Vec<(ExecutorId, TaskId)> = attempts
            .flat_map(|(id, running)| running.iter().map(move |(task, _)| (id, *task)))
            .collect();
        for (executor, task) in attempts {
            let Some(query) = self
                .queries
                .get(&task.query)
                .filter(|q| q.is_running() && q.placement == Placement::Fleet)
            else {
                continue;
            };
            let slow = query
                .stage(task)
                .and_then(speculation::patience)
                .zip(query.task(task))
                .is_some_and(|(patience, state)| matches!(state.running.as_slice(), [only] if self.now.saturating_sub(only.since) > patience));
            if slow
                && let Some(other) = self
                    .executors
                    .pick(Placement::Fleet, &[executor])
                    .filter(|other| *other != executor)
            {
                self.launch(task, other);
            }
        }
    }
}
