//! The executor's life: takes commands, runs attempts on its slots, reports.
//!
//! It decides nothing: which task runs where, and what follows a failure, is the driver's.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use datafusion::common::DataFusionError;
use faisca_planner::ids::{Attempt, BlockId, ExecutorId, QueryId, StageId, TaskId};
use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, info, warn};

use crate::environment::Environment;
use crate::error::classify;
use crate::exchange::{BlockStore, DurableTier, ExchangeReader, PeerClients, send_hand_over};
use crate::task::TaskRun;
use crate::wire::{
    Durability, Failure, FailureKind, FromExecutor, StageSpec, TaskSpec, ToExecutor,
};

/// Commands and reports under way at once, each.
pub const QUEUE_LENGTH: usize = 4096;

/// An executor that ends waits so long for the removal of its durable blocks.
const REMOVALS_MAX: Duration = Duration::from_secs(4);
/// Frames of a block under way to another executor, of some MiB each.
const HAND_OVER_FRAMES: usize = 4;

/// Runs tasks of one fleet member, embedded or in a process of its own.
pub struct Executor {
    id: ExecutorId,
    environment: Arc<Environment>,
    store: Arc<BlockStore>,
    peers: Arc<PeerClients>,
    /// Where tasks compute, apart from control, so that heartbeats never wait for them.
    compute: Handle,
}

struct Running {
    abort: AbortHandle,
}

impl Executor {
    /// Tasks run on `compute`.
    #[must_use]
    pub fn new(
        id: ExecutorId,
        environment: Arc<Environment>,
        store: Arc<BlockStore>,
        peers: Arc<PeerClients>,
        compute: Handle,
    ) -> Self {
        Self {
            id,
            environment,
            store,
            peers,
            compute,
        }
    }

    /// Serves until `Shutdown`, or until the driver hangs up; then stops every attempt.
    pub async fn serve(
        self,
        mut commands: mpsc::Receiver<ToExecutor>,
        reports: mpsc::Sender<FromExecutor>,
    ) {
        let mut stages: HashMap<(QueryId, StageId), Arc<StageSpec>> = HashMap::new();
        let mut running: HashMap<(TaskId, Attempt), Running> = HashMap::new();
        let mut removals = JoinSet::new();
        while let Some(command) = commands.recv().await {
            running.retain(|_, task| !task.abort.is_finished());
            while removals.try_join_next().is_some() {}
            match command {
                ToExecutor::Stage(stage) => {
                    stages.insert((stage.query, stage.stage), Arc::new(stage));
                }
                ToExecutor::Launch(spec) => {
                    let key = (spec.task, spec.attempt);
                    match stages.get(&(spec.task.query, spec.task.stage)) {
                        Some(stage) => {
                            running.insert(
                                key,
                                Running {
                                    abort: self.launch(Arc::clone(stage), spec, reports.clone()),
                                },
                            );
                        }
                        None => report_unknown_stage(&spec, &reports).await,
                    }
                }
                ToExecutor::Cancel { task, attempt } => {
                    if let Some(running) = running.remove(&(task, attempt)) {
                        running.abort.abort();
                    }
                    let block = BlockId { task, attempt };
                    self.store.remove(block);
                    if let Some(tier) = self.environment.durable().cloned() {
                        removals.spawn(async move { tier.forget(block).await });
                    }
                }
                ToExecutor::Release(query) => {
                    running.retain(|(task, _), running| {
                        if task.query == query {
                            running.abort.abort();
                        }
                        task.query != query
                    });
                    stages.retain(|(owner, _), _| *owner != query);
                    self.store.release(query);
                    if let Some(tier) = self.environment.durable().cloned() {
                        removals.spawn(async move { tier.release(query).await });
                    }
                }
                ToExecutor::HandOver {
                    to,
                    address,
                    blocks,
                } => {
                    let way = Way {
                        store: Arc::clone(&self.store),
                        peers: Arc::clone(&self.peers),
                        durable: self.environment.durable().cloned(),
                    };
                    self.compute
                        .spawn(hand_over(way, to, address, blocks, reports.clone()));
                }
                ToExecutor::Shutdown => break,
            }
        }
        for running in running.values() {
            running.abort.abort();
        }
        // What was begun is brought to its end; the bucket's lifecycle rule is the net below it.
        let _ = tokio::time::timeout(REMOVALS_MAX, removals.join_all()).await;
    }

    fn launch(
        &self,
        stage: Arc<StageSpec>,
        mut spec: TaskSpec,
        reports: mpsc::Sender<FromExecutor>,
    ) -> AbortHandle {
        let inputs = std::mem::take(&mut spec.inputs);
        let reader = ExchangeReader::new(
            inputs,
            self.id,
            Arc::clone(&self.store),
            Arc::clone(&self.peers),
        );
        let reader = Arc::new(reader.with_durable(self.environment.durable().cloned()));
        let (task, attempt) = (spec.task, spec.attempt);
        let later = self
            .environment
            .durable()
            .filter(|_| stage.durability == Durability::Async)
            .cloned();
        let later = later.map(|tier| (tier, Arc::clone(&self.store)));
        let run = TaskRun {
            stage,
            spec,
            reader,
            environment: Arc::clone(&self.environment),
            store: Arc::clone(&self.store),
        };
        let work = async move {
            debug!(%task, attempt = attempt.0, "started");
            let outcome = AssertUnwindSafe(run.run()).catch_unwind().await;
            let report = match outcome {
                Ok(Ok(report)) => FromExecutor::Finished(report),
                Ok(Err(error)) => failed(task, attempt, &error),
                Err(panic) => FromExecutor::Failed {
                    task,
                    attempt,
                    failure: Failure {
                        kind: FailureKind::Bug,
                        message: panic_text(&panic),
                    },
                },
            };
            let finished = matches!(report, FromExecutor::Finished(_));
            // A closed channel means that the driver is gone, and nobody is left to tell.
            let _ = reports.send(report).await;
            let block = BlockId { task, attempt };
            if let (true, Some((tier, store))) = (finished, later)
                && tier.keep(&store, block).await
            {
                let _ = reports.send(FromExecutor::Durable(block)).await;
            }
        };
        self.compute.spawn(work).abort_handle()
    }
}

/// How blocks leave an executor.
struct Way {
    store: Arc<BlockStore>,
    peers: Arc<PeerClients>,
    durable: Option<Arc<DurableTier>>,
}

/// Brings blocks to a peer or to the object store, one after another, and tells the driver of each.
async fn hand_over(
    way: Way,
    heir: ExecutorId,
    address: String,
    blocks: Vec<BlockId>,
    reports: mpsc::Sender<FromExecutor>,
) {
    for block in blocks {
        let brought = match &way.durable {
            Some(tier) if heir == ExecutorId::STORE => match way.store.get(block) {
                Some(found) => tier
                    .write(block, found)
                    .await
                    .map_err(|e| e.strip_backtrace()),
                None => Err("it is not here".to_owned()),
            },
            _ => bring(&way.store, &way.peers, &address, block).await,
        };
        let to = match brought {
            Ok(()) => Some(heir),
            Err(reason) => {
                warn!(%block, %heir, "not handed over: {reason}");
                None
            }
        };
        let _ = reports.send(FromExecutor::HandedOver { block, to }).await;
    }
}

async fn bring(
    store: &BlockStore,
    peers: &PeerClients,
    address: &str,
    block: BlockId,
) -> Result<(), String> {
    let found = store.get(block).ok_or("it is not here")?;
    let (sender, frames) = mpsc::channel(HAND_OVER_FRAMES);
    let sending = tokio::task::spawn_blocking(move || send_hand_over(block, &found, &sender));
    let put = peers.put(address, frames).await;
    match sending.await {
        Ok(Ok(())) => put.map_err(|status| status.message().to_owned()),
        Ok(Err(error)) => Err(error.strip_backtrace()),
        Err(panic) => Err(panic.to_string()),
    }
}

fn failed(task: TaskId, attempt: Attempt, error: &DataFusionError) -> FromExecutor {
    let failure = classify(error);
    match failure.kind {
        // Expected wherever an executor dies, of which the driver tells.
        FailureKind::BlockLost(..) => info!(%task, attempt = attempt.0, "failed: {failure}"),
        kind => warn!(%task, attempt = attempt.0, ?kind, "failed: {failure}"),
    }
    FromExecutor::Failed {
        task,
        attempt,
        failure,
    }
}

async fn report_unknown_stage(spec: &TaskSpec, reports: &mpsc::Sender<FromExecutor>) {
    let failure = Failure {
        kind: FailureKind::Bug,
        message: format!("{} launched before its stage", spec.task),
    };
    let _ = reports
        .send(FromExecutor::Failed {
            task: spec.task,
            attempt: spec.attempt,
            failure,
        })
        .await;
}

fn panic_text(panic: &Box<dyn std::any::Any + Send>) -> String {
    let text = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
    format!(
        "a task panicked: {}",
        text.unwrap_or_else(|| "no message".to_owned())
    )
}
