//! The loop that owns the scheduler: messages in, [`Scheduler::step`], actions out.
//!
//! ```text
//!   sessions, control service, embedded executor
//!        │ Message, through one bounded queue
//!        ▼
//!   messages: record, translate ──► Event ──► Scheduler::step ──► Action ──► actions
//!                                                                             │
//!        executors ◄── ToExecutor, through a bounded queue each ──────────────┤
//!        reader of the query ◄── its output or failure ───────────────────────┤
//!        progress, journal ◄── tasks committed, withdrawn ────────────────────┘
//! ```
//!
//! **The loop never waits for an executor.** An executor whose command queue is full is treated as
//! lost.
//!
//! - `handle`: sends messages to the loop
//! - `messages`: translates messages to the scheduler's events
//! - `actions`: executes the scheduler's actions
//! - `prepared`, `query_plan`: a query's stages, encoded; and as they change while it runs
//! - [`progress`]: what runs and what ran, for displays
//! - `records`: records for the journal

mod actions;
mod handle;
mod messages;
pub(crate) mod prepared;
pub mod progress;
pub(crate) mod query_plan;
mod records;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use faisca_executor::exchange::DurableTier;
use faisca_executor::protocol::{Failure, FromExecutor, Registration, StageSpec, ToExecutor};
use faisca_planner::ids::{BlockHome, BlockId, ExecutorId, QueryId, StageId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::error::Result;
use crate::journal::Journal;
use crate::scheduler::{Event, LossCause, Placement, QueryOutput, Scheduler};
pub use handle::EngineHandle;
use progress::Progress;
use query_plan::{QueryPlan, QueryStages};
pub(crate) use records::column_records;

/// Capacity of the engine's message queue.
const QUEUE_LENGTH: usize = 16 * 1024;
/// Interval of the search for slow attempts.
const TICK: Duration = Duration::from_millis(250);
/// How long the engine waits at its end for objects of lost executors to be deleted.
const SWEEPS_TIMEOUT: Duration = Duration::from_secs(10);

/// A notification or a request to the engine.
#[derive(Debug)]
pub enum Message {
    /// An executor is ready for commands.
    Connected {
        /// The executor's description of itself.
        registration: Registration,
        /// Its command queue.
        commands: mpsc::Sender<ToExecutor>,
        /// The queries whose tasks it takes.
        placement: Placement,
    },
    /// A report of an executor.
    Report(ExecutorId, FromExecutor),
    /// An executor is lost. If it was reported before, only the cause counts.
    Lost {
        /// The executor.
        executor: ExecutorId,
        /// Why, for the scheduler.
        cause: LossCause,
        /// Why, for the log.
        reason: String,
    },
    /// Run a query.
    Submit(QuerySubmission),
    /// The waiting stages of a query were re-planned. Without stages, the plan stays unchanged.
    Revised(QueryId, QueryStages),
    /// A block of a delivered result cannot be read from its home.
    OutputLost(BlockId, BlockHome),
    /// Stop what still runs of a query, and delete its blocks.
    Release(QueryId),
    /// No executor will ever join again, for this reason.
    FleetLost(String),
    /// Request every executor to end, then end the engine.
    Shutdown,
}

/// A query for the engine to run.
#[derive(Debug)]
pub struct QuerySubmission {
    pub(crate) query: QueryId,
    /// The user's name for the query.
    pub(crate) label: String,
    pub(crate) plan: Arc<QueryPlan>,
    pub(crate) placement: Placement,
    /// Number of slots to plan for.
    pub(crate) slots_expected: u32,
    pub(crate) outcome: mpsc::Sender<Result<QueryOutput, Failure>>,
}

/// State of a query in the engine, until its release.
struct QueryEntry {
    plan: Arc<QueryPlan>,
    /// Index = stage id.
    specs: Vec<StageSpec>,
    outcome: mpsc::Sender<Result<QueryOutput, Failure>>,
}

struct Engine {
    scheduler: Scheduler,
    /// Its own queue, for replies of its background work. Weak: the engine ends when the last
    /// handle is dropped.
    own_queue: mpsc::WeakSender<Message>,
    commands: HashMap<ExecutorId, mpsc::Sender<ToExecutor>>,
    queries: HashMap<QueryId, QueryEntry>,
    /// The stages whose plans an executor has.
    sent_stages: HashSet<(ExecutorId, QueryId, StageId)>,
    /// Executors that reported that they shut down.
    draining: HashSet<ExecutorId>,
    durable: Option<Arc<DurableTier>>,
    /// Deletions in progress of objects that lost executors may have left in the object store.
    sweeps: JoinSet<()>,
    started: Instant,
    progress: Arc<Progress>,
    journal: Journal,
    fleet_size: watch::Sender<usize>,
    slots_wanted: watch::Sender<usize>,
    /// Why no executor will ever join again; `None` while executors may join.
    fleet_failure: Option<Failure>,
}

impl Engine {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                message = messages.recv() => match message {
                    None | Some(Message::Shutdown) => break,
                    Some(message) => self.receive(message),
                },
                _ = ticks.tick(), if !self.queries.is_empty() => Some(Event::Tick),
            };
            let Some(event) = event else { continue };
            let mut unresponsive = self.step(event);
            // The commands that follow the loss of one executor may fill the queue of another.
            while let Some(executor) = unresponsive.pop() {
                let reason = "its command queue is full";
                if let Some(event) = self.executor_lost(executor, LossCause::Unknown, reason) {
                    unresponsive.extend(self.step(event));
                }
            }
            self.publish_sizes();
        }
        for commands in self.commands.values() {
            // An executor that does not take the command notices the end of its connection.
            let _ = commands.try_send(ToExecutor::Shutdown);
        }
        let _ = tokio::time::timeout(SWEEPS_TIMEOUT, self.sweeps.join_all()).await;
    }

    fn publish_sizes(&self) {
        let publish = |watched: &watch::Sender<usize>, value: usize| {
            watched.send_if_modified(|known| std::mem::replace(known, value) != value);
        };
        publish(&self.fleet_size, self.scheduler.fleet_size());
        publish(&self.slots_wanted, self.scheduler.slots_wanted());
    }

    /// Passes a query's outcome to its reader.
    fn report_outcome(&self, query: QueryId, outcome: Result<QueryOutput, Failure>) {
        if let Some(query) = self.queries.get(&query) {
            // A reader that was dropped has released the query, or is about to.
            let _ = query.outcome.try_send(outcome);
        }
    }
}
