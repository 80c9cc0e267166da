//! Watches the executors' pods, replaces lost ones, and adapts their number to the work.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use faisca_driver::engine::EngineHandle;
use faisca_driver::scheduler::LossCause;
use faisca_planner::ids::ExecutorId;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::{broadcast, oneshot};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::create_executor;
use super::executor_state::{ExecutorState, Replacement, executor_state};
use super::scale::{ScaleChange, scale_change};
use crate::application::ExecutorCount;
use crate::history::History;
use crate::pod_state::{Loss, StartupProblem, StartupTimeouts, loss};
use crate::pods::{EXECUTOR_CONTAINER, EXECUTOR_LABEL, ExecutorPods, executor_selector};

/// Interval between two checks of the fleet's size and of executors that do not start.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// An executor whose pod was created.
struct TrackedExecutor {
    state: ExecutorState,
    /// True if another executor was created in its place, or none is needed. Each executor is
    /// replaced at most once.
    is_replaced: bool,
    /// Reports the pod's end to the follower of its log.
    log_end: Option<oneshot::Sender<()>>,
}

impl TrackedExecutor {
    fn starting() -> Self {
        Self {
            state: ExecutorState::Starting(None),
            is_replaced: false,
            log_end: None,
        }
    }
}

/// Parameters of a [`FleetKeeper`].
pub(super) struct KeeperParameters {
    pub(super) api: Api<Pod>,
    pub(super) pods: Arc<ExecutorPods>,
    pub(super) engine: EngineHandle,
    /// Bounds of the number of executors; the initial ones exist already.
    pub(super) count: ExecutorCount,
    /// Task slots of one executor.
    pub(super) slots: u32,
    /// Maximum number of replacements of lost executors during the attempt.
    pub(super) replacements_max: u32,
    pub(super) history: Option<History>,
}

/// Owns the state of the executors' pods. One task runs it, so nothing is locked.
pub(super) struct FleetKeeper {
    api: Api<Pod>,
    pods: Arc<ExecutorPods>,
    engine: EngineHandle,
    /// All executors of the attempt, ended ones included, by number.
    executors: BTreeMap<u32, TrackedExecutor>,
    /// Number of the next executor. Numbers are never reused.
    next_id: u32,
    replacements_left: u32,
    count: ExecutorCount,
    slots: u32,
    history: Option<History>,
    /// Since when there are more executors than needed.
    idle_since: Option<Instant>,
    /// When executors were last requested; their startup timeout begins here.
    requested_at: Instant,
    /// True once an executor has run; later startup problems reduce capacity, but do not fail the
    /// job.
    has_ever_run: bool,
    /// True once the engine was notified that the fleet is lost.
    is_fleet_lost: bool,
    /// Executors that the API server refused to create.
    refused: Option<RefusedExecutors>,
}

/// Executors whose creation the API server refused, for example because of a quota. They are
/// requested again at each check.
struct RefusedExecutors {
    count: u32,
    since: Instant,
    reason: String,
}

impl FleetKeeper {
    pub(super) fn new(parameters: KeeperParameters) -> Self {
        let KeeperParameters {
            api,
            pods,
            engine,
            count,
            slots,
            replacements_max,
            history,
        } = parameters;
        Self {
            api,
            pods,
            engine,
            executors: (1..=count.initial)
                .map(|id| (id, TrackedExecutor::starting()))
                .collect(),
            next_id: count.initial + 1,
            replacements_left: replacements_max,
            count,
            slots,
            history,
            idle_since: None,
            requested_at: Instant::now(),
            has_ever_run: false,
            is_fleet_lost: false,
            refused: None,
        }
    }

    /// Runs until aborted. `dead_executors` yields executors that the driver has declared dead.
    pub(super) async fn run(mut self, mut dead_executors: broadcast::Receiver<ExecutorId>) {
        let selector = executor_selector(&self.pods.application.owner.uid, Some(self.pods.attempt));
        let config = watcher::Config::default().labels(&selector);
        let mut events = pin!(watcher(self.api.clone(), config).default_backoff());
        let mut checks = tokio::time::interval(CHECK_INTERVAL);
        let mut slots_wanted = self.engine.slots_wanted();
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.on_watch_event(event).await,
                    None => return,
                },
                Ok(executor) = dead_executors.recv() => self.delete_dead(executor).await,
                Ok(()) = slots_wanted.changed() => {
                    let slots = *slots_wanted.borrow_and_update();
                    self.scale(slots).await;
                }
                _ = checks.tick() => {
                    let slots = *slots_wanted.borrow();
                    self.create_refused().await;
                    self.scale(slots).await;
                    self.check_startup().await;
                }
            }
        }
    }

    async fn on_watch_event(&mut self, event: Result<watcher::Event<Pod>, watcher::Error>) {
        match event {
            Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => {
                self.on_pod_state(&pod, executor_state(&pod)).await;
            }
            Ok(watcher::Event::Delete(pod)) => {
                let cause = loss(&pod).filter(|loss| *loss != Loss::Failed);
                let reason =
                    cause.map_or_else(|| "its pod was deleted".to_owned(), |loss| loss.to_string());
                let ended = ExecutorState::Ended {
                    reason,
                    cause: cause.map_or(LossCause::Killed, Loss::cause),
                    replacement: Replacement::Useful,
                };
                self.on_pod_state(&pod, ended).await;
            }
            Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
            // The watch reconnects by itself; the executors do not depend on it.
            Err(error) => warn!("watching executors: {error}"),
        }
    }

    async fn on_pod_state(&mut self, pod: &Pod, state: ExecutorState) {
        let label = pod.labels().get(EXECUTOR_LABEL);
        let Some(id) = label.and_then(|text| text.parse::<u32>().ok()) else {
            return;
        };
        let Some(executor) = self.executors.get_mut(&id) else {
            return;
        };
        // An ended pod may still be updated and deleted: its end counts once.
        if executor.state == state || matches!(executor.state, ExecutorState::Ended { .. }) {
            return;
        }
        executor.state = state.clone();
        let has_started = !matches!(state, ExecutorState::Starting(_));
        if let (Some(history), None, true) = (&self.history, &executor.log_end, has_started) {
            executor.log_end = Some(history.follow(self.pods.name(id), EXECUTOR_CONTAINER));
        }
        match state {
            ExecutorState::Starting(_) => {}
            ExecutorState::Running => self.has_ever_run = true,
            ExecutorState::Terminating => {
                info!("executor-{id}: its pod is terminating");
                self.replace(id).await;
            }
            ExecutorState::Ended {
                reason,
                cause,
                replacement,
            } => self.on_end(id, &reason, cause, replacement).await,
        }
    }

    async fn on_end(&mut self, id: u32, reason: &str, cause: LossCause, replacement: Replacement) {
        let executor = self.executors.get_mut(&id);
        if let Some(log_end) = executor.and_then(|executor| executor.log_end.take()) {
            // An error means that the follower has ended: there is nothing to report to.
            let _ = log_end.send(());
        }
        self.engine
            .report_executor_lost(ExecutorId(id), cause, reason.to_owned())
            .await;
        match replacement {
            Replacement::Futile => {
                error!("executor-{id} could not serve: {reason}; its log has the cause");
            }
            Replacement::Useful => {
                warn!("executor-{id}: {reason}");
                self.replace(id).await;
            }
        }
        self.report_if_all_ended(replacement, &format!("executor-{id}: {reason}"))
            .await;
    }

    /// Creates another executor in place of this one, once, while replacements are left.
    async fn replace(&mut self, id: u32) {
        let Some(executor) = self.executors.get_mut(&id) else {
            return;
        };
        if std::mem::replace(&mut executor.is_replaced, true) {
            return;
        }
        if self.replacements_left == 0 {
            warn!("executor-{id} is not replaced: no replacement is left");
            return;
        }
        self.replacements_left -= 1;
        info!("executor-{} replaces executor-{id}", self.next_id);
        self.create_next().await;
    }

    /// Creates the next executor. If the API server refuses it, it is requested again later, by the
    /// same name: the pod may exist although its creation was not acknowledged.
    async fn create_next(&mut self) {
        let id = self.next_id;
        match create_executor(&self.api, &self.pods, id).await {
            Ok(()) => {
                self.next_id += 1;
                self.executors.insert(id, TrackedExecutor::starting());
            }
            Err(error) => {
                let reason = error.to_string();
                let refused = self.refused.get_or_insert_with(|| RefusedExecutors {
                    count: 0,
                    since: Instant::now(),
                    reason: String::new(),
                });
                refused.count += 1;
                if refused.reason != reason {
                    warn!("executor-{id} is requested again later: {reason}");
                    refused.reason = reason;
                }
            }
        }
    }

    /// Requests the executors again that the API server refused.
    async fn create_refused(&mut self) {
        let Some(refused) = &mut self.refused else {
            return;
        };
        let count = std::mem::take(&mut refused.count);
        for remaining in (0..count).rev() {
            self.create_next().await;
            match &mut self.refused {
                Some(refused) if refused.count > 0 => {
                    // The remaining ones would be refused as well.
                    refused.count += remaining;
                    return self.check_refused().await;
                }
                _ => {}
            }
        }
        self.refused = None;
    }

    /// Reports the fleet as lost if it has no executor, and none could be created in time.
    async fn check_refused(&mut self) {
        let Some(refused) = &self.refused else { return };
        let waiting_time = refused.since.elapsed();
        if self.all_ended() && waiting_time >= StartupTimeouts::default().schedule {
            let (seconds, reason) = (waiting_time.as_secs(), &refused.reason);
            self.report_lost(format!("no executor was created in {seconds} s: {reason}"))
                .await;
        }
    }

    /// Adapts the number of executors to the number of tasks, if the spec allows a range.
    async fn scale(&mut self, slots_wanted: usize) {
        if self.count.min == self.count.max || self.is_fleet_lost {
            return;
        }
        let present: Vec<u32> = self
            .executors
            .iter()
            .filter(|(_, executor)| executor.state.is_starting_or_running())
            .map(|(id, _)| *id)
            .collect();
        let requested = present.len() + self.refused.as_ref().map_or(0, |r| r.count as usize);
        let has_surplus = slots_wanted < requested * self.slots as usize;
        let idle = if has_surplus {
            self.idle_since.get_or_insert_with(Instant::now).elapsed()
        } else {
            self.idle_since = None;
            Duration::ZERO
        };
        match scale_change(
            self.count,
            slots_wanted,
            self.slots,
            u32::try_from(requested).unwrap_or(u32::MAX),
            idle,
        ) {
            ScaleChange::None => {}
            ScaleChange::Grow(count) => {
                info!("creating {count} more executors for {slots_wanted} tasks");
                for _ in 0..count {
                    self.create_next().await;
                }
                self.requested_at = Instant::now();
            }
            ScaleChange::Shrink(count) => {
                info!("removing {count} executors: {slots_wanted} tasks are left");
                let refused = self.refused.take().map_or(0, |refused| refused.count);
                // The newest executors hold the fewest blocks, which they hand over before they
                // end.
                let surplus = count.saturating_sub(refused) as usize;
                for id in present.into_iter().rev().take(surplus) {
                    self.executors
                        .entry(id)
                        .and_modify(|executor| executor.is_replaced = true);
                    self.delete(id, &DeleteParams::default()).await;
                }
                self.idle_since = None;
            }
        }
    }

    /// Deletes an executor that the driver has declared dead, for example a frozen one: its pod may
    /// still hold memory and cores.
    async fn delete_dead(&self, ExecutorId(id): ExecutorId) {
        match self.executors.get(&id).map(|executor| &executor.state) {
            None | Some(ExecutorState::Ended { .. }) => {}
            Some(_) => {
                self.delete(id, &DeleteParams::default().grace_period(0))
                    .await;
            }
        }
    }

    async fn delete(&self, id: u32, params: &DeleteParams) {
        let name = self.pods.name(id);
        match self.api.delete(&name, params).await {
            Ok(_) => {}
            // Already deleted.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => warn!("{name}: {error}"),
        }
    }

    /// Reports the fleet as lost if no executor has started in time.
    async fn check_startup(&mut self) {
        if self.has_ever_run {
            return;
        }
        let Some(problem) = self.first_startup_problem() else {
            return;
        };
        let waiting_time = self.requested_at.elapsed();
        if waiting_time >= problem.timeout(StartupTimeouts::default()) {
            let seconds = waiting_time.as_secs();
            self.report_lost(format!("no executor started in {seconds} s: {problem}"))
                .await;
        }
    }

    fn first_startup_problem(&self) -> Option<StartupProblem> {
        self.executors
            .values()
            .find_map(|executor| match &executor.state {
                ExecutorState::Starting(Some(problem)) => Some(problem.clone()),
                _ => None,
            })
    }

    /// Reports the fleet as lost if all executors have ended and no replacement can come.
    async fn report_if_all_ended(&mut self, replacement: Replacement, last: &str) {
        // With a minimum of 0, having no executor is normal: later work creates new ones. Not so if
        // they would end in the same way, or if no replacement is left.
        let may_create_more = self.refused.is_some()
            || self.count.min == 0
                && replacement == Replacement::Useful
                && self.replacements_left > 0;
        if self.all_ended() && !may_create_more {
            self.report_lost(format!("all executors have ended; the last one: {last}"))
                .await;
        }
    }

    fn all_ended(&self) -> bool {
        self.executors
            .values()
            .all(|executor| matches!(executor.state, ExecutorState::Ended { .. }))
    }

    /// Notifies the engine, once, that no executor is left and none will come.
    async fn report_lost(&mut self, reason: String) {
        if !std::mem::replace(&mut self.is_fleet_lost, true) {
            self.engine.report_fleet_lost(reason).await;
        }
    }
}
