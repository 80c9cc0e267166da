//! Seeded schedules: executors, delays, kills, duplicates and reorders, all simulated.
//!
//! `FAISCA_SIMULATIONS=1000000 cargo test --release -p faisca-driver simulat` is the nightly mode.

use std::collections::{BTreeMap, BTreeSet};

use faisca_executor::wire::{BucketSize, Failure, FailureKind, PendingFile, TaskMetrics, TaskReport, TaskSpec};
use faisca_planner::ids::{Attempt, BlockId, ExecutorId, QueryId, StageId, TaskId};

use super::{Action, Event, Output, Placement, RetryLimits, Scheduler, StageShape};

const QUERY: QueryId = QueryId(1);
/// A schedule that takes longer has stopped making progress.
const STEPS_MAX: usize = 20_000;

/// SplitMix64: the same seed plays the same schedule.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound.max(1) as u64).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// Executors that run attempts, lose blocks when they die, and answer in any order.
struct Sim {
    scheduler: Scheduler,
    random: Random,
    shapes: Vec<StageShape>,
    alive: BTreeSet<ExecutorId>,
    next_executor: u32,
    blocks: BTreeMap<BlockId, ExecutorId>,
    running: Vec<(ExecutorId, TaskSpec)>,
    /// Messages on their way to the scheduler.
    mail: Vec<Event>,
    launched: Vec<TaskId>,
    committed: Vec<(TaskId, Attempt)>,
    output: Option<Output>,
    failed: Option<Failure>,
}

fn stage(partitions: u32, inputs: &[(u32, bool)]) -> StageShape {
    let inputs: Vec<_> = inputs.iter().map(|(stage, by_bucket)| (StageId(*stage), *by_bucket)).collect();
    let may_merge = inputs.iter().any(|(_, by_bucket)| *by_bucket);
    StageShape { partitions, inputs, whole: false, may_merge, sink: false, by_partition: false }
}

impl Sim {
    fn new(seed: u64, shapes: Vec<StageShape>, executors: u32, slots: u32) -> Self {
        let mut sim = Self {
            scheduler: Scheduler::new(RetryLimits::default()),
            random: Random(seed),
            shapes: shapes.clone(),
            alive: BTreeSet::new(),
            next_executor: 1,
            blocks: BTreeMap::new(),
            running: vec![],
            mail: vec![],
            launched: vec![],
            committed: vec![],
            output: None,
            failed: None,
        };
        (0..executors).for_each(|_| sim.join(slots));
        let submit = Event::Submit { query: QUERY, stages: shapes, placement: Placement::Fleet, slots_expected: executors * slots };
        sim.step(submit);
        sim
    }

    fn join(&mut self, slots: u32) {
        let id = ExecutorId(self.next_executor);
        self.next_executor += 1;
        self.alive.insert(id);
        self.step(Event::ExecutorUp { id, slots, address: String::new(), is_driver: false });
    }

    fn step(&mut self, event: Event) {
        for action in self.scheduler.step(event) {
            match action {
                Action::Launch(executor, spec) => {
                    self.launched.push(spec.task);
                    // The news of a death may still be on its way: such an attempt never answers.
                    if self.alive.contains(&executor) {
                        self.running.push((executor, spec));
                    }
                }
                Action::Cancel(executor, task, attempt) => self.running.retain(|(on, s)| *on != executor || s.task != task || s.attempt != attempt),
                Action::Committed(_, report) => self.committed.push((report.task, report.attempt)),
                Action::Completed(_, output) => self.output = Some(output),
                Action::Failed(_, failure) => self.failed = Some(failure),
                Action::Sliced(..) | Action::Release(..) => {}
            }
        }
    }

    fn kill(&mut self, executor: ExecutorId) {
        self.alive.remove(&executor);
        self.blocks.retain(|_, on| *on != executor);
        self.running.retain(|(on, _)| *on != executor);
        self.mail.push(Event::ExecutorDown(executor));
    }

    /// Ends a running attempt: it reads its inputs, which may be gone, and reports.
    fn finish(&mut self, index: usize) {
        let (executor, spec) = self.running.swap_remove(index);
        let lost = spec.inputs.iter().flat_map(|i| &i.blocks).find(|b| self.blocks.get(&b.block) != Some(&b.executor));
        if let Some(lost) = lost {
            let failure = Failure { kind: FailureKind::BlockLost(lost.block), message: String::new() };
            self.mail.push(Event::Failed(executor, spec.task, spec.attempt, failure));
            return;
        }
        if self.random.chance(3) {
            let failure = Failure { kind: FailureKind::Transient, message: "hiccup".into() };
            // One failure of its own in thirty-three runs: four in a row do not happen to one task.
            if spec.attempt.0 < 3 {
                self.mail.push(Event::Failed(executor, spec.task, spec.attempt, failure));
                return;
            }
        }
        let sink = self.shapes[spec.task.stage.0 as usize].sink;
        if !sink {
            self.blocks.insert(BlockId { task: spec.task, attempt: spec.attempt }, executor);
        }
        let event = Event::Finished(executor, report(&spec, sink));
        if self.random.chance(5) {
            self.mail.push(event.clone());
        }
        self.mail.push(event);
    }

    /// One thing happens: an attempt ends, a message arrives (not the oldest first), a death, a birth.
    fn tick(&mut self, kill_percent: usize) {
        if self.random.chance(kill_percent) && !self.alive.is_empty() {
            let victim = *self.alive.iter().nth(self.random.below(self.alive.len())).unwrap();
            self.kill(victim);
        }
        if (self.alive.is_empty() || self.random.chance(kill_percent)) && self.alive.len() < 4 {
            self.join(2);
        }
        if !self.running.is_empty() && self.random.chance(60) {
            let index = self.random.below(self.running.len());
            self.finish(index);
        } else if !self.mail.is_empty() {
            let index = self.random.below(self.mail.len());
            let event = self.mail.swap_remove(index);
            self.step(event);
        }
    }

    fn run(&mut self, kill_percent: usize) -> &Output {
        for _ in 0..STEPS_MAX {
            if self.output.is_some() || self.failed.is_some() {
                break;
            }
            self.tick(kill_percent);
        }
        assert!(self.failed.is_none(), "{:?}", self.failed);
        self.output.as_ref().expect("no progress")
    }

    fn reran(&self) -> Vec<TaskId> {
        let mut seen = BTreeSet::new();
        self.launched.iter().filter(|task| !seen.insert(**task)).copied().collect()
    }
}

fn report(spec: &TaskSpec, sink: bool) -> TaskReport {
    let buckets = if sink { vec![] } else { (0..4).map(|bucket| BucketSize { bucket, rows: 1, bytes: 40 << 20 }).collect() };
    let path = format!("{}-{}", spec.task.index, spec.attempt.0);
    let files = if sink { vec![PendingFile { path, rows: 1, bytes: 1 }] } else { vec![] };
    TaskReport { task: spec.task, attempt: spec.attempt, buckets, files, metrics: TaskMetrics::default() }
}

fn task(stage: u32, index: u32) -> TaskId {
    TaskId { query: QUERY, stage: StageId(stage), index }
}

/// Scan, shuffle, shuffle with a broadcast beside it, sink.
fn four_stages() -> Vec<StageShape> {
    let mut sink = stage(4, &[(1, true), (2, false)]);
    sink.sink = true;
    vec![stage(5, &[]), stage(4, &[(0, true)]), stage(2, &[]), sink]
}

#[test]
fn simulated_schedules_end_in_the_right_committed_set() {
    let schedules: u64 = std::env::var("FAISCA_SIMULATIONS").map_or(100_000, |n| n.parse().unwrap());
    for seed in 0..schedules {
        let mut sim = Sim::new(seed, four_stages(), 3, 2);
        let files = sim.run(usize::try_from(seed % 12).unwrap()).files.clone();
        let tasks: BTreeSet<_> = files.iter().map(|f| f.path.split('-').next().unwrap().to_owned()).collect();
        assert_eq!((files.len(), tasks.len()), (4, 4), "seed {seed}: {files:?}");
        for file in &files {
            let (index, attempt) = file.path.split_once('-').unwrap();
            let commits: Vec<_> = sim.committed.iter().filter(|(t, _)| *t == task(3, index.parse().unwrap())).collect();
            assert_eq!(commits, [&(task(3, index.parse().unwrap()), Attempt(attempt.parse().unwrap()))], "seed {seed}");
        }
    }
}

#[test]
fn a_lost_producer_reruns_only_tasks_whose_blocks_are_still_needed() {
    let mut sim = Sim::new(7, vec![stage(4, &[]), stage(4, &[(0, true)])], 2, 2);
    while sim.committed.len() < 4 {
        let ending = sim.running.iter().position(|(_, s)| s.task.stage == StageId(0));
        if let Some(index) = ending {
            sim.finish(index)
        }
        while let Some(event) = sim.mail.pop() {
            sim.step(event);
        }
    }
    let on_victim: Vec<TaskId> = sim.blocks.iter().filter(|(_, on)| **on == ExecutorId(1)).map(|(b, _)| b.task).collect();
    let running_there: Vec<TaskId> = sim.running.iter().filter(|(on, _)| *on == ExecutorId(1)).map(|(_, s)| s.task).collect();
    sim.kill(ExecutorId(1));
    sim.run(0);
    let mut reran = sim.reran();
    reran.retain(|t| t.stage == StageId(0));
    reran.sort();
    assert_eq!(reran, on_victim);
    assert!(sim.reran().len() <= on_victim.len() + running_there.len() + 4);
}

#[test]
fn outputs_that_nobody_needs_any_more_are_not_made_again() {
    let mut sim = Sim::new(1, vec![stage(2, &[]), stage(2, &[(0, true)]), stage(1, &[(1, false)])], 2, 1);
    while !sim.committed.iter().any(|(t, _)| *t == task(1, 1)) || !sim.committed.iter().any(|(t, _)| *t == task(1, 0)) {
        if let Some(index) = sim.running.iter().position(|(_, s)| s.task.stage.0 < 2) {
            sim.finish(index);
        }
        while let Some(event) = sim.mail.pop() {
            sim.step(event);
        }
    }
    // Only stage 0's blocks are lost: stage 1 is complete, so nothing of stage 0 is needed.
    let lost: Vec<BlockId> = sim.blocks.keys().filter(|b| b.task.stage == StageId(0)).copied().collect();
    lost.into_iter().for_each(|block| sim.step(Event::OutputLost(block)));
    sim.run(0);
    assert!(sim.reran().iter().all(|t| t.stage == StageId(2)), "{:?}", sim.reran());
}

#[test]
fn a_users_error_is_final_and_stops_the_rest() {
    let mut sim = Sim::new(3, vec![stage(4, &[])], 2, 2);
    let (executor, spec) = sim.running.remove(0);
    let failure = Failure { kind: FailureKind::User, message: "divide by zero".into() };
    sim.step(Event::Failed(executor, spec.task, spec.attempt, failure));
    assert_eq!(sim.failed.as_ref().map(|f| f.message.as_str()), Some("divide by zero"));
    assert!(sim.running.is_empty(), "attempts go on after a final failure");
}

#[test]
fn a_task_is_given_up_after_four_failures_of_its_own_but_not_for_lost_executors() {
    let mut sim = Sim::new(4, vec![stage(1, &[])], 1, 1);
    for _ in 0..6 {
        let executor = *sim.alive.first().unwrap();
        sim.alive.remove(&executor);
        sim.running.clear();
        sim.step(Event::ExecutorDown(executor));
        sim.join(1);
    }
    for failures in 1..=4 {
        assert!(sim.failed.is_none(), "gave up after {failures} failures");
        let (executor, spec) = sim.running.pop().unwrap();
        let failure = Failure { kind: FailureKind::Transient, message: "again".into() };
        sim.step(Event::Failed(executor, spec.task, spec.attempt, failure));
    }
    assert!(sim.failed.is_some());
}

#[test]
fn late_and_duplicate_reports_change_nothing() {
    let mut sim = Sim::new(5, vec![stage(2, &[])], 2, 1);
    let (executor, spec) = sim.running[0].clone();
    let done = report(&spec, false);
    sim.step(Event::Finished(executor, done.clone()));
    sim.step(Event::Finished(executor, done.clone()));
    sim.step(Event::Finished(ExecutorId(99), TaskReport { attempt: Attempt(7), ..done }));
    assert_eq!(sim.committed.len(), 1);
    sim.step(Event::Release(QUERY));
    sim.step(Event::Finished(executor, report(&spec, false)));
    assert!(sim.output.is_none());
}

#[test]
fn small_statements_wait_for_the_drivers_slots_and_large_ones_for_the_fleet() {
    let mut scheduler = Scheduler::new(RetryLimits::default());
    scheduler.step(Event::ExecutorUp { id: ExecutorId(0), slots: 1, address: String::new(), is_driver: true });
    let submit = |query, placement| Event::Submit { query: QueryId(query), stages: vec![stage(1, &[])], placement, slots_expected: 1 };
    assert!(scheduler.step(submit(1, Placement::Fleet)).iter().all(|a| !matches!(a, Action::Launch(..))));
    let launched = scheduler.step(submit(2, Placement::Driver));
    assert!(launched.iter().any(|a| matches!(a, Action::Launch(ExecutorId(0), _))), "{launched:?}");
    let launched = scheduler.step(Event::ExecutorUp { id: ExecutorId(1), slots: 1, address: String::new(), is_driver: false });
    assert!(launched.iter().any(|a| matches!(a, Action::Launch(ExecutorId(1), spec) if spec.task.query == QueryId(1))), "{launched:?}");
}
