//! The state of all executors, and the choice of the one that takes the next task.
//!
//! ```text
//!           3 failures in a row
//!   Active ────────────────────► Excluded
//!     │  ▲                         │  │
//!     │  └─ no active executor left ┘  │
//!     │                               │
//!     └────────► Draining ◄───────────┘
//!                   │ nothing running, transferring or being read
//!                   ▼
//!                Dismissed
//! ```
//!
//! A lost executor is removed from every state. Executors are ordered by free slots, and attempts
//! and blocks are indexed by executor, so that neither a launch nor a loss searches all executors
//! or tasks.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use faisca_planner::ids::{Attempt, BlockId, ExecutorId, QueryId, StageId, TaskId};

use super::placement::PerPlacement;
use super::{BlockHome, Placement};

/// Failures in a row, with no success between, after which an executor gets no more tasks.
const FAILURES_IN_A_ROW_MAX: u32 = 3;

#[derive(Debug)]
pub(super) struct ExecutorState {
    placement: Placement,
    phase: ExecutorPhase,
    access: Access,
    slots: u32,
    pub(super) address: Option<String>,
    failures_in_a_row: u32,
    pub(super) running: BTreeSet<(TaskId, Attempt)>,
    /// Tasks whose committed block is stored here.
    pub(super) held: BTreeSet<TaskId>,
    /// Blocks that it must transfer, and whose transfer it has not reported yet.
    pub(super) in_transfer: BTreeSet<BlockId>,
    /// Attempts that were launched with this executor as the home of a block that has moved since.
    readers: BTreeSet<(TaskId, Attempt)>,
}

/// The state of an executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExecutorPhase {
    /// Takes tasks.
    Active,
    /// Failed too often: serves its blocks, but takes no tasks.
    Excluded,
    /// Shuts down soon: takes no tasks, and its blocks move elsewhere.
    Draining,
    /// Drained, and informed that it may end.
    Dismissed,
}

/// Which tasks an executor takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Any.
    Open,
    /// The one that it is reserved for.
    Reserved,
}

impl ExecutorState {
    fn is_active(&self) -> bool {
        self.phase == ExecutorPhase::Active
    }

    pub(super) fn is_draining(&self) -> bool {
        match self.phase {
            ExecutorPhase::Draining | ExecutorPhase::Dismissed => true,
            ExecutorPhase::Active | ExecutorPhase::Excluded => false,
        }
    }

    /// Returns the number of slots that any task may take.
    fn free_slots(&self) -> usize {
        match self.access {
            Access::Open => (self.slots as usize).saturating_sub(self.running.len()),
            Access::Reserved => 0,
        }
    }

    fn is_unused(&self) -> bool {
        self.running.is_empty() && self.in_transfer.is_empty() && self.readers.is_empty()
    }
}

#[derive(Debug, Default)]
pub(super) struct Executors {
    all: BTreeMap<ExecutorId, ExecutorState>,
    totals: Totals,
}

/// Totals over all executors, kept up to date with each change of one.
#[derive(Debug, Default)]
struct Totals {
    /// Active executors with free slots, ordered by their number of free slots.
    free: PerPlacement<BTreeSet<(usize, Reverse<ExecutorId>)>>,
    /// Number of active executors.
    active: PerPlacement<usize>,
    /// Number of slots in use.
    busy: PerPlacement<usize>,
    /// Number of executors that drain or are dismissed.
    draining: usize,
}

impl Totals {
    fn add(&mut self, id: ExecutorId, state: &ExecutorState) {
        self.busy[state.placement] += state.running.len();
        self.active[state.placement] += usize::from(state.is_active());
        self.draining += usize::from(state.is_draining());
        if state.is_active() && state.free_slots() > 0 {
            self.free[state.placement].insert((state.free_slots(), Reverse(id)));
        }
    }

    fn subtract(&mut self, id: ExecutorId, state: &ExecutorState) {
        self.busy[state.placement] -= state.running.len();
        self.active[state.placement] -= usize::from(state.is_active());
        self.draining -= usize::from(state.is_draining());
        self.free[state.placement].remove(&(state.free_slots(), Reverse(id)));
    }
}

impl Executors {
    pub(super) fn insert(
        &mut self,
        id: ExecutorId,
        slots: u32,
        address: Option<String>,
        placement: Placement,
    ) {
        let state = ExecutorState {
            placement,
            phase: ExecutorPhase::Active,
            access: Access::Open,
            slots,
            address,
            failures_in_a_row: 0,
            running: BTreeSet::new(),
            held: BTreeSet::new(),
            in_transfer: BTreeSet::new(),
            readers: BTreeSet::new(),
        };
        self.totals.add(id, &state);
        self.all.insert(id, state);
    }

    pub(super) fn remove(&mut self, id: ExecutorId) -> Option<ExecutorState> {
        let removed = self.all.remove(&id)?;
        self.totals.subtract(id, &removed);
        self.readmit_if_none_active();
        Some(removed)
    }

    pub(super) fn get(&self, id: ExecutorId) -> Option<&ExecutorState> {
        self.all.get(&id)
    }

    pub(super) fn contains(&self, id: ExecutorId) -> bool {
        self.all.contains_key(&id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ExecutorId> {
        self.all.keys().copied()
    }

    /// Returns the URL from which blocks are fetched; `None` for the object store.
    pub(super) fn address(&self, home: BlockHome) -> Option<String> {
        match home {
            BlockHome::Executor(id) => self.get(id)?.address.clone(),
            BlockHome::ObjectStore => None,
        }
    }

    pub(super) fn fleet_size(&self) -> usize {
        let is_in_fleet = |e: &&ExecutorState| e.placement == Placement::Fleet;
        self.all.values().filter(is_in_fleet).count()
    }

    /// Returns the number of slots in use.
    pub(super) fn busy(&self, placement: Placement) -> usize {
        self.totals.busy[placement]
    }

    /// Changes an executor, and keeps the totals up to date.
    fn update<T>(
        &mut self,
        id: ExecutorId,
        change: impl FnOnce(&mut ExecutorState) -> T,
    ) -> Option<T> {
        let state = self.all.get_mut(&id)?;
        self.totals.subtract(id, state);
        let result = change(state);
        self.totals.add(id, state);
        Some(result)
    }

    pub(super) fn start_attempt(&mut self, id: ExecutorId, task: TaskId, attempt: Attempt) {
        self.update(id, |state| state.running.insert((task, attempt)));
    }

    pub(super) fn end_attempt(&mut self, id: ExecutorId, task: TaskId, attempt: Attempt) {
        self.update(id, |state| state.running.remove(&(task, attempt)));
        for draining in self.draining() {
            if let Some(state) = self.all.get_mut(&draining) {
                state.readers.remove(&(task, attempt));
            }
        }
    }

    /// Reserves the active executor of the fleet that runs and holds the least, and returns it.
    pub(super) fn reserve_least_used(&mut self) -> Option<ExecutorId> {
        let candidates = self.all.iter().filter(|(_, state)| {
            state.is_active() && state.placement == Placement::Fleet && state.slots > 0
        });
        let (id, _) = candidates.min_by_key(|(_, s)| (s.running.len(), s.held.len()))?;
        let id = *id;
        self.update(id, |state| state.access = Access::Reserved);
        Some(id)
    }

    /// Opens a reserved executor to all tasks. Returns whether it was reserved.
    pub(super) fn end_reservation(&mut self, id: ExecutorId) -> bool {
        let previous = self.update(id, |state| {
            std::mem::replace(&mut state.access, Access::Open)
        });
        previous == Some(Access::Reserved)
    }

    /// Returns whether the executor is reserved and still takes tasks.
    pub(super) fn is_reserved(&self, id: ExecutorId) -> bool {
        let state = self.get(id);
        state.is_some_and(|state| state.is_active() && state.access == Access::Reserved)
    }

    pub(super) fn is_running_any(&self, id: ExecutorId) -> bool {
        self.get(id).is_some_and(|state| !state.running.is_empty())
    }

    pub(super) fn record_success(&mut self, id: ExecutorId) {
        if let Some(state) = self.all.get_mut(&id) {
            state.failures_in_a_row = 0;
        }
    }

    /// Counts a failure that might not have happened on another executor. Returns whether the
    /// executor is excluded because of it.
    pub(super) fn record_failure(&mut self, id: ExecutorId) -> bool {
        let is_excluded = self.update(id, |state| {
            state.failures_in_a_row += 1;
            let is_excluded = state.failures_in_a_row >= FAILURES_IN_A_ROW_MAX
                && state.is_active()
                && state.placement == Placement::Fleet;
            if is_excluded {
                state.phase = ExecutorPhase::Excluded;
            }
            is_excluded
        });
        let is_readmitted = self.readmit_if_none_active();
        is_excluded == Some(true) && !is_readmitted
    }

    /// Gives the excluded executors another chance when the fleet has no active one. Returns
    /// whether there were any.
    fn readmit_if_none_active(&mut self) -> bool {
        if self.totals.active[Placement::Fleet] > 0 {
            return false;
        }
        let is_excluded = |e: &ExecutorState| e.phase == ExecutorPhase::Excluded;
        let excluded: Vec<ExecutorId> = self.ids_where(is_excluded).collect();
        for id in &excluded {
            self.update(*id, |state| {
                state.phase = ExecutorPhase::Active;
                state.failures_in_a_row = 0;
            });
        }
        !excluded.is_empty()
    }

    fn ids_where(
        &self,
        filter: impl Fn(&ExecutorState) -> bool,
    ) -> impl Iterator<Item = ExecutorId> {
        let matching = self.all.iter().filter(move |(_, state)| filter(state));
        matching.map(|(id, _)| *id)
    }

    pub(super) fn drain(&mut self, id: ExecutorId) {
        self.update(id, |state| {
            if !state.is_draining() {
                state.phase = ExecutorPhase::Draining;
            }
        });
        self.readmit_if_none_active();
    }

    /// Records that a task's committed block is stored on an executor.
    pub(super) fn add_block(&mut self, home: BlockHome, task: TaskId) {
        if let BlockHome::Executor(id) = home
            && let Some(state) = self.all.get_mut(&id)
        {
            state.held.insert(task);
        }
    }

    /// Records that a task's block on an executor is no longer its committed one.
    pub(super) fn remove_block(&mut self, home: BlockHome, task: TaskId) {
        if let BlockHome::Executor(id) = home
            && let Some(state) = self.all.get_mut(&id)
        {
            state.held.remove(&task);
        }
    }

    pub(super) fn begin_transfer(&mut self, id: ExecutorId, blocks: &[BlockId]) {
        if let Some(state) = self.all.get_mut(&id) {
            state.in_transfer.extend(blocks);
        }
    }

    pub(super) fn end_transfer(&mut self, id: ExecutorId, block: BlockId) {
        if let Some(state) = self.all.get_mut(&id) {
            state.in_transfer.remove(&block);
        }
    }

    /// Keeps a draining executor until the attempts that run of these stages have ended: they may
    /// still read a block from it.
    pub(super) fn keep_for_readers(&mut self, id: ExecutorId, stages: &[StageId], query: QueryId) {
        let reads =
            |(task, _): &&(TaskId, Attempt)| task.query == query && stages.contains(&task.stage);
        let running = self.all.values().flat_map(|e| e.running.iter());
        let readers: Vec<_> = running.filter(reads).copied().collect();
        if let Some(state) = self.all.get_mut(&id) {
            state.readers.extend(readers);
        }
    }

    pub(super) fn forget_query(&mut self, query: QueryId) {
        let first_task = |query| TaskId {
            query,
            stage: StageId(0),
            index: 0,
        };
        let first = first_task(query);
        let next = first_task(QueryId(query.0.saturating_add(1)));
        for state in self.all.values_mut() {
            // Two splits rather than a filter: other queries may hold a million blocks.
            let mut later = state.held.split_off(&first);
            let mut kept = later.split_off(&next);
            state.held.append(&mut kept);
            state.in_transfer.retain(|block| block.task.query != query);
        }
    }

    pub(super) fn has_free(&self, placement: Placement) -> bool {
        !self.totals.free[placement].is_empty()
    }

    /// Returns the executor with the most free slots that is not in `avoid`; any executor with a
    /// free slot if `avoid` names all active ones.
    pub(super) fn pick(&self, placement: Placement, avoid: &[ExecutorId]) -> Option<ExecutorId> {
        let by_free_slots = self.totals.free[placement].iter().rev();
        let mut free = by_free_slots.map(|(_, id)| id.0);
        let is_active = |id: &&ExecutorId| {
            let state = self.all.get(*id);
            state.is_some_and(|e| e.is_active() && e.placement == Placement::Fleet)
        };
        let avoided = avoid.iter().filter(is_active).count();
        match placement {
            Placement::Fleet if avoided < self.totals.active[Placement::Fleet] => {
                free.find(|id| !avoid.contains(id))
            }
            Placement::Fleet | Placement::Driver => free.next(),
        }
    }

    /// Returns the executor that takes the blocks of a draining one: another one of the fleet,
    /// chosen in turns, or else the driver's if others can reach it.
    pub(super) fn heir(&self, draining: ExecutorId, turn: usize) -> Option<ExecutorId> {
        let mut heirs = self.all.iter().filter(|(id, _)| **id != draining);
        let in_fleet = |e: &ExecutorState| e.placement == Placement::Fleet && !e.is_draining();
        let fleet: Vec<ExecutorId> = (heirs.clone())
            .filter(|(_, e)| in_fleet(e))
            .map(|(id, _)| *id)
            .collect();
        let driver = heirs.find(|(_, e)| e.placement == Placement::Driver && e.address.is_some());
        let in_turn = fleet.get(turn % fleet.len().max(1)).copied();
        in_turn.or(driver.map(|(id, _)| *id))
    }

    /// Returns the executors that drain, dismissed ones included.
    pub(super) fn draining(&self) -> Vec<ExecutorId> {
        if self.totals.draining == 0 {
            return vec![];
        }
        self.ids_where(ExecutorState::is_draining).collect()
    }

    /// Dismisses the draining executors that are no longer needed. Returns them, each once.
    pub(super) fn dismiss_drained(&mut self) -> Vec<ExecutorId> {
        if self.totals.draining == 0 {
            return vec![];
        }
        let is_drained = |e: &ExecutorState| e.phase == ExecutorPhase::Draining && e.is_unused();
        let drained: Vec<ExecutorId> = self.ids_where(is_drained).collect();
        for id in &drained {
            self.update(*id, |state| state.phase = ExecutorPhase::Dismissed);
        }
        drained
    }
}
