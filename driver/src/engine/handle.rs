//! The handle by which sessions, fleets and connections send messages to the engine.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use faisca_executor::exchange::DurableTier;
use faisca_planner::ids::{ExecutorId, QueryId};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::progress::Progress;
use super::{Engine, Message, QUEUE_LENGTH};
use crate::error::{Error, Result};
use crate::journal::Journal;
use crate::scheduler::{HandoverTarget, LossCause, RetryLimits, Scheduler};

/// Sends messages to the engine. Cheap to clone; the engine ends when the last clone is dropped.
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
    /// Starts the engine as a task of the current runtime.
    #[must_use]
    pub fn start(
        limits: RetryLimits,
        durable: Option<Arc<DurableTier>>,
        journal: Journal,
    ) -> (Self, JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(QUEUE_LENGTH);
        let (fleet_size_sender, fleet_size) = watch::channel(0);
        let (slots_wanted_sender, slots_wanted) = watch::channel(0);
        let progress = Arc::new(Progress::default());
        let handover_target = match durable {
            Some(_) => HandoverTarget::ObjectStore,
            None => HandoverTarget::Executors,
        };
        let engine = Engine {
            own_queue: sender.downgrade(),
            scheduler: Scheduler::new(limits).with_handover_target(handover_target),
            commands: HashMap::new(),
            queries: HashMap::new(),
            sent_stages: HashSet::new(),
            draining: HashSet::new(),
            durable,
            sweeps: JoinSet::new(),
            started: Instant::now(),
            progress: Arc::clone(&progress),
            journal,
            fleet_size: fleet_size_sender,
            slots_wanted: slots_wanted_sender,
            fleet_failure: None,
        };
        let task = tokio::task::spawn(engine.run(receiver));
        let handle = Self {
            sender,
            next_query: Arc::new(AtomicU32::new(1)),
            progress,
            fleet_size,
            slots_wanted,
        };
        (handle, task)
    }

    /// Sends a message. Waits while the engine's queue is full.
    ///
    /// # Errors
    /// If the engine has ended.
    pub async fn send(&self, message: Message) -> Result<()> {
        self.sender
            .send(message)
            .await
            .map_err(|_| Error::SessionEnded)
    }

    /// Reports that an executor is lost, and the cause for the scheduler; `reason` is for the log.
    /// If the loss was reported before, only the cause counts. An engine that has ended needs no
    /// report: the driver is about to end.
    pub async fn report_executor_lost(
        &self,
        executor: ExecutorId,
        cause: LossCause,
        reason: String,
    ) {
        let lost = Message::Lost {
            executor,
            cause,
            reason,
        };
        let _ = self.send(lost).await;
    }

    /// Reports that a fleet will never have an executor again, as [`Self::report_executor_lost`]
    /// does.
    pub async fn report_fleet_lost(&self, reason: String) {
        let _ = self.send(Message::FleetLost(reason)).await;
    }

    /// Returns an id for the next query.
    #[must_use]
    pub fn next_query(&self) -> QueryId {
        QueryId(self.next_query.fetch_add(1, Ordering::Relaxed))
    }

    /// Requests the release of a query. Never waits, because destructors call it.
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
    pub async fn wait_for_end(&self) {
        self.sender.closed().await;
    }

    /// Returns the number of slots that the fleet's running and ready tasks would occupy at once,
    /// for fleets that scale with it.
    #[must_use]
    pub fn slots_wanted(&self) -> watch::Receiver<usize> {
        self.slots_wanted.clone()
    }

    /// Waits until the fleet has at least one executor, or the engine has ended.
    pub async fn first_executor(&self) {
        // The engine closes the channel when it ends. The next `send` then reports that.
        let _ = self.fleet_size.clone().wait_for(|size| *size > 0).await;
    }
}
