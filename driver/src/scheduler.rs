//! The scheduler: `step(event) -> actions`, pure.
//!
//! It decides which attempt runs where, what a loss costs, and when a query is done. It reads no
//! clock, awaits nothing and owns no connection, so every order of kills, delays and duplicates can
//! be simulated in a unit test. One loop ([`crate::engine`]) owns it.
//!
//! # A step
//!
//! 1. The event changes the state of an executor, or of one query: a new query, a committed
//!    attempt, a failure or a loss (`losses`), a transferred block (`handover`), a revised plan.
//! 2. A query that changed is advanced:
//!    1. If a finished stage deviated from its estimate, the engine is requested to re-plan the
//!       waiting stages.
//!    2. Stages whose inputs are complete for the first time are cut into tasks.
//!    3. Queued tasks of stages whose inputs are complete become ready.
//!    4. If every root is complete, the output is delivered.
//! 3. Ready tasks are launched on free slots, in order, each on the executor with the most free
//!    slots; those that may have crashed an executor run alone (`quarantine`). On a tick, idle
//!    slots get speculative attempts first (`speculation`).
//! 4. Draining executors whose blocks are no longer needed are dismissed.
//!
//! # State
//!
//! Each state machine is one enum, drawn in the module that owns it: tasks (`task`), stages
//! (`stage`), queries (`query`), re-planning (`query::revision`), executors (`executors`).
//!
//! # Invariants
//!
//! - **The scheduler changes only by [`Scheduler::step`].**
//! - **A consumer receives only the output of committed attempts.**
//! - **A committed attempt is replaced only if its output is lost and still needed.**
//! - **A late or repeated report changes nothing.**

mod durations;
mod event;
mod executors;
mod handover;
mod losses;
mod placement;
mod quarantine;
mod query;
#[cfg(test)]
mod simulation;
mod speculation;
mod stage;
mod task;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use faisca_executor::protocol::TaskReport;
use faisca_planner::ids::{BlockHome, ExecutorId, QueryId, TaskId};

pub use event::{
    Action, Event, InputReads, LossCause, OutputKind, QueryOutput, SinkOutput, StageInfo,
    StageInput, TaskGrouping,
};
use executors::Executors;
pub use handover::HandoverTarget;
use placement::PerPlacement;
pub use placement::Placement;
use quarantine::Quarantine;
use query::QueryState;
use task::RunningAttempt;

/// Limits of retries.
#[derive(Debug, Clone, Copy)]
pub struct RetryLimits {
    /// A query fails when one of its tasks has failed this many times, as in Spark.
    pub task_failures_max: u32,
    /// A query fails when one of its tasks has lost an input this many times: the losses have a
    /// systematic cause.
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

/// Ready tasks that one step skips because the only free executors are those on which they failed.
const SKIPPED_TASKS_MAX: usize = 64;

/// The state of all executors and queries. See the [module](self).
#[derive(Debug, Default)]
pub struct Scheduler {
    limits: RetryLimits,
    /// Time since the start, as of the latest step.
    now: Duration,
    executors: Executors,
    queries: BTreeMap<QueryId, QueryState>,
    /// Queued tasks whose inputs are complete, in the order in which they are launched.
    ready: PerPlacement<VecDeque<TaskId>>,
    /// Tasks that may have crashed an executor.
    quarantine: Quarantine,
    /// Number of transfers started, so that executors receive blocks in turns.
    handovers: usize,
    /// Where draining executors copy their blocks.
    handover_target: HandoverTarget,
    /// Actions of the current step.
    actions: Vec<Action>,
}

impl Scheduler {
    /// Creates a scheduler without executors and queries.
    #[must_use]
    pub fn new(limits: RetryLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Sets where draining executors copy their blocks.
    #[must_use]
    pub fn with_handover_target(mut self, target: HandoverTarget) -> Self {
        self.handover_target = target;
        self
    }

    /// Processes an event that happened `now` after the start, and returns the actions that follow,
    /// in order. The algorithm is in the [module documentation](self).
    pub fn step(&mut self, now: Duration, event: Event) -> Vec<Action> {
        self.now = self.now.max(now);
        self.apply(event);
        for placement in Placement::ALL {
            self.assign(placement);
        }
        // An executor that a suspect task no longer needs takes other tasks.
        while self.isolate() {
            self.assign(Placement::Fleet);
        }
        let drained = self.executors.dismiss_drained();
        self.actions
            .extend(drained.into_iter().map(Action::Dismiss));
        std::mem::take(&mut self.actions)
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::ExecutorUp {
                id,
                slots,
                address,
                placement,
            } => {
                self.executors.insert(id, slots, address, placement);
                // Blocks of draining executors may have waited for an executor that takes them.
                self.hand_over_all();
            }
            Event::ExecutorDown(id, cause) => self.executor_down(id, cause),
            Event::LossExplained(id, cause) => self.explain_loss(id, cause),
            Event::Draining(id) => {
                self.executors.drain(id);
                self.hand_over_all();
            }
            Event::HandedOver { block, from, to } => self.end_hand_over(block, from, to),
            Event::Submit {
                query,
                stages,
                placement,
                slots_expected,
            } => {
                let state = QueryState::new(query, stages, placement, slots_expected);
                self.queries.insert(query, state);
                self.advance(query);
            }
            Event::Revised { query, stages } => self.apply_revision(query, stages),
            Event::Finished(executor, report) => self.attempt_finished(executor, report),
            Event::Durable(block, executor) => {
                if let Some(query) = self.queries.get_mut(&block.task.query) {
                    query.set_durable(block, executor);
                }
            }
            Event::Failed(executor, task, attempt, failure) => {
                self.attempt_failed(executor, task, attempt, failure);
            }
            Event::OutputLost(block, home) => self.result_lost(block, home),
            Event::Release(query) => self.release(query),
            Event::Tick => self.speculate(),
        }
    }

    /// Returns the number of executors of the fleet that are up.
    #[must_use]
    pub fn fleet_size(&self) -> usize {
        self.executors.fleet_size()
    }

    /// Returns the number of slots that the fleet's running and ready tasks would occupy at once.
    #[must_use]
    pub fn slots_wanted(&self) -> usize {
        self.ready[Placement::Fleet].len()
            + self.quarantine.waiting()
            + self.executors.busy(Placement::Fleet)
    }

    fn attempt_finished(&mut self, executor: ExecutorId, report: TaskReport) {
        let task = report.task;
        let Some(query) = self.queries.get_mut(&task.query) else {
            return;
        };
        let Some(other) = query.commit(executor, &report, self.now) else {
            return;
        };
        let is_sink = (query.stage(task.stage)).is_some_and(|stage| stage.info.sink().is_some());
        self.executors.end_attempt(executor, task, report.attempt);
        self.executors.record_success(executor);
        if !is_sink {
            self.executors
                .add_block(BlockHome::Executor(executor), task);
        }
        if let Some(other) = other {
            self.cancel(task, other);
        }
        self.actions.push(Action::Committed(executor, report));
        self.advance(task.query);
        if (self.executors.get(executor)).is_some_and(|state| state.is_draining()) {
            self.hand_over(executor);
        }
    }

    fn apply_revision(&mut self, id: QueryId, stages: Vec<StageInfo>) {
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        for (task, running) in query.replace_waiting(stages) {
            self.cancel(task, running);
        }
        self.advance(id);
    }

    fn cancel(&mut self, task: TaskId, running: RunningAttempt) {
        let RunningAttempt {
            attempt, executor, ..
        } = running;
        self.executors.end_attempt(executor, task, attempt);
        self.actions.push(Action::Cancel(executor, task, attempt));
    }

    fn release(&mut self, id: QueryId) {
        self.stop_running(id);
        let Some(query) = self.queries.remove(&id) else {
            return;
        };
        for placement in Placement::ALL {
            self.ready[placement].retain(|task| task.query != id);
        }
        self.quarantine.forget(|task| task.query != id);
        self.executors.forget_query(id);
        let executors = self.executors.ids().collect();
        self.actions.push(Action::Release(id, executors));
        if self.handover_target == HandoverTarget::ObjectStore {
            self.actions
                .extend(query.blocks_to_sweep().map(Action::Sweep));
        }
    }

    fn stop_running(&mut self, id: QueryId) {
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        for (task, running) in query.take_running() {
            self.cancel(task, running);
        }
    }

    /// Step 2 of the algorithm: advances a query whose state has changed.
    fn advance(&mut self, id: QueryId) {
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        if let Some(facts) = query.take_revision_request() {
            self.actions.push(Action::Revise(id, facts));
        }
        for (stage, tasks) in query.slice_ready_stages() {
            self.actions.push(Action::Sliced(id, stage, tasks));
        }
        self.ready[query.placement].extend(query.take_runnable());
        if let Some(output) = query.take_output(&self.executors) {
            self.actions.push(Action::Completed(id, output));
        }
    }

    /// Step 3 of the algorithm: launches ready tasks on free slots.
    fn assign(&mut self, placement: Placement) {
        let mut skipped = vec![];
        while skipped.len() < SKIPPED_TASKS_MAX && self.executors.has_free(placement) {
            let Some(task) = self.ready[placement].pop_front() else {
                break;
            };
            let Some(query) = self.queries.get_mut(&task.query) else {
                continue;
            };
            if !query.may_start(task) {
                continue;
            }
            if self.is_suspect(task) {
                self.quarantine.push(task);
                continue;
            }
            let Some(query) = self.queries.get(&task.query) else {
                continue;
            };
            let failed_on = query.task(task).map(|task| task.failed_on.as_slice());
            match self
                .executors
                .pick(placement, failed_on.unwrap_or_default())
            {
                Some(executor) => self.launch(task, executor),
                None => skipped.push(task),
            }
        }
        for task in skipped.into_iter().rev() {
            self.ready[placement].push_front(task);
        }
    }

    fn launch(&mut self, task: TaskId, executor: ExecutorId) {
        let Some(query) = self.queries.get_mut(&task.query) else {
            return;
        };
        let Some(spec) = query.start(task, executor, &self.executors, self.now) else {
            return;
        };
        self.executors.start_attempt(executor, task, spec.attempt);
        self.actions.push(Action::Launch(executor, spec));
    }
}
