//! Seeded schedules: executors, delays, kills, duplicates, reordered messages and an object store,
//! all simulated. The same seed plays the same schedule.
//!
//! ```text
//!   Scheduler ── actions ──► Simulation: attempts that run, blocks by home
//!       ▲                        │ one thing at a time, chosen by the seed
//!       └────────── mail ◄───────┘ delivered in any order, some of it twice
//! ```
//!
//! - `random_schedules`: 100,000 schedules, each checked for the right result
//! - `failures`, `losses`, `poison`, `speculation`, `revision`: one rule in each test
//!
//! `FAISCA_SIMULATIONS` sets the number of schedules; `just nightly` runs many more.

mod builders;
mod failures;
mod losses;
mod poison;
mod random_schedules;
mod revision;
mod speculation;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use faisca_executor::protocol::{Failure, FailureKind, TaskSpec};
use faisca_planner::ids::{Attempt, BlockId, ExecutorId, QueryId, StageId, TaskId};
use faisca_planner::stages::Fact;

use self::builders::{failure, report};
use super::{
    Action, BlockHome, Event, HandoverTarget, LossCause, OutputKind, Placement, QueryOutput,
    RetryLimits, Scheduler, StageInfo,
};

const QUERY: QueryId = QueryId(1);
/// A schedule that takes more steps than this makes no progress.
const STEPS_MAX: usize = 20_000;

/// SplitMix64. Some tests below name a seed whose schedule shows what they test, so the generator
/// is fixed here rather than taken from a library that may change it.
struct Random(u64);

impl Random {
    fn next_below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound.max(1) as u64).unwrap()
    }
}

/// What goes wrong in a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conditions {
    /// Only what the test itself does.
    Undisturbed,
    /// Failures, slow executors, failed transfers, incomplete durable copies.
    Faulty,
}

/// A partition whose rows end the process of each executor that runs them.
#[derive(Debug, Clone, Copy)]
struct Poison {
    stage: StageId,
    partition: u32,
    cause: LossCause,
    /// The cause becomes known some time after the loss, as it does of pods.
    is_explained_late: bool,
}

/// Executors that run attempts, lose blocks when they die, and report in any order.
struct Simulation {
    scheduler: Scheduler,
    random: Random,
    conditions: Conditions,
    /// The query's stages, as revised so far.
    stages: Vec<StageInfo>,
    now: Duration,
    /// Blocks are copied to an object store.
    has_store: bool,
    alive: BTreeSet<ExecutorId>,
    draining: BTreeSet<ExecutorId>,
    /// Executors whose attempts take very long.
    slow: BTreeSet<ExecutorId>,
    next_executor: u32,
    blocks: BTreeSet<(BlockId, BlockHome)>,
    running: Vec<(ExecutorId, TaskSpec)>,
    /// The blocks that each sealed attempt read.
    read: BTreeMap<BlockId, Vec<BlockId>>,
    /// Messages on their way to the scheduler.
    mail: Vec<Event>,
    launched: Vec<TaskId>,
    committed: Vec<(TaskId, Attempt)>,
    output: Option<QueryOutput>,
    failed: Option<Failure>,
    /// The queries that are complete.
    completed: BTreeSet<QueryId>,
    /// Of [`QUERY`].
    poison: Option<Poison>,
    /// Number of executors that it crashed.
    crashes: usize,
    /// Tasks that ran on an executor when it crashed, with the cause known at once.
    suspects: BTreeSet<TaskId>,
    /// Causes of losses that become known later.
    explanations: BTreeMap<ExecutorId, LossCause>,
    /// Number of times that the waiting stages were replaced.
    revisions: usize,
}

impl Simulation {
    fn new(seed: u64, stages: Vec<StageInfo>, executors: u32, slots: u32) -> Self {
        Self::with_store(seed, stages, executors, slots, false)
    }

    fn with_store(
        seed: u64,
        stages: Vec<StageInfo>,
        executors: u32,
        slots: u32,
        has_store: bool,
    ) -> Self {
        let target = match has_store {
            true => HandoverTarget::ObjectStore,
            false => HandoverTarget::Executors,
        };
        let mut sim = Self {
            scheduler: Scheduler::new(RetryLimits::default()).with_handover_target(target),
            random: Random(seed),
            conditions: Conditions::Faulty,
            stages: stages.clone(),
            now: Duration::ZERO,
            has_store,
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
            completed: BTreeSet::new(),
            poison: None,
            crashes: 0,
            suspects: BTreeSet::new(),
            explanations: BTreeMap::new(),
            revisions: 0,
        };
        (0..executors).for_each(|_| sim.join(slots));
        let submit = Event::Submit {
            query: QUERY,
            stages,
            placement: Placement::Fleet,
            slots_expected: executors * slots,
        };
        sim.step(submit);
        sim
    }

    /// Nothing goes wrong but what the test itself does.
    fn without_faults(mut self) -> Self {
        self.conditions = Conditions::Undisturbed;
        self
    }

    /// Returns whether the scheduler does not know of a loss yet.
    fn has_news_of_loss(&self) -> bool {
        let mut mail = self.mail.iter();
        mail.any(|mail| matches!(mail, Event::ExecutorDown(..)))
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.random.next_below(100) < percent
    }

    fn is_fault(&mut self, percent: usize) -> bool {
        self.conditions == Conditions::Faulty && self.chance(percent)
    }

    fn join(&mut self, slots: u32) {
        let id = ExecutorId(self.next_executor);
        self.next_executor += 1;
        self.alive.insert(id);
        self.step(Event::ExecutorUp {
            id,
            slots,
            address: None,
            placement: Placement::Fleet,
        });
    }

    fn step(&mut self, event: Event) {
        if let Event::ExecutorDown(executor, _) = event
            && let Some(cause) = self.explanations.remove(&executor)
        {
            self.mail.push(Event::LossExplained(executor, cause));
        }
        for action in self.scheduler.step(self.now, event) {
            match action {
                Action::Launch(executor, spec) => {
                    self.launched.push(spec.task);
                    // A speculative attempt, launched before the news of the crash arrives.
                    if self.has_news_of_loss() {
                        self.suspects.remove(&spec.task);
                    }
                    // An attempt launched on a dead executor, of whose death the scheduler does not
                    // know yet, never reports.
                    if self.alive.contains(&executor) {
                        self.running.push((executor, spec));
                    }
                }
                Action::Cancel(executor, task, attempt) => self
                    .running
                    .retain(|(on, s)| *on != executor || s.task != task || s.attempt != attempt),
                Action::Committed(_, report) => self.committed.push((report.task, report.attempt)),
                Action::Completed(query, output) => {
                    self.completed.insert(query);
                    self.output = Some(output);
                }
                Action::Failed(_, failure) => self.failed = Some(failure),
                Action::HandOver {
                    from, to, blocks, ..
                } => blocks
                    .into_iter()
                    .for_each(|block| self.hand_over(block, from, to)),
                Action::Dismiss(executor) => self.lose(executor, LossCause::Drained),
                Action::Revise(_, facts) => self.revise(&facts),
                Action::Sliced(..)
                | Action::Release(..)
                | Action::Uncommitted(_)
                | Action::Excluded(_)
                | Action::Sweep(_) => {}
            }
        }
    }

    /// Replies to a request to plan again: the waiting stages stay, or are replaced by the same
    /// stages under new ids, some without an input that a finished stage made unnecessary.
    fn revise(&mut self, facts: &[Fact]) {
        let mut new_stages = vec![];
        if self.chance(80) {
            let mut new_ids: Vec<StageId> = (0..).map(StageId).take(facts.len()).collect();
            let waiting = (0..facts.len()).filter(|index| facts[*index] == Fact::Waiting);
            for index in waiting {
                let mut stage = self.stages[index].clone();
                let is_dropped = stage.partitions == 0;
                if is_dropped {
                    continue;
                }
                new_ids[index] = StageId::from_index(self.stages.len() + new_stages.len());
                for input in &mut stage.inputs {
                    input.stage = new_ids[input.stage.index()];
                }
                for input in &mut stage.divisible {
                    *input = new_ids[input.index()];
                }
                if self.chance(30) && stage.inputs.len() > 1 {
                    stage.inputs.pop();
                }
                self.stages[index] = StageInfo::default();
                new_stages.push(stage);
            }
            self.revisions += 1;
        }
        self.stages.extend(new_stages.iter().cloned());
        self.mail.push(Event::Revised {
            query: QUERY,
            stages: new_stages,
        });
    }

    fn hand_over(&mut self, block: BlockId, from: ExecutorId, to: BlockHome) {
        // An executor that died meanwhile reports nothing: the news of its death is on its way.
        if !self.alive.contains(&from) {
            return;
        }
        let is_heir_alive = match to {
            BlockHome::Executor(id) => self.alive.contains(&id),
            BlockHome::ObjectStore => true,
        };
        let is_received = is_heir_alive
            && self.blocks.contains(&(block, BlockHome::Executor(from)))
            && !self.is_fault(10);
        if is_received {
            self.blocks.insert((block, to));
        }
        self.mail.push(Event::HandedOver {
            block,
            from,
            to: is_received.then_some(to),
        });
    }

    fn drain(&mut self, executor: ExecutorId) {
        if self.draining.insert(executor) {
            self.mail.push(Event::Draining(executor));
        }
    }

    fn kill(&mut self, executor: ExecutorId) {
        if self.conditions == Conditions::Faulty && executor.0.is_multiple_of(2) {
            self.explanations.insert(executor, LossCause::Killed);
        }
        self.lose(executor, LossCause::Unknown);
    }

    /// Ends an executor by the poison that it runs.
    fn crash(&mut self, executor: ExecutorId, poison: Poison) {
        self.crashes += 1;
        if poison.is_explained_late {
            self.explanations.insert(executor, poison.cause);
            self.lose(executor, LossCause::Unknown);
        } else {
            // A task with another attempt elsewhere goes on there, beside others.
            let (here, elsewhere): (Vec<_>, Vec<_>) =
                self.running.iter().partition(|(on, _)| *on == executor);
            let tasks = here.iter().map(|(_, spec)| spec.task);
            let goes_on = |task: &TaskId| elsewhere.iter().any(|(_, spec)| spec.task == *task);
            let suspects: Vec<TaskId> = tasks.filter(|task| !goes_on(task)).collect();
            self.suspects.extend(suspects);
            self.lose(executor, poison.cause);
        }
        self.join(2);
    }

    fn lose(&mut self, executor: ExecutorId, cause: LossCause) {
        self.alive.remove(&executor);
        self.blocks
            .retain(|(_, home)| *home != BlockHome::Executor(executor));
        self.running.retain(|(on, _)| *on != executor);
        self.mail.push(Event::ExecutorDown(executor, cause));
    }

    /// Ends a running attempt: it reads its inputs, which may be lost, and reports.
    fn finish(&mut self, index: usize) {
        let is_poison = |poison: &Poison, task: &TaskSpec| {
            task.task.query == QUERY
                && task.task.stage == poison.stage
                && task.partitions.contains(&poison.partition)
        };
        let (executor, spec) = &self.running[index];
        if let Some(poison) = self.poison.filter(|poison| is_poison(poison, spec)) {
            let executor = *executor;
            self.crash(executor, poison);
            return;
        }
        let (executor, spec) = self.running.swap_remove(index);
        let inputs = || spec.inputs.iter().flat_map(|i| i.blocks.iter());
        let is_missing = |b: &&_| !self.blocks.contains(&stored_block(b));
        if let Some(lost_block) = inputs().find(is_missing) {
            let failure = failure(FailureKind::BlockLost(lost_block.block, lost_block.home));
            self.mail
                .push(Event::Failed(executor, spec.task, spec.attempt, failure));
            return;
        }
        if self.is_fault(3) {
            let kind = if self.chance(50) {
                FailureKind::Transient
            } else {
                FailureKind::Resource
            };
            // The limit on failures is not what is tested here: four in a row do not happen to one
            // task.
            if spec.attempt.0 < 3 {
                let failed = Event::Failed(executor, spec.task, spec.attempt, failure(kind));
                self.mail.push(failed);
                return;
            }
        }
        let block = BlockId {
            task: spec.task,
            attempt: spec.attempt,
        };
        self.read.insert(block, inputs().map(|b| b.block).collect());
        self.seal(executor, &spec, block);
    }

    /// Stores the output of an attempt and reports it, now and then twice.
    fn seal(&mut self, executor: ExecutorId, spec: &TaskSpec, block: BlockId) {
        let output = self.stages[spec.task.stage.index()].output;
        let mut report = report(spec, output);
        if !matches!(output, OutputKind::Sink(_)) {
            self.blocks.insert((block, BlockHome::Executor(executor)));
            if self.has_store && !self.is_fault(20) {
                self.blocks.insert((block, BlockHome::ObjectStore));
                report.has_durable_copy =
                    self.conditions == Conditions::Undisturbed || self.chance(30);
                if !report.has_durable_copy {
                    self.mail.push(Event::Durable(block, executor));
                }
            }
        }
        let event = Event::Finished(executor, report);
        if self.chance(5) {
            self.mail.push(event.clone());
        }
        self.mail.push(event);
    }

    /// Plays one step: an attempt ends, or a message arrives (not the oldest first). Before that,
    /// an executor may die, join, begin to drain or become slow.
    fn tick(&mut self, kill_percent: usize) {
        self.now += Duration::from_millis(100);
        if self.chance(10) {
            self.step(Event::Tick);
        }
        self.inject_fault(kill_percent);
        if self.chance(kill_percent) && !self.alive.is_empty() {
            let index = self.random.next_below(self.alive.len());
            let executor = *self.alive.iter().nth(index).unwrap();
            self.kill(executor);
        }
        if (self.alive.is_empty() || self.chance(kill_percent)) && self.alive.len() < 4 {
            self.join(2);
        }
        if !self.running.is_empty() && self.chance(60) {
            let index = self.random.next_below(self.running.len());
            if !self.slow.contains(&self.running[index].0) || self.chance(2) {
                self.finish(index);
            }
        } else if !self.mail.is_empty() {
            let index = self.random.next_below(self.mail.len());
            let event = self.mail.swap_remove(index);
            self.step(event);
        }
    }

    /// Lets an executor drain, become slow or fast again.
    fn inject_fault(&mut self, kill_percent: usize) {
        let index = self.random.next_below(12);
        let executor = self.alive.iter().nth(index).copied();
        let Some(executor) = executor.filter(|_| self.conditions == Conditions::Faulty) else {
            return;
        };
        match self.random.next_below(100) {
            0 if kill_percent > 0 => self.drain(executor),
            1 => drop(self.slow.insert(executor)),
            2 => drop(self.slow.remove(&executor)),
            _ => {}
        }
    }

    /// Plays until the query is complete, and returns its output.
    fn run(&mut self, kill_percent: usize) -> &QueryOutput {
        for _ in 0..STEPS_MAX {
            if self.output.is_some() || self.failed.is_some() {
                break;
            }
            self.tick(kill_percent);
        }
        assert!(self.failed.is_none(), "{:?}", self.failed);
        self.output.as_ref().expect("no progress")
    }

    /// Finishes attempts of these stages only, and delivers all messages, until `is_done`.
    fn run_until(&mut self, stages: Range<u32>, is_done: impl Fn(&Self) -> bool) {
        for _ in 0..STEPS_MAX {
            if is_done(self) {
                return;
            }
            let is_eligible =
                |(_, spec): &(ExecutorId, TaskSpec)| stages.contains(&spec.task.stage.0);
            if let Some(index) = self.running.iter().position(is_eligible) {
                self.finish(index);
            }
            self.deliver_mail();
        }
        panic!("no progress");
    }

    fn deliver_mail(&mut self) {
        while let Some(event) = self.mail.pop() {
            self.step(event);
        }
    }

    fn committed_of(&self, stage: StageId) -> usize {
        let is_of_stage = |(task, _): &&(TaskId, Attempt)| task.stage == stage;
        self.committed.iter().filter(is_of_stage).count()
    }

    /// Returns the tasks that were launched more than once, each once for every further launch.
    fn relaunched(&self) -> Vec<TaskId> {
        let mut seen = BTreeSet::new();
        let relaunched = self.launched.iter().filter(|task| !seen.insert(**task));
        relaunched.copied().collect()
    }
}

fn stored_block(location: &faisca_executor::protocol::BlockLocation) -> (BlockId, BlockHome) {
    (location.block, location.home)
}
