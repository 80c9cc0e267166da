//! Writes the outcome of a reconciliation: status, Events, metrics.

use std::collections::HashMap;
use std::fmt::Debug;

use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource, ResourceExt};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::warn;

use super::Context;
use super::decide::{Decision, PendingEvent};
use super::reconcile::ignore_not_found;
use crate::error::OperatorError;
use crate::resource::{ApplicationStatus, SparkApplication};

/// Characters of an Event's note. The API server accepts 1 kB; the difference leaves room for
/// characters of several bytes.
const EVENT_NOTE_CHARACTERS_MAX: usize = 900;

/// The latest status that this process has written for each application, by UID.
///
/// The watch may lag behind our own writes. Without the cache, the operator would decide on an old
/// status and, for example, create the next attempt twice.
#[derive(Default)]
pub(super) struct StatusCache(
    /// Resource version and status. Locked for single accesses only, never across an await.
    Mutex<HashMap<String, (u64, ApplicationStatus)>>,
);

impl StatusCache {
    /// Returns the newer of the written status and the one that the watch shows.
    pub(super) fn latest(&self, resource: &SparkApplication) -> ApplicationStatus {
        let watched = resource.status.clone().unwrap_or_default();
        let uid = resource.uid().unwrap_or_default();
        let mut written = self.0.lock();
        match written.get(&uid) {
            Some((version, status)) if *version > resource_version(resource) => status.clone(),
            Some(_) => {
                // The watch has caught up.
                written.remove(&uid);
                watched
            }
            None => watched,
        }
    }

    /// Forgets a deleted application.
    pub(super) fn remove(&self, uid: &str) {
        self.0.lock().remove(uid);
    }

    fn insert(&self, stored: &SparkApplication, status: ApplicationStatus) {
        let uid = stored.uid().unwrap_or_default();
        self.0
            .lock()
            .insert(uid, (resource_version(stored), status));
    }
}

impl Context {
    /// Writes the decided status, if it changed, and publishes its Events.
    pub(super) async fn write_outcome(
        &self,
        resource: &SparkApplication,
        before: &ApplicationStatus,
        decision: &Decision,
    ) -> Result<(), OperatorError> {
        let after = &decision.status;
        if before != after {
            let namespace = resource.namespace().unwrap_or_default();
            let api = Api::<SparkApplication>::namespaced(self.client.clone(), &namespace);
            let Some(stored) = replace_status(&api, &resource.name_any(), after).await? else {
                return Ok(());
            };
            self.statuses.insert(&stored, after.clone());
            if before.application_state.state != after.application_state.state {
                self.metrics.state_entered(after.application_state.state);
            }
        }
        for event in &decision.events {
            self.publish(resource, event).await;
        }
        Ok(())
    }

    /// Publishes an Event. A failure is only logged: a job must not wait for its Events.
    pub(super) async fn publish(&self, resource: &SparkApplication, pending: &PendingEvent) {
        let note = pending.message.chars().take(EVENT_NOTE_CHARACTERS_MAX);
        let event = Event {
            type_: if pending.is_warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: pending.reason.to_owned(),
            note: Some(note.collect()),
            action: pending.reason.trim_start_matches("Spark").to_owned(),
            secondary: None,
        };
        let object = resource.object_ref(&());
        if let Err(error) = self.recorder.publish(&event, &object).await {
            let name = resource.name_any();
            warn!("{name}: event {}: {error}", pending.reason);
        }
    }
}

/// Returns the version of a resource, which grows with every write.
fn resource_version(resource: &SparkApplication) -> u64 {
    resource
        .resource_version()
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

/// Replaces the status of a resource. Returns `None` if the resource does not exist any more.
pub(super) async fn replace_status<K>(
    resources: &Api<K>,
    name: &str,
    status: &impl Serialize,
) -> Result<Option<K>, OperatorError>
where
    K: Clone + DeserializeOwned + Serialize + Debug,
{
    // A merge patch would keep fields that the new status does not have.
    let patch = json!([{"op": "add", "path": "/status", "value": status}]);
    let patch: Patch<K> =
        Patch::Json(serde_json::from_value(patch).map_err(OperatorError::Encode)?);
    match resources
        .patch_status(name, &PatchParams::default(), &patch)
        .await
    {
        Ok(stored) => Ok(Some(stored)),
        Err(error) => ignore_not_found::<()>(Err(error)).map(|()| None),
    }
}
