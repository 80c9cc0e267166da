//! The executors that the scheduler knows, and which of them takes the next task.
//!
//! Free slots are kept in order, and what an executor runs and holds is kept by executor, so that
//! neither a launch nor a loss looks at more than it must.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use faisca_planner::ids::{Attempt, BlockId, ExecutorId, QueryId, StageId, TaskId};

use super::Placement;

/// Failures in a row, with no success between, after which an executor gets no more tasks.
const FAILURES_IN_A_ROW_MAX: u32 = 3;

#[derive(Debug)]
pub(super) struct ExecutorState {
    slots: u32,
    busy: u32,
    pub(super) address: String,
    is_driver: bool,
    pub(super) draining: bool,
    /// It was told that it may end.
    dismissed: bool,
    /// Too many failures: it serves its blocks, but gets no tasks.
    excluded: bool,
    failures: u32,
    pub(super) running: BTreeSet<(TaskId, Attempt)>,
    /// Tasks whose committed output lies here.
    pub(super) held: BTreeSet<TaskId>,
    /// Blocks that it was told to hand to another executor.
    pub(super) leaving: BTreeSet<BlockId>,
    /// Attempts that were told to read blocks here, before those were handed to another.
    readers: BTreeSet<(TaskId, Attempt)>,
}

#[derive(Debug, Default)]
pub(super) struct Executors {
    all: BTreeMap<ExecutorId, ExecutorState>,
    /// Executors that take tasks and have free slots, by their number: the driver's own, the fleet's.
    free: [BTreeSet<(u32, Reverse<ExecutorId>)>; 2],
    /// Executors of the fleet that take tasks.
    usable: usize,
    /// Slots that are taken: the driver's own, the fleet's.
    busy: [usize; 2],
    draining: usize,
}

impl ExecutorState {
    fn takes_tasks(&self) -> bool {
        !self.draining && !self.excluded
    }
}

fn side(is_driver: bool) -> usize {
    if is_driver {
        Placement::Driver as usize
    } else {
        Placement::Fleet as usize
    }
}

impl Executors {
    pub(super) fn insert(&mut self, id: ExecutorId, slots: u32, address: String, is_driver: bool) {
        let state = ExecutorState {
            slots,
            busy: 0,
            address,
            is_driver,
            draining: false,
            dismissed: false,
            excluded: false,
            failures: 0,
            running: BTreeSet::new(),
            held: BTreeSet::new(),
            leaving: BTreeSet::new(),
            readers: BTreeSet::new(),
        };
        self.all.insert(id, state);
        self.usable += usize::from(!is_driver);
        self.update(id, |_| ());
    }

    pub(super) fn remove(&mut self, id: ExecutorId) -> Option<ExecutorState> {
        self.drain(id);
        let removed = self.all.remove(&id)?;
        self.draining -= 1;
        self.busy[side(removed.is_driver)] -= removed.busy as usize;
        Some(removed)
    }

    pub(super) fn get(&self, id: ExecutorId) -> Option<&ExecutorState> {
        self.all.get(&id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ExecutorId> {
        self.all.keys().copied()
    }

    pub(super) fn fleet_size(&self) -> usize {
        self.all.values().filter(|e| !e.is_driver).count()
    }

    /// Slots that are taken.
    pub(super) fn busy(&self, placement: Placement) -> usize {
        self.busy[placement as usize]
    }

    /// Changes an executor and its place among the free ones.
    fn update<T>(
        &mut self,
        id: ExecutorId,
        change: impl FnOnce(&mut ExecutorState) -> T,
    ) -> Option<T> {
        let state = self.all.get_mut(&id)?;
        let (free, took_tasks) = (state.slots.saturating_sub(state.busy), state.takes_tasks());
        self.busy[side(state.is_driver)] -= state.busy as usize;
        self.free[side(state.is_driver)].remove(&(free, Reverse(id)));
        let result = change(state);
        self.busy[side(state.is_driver)] += state.busy as usize;
        let free = state.slots.saturating_sub(state.busy);
        if state.takes_tasks() && free > 0 {
            self.free[side(state.is_driver)].insert((free, Reverse(id)));
        }
        if !state.is_driver {
            match (took_tasks, state.takes_tasks()) {
                (true, false) => self.usable -= 1,
                (false, true) => self.usable += 1,
                (true, true) | (false, false) => {}
            }
        }
        Some(result)
    }

    pub(super) fn started(&mut self, id: ExecutorId, task: TaskId, attempt: Attempt) {
        self.update(id, |state| {
            state.busy += 1;
            state.running.insert((task, attempt));
        });
    }

    pub(super) fn ended(&mut self, id: ExecutorId, task: TaskId, attempt: Attempt) {
        self.update(id, |state| {
            if state.running.remove(&(task, attempt)) {
                state.busy = state.busy.saturating_sub(1);
            }
        });
        for draining in self.draining() {
            if let Some(state) = self.all.get_mut(&draining) {
                state.readers.remove(&(task, attempt));
            }
        }
    }

    pub(super) fn succeeded(&mut self, id: ExecutorId) {
        if let Some(state) = self.all.get_mut(&id) {
            state.failures = 0;
        }
    }

    /// Counts a failure that another executor might not have had; answers whether it was one too many.
    pub(super) fn failed(&mut self, id: ExecutorId) -> bool {
        let excluded = self.update(id, |state| {
            state.failures += 1;
            let now =
                state.failures >= FAILURES_IN_A_ROW_MAX && !state.excluded && !state.is_driver;
            state.excluded |= now;
            now
        });
        let readmitted = self.readmit_if_none();
        excluded == Some(true) && !readmitted
    }

    /// When nobody takes tasks any more, those excluded get another chance; answers whether any did.
    fn readmit_if_none(&mut self) -> bool {
        if self.usable > 0 {
            return false;
        }
        let excluded: Vec<ExecutorId> = self
            .all
            .iter()
            .filter(|(_, e)| e.excluded && !e.draining)
            .map(|(id, _)| *id)
            .collect();
        for id in &excluded {
            self.update(*id, |state| {
                state.excluded = false;
                state.failures = 0;
            });
        }
        !excluded.is_empty()
    }

    pub(super) fn drain(&mut self, id: ExecutorId) {
        if self.update(id, |state| !std::mem::replace(&mut state.draining, true)) == Some(true) {
            self.draining += 1;
        }
        self.readmit_if_none();
    }

    pub(super) fn hold(&mut self, id: ExecutorId, task: TaskId) {
        if let Some(state) = self.all.get_mut(&id) {
            state.held.insert(task);
        }
    }

    pub(super) fn let_go(&mut self, id: ExecutorId, task: TaskId) {
        if let Some(state) = self.all.get_mut(&id) {
            state.held.remove(&task);
        }
    }

    pub(super) fn leaving(&mut self, id: ExecutorId, blocks: &[BlockId]) {
        if let Some(state) = self.all.get_mut(&id) {
            state.leaving.extend(blocks);
        }
    }

    pub(super) fn left(&mut self, id: ExecutorId, block: BlockId) {
        if let Some(state) = self.all.get_mut(&id) {
            state.leaving.remove(&block);
        }
    }

    /// Keeps a draining executor until these attempts, which may still read from it, have ended.
    pub(super) fn keep_for_readers(&mut self, id: ExecutorId, stages: &[StageId], query: QueryId) {
        let reads =
            |(task, _): &&(TaskId, Attempt)| task.query == query && stages.contains(&task.stage);
        let readers: Vec<_> = self
            .all
            .values()
            .flat_map(|e| e.running.iter().filter(reads))
            .copied()
            .collect();
        if let Some(state) = self.all.get_mut(&id) {
            state.readers.extend(readers);
        }
    }

    pub(super) fn forget_query(&mut self, query: QueryId) {
        let from = |query| TaskId {
            query,
            stage: StageId(0),
            index: 0,
        };
        let (first, next) = (from(query), from(QueryId(query.0.saturating_add(1))));
        for state in self.all.values_mut() {
            let mut later = state.held.split_off(&first);
            let mut kept = later.split_off(&next);
            state.held.append(&mut kept);
            state.leaving.retain(|block| block.task.query != query);
        }
    }

    pub(super) fn has_free(&self, placement: Placement) -> bool {
        !self.free[placement as usize].is_empty()
    }

    /// The emptiest executor that the task has not failed on. If it failed on all of them, any.
    pub(super) fn pick(&self, placement: Placement, avoid: &[ExecutorId]) -> Option<ExecutorId> {
        let mut free = self.free[placement as usize]
            .iter()
            .rev()
            .map(|(_, id)| id.0);
        let avoided = avoid
            .iter()
            .filter(|id| {
                self.all
                    .get(id)
                    .is_some_and(|e| e.takes_tasks() && !e.is_driver)
            })
            .count();
        match placement {
            Placement::Fleet if avoided < self.usable => free.find(|id| !avoid.contains(id)),
            Placement::Fleet | Placement::Driver => free.next(),
        }
    }

    /// Who takes the blocks of an executor that leaves: another of the fleet, else the driver.
    pub(super) fn heir(&self, of: ExecutorId, turn: usize) -> Option<ExecutorId> {
        let fit =
            |(id, e): &(&ExecutorId, &ExecutorState)| **id != of && !e.draining && !e.is_driver;
        let count = self.all.iter().filter(fit).count();
        let fleet = self.all.iter().filter(fit).nth(turn % count.max(1));
        let driver = || {
            self.all
                .iter()
                .find(|(id, e)| **id != of && e.is_driver && !e.address.is_empty())
        };
        fleet.or_else(driver).map(|(id, _)| *id)
    }

    /// Executors that drain.
    pub(super) fn draining(&self) -> Vec<ExecutorId> {
        if self.draining == 0 {
            return vec![];
        }
        self.all
            .iter()
            .filter(|(_, e)| e.draining)
            .map(|(id, _)| *id)
            .collect()
    }

    /// Executors that drain and have nothing left to do, each once.
    pub(super) fn take_drained(&mut self) -> Vec<ExecutorId> {
        let mut drained = self.draining();
        drained.retain(|id| {
            let state = self.all.get_mut(id);
            let idle = |e: &ExecutorState| {
                e.running.is_empty() && e.leaving.is_empty() && e.readers.is_empty()
            };
            state.is_some_and(|e| idle(e) && !std::mem::replace(&mut e.dismissed, true))
        });
        drained
    }
}
