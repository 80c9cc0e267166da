//! One statement's tasks and what is known of each.

use std::collections::{BTreeMap, HashMap};

use faisca_executor::wire::{BlockLocation, PendingFile, StageBlocks, TaskReport, TaskSpec};
use faisca_planner::ids::{Attempt, BlockId, ExecutorId, QueryId, StageId, TaskId};
use faisca_planner::slices::{slice_by_bytes, slice_singly};

use super::{ExecutorState, Output, Placement, StageShape};

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Retry,
    GiveUp,
}

#[derive(Debug)]
pub(super) struct QueryState {
    id: QueryId,
    pub(super) placement: Placement,
    slots_expected: u32,
    stages: Vec<StageState>,
    phase: Phase,
    retried: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// The output was handed out.
    Delivered,
    Ended,
}

#[derive(Debug)]
struct StageState {
    shape: StageShape,
    /// Empty until all inputs are complete for the first time; fixed from then on.
    tasks: Vec<TaskState>,
    committed: usize,
    /// Tasks to queue once the inputs are complete.
    parked: Vec<u32>,
}

impl StageState {
    fn is_complete(&self) -> bool {
        !self.tasks.is_empty() && self.committed == self.tasks.len()
    }
}

#[derive(Debug, Default)]
struct TaskState {
    partitions: Vec<u32>,
    attempts: u32,
    failures: u32,
    lost_inputs: u32,
    running: Vec<(Attempt, ExecutorId)>,
    committed: Option<Committed>,
}

#[derive(Debug)]
struct Committed {
    attempt: Attempt,
    executor: ExecutorId,
    /// Bytes of each non-empty bucket.
    buckets: HashMap<u32, u64>,
    files: Vec<PendingFile>,
}

impl QueryState {
    pub(super) fn new(id: QueryId, shapes: Vec<StageShape>, placement: Placement, slots_expected: u32) -> Self {
        let stage = |shape| StageState { shape, tasks: vec![], committed: 0, parked: vec![] };
        Self { id, placement, slots_expected, stages: shapes.into_iter().map(stage).collect(), phase: Phase::Running, retried: 0 }
    }

    fn task(&self, id: TaskId) -> Option<&TaskState> {
        self.stages.get(id.stage.0 as usize)?.tasks.get(id.index as usize)
    }

    fn task_mut(&mut self, id: TaskId) -> Option<&mut TaskState> {
        self.stages.get_mut(id.stage.0 as usize)?.tasks.get_mut(id.index as usize)
    }

    fn inputs_complete(&self, stage: usize) -> bool {
        self.stages[stage].shape.inputs.iter().all(|(input, _)| self.stages[input.0 as usize].is_complete())
    }

    /// Cuts stages whose inputs have become complete into tasks; answers how many each.
    pub(super) fn slice_ready_stages(&mut self) -> Vec<(StageId, u32)> {
        let mut sliced = vec![];
        for index in 0..self.stages.len() {
            if self.phase == Phase::Running && self.stages[index].tasks.is_empty() && self.inputs_complete(index) {
                let slices = self.slices(index);
                let stage = &mut self.stages[index];
                stage.tasks = slices.into_iter().map(|partitions| TaskState { partitions, ..TaskState::default() }).collect();
                stage.parked = (0..count(stage.tasks.len())).collect();
                sliced.push((StageId(count(index)), count(stage.tasks.len())));
            }
        }
        sliced
    }

    fn slices(&self, index: usize) -> Vec<Vec<u32>> {
        let shape = &self.stages[index].shape;
        let partitions = shape.partitions as usize;
        if shape.whole {
            return vec![(0..shape.partitions).collect()];
        }
        if !shape.may_merge || partitions <= 1 {
            return slice_singly(partitions);
        }
        let mut bytes = vec![0u64; partitions];
        for (input, by_bucket) in &shape.inputs {
            let tasks = &self.stages[input.0 as usize].tasks;
            for (bucket, size) in tasks.iter().filter_map(|t| t.committed.as_ref()).flat_map(|c| &c.buckets) {
                if *by_bucket && let Some(sum) = bytes.get_mut(*bucket as usize) {
                    *sum += size;
                }
            }
        }
        slice_by_bytes(&bytes, self.slots_expected as usize)
    }

    /// Tasks whose inputs are complete and that nobody runs yet. Each is answered once.
    pub(super) fn take_runnable(&mut self) -> Vec<TaskId> {
        if self.phase != Phase::Running {
            return vec![];
        }
        let mut runnable = vec![];
        for index in 0..self.stages.len() {
            if !self.stages[index].parked.is_empty() && self.inputs_complete(index) {
                let parked = std::mem::take(&mut self.stages[index].parked);
                runnable.extend(parked.into_iter().map(|task| TaskId { query: self.id, stage: StageId(count(index)), index: task }));
            }
        }
        runnable
    }

    /// Whether a queued task is still to be started; parks it if an input got lost meanwhile.
    pub(super) fn may_start(&mut self, id: TaskId) -> bool {
        let wanted = self.phase == Phase::Running && self.task(id).is_some_and(|t| t.committed.is_none() && t.running.is_empty());
        if wanted && !self.inputs_complete(id.stage.0 as usize) {
            self.requeue(id);
            return false;
        }
        wanted
    }

    pub(super) fn start(&mut self, id: TaskId, executor: ExecutorId, executors: &BTreeMap<ExecutorId, ExecutorState>) -> TaskSpec {
        let inputs = self.inputs(id.stage, executors);
        let (attempt, partitions) = match self.task_mut(id) {
            Some(task) => {
                task.attempts += 1;
                task.running.push((Attempt(task.attempts), executor));
                (Attempt(task.attempts), task.partitions.clone())
            }
            None => (Attempt(0), vec![]),
        };
        if attempt.0 > 1 {
            self.retried += 1;
        }
        TaskSpec { task: id, attempt, partitions, inputs }
    }

    fn inputs(&self, stage: StageId, executors: &BTreeMap<ExecutorId, ExecutorState>) -> Vec<StageBlocks> {
        let inputs = self.stages[stage.0 as usize].shape.inputs.iter();
        inputs.map(|(input, _)| StageBlocks { stage: *input, blocks: self.blocks(*input, executors) }).collect()
    }

    fn blocks(&self, stage: StageId, executors: &BTreeMap<ExecutorId, ExecutorState>) -> Vec<BlockLocation> {
        let state = &self.stages[stage.0 as usize];
        let tasks = state.tasks.iter().enumerate().filter_map(|(index, task)| Some((index, task, task.committed.as_ref()?)));
        tasks
            .filter(|(_, _, committed)| !committed.buckets.is_empty())
            .map(|(index, task, committed)| BlockLocation {
                block: BlockId { task: TaskId { query: self.id, stage, index: count(index) }, attempt: committed.attempt },
                executor: committed.executor,
                address: executors.get(&committed.executor).map(|e| e.address.clone()).unwrap_or_default(),
                partitions: if state.shape.by_partition { task.partitions.clone() } else { vec![] },
            })
            .collect()
    }

    /// Makes an attempt the task's result. `None` if it is not running (late, duplicate, cancelled);
    /// otherwise its twins, which have lost.
    pub(super) fn commit(&mut self, executor: ExecutorId, report: &TaskReport) -> Option<Vec<(Attempt, ExecutorId)>> {
        let task = self.task_mut(report.task)?;
        if task.committed.is_some() || !task.running.contains(&(report.attempt, executor)) {
            return None;
        }
        let mut others = std::mem::take(&mut task.running);
        others.retain(|(attempt, _)| *attempt != report.attempt);
        let buckets = report.buckets.iter().map(|b| (b.bucket, b.bytes)).collect();
        task.committed = Some(Committed { attempt: report.attempt, executor, buckets, files: report.files.clone() });
        self.stages[report.task.stage.0 as usize].committed += 1;
        Some(others)
    }

    /// Takes an attempt off the books; answers whether it was on them.
    pub(super) fn forget_attempt(&mut self, id: TaskId, attempt: Attempt) -> bool {
        let Some(task) = self.task_mut(id) else { return false };
        let before = task.running.len();
        task.running.retain(|(running, _)| *running != attempt);
        task.running.len() < before
    }

    pub(super) fn count_failure(&mut self, id: TaskId, max: u32) -> Verdict {
        let Some(task) = self.task_mut(id) else { return Verdict::GiveUp };
        task.failures += 1;
        if task.failures >= max { Verdict::GiveUp } else { Verdict::Retry }
    }

    pub(super) fn count_lost_input(&mut self, id: TaskId, max: u32) -> Verdict {
        let Some(task) = self.task_mut(id) else { return Verdict::GiveUp };
        task.lost_inputs += 1;
        if task.lost_inputs >= max { Verdict::GiveUp } else { Verdict::Retry }
    }

    /// Wants the task run again, as soon as its inputs are complete.
    pub(super) fn requeue(&mut self, id: TaskId) {
        let stage = &mut self.stages[id.stage.0 as usize];
        if !stage.parked.contains(&id.index) {
            stage.parked.push(id.index);
        }
    }

    /// An executor is gone: its attempts run elsewhere, its blocks are made again if still needed.
    pub(super) fn executor_lost(&mut self, executor: ExecutorId) {
        let mut lost = vec![];
        for (stage_index, stage) in self.stages.iter_mut().enumerate() {
            let id = |index: usize| TaskId { query: self.id, stage: StageId(count(stage_index)), index: count(index) };
            for (index, task) in stage.tasks.iter_mut().enumerate() {
                let before = task.running.len();
                task.running.retain(|(_, on)| *on != executor);
                if task.running.len() < before && task.running.is_empty() && task.committed.is_none() && !stage.parked.contains(&count(index)) {
                    stage.parked.push(count(index));
                }
                if let Some(committed) = &task.committed
                    && committed.executor == executor
                    && !stage.shape.sink
                {
                    lost.push(BlockId { task: id(index), attempt: committed.attempt });
                }
            }
        }
        // Consumers first: a consumer that must run again needs its producers' blocks again.
        for block in lost.into_iter().rev() {
            self.output_lost(block);
        }
    }

    /// A block is gone. Its task runs again if any consumer, or the reader of the result, needs it.
    pub(super) fn output_lost(&mut self, block: BlockId) {
        if self.phase != Phase::Running || !self.is_needed(block.task.stage) {
            return;
        }
        let Some(task) = self.task_mut(block.task) else { return };
        // An attempt that is no longer the committed one was replaced already.
        if task.committed.as_ref().is_some_and(|c| c.attempt == block.attempt) {
            task.committed = None;
            self.stages[block.task.stage.0 as usize].committed -= 1;
            self.requeue(block.task);
        }
    }

    fn is_needed(&self, stage: StageId) -> bool {
        let mut consumers = self.stages.iter().filter(|s| s.shape.inputs.iter().any(|(input, _)| *input == stage)).peekable();
        consumers.peek().is_none() || consumers.any(|consumer| !consumer.is_complete())
    }

    pub(super) fn take_running(&mut self) -> Vec<(TaskId, Attempt, ExecutorId)> {
        let mut running = vec![];
        for (stage, state) in self.stages.iter_mut().enumerate() {
            for (index, task) in state.tasks.iter_mut().enumerate() {
                let id = TaskId { query: self.id, stage: StageId(count(stage)), index: count(index) };
                running.extend(task.running.drain(..).map(|(attempt, executor)| (id, attempt, executor)));
            }
        }
        running
    }

    /// Ends the statement; answers whether it had not ended before.
    pub(super) fn end(&mut self) -> bool {
        std::mem::replace(&mut self.phase, Phase::Ended) != Phase::Ended
    }

    /// The result was delivered, but part of it is gone: go on.
    pub(super) fn reopen(&mut self) {
        if self.phase == Phase::Delivered {
            self.phase = Phase::Running;
        }
    }

    /// The result, once, when the root is complete.
    pub(super) fn take_output(&mut self, executors: &BTreeMap<ExecutorId, ExecutorState>) -> Option<Output> {
        let root = self.stages.last()?;
        if self.phase != Phase::Running || !root.is_complete() {
            return None;
        }
        self.phase = Phase::Delivered;
        let root_id = StageId(count(self.stages.len() - 1));
        let root = self.stages.last()?;
        let files = root.tasks.iter().filter_map(|t| t.committed.as_ref()).flat_map(|c| c.files.clone()).collect();
        Some(Output { blocks: self.blocks(root_id, executors), files, retried: self.retried })
    }
}

fn count(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
