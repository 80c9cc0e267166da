//! The loop that owns the scheduler: messages in, [`Scheduler::step`], actions out.
//!
//! It never waits for an executor: commands go into bounded queues, and an executor whose queue is
//! full is as good as gone.

pub(crate) mod prepared;
pub mod progress;
pub(crate) mod running_plan;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use faisca_executor::exchange::DurableTier;
use faisca_executor::wire::{
    Failure, FailureKind, FromExecutor, Registration, StageSpec, ToExecutor,
};
use faisca_planner::ids::{BlockId, ExecutorId, QueryId, StageId};
use faisca_planner::stages::Fact;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, info, warn};

use crate::error::{Error, Result};
use crate::scheduler::{Action, Event, Placement, QueryOutput, RetryLimits, Scheduler};
use progress::Progress;
use running_plan::{RunningPlan, Stages};

/// Messages under way to the engine.
const QUEUE_LENGTH: usize = 16 * 1024;
/// How often slow attempts are looked for.
const TICK: Duration = Duration::from_millis(250);
/// The end of a session waits so long for the removal of what lost executors left.
const SWEEPS_MAX: Duration = Duration::from_secs(10);
/// Outcomes of one statement that its reader has not taken yet.
const OUTCOMES: usize = 8;

/// What the engine is told.
#[derive(Debug)]
pub enum Message {
    /// An executor is ready for commands.
    Connected {
        /// Who.
        registration: Registration,
        /// Its commands.
        commands: mpsc::Sender<ToExecutor>,
        /// The queries whose tasks it takes.
        placement: Placement,
    },
    /// An executor says something.
    Report(ExecutorId, FromExecutor),
    /// An executor is gone.
    Lost(ExecutorId, String),
    /// A statement wants to run.
    Submit(Submission),
    /// What waited of a statement was planned again: new stages, or none.
    Revised(QueryId, Stages),
    /// A block of a delivered result is gone from an executor.
    OutputLost(BlockId, ExecutorId),
    /// A statement's blocks may go, and what still runs of it may stop.
    Release(QueryId),
    /// No executor will ever come again.
    FleetGone(String),
    /// Tell every executor to end, then end.
    Shutdown,
}

/// A statement, cut and encoded.
#[derive(Debug)]
pub struct Submission {
    label: String,
    statement: Statement,
    outcome: mpsc::Sender<Result<QueryOutput, Failure>>,
}

/// Talks to the engine. Cheap to clone; the engine ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    sender: mpsc::Sender<Message>,
    next_query: Arc<AtomicU32>,
    /// What runs and what ran.
    pub progress: Arc<Progress>,
    fleet_size: watch::Receiver<usize>,
    slots_wanted: watch::Receiver<usize>,
}

impl EngineHandle {
    /// Starts the loop.
    #[must_use]
    pub fn start(limits: RetryLimits, durable: Option<Arc<DurableTier>>) -> (Self, JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(QUEUE_LENGTH);
        let ((size, fleet_size), (wanted, slots_wanted)) = (watch::channel(0), watch::channel(0));
        let progress = Arc::new(Progress::default());
        let engine = Engine {
            own: sender.downgrade(),
            scheduler: Scheduler::new(limits).with_store(durable.is_some()),
            commands: HashMap::new(),
            queries: HashMap::new(),
            told: HashSet::new(),
            draining: HashSet::new(),
            durable,
            sweeps: JoinSet::new(),
            started: Instant::now(),
            progress: Arc::clone(&progress),
            fleet_size: size,
            slots_wanted: wanted,
            fleet_gone: None,
        };
        let task = tokio::task::spawn(engine.run(receiver));
        (
            Self {
                sender,
                next_query: Arc::new(AtomicU32::new(1)),
                progress,
                fleet_size,
                slots_wanted,
            },
            task,
        )
    }

    /// Tells the engine something.
    ///
    /// # Errors
    /// If it has ended.
    pub async fn send(&self, message: Message) -> Result<()> {
        self.sender
            .send(message)
            .await
            .map_err(|_| Error::Fleet("the session has ended".to_owned()))
    }

    /// A name for the next statement.
    #[must_use]
    pub fn next_query(&self) -> QueryId {
        QueryId(self.next_query.fetch_add(1, Ordering::Relaxed))
    }

    /// Runs a statement. The receiver yields its output, again if part of that is lost and remade.
    ///
    /// # Errors
    /// If the engine has ended.
    pub async fn submit(
        &self,
        label: String,
        statement: Statement,
    ) -> Result<mpsc::Receiver<Result<QueryOutput, Failure>>> {
        let (outcome, receiver) = mpsc::channel(OUTCOMES);
        self.send(Message::Submit(Submission {
            label,
            statement,
            outcome,
        }))
        .await?;
        Ok(receiver)
    }

    /// Lets a statement's blocks go. Never waits: called from destructors.
    pub fn release(&self, query: QueryId) {
        let sender = self.sender.clone();
        if let Err(mpsc::error::TrySendError::Full(message)) =
            sender.try_send(Message::Release(query))
            && let Ok(handle) = tokio::runtime::Handle::try_current()
        {
            handle.spawn(async move { sender.send(message).await });
        }
    }

    /// Waits until the engine has ended.
    pub async fn ended(&self) {
        self.sender.closed().await;
    }

    /// Slots that the fleet's tasks would take if there were enough; for fleets that follow the work.
    #[must_use]
    pub fn slots_wanted(&self) -> watch::Receiver<usize> {
        self.slots_wanted.clone()
    }

    /// Waits until the fleet has at least one executor.
    pub async fn first_executor(&self) {
        // An ended engine answers by closing the channel, which `submit` will report.
        let _ = self.fleet_size.clone().wait_for(|size| *size > 0).await;
    }
}

/// What [`EngineHandle::submit`] takes.
#[derive(Debug)]
pub struct Statement {
    /// Its name.
    pub query: QueryId,
    /// Its stages.
    pub plan: Arc<RunningPlan>,
    /// Where it runs.
    pub placement: Placement,
    /// Slots to plan for.
    pub slots_expected: u32,
}

struct RunningQuery {
    plan: Arc<RunningPlan>,
    specs: Vec<StageSpec>,
    outcome: mpsc::Sender<Result<QueryOutput, Failure>>,
}

struct Engine {
    scheduler: Scheduler,
    /// Its own queue; weak, since it ends when nobody else can send.
    own: mpsc::WeakSender<Message>,
    commands: HashMap<ExecutorId, mpsc::Sender<ToExecutor>>,
    queries: HashMap<QueryId, RunningQuery>,
    /// Stages that an executor was told of.
    told: HashSet<(ExecutorId, QueryId, StageId)>,
    /// Executors that said that they end.
    draining: HashSet<ExecutorId>,
    durable: Option<Arc<DurableTier>>,
    /// Removals under way of what lost executors left in the object store.
    sweeps: JoinSet<()>,
    started: Instant,
    progress: Arc<Progress>,
    fleet_size: watch::Sender<usize>,
    slots_wanted: watch::Sender<usize>,
    /// Why no executor will come, if so.
    fleet_gone: Option<Failure>,
}

impl Engine {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                message = messages.recv() => match message {
                    None | Some(Message::Shutdown) => break,
                    Some(message) => self.event(message),
                },
                _ = ticks.tick(), if !self.queries.is_empty() => Some(Event::Tick),
            };
            let Some(event) = event else { continue };
            let mut failed = self.step(event);
            while let Some(executor) = failed.pop() {
                failed.extend(self.lost(executor, "it does not take commands"));
            }
            let size = self.scheduler.fleet_size();
            self.fleet_size
                .send_if_modified(|known| std::mem::replace(known, size) != size);
            let wanted = self.scheduler.slots_wanted();
            self.slots_wanted
                .send_if_modified(|known| std::mem::replace(known, wanted) != wanted);
        }
        for commands in self.commands.values() {
            let _ = commands.try_send(ToExecutor::Shutdown);
        }
        let _ = tokio::time::timeout(SWEEPS_MAX, self.sweeps.join_all()).await;
    }

    fn event(&mut self, message: Message) -> Option<Event> {
        match message {
            Message::Connected {
                registration,
                commands,
                placement,
            } => {
                let Registration {
                    executor,
                    slots,
                    address,
                    pid,
                    ..
                } = registration;
                info!(%executor, slots, pid, "ready");
                self.progress.executor_up(executor, pid);
                self.commands.insert(executor, commands);
                Some(Event::ExecutorUp {
                    id: executor,
                    slots,
                    address,
                    placement,
                })
            }
            Message::Report(executor, FromExecutor::Finished(report)) => {
                Some(Event::Finished(executor, report))
            }
            Message::Report(
                executor,
                FromExecutor::Failed {
                    task,
                    attempt,
                    failure,
                },
            ) => Some(Event::Failed(executor, task, attempt, failure)),
            Message::Report(executor, FromExecutor::Draining) => {
                info!(%executor, "drains: it was told to end");
                self.draining.insert(executor);
                Some(Event::Draining(executor))
            }
            Message::Report(from, FromExecutor::HandedOver { block, to }) => {
                Some(Event::HandedOver {
                    block,
                    from,
                    to: to.map(Into::into),
                })
            }
            Message::Report(executor, FromExecutor::Durable(block)) => {
                Some(Event::Durable(block, executor))
            }
            Message::Report(_, FromExecutor::Heartbeat | FromExecutor::Register(_)) => None,
            Message::Lost(executor, reason) => {
                self.commands.remove(&executor)?;
                let drained = self.draining.remove(&executor);
                if drained {
                    info!(%executor, "gone: {reason}");
                } else {
                    warn!(%executor, "lost: {reason}");
                }
                self.progress.executor_gone(executor, drained);
                self.told.retain(|(id, _, _)| *id != executor);
                Some(Event::ExecutorDown(executor))
            }
            Message::Submit(submission) => {
                let Submission {
                    label,
                    statement:
                        Statement {
                            query,
                            plan,
                            placement,
                            slots_expected,
                        },
                    outcome,
                } = submission;
                let (shapes, specs) = plan.stages();
                if let (Placement::Fleet, Some(failure)) = (placement, &self.fleet_gone) {
                    let _ = outcome.try_send(Err(failure.clone()));
                }
                self.progress.start(query, label, shapes.len());
                self.queries.insert(
                    query,
                    RunningQuery {
                        plan,
                        specs,
                        outcome,
                    },
                );
                Some(Event::Submit {
                    query,
                    stages: shapes,
                    placement,
                    slots_expected,
                })
            }
            Message::Revised(query, (stages, specs)) => {
                let running = self.queries.get_mut(&query)?;
                if !specs.is_empty() {
                    self.progress
                        .revised(query, &running.plan.now().0, specs.len());
                }
                running.specs.extend(specs);
                Some(Event::Revised { query, stages })
            }
            Message::OutputLost(block, executor) => Some(Event::OutputLost(block, executor.into())),
            Message::FleetGone(reason) => {
                let failure = Failure {
                    kind: FailureKind::Resource,
                    message: reason,
                };
                self.queries
                    .keys()
                    .for_each(|query| self.outcome(*query, Err(failure.clone())));
                self.fleet_gone = Some(failure);
                None
            }
            Message::Shutdown => None,
            Message::Release(query) => {
                self.progress.end(query);
                self.queries.remove(&query);
                self.told.retain(|(_, id, _)| *id != query);
                Some(Event::Release(query))
            }
        }
    }

    fn lost(&mut self, executor: ExecutorId, reason: &str) -> Vec<ExecutorId> {
        match self.event(Message::Lost(executor, reason.to_owned())) {
            Some(event) => self.step(event),
            None => vec![],
        }
    }

    /// Steps and acts; answers executors that do not take commands.
    fn step(&mut self, event: Event) -> Vec<ExecutorId> {
        let mut failed = vec![];
        for action in self.scheduler.step(self.started.elapsed(), event) {
            match action {
                Action::Launch(executor, spec) => {
                    debug!(task = %spec.task, attempt = spec.attempt.0, %executor, "launch");
                    let key = (executor, spec.task.query, spec.task.stage);
                    let stage = self
                        .queries
                        .get(&spec.task.query)
                        .and_then(|q| q.specs.get(spec.task.stage.0 as usize));
                    if let Some(stage) = stage
                        && !self.told.contains(&key)
                    {
                        let stage = stage.clone();
                        self.told.insert(key);
                        self.command(executor, ToExecutor::Stage(stage), &mut failed);
                    }
                    self.command(executor, ToExecutor::Launch(spec), &mut failed);
                }
                Action::Cancel(executor, task, attempt) => {
                    self.command(executor, ToExecutor::Cancel { task, attempt }, &mut failed)
                }
                Action::Release(query, executors) => {
                    for executor in executors {
                        self.command(executor, ToExecutor::Release(query), &mut failed);
                    }
                }
                Action::Sweep(blocks) => {
                    if let Some(tier) = self.durable.clone() {
                        self.sweeps.spawn(async move { tier.remove(blocks).await });
                    }
                }
                Action::Completed(query, output) => self.outcome(query, Ok(output)),
                Action::Failed(query, failure) => self.outcome(query, Err(failure)),
                Action::Revise(query, facts) => self.revise(query, facts),
                Action::Sliced(query, stage, tasks) => self.progress.sliced(query, stage, tasks),
                Action::Committed(executor, report) => self.progress.committed(executor, &report),
                Action::Uncommitted(task) => self.progress.uncommitted(task),
                Action::Excluded(executor) => {
                    warn!(%executor, "failed too often, gets no more tasks")
                }
                Action::HandOver {
                    from,
                    to,
                    address,
                    blocks,
                } => {
                    info!(%from, %to, blocks = blocks.len(), "hands its blocks over");
                    self.command(
                        from,
                        ToExecutor::HandOver {
                            to: to.into(),
                            address,
                            blocks,
                        },
                        &mut failed,
                    );
                }
                Action::Dismiss(executor) => {
                    self.command(executor, ToExecutor::Shutdown, &mut failed)
                }
            }
        }
        failed
    }

    /// Plans again what waits of a statement, beside the loop: that takes longer than to schedule.
    fn revise(&self, query: QueryId, facts: Vec<Fact>) {
        let (Some(running), Some(sender)) = (self.queries.get(&query), self.own.upgrade()) else {
            return;
        };
        let plan = Arc::clone(&running.plan);
        tokio::task::spawn_blocking(move || {
            let stages = plan.revise(&facts).unwrap_or_else(|error| {
                warn!(%query, "goes on as planned, since planning again failed: {error}");
                Stages::default()
            });
            // An engine that has ended needs no answer.
            let _ = sender.blocking_send(Message::Revised(query, stages));
        });
    }

    fn outcome(&self, query: QueryId, outcome: Result<QueryOutput, Failure>) {
        if let Some(running) = self.queries.get(&query) {
            // A reader that is gone has released the statement, or is about to.
            let _ = running.outcome.try_send(outcome);
        }
    }

    fn command(&self, executor: ExecutorId, command: ToExecutor, failed: &mut Vec<ExecutorId>) {
        if let Some(commands) = self.commands.get(&executor)
            && commands.try_send(command).is_err()
            && !failed.contains(&executor)
        {
            failed.push(executor);
        }
    }
}
