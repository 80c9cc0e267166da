//! Watches executors' pods, and puts others in the place of those that end.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use faisca_driver::engine::{EngineHandle, Message};
use faisca_executor::control::ServeError;
use faisca_planner::ids::ExecutorId;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::{broadcast, oneshot};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::create;
use super::scale::{Change, change};
use crate::application::ExecutorCount;
use crate::history::History;
use crate::loss::{Loss, loss};
use crate::pods::{EXECUTOR_CONTAINER, ExecutorPods, executor_selector};
use crate::stuck::{Patience, Stuck, stuck};

/// How often executors that do not start are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What a pod is to its fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not there yet; held up by something, perhaps.
    Coming(Option<Stuck>),
    Up,
    /// Told to end: it hands on what it has.
    Leaving,
    /// At its end, and why.
    Ended {
        reason: String,
        unusable: bool,
    },
}

pub(super) fn standing(pod: &Pod) -> Standing {
    let status = pod.status.as_ref();
    let phase = status
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Pending");
    let containers = status
        .and_then(|status| status.container_statuses.as_deref())
        .unwrap_or_default();
    let code = containers
        .iter()
        .find_map(|c| Some(c.state.as_ref()?.terminated.as_ref()?.exit_code));
    match (phase, loss(pod)) {
        ("Succeeded" | "Failed", found) => {
            let unusable = code == Some(ServeError::UNUSABLE);
            let reason = match (found, code) {
                (Some(loss), _) if loss != Loss::Failed => loss.to_string(),
                (_, Some(code)) => format!("exit code {code}"),
                _ => format!("phase {phase}"),
            };
            Standing::Ended { reason, unusable }
        }
        _ if pod.metadata.deletion_timestamp.is_some() => Standing::Leaving,
        ("Running", _) => Standing::Up,
        _ => Standing::Coming(stuck(pod)),
    }
}

struct Kept {
    standing: Standing,
    /// Another one was asked for in its place.
    replaced: bool,
    /// Tells who reads its log along that it has ended.
    log: Option<oneshot::Sender<()>>,
}

impl Kept {
    fn coming() -> Self {
        Self {
            standing: Standing::Coming(None),
            replaced: false,
            log: None,
        }
    }
}

pub(super) struct Keeper {
    api: Api<Pod>,
    pods: Arc<ExecutorPods>,
    engine: EngineHandle,
    all: BTreeMap<u32, Kept>,
    next: u32,
    replacements_left: u32,
    /// How many there may be, and task slots of each.
    count: ExecutorCount,
    slots: u32,
    history: Option<History>,
    /// More than needed since then.
    idle_since: Option<Instant>,
    began: Instant,
    /// Some executor was up at some time.
    was_up: bool,
    gone: bool,
}

impl Keeper {
    pub(super) fn new(
        api: Api<Pod>,
        pods: Arc<ExecutorPods>,
        engine: EngineHandle,
        count: ExecutorCount,
        (slots, replacements_left): (u32, u32),
        history: Option<History>,
    ) -> Self {
        let all = (1..=count.initial).map(|id| (id, Kept::coming())).collect();
        let next = count.initial + 1;
        Self {
            api,
            pods,
            engine,
            all,
            next,
            replacements_left,
            count,
            slots,
            history,
            idle_since: None,
            began: Instant::now(),
            was_up: false,
            gone: false,
        }
    }

    pub(super) async fn keep(mut self, mut given_up: broadcast::Receiver<ExecutorId>) {
        let selector = executor_selector(&self.pods.application.owner.uid, Some(self.pods.attempt));
        let mut events = pin!(
            watcher(
                self.api.clone(),
                watcher::Config::default().labels(&selector)
            )
            .default_backoff()
        );
        let mut looks = tokio::time::interval(LOOK);
        let mut wanted = self.engine.slots_wanted();
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod))) => self.changed(&pod, standing(&pod)).await,
                    Some(Ok(watcher::Event::Delete(pod))) => {
                        let why = loss(&pod).filter(|loss| *loss != Loss::Failed);
                        let reason = why.map_or_else(|| "its pod was deleted".to_owned(), |loss| loss.to_string());
                        let ended = Standing::Ended { reason, unusable: false };
                        self.changed(&pod, ended).await;
                    }
                    Some(Ok(watcher::Event::Init | watcher::Event::InitDone)) => {}
                    // It tries again by itself; executors go on meanwhile.
                    Some(Err(error)) => warn!("watching executors: {error}"),
                    None => return,
                },
                Ok(executor) = given_up.recv() => self.end(executor).await,
                Ok(()) = wanted.changed() => {
                    let slots = *wanted.borrow_and_update();
                    self.scale(slots).await;
                }
                _ = looks.tick() => {
                    let slots = *wanted.borrow();
                    self.scale(slots).await;
                    self.look().await;
                }
            }
        }
    }

    async fn changed(&mut self, pod: &Pod, now: Standing) {
        let Some(id) = pod
            .labels()
            .get("spark-exec-id")
            .and_then(|text| text.parse::<u32>().ok())
        else {
            return;
        };
        let Some(kept) = self.all.get_mut(&id) else {
            return;
        };
        if kept.standing == now || matches!(kept.standing, Standing::Ended { .. }) {
            return;
        }
        kept.standing = now.clone();
        if let (Some(history), None, false) =
            (&self.history, &kept.log, matches!(now, Standing::Coming(_)))
        {
            kept.log = Some(history.follow(self.pods.name(id), EXECUTOR_CONTAINER));
        }
        match now {
            Standing::Coming(_) => {}
            Standing::Up => self.was_up = true,
            Standing::Leaving => {
                info!("executor-{id}: its pod was told to end");
                self.replace(id).await;
            }
            Standing::Ended { reason, unusable } => {
                if let Some(log) = kept.log.take() {
                    // Nobody reads along any more.
                    let _ = log.send(());
                }
                let _ = self
                    .engine
                    .send(Message::Lost(ExecutorId(id), reason.clone()))
                    .await;
                if unusable {
                    error!("executor-{id} could not serve: {reason}; its log tells why");
                } else {
                    warn!("executor-{id}: {reason}");
                    self.replace(id).await;
                }
                self.give_up_if_none(unusable, &format!("executor-{id}: {reason}"))
                    .await;
            }
        }
    }

    /// Asks for another executor, once for each that goes.
    async fn replace(&mut self, id: u32) {
        if self.replacements_left == 0
            || self
                .all
                .get_mut(&id)
                .is_none_or(|kept| std::mem::replace(&mut kept.replaced, true))
        {
            return;
        }
        self.replacements_left -= 1;
        info!("another executor takes the place of executor-{id}");
        self.add().await;
    }

    async fn add(&mut self) {
        let next = self.next;
        self.next += 1;
        match create(&self.api, &self.pods, next).await {
            Ok(()) => drop(self.all.insert(next, Kept::coming())),
            Err(error) => warn!("executor-{next}: {error}"),
        }
    }

    /// Follows the work, where the manifest leaves room for it.
    async fn scale(&mut self, slots_wanted: usize) {
        if self.count.min == self.count.max || self.gone {
            return;
        }
        let present: Vec<u32> = self
            .all
            .iter()
            .filter(|(_, kept)| matches!(kept.standing, Standing::Coming(_) | Standing::Up))
            .map(|(id, _)| *id)
            .collect();
        let enough = slots_wanted < present.len() * self.slots as usize;
        let idle = if enough {
            self.idle_since.get_or_insert_with(Instant::now).elapsed()
        } else {
            Duration::ZERO
        };
        if !enough {
            self.idle_since = None;
        }
        match change(
            self.count,
            slots_wanted,
            self.slots,
            u32::try_from(present.len()).unwrap_or(u32::MAX),
            idle,
        ) {
            Change::None => {}
            Change::Grow(more) => {
                info!("{more} more executors for {slots_wanted} tasks");
                for _ in 0..more {
                    self.add().await;
                }
                self.began = Instant::now();
            }
            Change::Shrink(fewer) => {
                info!("{fewer} executors may go, {slots_wanted} tasks are left");
                // The youngest hold least. They hand on what they have, and nobody takes their place.
                for id in present.into_iter().rev().take(fewer as usize) {
                    self.all.entry(id).and_modify(|kept| kept.replaced = true);
                    self.delete(id, &DeleteParams::default()).await;
                }
                self.idle_since = None;
            }
        }
    }

    /// An executor that the driver gave up may still hold memory and cores, unless it has ended by itself.
    async fn end(&self, executor: ExecutorId) {
        if matches!(
            self.all.get(&executor.0),
            None | Some(Kept {
                standing: Standing::Ended { .. },
                ..
            })
        ) {
            return;
        }
        self.delete(executor.0, &DeleteParams::default().grace_period(0))
            .await;
    }

    async fn delete(&self, id: u32, params: &DeleteParams) {
        let name = self.pods.name(id);
        match self.api.delete(&name, params).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => warn!("{name}: {error}"),
        }
    }

    async fn look(&mut self) {
        if self.was_up {
            return;
        }
        let waited = self.began.elapsed();
        let held_up = self.all.values().find_map(|kept| match &kept.standing {
            Standing::Coming(Some(stuck)) => Some(stuck.clone()),
            _ => None,
        });
        let Some(stuck) = held_up else { return };
        if waited >= stuck.limit(Patience::default()) && !std::mem::replace(&mut self.gone, true) {
            let text = format!("no executor started in {} s: {stuck}", waited.as_secs());
            let _ = self.engine.send(Message::FleetLost(text)).await;
        }
    }

    async fn give_up_if_none(&mut self, unusable: bool, last: &str) {
        // Where none are needed now, others may come later, unless they would end the same way.
        let may_come = self.count.min == 0 && !unusable && self.replacements_left > 0;
        let alive = self
            .all
            .values()
            .any(|kept| !matches!(kept.standing, Standing::Ended { .. }));
        if !alive && !may_come && !std::mem::replace(&mut self.gone, true) {
            let _ = self
                .engine
                .send(Message::FleetLost(format!(
                    "every executor is gone; the last one: {last}"
                )))
                .await;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(pod: Value) -> Standing {
        standing(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn pods_come_serve_leave_and_end() {
        assert_eq!(of(json!({})), Standing::Coming(None));
        assert_eq!(of(json!({"status": {"phase": "Running"}})), Standing::Up);
        let deleting = json!({"metadata": {"deletionTimestamp": "2026-11-23T00:00:00Z"}, "status": {"phase": "Running"}});
        assert_eq!(of(deleting), Standing::Leaving);
        let ended = |code: i32, reason: &str| {
            let state = json!({"terminated": {"exitCode": code, "reason": reason}});
            of(
                json!({"status": {"phase": "Failed", "containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]}}),
            )
        };
        assert_eq!(
            ended(1, "Error"),
            Standing::Ended {
                reason: "exit code 1".to_owned(),
                unusable: false
            }
        );
        assert_eq!(
            ended(78, "Error"),
            Standing::Ended {
                reason: "exit code 78".to_owned(),
                unusable: true
            }
        );
        let killed = "killed for taking more memory than its limit".to_owned();
        assert_eq!(
            ended(137, "OOMKilled"),
            Standing::Ended {
                reason: killed,
                unusable: false
            }
        );
    }
}
