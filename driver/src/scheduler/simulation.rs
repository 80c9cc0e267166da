//! Seeded schedules: executors, delays, kills, duplicates, reorders and an object store, all simulated.
//!
//! `just nightly` is the nightly mode.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use faisca_executor::wire::{
    BucketSize, Failure, FailureKind, PendingFile, TaskMetrics, TaskReport, TaskSpec,
};
use faisca_planner::ids::{Attempt, BlockId, ExecutorId, QueryId, StageId, TaskId};
use faisca_planner::stages::Fact;

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
    now: Duration,
    /// Blocks get copies in an object store.
    has_store: bool,
    /// Nothing goes wrong but what the test itself does.
    calm: bool,
    alive: BTreeSet<ExecutorId>,
    /// Those that were told to end.
    draining: BTreeSet<ExecutorId>,
    /// Those whose attempts take very long.
    slow: BTreeSet<ExecutorId>,
    next_executor: u32,
    blocks: BTreeSet<(BlockId, ExecutorId)>,
    running: Vec<(ExecutorId, TaskSpec)>,
    /// What each sealed attempt read.
    read: BTreeMap<BlockId, Vec<BlockId>>,
    /// Messages on their way to the scheduler.
    mail: Vec<Event>,
    launched: Vec<TaskId>,
    committed: Vec<(TaskId, Attempt)>,
    output: Option<Output>,
    failed: Option<Failure>,
    /// Times that it was planned again.
    revised: usize,
}

impl StageShape {
    /// Its place is empty: it was planned otherwise.
    fn is_dropped(&self) -> bool {
        self.partitions == 0
    }
}

fn stage(partitions: u32, inputs: &[(u32, bool)]) -> StageShape {
    let inputs: Vec<_> = inputs
        .iter()
        .map(|(stage, by_bucket)| (StageId(*stage), *by_bucket))
        .collect();
    let may_merge = inputs.iter().any(|(_, by_bucket)| *by_bucket);
    StageShape {
        partitions,
        inputs,
        may_merge,
        ..StageShape::default()
    }
}

impl Sim {
    fn new(seed: u64, shapes: Vec<StageShape>, executors: u32, slots: u32) -> Self {
        Self::with_store(seed, shapes, executors, slots, false)
    }

    fn with_store(
        seed: u64,
        shapes: Vec<StageShape>,
        executors: u32,
        slots: u32,
        has_store: bool,
    ) -> Self {
        let mut sim = Self {
            scheduler: Scheduler::new(RetryLimits::default()).with_store(has_store),
            has_store,
            random: Random(seed),
            shapes: shapes.clone(),
            now: Duration::ZERO,
            calm: false,
            alive: BTreeSet::new(),
            draining: BTreeSet::new(),
            slow: BTreeSet::new(),
            next_executor: 1,
            blocks: BTreeSet::new(),
            running: vec![],
            read: BTreeMap::new(),
            mail: vec![],
            launched: vec![],
            committed: vec![],
            output: None,
            failed: None,
            revised: 0,
        };
        (0..executors).for_each(|_| sim.join(slots));
        let submit = Event::Submit {
            query: QUERY,
            stages: shapes,
            placement: Placement::Fleet,
            slots_expected: executors * slots,
        };
        sim.step(submit);
        sim
    }

    fn join(&mut self, slots: u32) {
        let id = ExecutorId(self.next_executor);
        self.next_executor += 1;
        self.alive.insert(id);
        self.step(Event::ExecutorUp {
            id,
            slots,
            address: String::new(),
            is_driver: false,
        });
    }

    fn step(&mut self, event: Event) {
        for action in self.scheduler.step(self.now, event) {
            match action {
                Action::Launch(executor, spec) => {
                    self.launched.push(spec.task);
                    // The news of a death may still be on its way: such an attempt never answers.
                    if self.alive.contains(&executor) {
                        self.running.push((executor, spec));
                    }
                }
                Action::Cancel(executor, task, attempt) => self
                    .running
                    .retain(|(on, s)| *on != executor || s.task != task || s.attempt != attempt),
                Action::Committed(_, report) => self.committed.push((report.task, report.attempt)),
                Action::Completed(_, output) => self.output = Some(output),
                Action::Failed(_, failure) => self.failed = Some(failure),
                Action::HandOver {
                    from, to, blocks, ..
                } => blocks
                    .into_iter()
                    .for_each(|block| self.hand_over(block, from, to)),
                Action::Dismiss(executor) => self.kill(executor),
                Action::Revise(_, facts) => self.revise(&facts),
                Action::Sliced(..)
                | Action::Release(..)
                | Action::Uncommitted(_)
                | Action::Excluded(_)
                | Action::Sweep(_) => {}
            }
        }
    }

    /// What waits stays, or is planned the same under new numbers, without what a finished stage made needless.
    fn revise(&mut self, facts: &[Fact]) {
        let mut stages = vec![];
        if self.random.chance(80) {
            let mut now: Vec<StageId> = (0..).map(StageId).take(facts.len()).collect();
            for (index, _) in facts
                .iter()
                .enumerate()
                .filter(|(_, fact)| **fact == Fact::Waiting)
            {
                let mut shape = self.shapes[index].clone();
                if shape.is_dropped() {
                    continue;
                }
                now[index] = StageId(u32::try_from(self.shapes.len() + stages.len()).unwrap());
                shape
                    .inputs
                    .iter_mut()
                    .for_each(|(input, _)| *input = now[input.0 as usize]);
                shape
                    .divisible
                    .iter_mut()
                    .for_each(|input| *input = now[input.0 as usize]);
                // Whoever it was broadcast to does without it.
                if self.random.chance(30) && shape.inputs.len() > 1 {
                    shape.inputs.pop();
                }
                self.shapes[index] = StageShape::default();
                stages.push(shape);
            }
            self.revised += 1;
        }
        self.shapes.extend(stages.iter().cloned());
        self.mail.push(Event::Revised {
            query: QUERY,
            stages,
        });
    }

    fn hand_over(&mut self, block: BlockId, from: ExecutorId, to: ExecutorId) {
        // An executor that died meanwhile answers nothing: the news of its death is on its way.
        if self.alive.contains(&from) {
            let arrives = (self.alive.contains(&to) || to == ExecutorId::STORE)
                && self.blocks.contains(&(block, from))
                && (self.calm || !self.random.chance(10));
            if arrives {
                self.blocks.insert((block, to));
            }
            self.mail.push(Event::HandedOver {
                block,
                from,
                to: arrives.then_some(to),
            });
        }
    }

    fn drain(&mut self, executor: ExecutorId) {
        if self.draining.insert(executor) {
            self.mail.push(Event::Draining(executor));
        }
    }

    fn kill(&mut self, executor: ExecutorId) {
        self.alive.remove(&executor);
        self.blocks.retain(|(_, on)| *on != executor);
        self.running.retain(|(on, _)| *on != executor);
        self.mail.push(Event::ExecutorDown(executor));
    }

    /// Ends a running attempt: it reads its inputs, which may be gone, and reports.
    fn finish(&mut self, index: usize) {
        let (executor, spec) = self.running.swap_remove(index);
        let inputs = || spec.inputs.iter().flat_map(|i| i.blocks.iter());
        if let Some(lost) = inputs().find(|b| !self.blocks.contains(&(b.block, b.executor))) {
            let failure = Failure {
                kind: FailureKind::BlockLost(lost.block, lost.executor),
                message: String::new(),
            };
            self.mail
                .push(Event::Failed(executor, spec.task, spec.attempt, failure));
            return;
        }
        if !self.calm && self.random.chance(3) {
            let kind = if self.random.chance(50) {
                FailureKind::Transient
            } else {
                FailureKind::Resource
            };
            let failure = Failure {
                kind,
                message: "hiccup".into(),
            };
            // One failure of its own in thirty-three runs: four in a row do not happen to one task.
            if spec.attempt.0 < 3 {
                self.mail
                    .push(Event::Failed(executor, spec.task, spec.attempt, failure));
                return;
            }
        }
        let sink = self.shapes[spec.task.stage.0 as usize].sink.is_some();
        let made = BlockId {
            task: spec.task,
            attempt: spec.attempt,
        };
        self.read.insert(made, inputs().map(|b| b.block).collect());
        let mut report = report(&spec, sink);
        if !sink {
            self.blocks.insert((made, executor));
        }
        if !sink && self.has_store && (self.calm || !self.random.chance(20)) {
            self.blocks.insert((made, ExecutorId::STORE));
            report.durable = self.calm || self.random.chance(30);
            if !report.durable {
                self.mail.push(Event::Durable(made, executor));
            }
        }
        let event = Event::Finished(executor, report);
        if self.random.chance(5) {
            self.mail.push(event.clone());
        }
        self.mail.push(event);
    }

    /// One thing happens: an attempt ends, a message arrives (not the oldest first), a death, a birth,
    /// a notice to end, an executor turns slow, time passes.
    fn tick(&mut self, kill_percent: usize) {
        self.now += Duration::from_millis(100);
        if self.random.chance(10) {
            self.step(Event::Tick);
        }
        if let Some(chosen) = self
            .alive
            .iter()
            .nth(self.random.below(12))
            .copied()
            .filter(|_| !self.calm)
        {
            match self.random.below(100) {
                0 if kill_percent > 0 => self.drain(chosen),
                1 => drop(self.slow.insert(chosen)),
                2 => drop(self.slow.remove(&chosen)),
                _ => {}
            }
        }
        if self.random.chance(kill_percent) && !self.alive.is_empty() {
            let victim = *self
                .alive
                .iter()
                .nth(self.random.below(self.alive.len()))
                .unwrap();
            self.kill(victim);
        }
        if (self.alive.is_empty() || self.random.chance(kill_percent)) && self.alive.len() < 4 {
            self.join(2);
        }
        if !self.running.is_empty() && self.random.chance(60) {
            let index = self.random.below(self.running.len());
            if !self.slow.contains(&self.running[index].0) || self.random.chance(2) {
                self.finish(index);
            }
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
        self.launched
            .iter()
            .filter(|task| !seen.insert(**task))
            .copied()
            .collect()
    }
}

fn report(spec: &TaskSpec, sink: bool) -> TaskReport {
    let skewed = |bucket| if bucket == 0 { 400 << 20 } else { 40 << 20 };
    let buckets = if sink {
        vec![]
    } else {
        (0..4)
            .map(|bucket| BucketSize {
                bucket,
                rows: 1,
                bytes: skewed(bucket),
            })
            .collect()
    };
    let path = format!(
        "{}-{}-{}",
        spec.task.stage.0, spec.task.index, spec.attempt.0
    );
    let files = if sink {
        vec![PendingFile {
            path,
            rows: 1,
            bytes: 1,
            upload: None,
        }]
    } else {
        vec![]
    };
    TaskReport {
        task: spec.task,
        attempt: spec.attempt,
        buckets,
        durable: false,
        files,
        statistics: None,
        metrics: TaskMetrics::default(),
    }
}

fn task(stage: u32, index: u32) -> TaskId {
    TaskId {
        query: QUERY,
        stage: StageId(stage),
        index,
    }
}

/// Scan, shuffle that may be divided, shuffle with a broadcast beside it, sink. The scan may be of random rows.
fn four_stages(indeterminate: bool) -> Vec<StageShape> {
    let mut sink = stage(4, &[(1, true), (2, false)]);
    sink.sink = Some(0);
    let mut scan = stage(5, &[]);
    scan.indeterminate = indeterminate;
    let mut middle = stage(4, &[(0, true)]);
    middle.divisible = vec![StageId(0)];
    vec![scan, middle, stage(2, &[]), sink]
}

/// Everything that the final files were made from, through all stages.
fn origins(sim: &Sim, output: &Output) -> BTreeSet<BlockId> {
    let file = |f: &PendingFile| {
        let numbers: Vec<u32> = f
            .path
            .split('-')
            .map(|number| number.parse().unwrap())
            .collect();
        BlockId {
            task: task(numbers[0], numbers[1]),
            attempt: Attempt(numbers[2]),
        }
    };
    let mut open: Vec<BlockId> = output
        .writes
        .iter()
        .flat_map(|write| &write.files)
        .map(file)
        .collect();
    let mut seen = BTreeSet::new();
    while let Some(block) = open.pop() {
        if seen.insert(block) {
            open.extend(&sim.read[&block]);
        }
    }
    seen
}

/// Answers how often it was planned again.
fn check_schedule(seed: u64) -> usize {
    let mut stages = four_stages(seed.is_multiple_of(2));
    if seed.is_multiple_of(5) {
        (stages[0].unsurprising, stages[2].unsurprising) =
            (Some(1_000..=2_000), Some(1_000..=2_000));
        (stages[1].has_choices, stages[3].has_choices) = (true, true);
    }
    if seed.is_multiple_of(7) {
        // Another write reads what the first one reads.
        stages.push(StageShape {
            sink: Some(1),
            ..stage(3, &[(1, true)])
        });
    }
    let writes = stages.iter().filter(|stage| stage.sink.is_some()).count();
    let mut sim = Sim::with_store(seed, stages, 3, 2, seed.is_multiple_of(3));
    let output = sim.run(usize::try_from(seed % 12).unwrap()).clone();
    assert_eq!(output.writes.len(), writes, "seed {seed}: {output:?}");
    for (write, written) in (0..).zip(&output.writes) {
        let tasks: BTreeSet<_> = written
            .files
            .iter()
            .map(|f| f.path.split('-').nth(1).unwrap().to_owned())
            .collect();
        let is_root = |t: &TaskId| sim.shapes[t.stage.0 as usize].sink == Some(write);
        let last = sim
            .committed
            .iter()
            .filter(|(t, _)| is_root(t))
            .map(|(t, _)| t.index)
            .max()
            .unwrap();
        assert_eq!(
            (written.files.len(), tasks.len()),
            (last as usize + 1, last as usize + 1),
            "seed {seed}: {output:?}"
        );
    }
    let origins = origins(&sim, &output);
    for made in &origins {
        assert!(
            sim.committed.contains(&(made.task, made.attempt)),
            "seed {seed}: {made} was read, but never committed"
        );
    }
    if seed.is_multiple_of(2) {
        let scans: Vec<TaskId> = origins
            .iter()
            .map(|b| b.task)
            .filter(|t| sim.shapes[t.stage.0 as usize].indeterminate)
            .collect();
        assert_eq!(
            scans.len(),
            scans.iter().collect::<BTreeSet<_>>().len(),
            "seed {seed}: attempts of random rows are mixed"
        );
    }
    sim.revised
}

#[test]
fn simulated_schedules_end_in_the_right_committed_set() {
    let schedules: u64 =
        std::env::var("FAISCA_SIMULATIONS").map_or(100_000, |n| n.parse().unwrap());
    let revised: usize = (0..schedules).map(check_schedule).sum();
    assert!(
        revised as u64 > schedules / 10,
        "planned again in {revised} of {schedules} schedules"
    );
}

#[test]
fn a_skewed_bucket_is_divided_by_producers_and_read_once() {
    let mut sim = Sim::new(8, four_stages(false), 3, 2);
    let output = sim.run(0).clone();
    let middle: BTreeSet<BlockId> = origins(&sim, &output)
        .into_iter()
        .filter(|block| block.task.stage == StageId(1))
        .collect();
    // Three buckets whole, and one in five parts, as many as there are scans.
    assert_eq!(middle.len(), 3 + 5, "{middle:?}");
    let mut parts: Vec<u32> = middle
        .iter()
        .map(|block| &sim.read[block])
        .filter(|read| read.len() == 1)
        .map(|read| read[0].task.index)
        .collect();
    parts.sort_unstable();
    assert_eq!(parts, [0, 1, 2, 3, 4]);
}

#[test]
fn a_lost_producer_reruns_only_tasks_whose_blocks_are_still_needed() {
    let mut sim = Sim::new(7, vec![stage(4, &[]), stage(4, &[(0, true)])], 2, 2);
    sim.calm = true;
    while sim.committed.len() < 4 {
        let ending = sim
            .running
            .iter()
            .position(|(_, s)| s.task.stage == StageId(0));
        if let Some(index) = ending {
            sim.finish(index)
        }
        while let Some(event) = sim.mail.pop() {
            sim.step(event);
        }
    }
    let on_victim: Vec<TaskId> = sim
        .blocks
        .iter()
        .filter(|(_, on)| *on == ExecutorId(1))
        .map(|(b, _)| b.task)
        .collect();
    let running_there: Vec<TaskId> = sim
        .running
        .iter()
        .filter(|(on, _)| *on == ExecutorId(1))
        .map(|(_, s)| s.task)
        .collect();
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
    let mut sim = Sim::new(
        1,
        vec![
            stage(2, &[]),
            stage(2, &[(0, true)]),
            stage(1, &[(1, false)]),
        ],
        2,
        1,
    );
    while !sim.committed.iter().any(|(t, _)| *t == task(1, 1))
        || !sim.committed.iter().any(|(t, _)| *t == task(1, 0))
    {
        if let Some(index) = sim.running.iter().position(|(_, s)| s.task.stage.0 < 2) {
            sim.finish(index);
        }
        while let Some(event) = sim.mail.pop() {
            sim.step(event);
        }
    }
    // Only stage 0's blocks are lost: stage 1 is complete, so nothing of stage 0 is needed.
    let lost: Vec<_> = sim
        .blocks
        .iter()
        .filter(|(b, _)| b.task.stage == StageId(0))
        .copied()
        .collect();
    lost.into_iter()
        .for_each(|(block, on)| sim.step(Event::OutputLost(block, on)));
    sim.run(0);
    assert!(
        sim.reran().iter().all(|t| t.stage == StageId(2)),
        "{:?}",
        sim.reran()
    );
}

#[test]
fn a_users_error_is_final_and_stops_the_rest() {
    let mut sim = Sim::new(3, vec![stage(4, &[])], 2, 2);
    let (executor, spec) = sim.running.remove(0);
    let failure = Failure {
        kind: FailureKind::User,
        message: "divide by zero".into(),
    };
    sim.step(Event::Failed(executor, spec.task, spec.attempt, failure));
    assert_eq!(
        sim.failed.as_ref().map(|f| f.message.as_str()),
        Some("divide by zero")
    );
    assert!(
        sim.running.is_empty(),
        "attempts go on after a final failure"
    );
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
        let failure = Failure {
            kind: FailureKind::Transient,
            message: "again".into(),
        };
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
    sim.step(Event::Finished(
        ExecutorId(99),
        TaskReport {
            attempt: Attempt(7),
            ..done
        },
    ));
    assert_eq!(sim.committed.len(), 1);
    sim.step(Event::Release(QUERY));
    sim.step(Event::Finished(executor, report(&spec, false)));
    assert!(sim.output.is_none());
}

#[test]
fn small_statements_wait_for_the_drivers_slots_and_large_ones_for_the_fleet() {
    let mut scheduler = Scheduler::new(RetryLimits::default());
    scheduler.step(
        Duration::ZERO,
        Event::ExecutorUp {
            id: ExecutorId(0),
            slots: 1,
            address: String::new(),
            is_driver: true,
        },
    );
    let submit = |query, placement| Event::Submit {
        query: QueryId(query),
        stages: vec![stage(1, &[])],
        placement,
        slots_expected: 1,
    };
    assert!(
        scheduler
            .step(Duration::ZERO, submit(1, Placement::Fleet))
            .iter()
            .all(|a| !matches!(a, Action::Launch(..)))
    );
    let launched = scheduler.step(Duration::ZERO, submit(2, Placement::Driver));
    assert!(
        launched
            .iter()
            .any(|a| matches!(a, Action::Launch(ExecutorId(0), _))),
        "{launched:?}"
    );
    let launched = scheduler.step(
        Duration::ZERO,
        Event::ExecutorUp {
            id: ExecutorId(1),
            slots: 1,
            address: String::new(),
            is_driver: false,
        },
    );
    assert!(
        launched.iter().any(
            |a| matches!(a, Action::Launch(ExecutorId(1), spec) if spec.task.query == QueryId(1))
        ),
        "{launched:?}"
    );
}

#[test]
fn a_straggler_gets_a_twin_and_the_first_commit_wins() {
    let mut sim = Sim::new(6, vec![stage(4, &[])], 2, 2);
    sim.calm = true;
    let (slow, straggler) = sim.running.remove(0);
    sim.now = Duration::from_millis(200);
    (0..3).for_each(|_| sim.finish(0));
    while let Some(event) = sim.mail.pop() {
        sim.step(event);
    }
    assert_eq!(sim.committed.len(), 3);
    sim.step(Event::Tick);
    assert!(sim.running.is_empty(), "a twin before its time");
    sim.now = Duration::from_secs(5);
    sim.step(Event::Tick);
    let (other, twin) = sim.running.pop().expect("no twin");
    assert!(twin.task == straggler.task && other != slow);
    sim.step(Event::Finished(other, report(&twin, false)));
    sim.step(Event::Finished(slow, report(&straggler, false)));
    let output = sim.output.unwrap();
    assert_eq!(
        (sim.committed.len(), output.speculated, output.retried),
        (4, 1, 0)
    );
    assert_eq!(sim.committed.last(), Some(&(twin.task, twin.attempt)));
}

#[test]
fn an_executor_that_drains_loses_no_finished_work() {
    let mut sim = Sim::new(8, vec![stage(4, &[]), stage(4, &[(0, true)])], 2, 2);
    sim.calm = true;
    (0..2).for_each(|_| sim.finish(0));
    while let Some(event) = sim.mail.pop() {
        sim.step(event);
    }
    let leaving = sim.blocks.iter().map(|(_, on)| *on).next().unwrap();
    sim.drain(leaving);
    sim.run(0);
    assert_eq!(sim.reran(), vec![], "work was done twice");
    assert!(!sim.alive.contains(&leaving), "it was never let go");
}

#[test]
fn with_durable_copies_nothing_finished_is_made_again_when_all_executors_die_between_two_stages() {
    let mut sim = Sim::with_store(
        11,
        vec![
            stage(4, &[]),
            stage(4, &[(0, true)]),
            stage(2, &[(1, true)]),
        ],
        2,
        2,
        true,
    );
    sim.calm = true;
    while sim
        .committed
        .iter()
        .filter(|(t, _)| t.stage == StageId(0))
        .count()
        < 4
    {
        if let Some(index) = sim
            .running
            .iter()
            .position(|(_, s)| s.task.stage == StageId(0))
        {
            sim.finish(index);
        }
        while let Some(event) = sim.mail.pop() {
            sim.step(event);
        }
    }
    let running: Vec<TaskId> = sim.running.iter().map(|(_, s)| s.task).collect();
    sim.alive
        .clone()
        .into_iter()
        .for_each(|executor| sim.kill(executor));
    sim.join(2);
    sim.run(0);
    let mut reran = sim.reran();
    reran.retain(|task| !running.contains(task));
    assert_eq!(reran, vec![], "finished work was done again");
    let swept = sim.scheduler.step(sim.now, Event::Release(QUERY));
    let swept = swept.iter().find_map(|action| {
        if let Action::Sweep(blocks) = action {
            Some(blocks)
        } else {
            None
        }
    });
    assert!(
        sim.read
            .keys()
            .all(|block| swept.is_some_and(|swept| swept.contains(block))),
        "an object is left"
    );
}

#[test]
fn an_executor_that_fails_three_times_in_a_row_gets_no_more_tasks() {
    let mut sim = Sim::new(9, vec![stage(12, &[])], 2, 1);
    let bad = ExecutorId(1);
    for _ in 0..20 {
        let Some(index) = sim.running.iter().position(|(on, _)| *on == bad) else {
            break;
        };
        let (executor, spec) = sim.running.remove(index);
        let failure = Failure {
            kind: FailureKind::Transient,
            message: "bad disk".into(),
        };
        sim.step(Event::Failed(executor, spec.task, spec.attempt, failure));
    }
    assert!(sim.failed.is_none());
    assert_eq!(
        sim.launched.len(),
        1 + 3,
        "it failed three times and must have been left alone"
    );
    sim.random = Random(2);
    sim.run(0);
}

#[test]
fn a_task_that_runs_out_of_memory_is_split_and_saves() {
    let mut shape = stage(4, &[(0, true)]);
    shape.may_merge = true;
    let mut sim = Sim::new(10, vec![stage(1, &[]), shape], 1, 1);
    let (executor, spec) = sim.running.pop().unwrap();
    let small = BucketSize {
        bucket: 0,
        rows: 1,
        bytes: 10,
    };
    sim.step(Event::Finished(
        executor,
        TaskReport {
            buckets: vec![small],
            ..report(&spec, false)
        },
    ));
    let (executor, spec) = sim.running.pop().unwrap();
    assert_eq!(
        (spec.partitions.as_slice(), spec.frugal),
        ([0, 1, 2, 3].as_slice(), false)
    );
    let failure = Failure {
        kind: FailureKind::Resource,
        message: "no memory".into(),
    };
    sim.step(Event::Failed(executor, spec.task, spec.attempt, failure));
    let mut halves = vec![];
    while let Some((executor, spec)) = sim.running.pop() {
        assert!(spec.frugal);
        halves.push(spec.partitions.clone());
        sim.step(Event::Finished(executor, report(&spec, false)));
    }
    halves.sort();
    assert_eq!(halves, [vec![0, 1], vec![2, 3]]);
    assert!(sim.output.is_some());
}

#[test]
fn what_waits_is_planned_again_once_and_what_nobody_reads_any_more_is_stopped() {
    let scan = |unsurprising| StageShape {
        unsurprising,
        ..stage(2, &[])
    };
    let join = StageShape {
        has_choices: true,
        ..stage(4, &[(0, true), (1, true)])
    };
    let mut sim = Sim::new(12, vec![scan(Some(100..=200)), scan(None), join], 1, 4);
    let of = |sim: &Sim, stage| {
        sim.running
            .iter()
            .position(|(_, spec)| spec.task.stage == StageId(stage))
    };
    for _ in 0..2 {
        let (executor, spec) = sim.running.remove(of(&sim, 0).unwrap());
        let answers = sim
            .scheduler
            .step(sim.now, Event::Finished(executor, report(&spec, false)));
        if let Some(Action::Revise(_, facts)) = answers
            .iter()
            .find(|action| matches!(action, Action::Revise(..)))
        {
            assert_eq!(
                facts[..],
                [Fact::Finished { rows: 8 }, Fact::Started, Fact::Waiting]
            );
        } else {
            assert!(of(&sim, 0).is_some(), "nobody asked");
        }
    }
    // Nothing of what waits begins before the answer; the answer needs only the first scan.
    let (executor, spec) = sim.running.remove(of(&sim, 1).unwrap());
    assert!(
        !sim.scheduler
            .step(sim.now, Event::Finished(executor, report(&spec, false)))
            .iter()
            .any(|a| matches!(a, Action::Launch(..)))
    );
    let answer = sim.scheduler.step(
        sim.now,
        Event::Revised {
            query: QUERY,
            stages: vec![stage(4, &[(0, true)])],
        },
    );
    assert!(
        answer
            .iter()
            .any(|action| matches!(action, Action::Cancel(_, task, _) if task.stage == StageId(1))),
        "{answer:?}"
    );
    assert!(
        answer.iter().any(
            |action| matches!(action, Action::Launch(_, spec) if spec.task.stage == StageId(3))
        ),
        "{answer:?}"
    );
    let late = sim.scheduler.step(
        sim.now,
        Event::Revised {
            query: QUERY,
            stages: vec![stage(1, &[])],
        },
    );
    assert!(late.is_empty(), "{late:?}");
}
