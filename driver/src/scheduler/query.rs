//! One statement's tasks and what is known of each.

use std::sync::Arc;
use std::time::Duration;

use faisca_executor::wire::{BlockLocation, StageBlocks, TaskReport, TaskSpec};
use faisca_planner::ids::{Attempt, BlockId, ExecutorId, QueryId, StageId, TaskId};
use faisca_planner::stages::{Fact, Part, parts, slice_by_bytes, slice_singly};

use super::executors::Executors;
use super::stage::{Committed, Running, StageState, TaskState};
use super::{Output, Placement, StageShape};

/// A statement is planned again at most so often.
const REVISIONS_MAX: usize = 10;

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
    pub(super) stages: Vec<StageState>,
    phase: Phase,
    retried: u32,
    speculated: u32,
    /// An executor is gone that may have left something of this statement in the object store.
    pub(super) lost_executor: bool,
    /// A finished stage was not what was expected, and nobody was asked yet what follows.
    is_surprised: bool,
    /// What waits is being planned again.
    is_revised: bool,
    /// Times that it was.
    revisions: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// The output was handed out.
    Delivered,
    Ended,
}

/// What a lost block entails.
#[derive(Debug, Default)]
pub(super) struct Loss {
    /// Attempts that read, or may have read, what cannot be made the same again.
    pub(super) cancelled: Vec<(TaskId, Running)>,
    /// Results that no longer count, and where they lay.
    pub(super) dropped: Vec<(TaskId, ExecutorId)>,
}

impl QueryState {
    pub(super) fn new(
        id: QueryId,
        shapes: Vec<StageShape>,
        placement: Placement,
        slots_expected: u32,
    ) -> Self {
        let stages = shapes.into_iter().map(StageState::new).collect();
        let phase = Phase::Running;
        Self {
            id,
            placement,
            slots_expected,
            stages,
            phase,
            retried: 0,
            speculated: 0,
            lost_executor: false,
            is_surprised: false,
            is_revised: false,
            revisions: 0,
        }
    }

    fn id(&self, stage: usize, index: u32) -> TaskId {
        TaskId {
            query: self.id,
            stage: StageId(count(stage)),
            index,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    pub(super) fn stage(&self, id: TaskId) -> Option<&StageState> {
        self.stages.get(id.stage.0 as usize)
    }

    pub(super) fn task(&self, id: TaskId) -> Option<&TaskState> {
        self.stage(id)?.tasks.get(id.index as usize)
    }

    fn task_mut(&mut self, id: TaskId) -> Option<&mut TaskState> {
        self.stages
            .get_mut(id.stage.0 as usize)?
            .tasks
            .get_mut(id.index as usize)
    }

    fn inputs_complete(&self, stage: usize) -> bool {
        self.stages[stage]
            .shape
            .inputs
            .iter()
            .all(|(input, _)| self.stages[input.0 as usize].is_complete())
    }

    /// Cuts stages whose inputs have become complete into tasks; answers how many each.
    pub(super) fn slice_ready_stages(&mut self) -> Vec<(StageId, u32)> {
        let mut sliced = vec![];
        for index in 0..self.stages.len() {
            let may_begin =
                self.phase == Phase::Running && !self.is_revised && !self.stages[index].dropped;
            if may_begin && self.stages[index].tasks.is_empty() && self.inputs_complete(index) {
                let slices = self.slices(index);
                let stage = &mut self.stages[index];
                let task = |(origin, (slice, part)): (usize, (Vec<u32>, Option<Part>))| TaskState {
                    origin: count(origin),
                    first: slice.first().copied().unwrap_or_default(),
                    partitions: count(slice.len()),
                    part,
                    queued: true,
                    ..TaskState::default()
                };
                stage.tasks = slices.into_iter().enumerate().map(task).collect();
                stage.parked = (0..count(stage.tasks.len())).collect();
                sliced.push((StageId(count(index)), count(stage.tasks.len())));
            }
        }
        sliced
    }

    /// Adjacent partitions, or a part of one, for each task.
    fn slices(&self, index: usize) -> Vec<(Vec<u32>, Option<Part>)> {
        let shape = &self.stages[index].shape;
        let partitions = shape.partitions as usize;
        if shape.whole {
            return vec![((0..shape.partitions).collect(), None)];
        }
        let mut bytes = vec![0u64; partitions];
        for (input, _) in shape.inputs.iter().filter(|(_, by_bucket)| *by_bucket) {
            bytes
                .iter_mut()
                .zip(&self.stages[input.0 as usize].bucket_bytes)
                .for_each(|(sum, size)| *sum += size);
        }
        let merges = shape.may_merge && partitions > 1;
        let slices = if merges {
            slice_by_bytes(&bytes, self.slots_expected as usize)
        } else {
            slice_singly(partitions)
        };
        let total = bytes.iter().sum();
        slices
            .into_iter()
            .flat_map(|slice| self.divided(shape, (&bytes, total), slice))
            .collect()
    }

    /// The slice, or parts of it if it is a skewed partition that can be divided.
    fn divided(
        &self,
        shape: &StageShape,
        (bytes, total): (&[u64], u64),
        slice: Vec<u32>,
    ) -> Vec<(Vec<u32>, Option<Part>)> {
        let of_bucket = |input: &StageId| {
            self.stages[input.0 as usize]
                .bucket_bytes
                .get(slice[0] as usize)
                .copied()
                .unwrap_or_default()
        };
        let input = shape
            .divisible
            .iter()
            .copied()
            .filter(|_| slice.len() == 1)
            .max_by_key(of_bucket);
        let Some(input) = input else {
            return vec![(slice, None)];
        };
        let (divided, producers) = (of_bucket(&input), self.stages[input.0 as usize].tasks.len());
        let others = bytes[slice[0] as usize] - divided;
        let of = parts(
            divided,
            others,
            total,
            self.slots_expected as usize,
            producers,
        );
        let part = |number| (of > 1).then_some(Part { input, number, of });
        (0..of)
            .map(|number| (slice.clone(), part(number)))
            .collect()
    }

    /// Tasks whose inputs are complete and that nobody runs yet, each once: first those of old
    /// stages that are wanted again, since others wait for them.
    pub(super) fn take_runnable(&mut self) -> Vec<TaskId> {
        let mut runnable = vec![];
        for index in 0..self.stages.len() {
            if self.phase == Phase::Running
                && !self.stages[index].parked.is_empty()
                && self.may_run(index)
            {
                let parked = std::mem::take(&mut self.stages[index].parked);
                runnable.extend(parked.into_iter().map(|task| self.id(index, task)));
            }
        }
        runnable
    }

    /// Whether tasks of a stage may run: its inputs are there, and it is not being planned again.
    fn may_run(&self, stage: usize) -> bool {
        (self.stages[stage].has_started || !self.is_revised) && self.inputs_complete(stage)
    }

    /// Whether a task from the queue is still to be started; parks it if an input got lost meanwhile.
    pub(super) fn may_start(&mut self, id: TaskId) -> bool {
        let may_run = self.may_run(id.stage.0 as usize);
        let running = self.phase == Phase::Running;
        let Some(task) = self.task_mut(id) else {
            return false;
        };
        let wanted = running && task.committed.is_none() && task.running.is_empty();
        task.queued = wanted && may_run;
        if wanted && !may_run {
            self.requeue(id);
            return false;
        }
        wanted
    }

    pub(super) fn start(
        &mut self,
        id: TaskId,
        executor: ExecutorId,
        executors: &Executors,
        now: Duration,
    ) -> TaskSpec {
        let range = self.task(id).map(TaskState::range).unwrap_or_default();
        let part = self.task(id).and_then(|task| task.part);
        let inputs = self.inputs(id.stage, &range, part, executors);
        self.stages[id.stage.0 as usize].has_started = true;
        let (mut attempt, mut frugal, mut twin) = (Attempt(0), false, false);
        if let Some(task) = self.task_mut(id) {
            task.attempts += 1;
            (attempt, frugal, twin) = (
                Attempt(task.attempts),
                task.frugal,
                !task.running.is_empty(),
            );
            task.running.push(Running {
                attempt,
                executor,
                since: now,
            });
            task.queued = false;
        }
        match (twin, attempt.0 > 1) {
            (true, _) => self.speculated += 1,
            (false, true) => self.retried += 1,
            (false, false) => {}
        }
        TaskSpec {
            task: id,
            attempt,
            partitions: range.collect(),
            inputs,
            frugal,
        }
    }

    fn inputs(
        &mut self,
        stage: StageId,
        range: &std::ops::Range<u32>,
        part: Option<Part>,
        executors: &Executors,
    ) -> Vec<StageBlocks> {
        let inputs = self.stages[stage.0 as usize].shape.inputs.clone();
        let mut all = vec![];
        for (input, by_bucket) in inputs {
            let mut blocks = self.blocks(input, executors);
            let sizes = &self.stages[input.0 as usize].bucket_bytes;
            let mut partition_bytes_max = if by_bucket {
                range
                    .clone()
                    .filter_map(|p| sizes.get(p as usize))
                    .max()
                    .copied()
                    .unwrap_or_default()
            } else {
                sizes.iter().sum()
            };
            if let Some(part) = part.filter(|part| part.input == input) {
                let tasks = &self.stages[input.0 as usize].tasks;
                let own = |location: &&BlockLocation| {
                    tasks[location.block.task.index as usize].origin % part.of == part.number
                };
                blocks = Arc::new(blocks.iter().filter(own).cloned().collect());
                partition_bytes_max /= u64::from(part.of);
            }
            all.push(StageBlocks {
                stage: input,
                blocks,
                partition_bytes_max,
            });
        }
        all
    }

    /// Where a stage's output lies: in the order of partitions, where blocks are by partition.
    fn blocks(&mut self, stage: StageId, executors: &Executors) -> Arc<Vec<BlockLocation>> {
        let query = self.id;
        let state = &mut self.stages[stage.0 as usize];
        if let Some(known) = &state.blocks {
            return Arc::clone(known);
        }
        let by_partition = state.shape.by_partition;
        let mut found = vec![];
        for (index, task) in state.tasks.iter().enumerate() {
            let Some(committed) = task.committed.as_ref().filter(|c| !c.empty) else {
                continue;
            };
            let location = BlockLocation {
                block: BlockId {
                    task: TaskId {
                        query,
                        stage,
                        index: count(index),
                    },
                    attempt: committed.attempt,
                },
                executor: committed.executor,
                address: executors
                    .get(committed.executor)
                    .map(|e| e.address.clone())
                    .unwrap_or_default(),
                partitions: if by_partition {
                    task.range().collect()
                } else {
                    vec![]
                },
            };
            found.push((task.first, location));
        }
        // A task that was split has its second half behind all others.
        found.sort_by_key(|(first, _)| *first);
        let blocks = Arc::new(found.into_iter().map(|(_, location)| location).collect());
        state.blocks = Some(Arc::clone(&blocks));
        blocks
    }

    /// Makes an attempt the task's result. `None` if it is not running (late, duplicate, cancelled);
    /// otherwise its twins, which have lost.
    pub(super) fn commit(
        &mut self,
        executor: ExecutorId,
        report: &TaskReport,
        now: Duration,
    ) -> Option<Vec<Running>> {
        let stage = self.stages.get_mut(report.task.stage.0 as usize)?;
        let task = stage.tasks.get_mut(report.task.index as usize)?;
        let won = task
            .running
            .iter()
            .position(|r| r.attempt == report.attempt && r.executor == executor)?;
        let won = task.running.swap_remove(won);
        let others = std::mem::take(&mut task.running);
        task.committed = Some(Committed {
            attempt: report.attempt,
            executor,
            empty: report.buckets.is_empty(),
            durable: report.durable,
            files: report.files.clone(),
            statistics: report.statistics.clone(),
        });
        if !std::mem::replace(&mut task.measured, true) {
            for bucket in &report.buckets {
                stage.rows += bucket.rows;
                let index = bucket.bucket as usize;
                if stage.bucket_bytes.len() <= index {
                    stage.bucket_bytes.resize(index + 1, 0);
                }
                stage.bucket_bytes[index] += bucket.bytes;
            }
        }
        stage.durations.add(now.saturating_sub(won.since));
        stage.committed += 1;
        stage.blocks = None;
        self.is_surprised |= stage.surprises();
        Some(others)
    }

    /// What has become of each stage, if what waits should be planned again.
    pub(super) fn take_question(&mut self) -> Option<Vec<Fact>> {
        if self.is_revised
            || !std::mem::take(&mut self.is_surprised)
            || self.phase != Phase::Running
        {
            return None;
        }
        let waits = |stage: &StageState| !stage.has_started && !stage.dropped;
        // Each is worth less than the one before.
        if self.revisions == REVISIONS_MAX {
            return None;
        }
        self.is_revised = self
            .stages
            .iter()
            .any(|stage| waits(stage) && stage.shape.has_choices);
        let fact = |stage: &StageState| match stage {
            stage if !stage.has_started || stage.dropped => Fact::Waiting,
            stage if stage.is_judged => Fact::Finished { rows: stage.rows },
            _ => Fact::Started,
        };
        self.revisions += usize::from(self.is_revised);
        self.is_revised
            .then(|| self.stages.iter().map(fact).collect())
    }

    /// The answer: `new` stages take the place of those that wait. Answers the attempts whose rows nobody reads any more.
    pub(super) fn revised(&mut self, new: Vec<StageShape>) -> Vec<(TaskId, Running)> {
        if !std::mem::take(&mut self.is_revised) || new.is_empty() {
            return vec![];
        }
        let before = self.stages.len();
        self.stages
            .iter_mut()
            .filter(|stage| !stage.has_started)
            .for_each(|stage| drop(stage.drop_tasks()));
        self.stages.extend(new.into_iter().map(StageState::new));
        let mut in_vain = vec![];
        for index in (0..before).rev() {
            let is_read = self.stages[index].shape.sink.is_some()
                || !self.consumers(StageId(count(index))).is_empty();
            if !is_read && !self.stages[index].is_complete() {
                let running = self.stages[index].drop_tasks();
                in_vain.extend(
                    running
                        .into_iter()
                        .map(|(task, running)| (self.id(index, task), running)),
                );
            }
        }
        in_vain
    }

    /// Takes an attempt off the books; answers whether it was on them.
    pub(super) fn forget_attempt(&mut self, id: TaskId, attempt: Attempt) -> bool {
        let Some(task) = self.task_mut(id) else {
            return false;
        };
        let before = task.running.len();
        task.running.retain(|running| running.attempt != attempt);
        task.running.len() < before
    }

    /// One more failure of the task's own, on this executor.
    pub(super) fn count_failure(&mut self, id: TaskId, executor: ExecutorId, max: u32) -> Verdict {
        let Some(task) = self.task_mut(id) else {
            return Verdict::GiveUp;
        };
        task.failures += 1;
        if !task.avoid.contains(&executor) {
            task.avoid.push(executor);
        }
        if task.failures >= max {
            Verdict::GiveUp
        } else {
            Verdict::Retry
        }
    }

    pub(super) fn count_lost_input(&mut self, id: TaskId, max: u32) -> Verdict {
        let Some(task) = self.task_mut(id) else {
            return Verdict::GiveUp;
        };
        task.lost_inputs += 1;
        if task.lost_inputs >= max {
            Verdict::GiveUp
        } else {
            Verdict::Retry
        }
    }

    /// It ran out of memory: from now on it saves, and does half as much at a time where it can.
    /// Answers the number of tasks that the stage has now, if it was split.
    pub(super) fn shrink(&mut self, id: TaskId) -> Option<u32> {
        let stage = self.stages.get_mut(id.stage.0 as usize)?;
        let splittable = !stage.shape.whole;
        let task = stage.tasks.get_mut(id.index as usize)?;
        task.frugal = true;
        if task.partitions < 2 || !splittable || !task.running.is_empty() {
            return None;
        }
        let kept = task.partitions / 2;
        let rest = TaskState {
            first: task.first + kept,
            partitions: task.partitions - kept,
            origin: task.origin,
            frugal: true,
            ..TaskState::default()
        };
        task.partitions = kept;
        stage.tasks.push(rest);
        let last = count(stage.tasks.len() - 1);
        stage.park(last);
        Some(last + 1)
    }

    /// Wants the task run again, as soon as its inputs are complete.
    pub(super) fn requeue(&mut self, id: TaskId) {
        if let Some(stage) = self.stages.get_mut(id.stage.0 as usize) {
            stage.park(id.index);
        }
    }

    /// The committed block of a task, if it lies on that executor and somebody still needs it.
    pub(super) fn needed_block(&self, id: TaskId, executor: ExecutorId) -> Option<BlockId> {
        let committed = self
            .task(id)?
            .committed
            .as_ref()
            .filter(|c| c.executor == executor)?;
        let needed = self.phase != Phase::Ended && !committed.empty && self.is_needed(id.stage);
        needed.then_some(BlockId {
            task: id,
            attempt: committed.attempt,
        })
    }

    /// The committed blocks of a stage that lie on that executor.
    pub(super) fn blocks_on(&self, stage: StageId, executor: ExecutorId) -> Vec<BlockId> {
        let tasks = 0..self
            .stages
            .get(stage.0 as usize)
            .map_or(0, |s| count(s.tasks.len()));
        tasks
            .filter_map(|index| {
                self.needed_block(
                    TaskId {
                        query: self.id,
                        stage,
                        index,
                    },
                    executor,
                )
            })
            .collect()
    }

    /// A block has its durable copy.
    pub(super) fn durable(&mut self, block: BlockId, executor: ExecutorId) {
        let committed = self
            .task_mut(block.task)
            .and_then(|task| task.committed.as_mut());
        if let Some(committed) =
            committed.filter(|c| c.attempt == block.attempt && c.executor == executor)
        {
            committed.durable = true;
        }
    }

    /// Whether a block of that executor, or its lost copy's, can be had from the object store.
    pub(super) fn outlives(&self, block: BlockId, executor: ExecutorId) -> bool {
        let committed = self
            .task(block.task)
            .and_then(|task| task.committed.as_ref());
        let durable =
            |c: &&Committed| c.durable && c.attempt == block.attempt && c.executor == executor;
        executor != ExecutorId::STORE && committed.filter(durable).is_some()
    }

    /// Every attempt that may have left something in the object store.
    pub(super) fn attempts(&self) -> Vec<BlockId> {
        let of_task = |stage: StageId, index: usize, task: &TaskState| {
            let task_id = TaskId {
                query: self.id,
                stage,
                index: count(index),
            };
            (1..=task.attempts).map(move |attempt| BlockId {
                task: task_id,
                attempt: Attempt(attempt),
            })
        };
        let of_stage = |(stage, state): (usize, &StageState)| -> Vec<BlockId> {
            let stage = StageId(count(stage));
            state
                .tasks
                .iter()
                .enumerate()
                .flat_map(|(index, task)| of_task(stage, index, task))
                .collect()
        };
        self.stages
            .iter()
            .enumerate()
            .filter(|(_, s)| s.shape.sink.is_none())
            .flat_map(of_stage)
            .collect()
    }

    /// A block has a new home. Answers whether it is the one that counts.
    pub(super) fn moved(&mut self, block: BlockId, from: ExecutorId, to: ExecutorId) -> bool {
        let Some(stage) = self.stages.get_mut(block.task.stage.0 as usize) else {
            return false;
        };
        let committed = stage
            .tasks
            .get_mut(block.task.index as usize)
            .and_then(|t| t.committed.as_mut());
        let Some(committed) =
            committed.filter(|c| c.attempt == block.attempt && c.executor == from)
        else {
            return false;
        };
        committed.executor = to;
        stage.blocks = None;
        true
    }

    /// A block is gone from an executor. Its task runs again if any consumer, or the reader of the
    /// result, needs it. If the second output may differ from the first, whatever was made from the
    /// first is made again as well.
    pub(super) fn output_lost(&mut self, block: BlockId, from: ExecutorId) -> Loss {
        let mut loss = Loss::default();
        let index = block.task.stage.0 as usize;
        let counts = self
            .task(block.task)
            .and_then(|t| t.committed.as_ref())
            .is_some_and(|c| c.attempt == block.attempt && c.executor == from);
        if self.phase != Phase::Running || !counts || !self.is_needed(block.task.stage) {
            return loss;
        }
        if let Some(committed) = self.stages[index].uncommit(block.task.index) {
            loss.dropped.push((block.task, committed.executor));
        }
        self.stages[index].park(block.task.index);
        if self.stages[index].shape.indeterminate {
            self.roll_back_consumers(index, &mut loss);
        }
        loss
    }

    fn roll_back_consumers(&mut self, producer: usize, loss: &mut Loss) {
        for consumer in self.consumers(StageId(count(producer))) {
            let consumer = consumer.0 as usize;
            for index in 0..count(self.stages[consumer].tasks.len()) {
                let id = self.id(consumer, index);
                let stage = &mut self.stages[consumer];
                let running = std::mem::take(&mut stage.tasks[index as usize].running);
                loss.cancelled
                    .extend(running.into_iter().map(|running| (id, running)));
                loss.dropped.extend(
                    stage
                        .uncommit(index)
                        .map(|committed| (id, committed.executor)),
                );
                stage.park(index);
            }
            self.roll_back_consumers(consumer, loss);
        }
    }

    /// The stages that read a stage.
    pub(super) fn consumers(&self, stage: StageId) -> Vec<StageId> {
        let reads = |index: &usize| {
            self.stages[*index]
                .shape
                .inputs
                .iter()
                .any(|(input, _)| *input == stage)
        };
        (0..self.stages.len())
            .filter(reads)
            .map(|index| StageId(count(index)))
            .collect()
    }

    fn is_needed(&self, stage: StageId) -> bool {
        let is_last = stage.0 as usize + 1 == self.stages.len();
        is_last
            || self
                .consumers(stage)
                .into_iter()
                .any(|consumer| !self.stages[consumer.0 as usize].is_complete())
    }

    pub(super) fn take_running(&mut self) -> Vec<(TaskId, Running)> {
        let mut all = vec![];
        for index in 0..self.stages.len() {
            let query = self.id;
            for (task, state) in self.stages[index].tasks.iter_mut().enumerate() {
                let id = TaskId {
                    query,
                    stage: StageId(count(index)),
                    index: count(task),
                };
                all.extend(state.running.drain(..).map(|running| (id, running)));
            }
        }
        all
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

    /// The result, once, when the roots are complete.
    pub(super) fn take_output(&mut self, executors: &Executors) -> Option<Output> {
        let mut sinks: Vec<&StageState> = self
            .stages
            .iter()
            .filter(|stage| !stage.dropped && stage.shape.sink.is_some())
            .collect();
        let is_complete =
            self.stages.last()?.is_complete() && sinks.iter().all(|sink| sink.is_complete());
        if self.phase != Phase::Running || !is_complete {
            return None;
        }
        self.phase = Phase::Delivered;
        sinks.sort_by_key(|sink| sink.shape.sink);
        let writes = sinks.into_iter().map(StageState::written).collect();
        let blocks = self.blocks(StageId(count(self.stages.len() - 1)), executors);
        Some(Output {
            blocks,
            writes,
            retried: self.retried,
            speculated: self.speculated,
        })
    }
}

fn count(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
