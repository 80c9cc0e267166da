//! The life of an executor: receives commands, runs attempts on its slots, reports.
//!
//! It decides nothing: the driver chooses which task runs where, and what follows a failure.

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
use crate::error::{classify, panic_text};
use crate::exchange::{BlockHandOver, BlockStore, DurableTier, ExchangeReader, PeerClients};
use crate::protocol::{
    Durability, Failure, FailureKind, FromExecutor, StageSpec, TaskSpec, ToExecutor,
};
use crate::stall;
use crate::task::TaskRun;

/// Longest wait for the removal of durable blocks when the executor ends.
const REMOVALS_MAX: Duration = Duration::from_secs(4);

/// Runs the tasks of one member of the fleet, embedded or in a process of its own.
#[derive(Debug)]
pub struct Executor {
    id: ExecutorId,
    environment: Arc<Environment>,
    store: Arc<BlockStore>,
    peers: Arc<PeerClients>,
    /// The runtime of the tasks. It is not the runtime of control, so heartbeats never wait for
    /// computation.
    compute: Handle,
}

/// The state that an executor keeps for its driver while it serves.
struct Assignments {
    stages: HashMap<(QueryId, StageId), Arc<StageSpec>>,
    running: HashMap<(TaskId, Attempt), AbortHandle>,
    /// Removals of durable blocks in flight.
    removals: JoinSet<()>,
    reports: mpsc::Sender<FromExecutor>,
}

impl Executor {
    /// Creates an executor whose tasks run on `compute`.
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

    /// Serves until `Shutdown`, or until the driver drops `commands`. Then aborts every attempt.
    pub async fn serve(
        self,
        mut commands: mpsc::Receiver<ToExecutor>,
        reports: mpsc::Sender<FromExecutor>,
    ) {
        let mut assignments = Assignments {
            stages: HashMap::new(),
            running: HashMap::new(),
            removals: JoinSet::new(),
            reports,
        };
        while let Some(command) = commands.recv().await {
            assignments.forget_finished();
            match command {
                ToExecutor::Stage(stage) => {
                    let key = (stage.query, stage.stage);
                    assignments.stages.insert(key, Arc::new(stage));
                }
                ToExecutor::Launch(spec) => self.launch(spec, &mut assignments).await,
                ToExecutor::Cancel { task, attempt } => {
                    self.cancel(BlockId { task, attempt }, &mut assignments);
                }
                ToExecutor::Release(query) => self.release(query, &mut assignments),
                ToExecutor::HandOver {
                    to,
                    address,
                    blocks,
                } => {
                    let hand_over = BlockHandOver {
                        store: Arc::clone(&self.store),
                        peers: Arc::clone(&self.peers),
                        durable: self.environment.durable().cloned(),
                        to,
                        address,
                    };
                    self.compute
                        .spawn(hand_over.run(blocks, assignments.reports.clone()));
                }
                ToExecutor::Shutdown => break,
            }
        }
        for attempt in assignments.running.values() {
            attempt.abort();
        }
        // Removals that do not end in time are left to the bucket's lifecycle rule.
        let _ = tokio::time::timeout(REMOVALS_MAX, assignments.removals.join_all()).await;
    }

    /// Step 6: starts an attempt, or reports why it cannot start.
    async fn launch(&self, spec: TaskSpec, assignments: &mut Assignments) {
        let (task, attempt) = (spec.task, spec.attempt);
        match assignments.stages.get(&(task.query, task.stage)) {
            Some(stage) => {
                let abort = self.start(Arc::clone(stage), spec, assignments.reports.clone());
                assignments.running.insert((task, attempt), abort);
            }
            None => {
                let failure = Failure {
                    kind: FailureKind::Bug,
                    message: format!("{task} was launched before its stage was sent"),
                };
                let report = FromExecutor::Failed {
                    task,
                    attempt,
                    failure,
                };
                let _ = assignments.reports.send(report).await;
            }
        }
    }

    /// Step 9: stops an attempt and discards its block.
    fn cancel(&self, block: BlockId, assignments: &mut Assignments) {
        if let Some(attempt) = assignments.running.remove(&(block.task, block.attempt)) {
            attempt.abort();
        }
        self.store.remove(block);
        if let Some(tier) = self.environment.durable().cloned() {
            assignments
                .removals
                .spawn(async move { tier.forget(block).await });
        }
    }

    /// Step 9: stops the attempts of a query and discards its plans and blocks.
    fn release(&self, query: QueryId, assignments: &mut Assignments) {
        assignments.running.retain(|(task, _), attempt| {
            if task.query == query {
                attempt.abort();
            }
            task.query != query
        });
        assignments.stages.retain(|(owner, _), _| *owner != query);
        self.store.release(query);
        if let Some(tier) = self.environment.durable().cloned() {
            assignments
                .removals
                .spawn(async move { tier.release(query).await });
        }
    }

    fn start(
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
        let copies_later = stage.durability == Durability::Async;
        let tier = self.environment.durable().filter(|_| copies_later).cloned();
        let run = TaskRun {
            stage,
            spec,
            reader,
            environment: Arc::clone(&self.environment),
            store: Arc::clone(&self.store),
            plan: Arc::default(),
        };
        // On the runtime of control: an attempt that never yields may block the one of tasks.
        let (task, attempt) = (run.spec.task, run.spec.attempt);
        let mut watch = JoinSet::new();
        watch.spawn(stall::watch(task, attempt, Arc::downgrade(&run.plan)));
        let attempt = async move {
            run_and_report(run, tier, reports).await;
            // Dropped with the attempt, also if that is aborted.
            drop(watch);
        };
        self.compute.spawn(attempt).abort_handle()
    }
}

impl Assignments {
    fn forget_finished(&mut self) {
        self.running.retain(|_, attempt| !attempt.is_finished());
        while self.removals.try_join_next().is_some() {}
    }
}

/// Step 8: runs an attempt, reports its outcome, and then writes the durable copy of its block to
/// `tier`.
async fn run_and_report(
    run: TaskRun,
    tier: Option<Arc<DurableTier>>,
    reports: mpsc::Sender<FromExecutor>,
) {
    let (task, attempt) = (run.spec.task, run.spec.attempt);
    let store = Arc::clone(&run.store);
    debug!(%task, attempt = attempt.0, "started");
    let report = match AssertUnwindSafe(run.run()).catch_unwind().await {
        Ok(Ok(report)) => FromExecutor::Finished(report),
        Ok(Err(error)) => report_failure(task, attempt, &error),
        Err(panic) => FromExecutor::Failed {
            task,
            attempt,
            failure: Failure {
                kind: FailureKind::Bug,
                message: format!("a task panicked: {}", panic_text(panic.as_ref())),
            },
        },
    };
    let is_finished = matches!(report, FromExecutor::Finished(_));
    // A send fails only if the driver hung up; then no one needs the report.
    let _ = reports.send(report).await;
    let block = BlockId { task, attempt };
    if let (true, Some(tier)) = (is_finished, tier)
        && tier.keep(&store, block).await
    {
        let _ = reports.send(FromExecutor::Durable(block)).await;
    }
}

fn report_failure(task: TaskId, attempt: Attempt, error: &DataFusionError) -> FromExecutor {
    let failure = classify(error);
    match failure.kind {
        // Expected after every loss of an executor, which the driver reports itself.
        FailureKind::BlockLost(..) => info!(%task, attempt = attempt.0, "failed: {failure}"),
        kind => warn!(%task, attempt = attempt.0, ?kind, "failed: {failure}"),
    }
    FromExecutor::Failed {
        task,
        attempt,
        failure,
    }
}
