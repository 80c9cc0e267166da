//! Tasks that may have ended the process of an executor run alone, so that the next loss is theirs.
//!
//! ```text
//!   executor crashed, or ran out of memory
//!        │ each task that ran there, if it was not committed since
//!        ▼
//!   suspect ─► waiting ─► Vacant: reserve the least used executor
//!                           │ its other attempts end
//!                           ▼
//!                         Reserved ─► Occupied: the suspect runs there alone ─► Vacant
//!                                        │ crashes again: 3 times in all, or the 4th of its stage
//!                                        ▼
//!                                     the query fails, and names the stage
//! ```
//!
//! One executor at a time is reserved. The others run what is not under suspicion, so a task that
//! crashes executors delays other queries little, and costs the fleet a bounded number of
//! executors.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use faisca_planner::ids::{ExecutorId, QueryId, TaskId};

use super::{LossCause, Placement, Scheduler};

/// Lost executors whose cause may still become known.
const UNEXPLAINED_MAX: usize = 1024;

/// The suspects that wait, and where one runs.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    waiting: VecDeque<TaskId>,
    reservation: Reservation,
    /// Losses without a known cause yet.
    unexplained: BTreeMap<ExecutorId, Loss>,
}

/// The one executor that runs suspects, if any is reserved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Reservation {
    #[default]
    Vacant,
    /// Waits for the end of the attempts that it runs.
    Reserved(ExecutorId),
    /// Runs one suspect.
    Occupied(ExecutorId),
}

/// What an executor ran when it was lost.
#[derive(Debug)]
struct Loss {
    tasks: Vec<TaskId>,
    tenancy: Tenancy,
}

/// Whether a task shared its executor with others. A loss proves the guilt only of a task that
/// ran alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tenancy {
    /// It ran beside others: any of them may be the cause.
    Shared,
    /// It ran alone.
    Exclusive,
}

impl Quarantine {
    /// Returns the number of suspects that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn push(&mut self, task: TaskId) {
        self.waiting.push_back(task);
    }

    pub(super) fn forget(&mut self, keep: impl Fn(&TaskId) -> bool) {
        self.waiting.retain(keep);
    }

    fn tenancy(&self, executor: ExecutorId) -> Tenancy {
        if self.reservation == Reservation::Occupied(executor) {
            Tenancy::Exclusive
        } else {
            Tenancy::Shared
        }
    }
}

impl Scheduler {
    /// Counts the loss of an executor against the tasks that ran there, as far as its cause is
    /// known.
    pub(super) fn suspect(&mut self, executor: ExecutorId, tasks: Vec<TaskId>, cause: LossCause) {
        let tenancy = self.quarantine.tenancy(executor);
        match cause {
            LossCause::Unknown => {
                for task in &tasks {
                    if let Some(query) = self.queries.get_mut(&task.query) {
                        query.note_unexplained(*task);
                    }
                }
                let unexplained = &mut self.quarantine.unexplained;
                unexplained.insert(executor, Loss { tasks, tenancy });
                if unexplained.len() > UNEXPLAINED_MAX {
                    unexplained.pop_first();
                }
            }
            LossCause::Crashed | LossCause::OutOfMemory => self.blame(&tasks, tenancy, cause),
            LossCause::Drained | LossCause::Killed | LossCause::Unreachable => {}
        }
    }

    /// Counts a loss whose cause became known after the executor was lost.
    pub(super) fn explain_loss(&mut self, executor: ExecutorId, cause: LossCause) {
        if cause == LossCause::Unknown {
            return;
        }
        let Some(Loss { tasks, tenancy }) = self.quarantine.unexplained.remove(&executor) else {
            return;
        };
        for task in &tasks {
            if let Some(query) = self.queries.get_mut(&task.query) {
                query.note_explanation(*task);
            }
        }
        if cause.is_blamed_on_tasks() {
            self.blame(&tasks, tenancy, cause);
            let queries: BTreeSet<QueryId> = tasks.iter().map(|task| task.query).collect();
            queries.into_iter().for_each(|query| self.advance(query));
        }
    }

    /// Makes suspects of the tasks, shrinks them if memory was exhausted, and fails the queries of
    /// those that are the cause beyond doubt.
    fn blame(&mut self, tasks: &[TaskId], tenancy: Tenancy, cause: LossCause) {
        let mut stages = BTreeSet::new();
        for task in tasks {
            let query = self.queries.get_mut(&task.query);
            if query.is_some_and(|query| query.note_crash(*task)) {
                stages.insert((task.query, task.stage));
            }
        }
        for (query, stage) in stages {
            if let Some(query) = self.queries.get_mut(&query) {
                query.note_stage_crash(stage);
            }
        }
        for task in tasks {
            self.stop_shared_attempts(*task);
            if cause == LossCause::OutOfMemory {
                self.shrink(*task);
            }
            let query = self.queries.get(&task.query);
            let failure = query.and_then(|query| query.proven_failure(*task, tenancy, cause));
            if let Some(failure) = failure {
                self.fail(task.query, failure);
            }
        }
    }

    /// Stops the attempts of a suspect that run beside others, such as a speculative one, and
    /// queues the task again.
    fn stop_shared_attempts(&mut self, task: TaskId) {
        let is_alone = |executor| self.quarantine.tenancy(executor) == Tenancy::Exclusive;
        let Some(query) = self.queries.get_mut(&task.query) else {
            return;
        };
        let stopped = query.stop_attempts(task, is_alone);
        query.requeue(task);
        for attempt in stopped {
            self.cancel(task, attempt);
        }
    }

    /// Runs a waiting suspect alone as soon as an executor is idle. Returns whether a reserved
    /// executor became available to the other tasks again.
    pub(super) fn isolate(&mut self) -> bool {
        let mut is_released = false;
        loop {
            match self.quarantine.reservation {
                Reservation::Vacant => {
                    self.drop_withdrawn_suspects();
                    let reserved = (!self.quarantine.waiting.is_empty())
                        .then(|| self.executors.reserve_least_used());
                    let Some(executor) = reserved.flatten() else {
                        return is_released;
                    };
                    self.quarantine.reservation = Reservation::Reserved(executor);
                }
                Reservation::Reserved(executor) | Reservation::Occupied(executor)
                    if self.executors.is_running_any(executor) =>
                {
                    return is_released;
                }
                Reservation::Occupied(executor) => {
                    is_released |= self.executors.end_reservation(executor);
                    self.quarantine.reservation = Reservation::Vacant;
                }
                Reservation::Reserved(executor) => {
                    self.drop_withdrawn_suspects();
                    let suspect = (self.executors.is_reserved(executor))
                        .then(|| self.quarantine.waiting.pop_front())
                        .flatten();
                    // Also without a suspect: the next iteration ends the reservation of an idle
                    // executor that is `Occupied`.
                    self.quarantine.reservation = Reservation::Occupied(executor);
                    if let Some(task) = suspect {
                        self.launch(task, executor);
                    }
                }
            }
        }
    }

    /// Drops suspects from the head of the queue that no longer need to run, or must not run yet.
    fn drop_withdrawn_suspects(&mut self) {
        while let Some(task) = self.quarantine.waiting.front().copied() {
            let query = self.queries.get_mut(&task.query);
            if query.is_some_and(|query| query.may_start(task)) {
                return;
            }
            self.quarantine.waiting.pop_front();
        }
    }

    /// Returns whether a task must run alone.
    pub(super) fn is_suspect(&self, task: TaskId) -> bool {
        let query = self.queries.get(&task.query);
        query.is_some_and(|query| {
            query.placement == Placement::Fleet
                && query
                    .task(task)
                    .is_some_and(|task| task.losses.is_suspect())
        })
    }
}
