//! Elects one of several operators by a Lease, like Kubernetes' own controllers.
//!
//! It follows client-go's `leaderelection`. A candidate takes the lease when its holder has not
//! renewed it for the lease's duration, measured by the candidate's own clock. Updates carry the
//! resource version, so only one of two candidates succeeds.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

use super::NAME;
use crate::error::OperatorError;

/// Times of the election.
#[derive(Debug, Clone, Copy)]
struct ElectionTimes {
    /// A lease that was not renewed for this long is free.
    lease: Duration,
    /// A holder stops this long after it began its last successful renewal. Shorter than the lease,
    /// so that two operators never act at once; longer than two requests to a slow API server.
    renew_deadline: Duration,
    /// Interval between two attempts to take or renew the lease.
    retry_interval: Duration,
}

const TIMES: ElectionTimes = ElectionTimes {
    lease: Duration::from_secs(15),
    renew_deadline: Duration::from_secs(12),
    retry_interval: Duration::from_secs(2),
};

/// A candidate for the lease.
struct Candidate {
    leases: Api<Lease>,
    times: ElectionTimes,
    identity: String,
    /// The latest renewal by another holder, and when this process saw it. Its timestamp comes from
    /// another machine's clock, so it is compared for equality only.
    last_renewal: Option<(Option<MicroTime>, Instant)>,
    /// The lease as this process wrote it last: a renewal replaces it without reading it first.
    held_lease: Option<Lease>,
}

/// Proof that this process holds the lease.
pub(super) struct Leadership {
    leases: Api<Lease>,
    identity: String,
    /// Renews the lease; ends when it is lost.
    pub(super) renewal: JoinHandle<()>,
}

impl Leadership {
    /// Releases the lease, so that the next operator need not wait until it expires.
    pub(super) async fn release(self) {
        self.renewal.abort();
        let Ok(Some(mut lease)) = self.leases.get_opt(NAME).await else {
            return;
        };
        let held_spec = lease
            .spec
            .as_mut()
            .filter(|spec| spec.holder_identity.as_ref() == Some(&self.identity));
        let Some(spec) = held_spec else { return };
        spec.holder_identity = Some(String::new());
        if let Err(error) = self
            .leases
            .replace(NAME, &PostParams::default(), &lease)
            .await
        {
            warn!("cannot release the lease: {error}");
        }
    }
}

/// Waits until this process holds the lease, and renews it from then on.
///
/// # Errors
/// If leases cannot be read.
pub(super) async fn lead(client: Client, namespace: &str) -> Result<Leadership, OperatorError> {
    lead_within(client, namespace, TIMES).await
}

async fn lead_within(
    client: Client,
    namespace: &str,
    times: ElectionTimes,
) -> Result<Leadership, OperatorError> {
    let host = std::env::var("POD_NAME")
        .or_else(|_| std::env::var("HOSTNAME"))
        .unwrap_or_else(|_| NAME.to_owned());
    let random = faisca_driver::random_hex(4).map_err(OperatorError::Random)?;
    let mut candidate = Candidate {
        leases: Api::namespaced(client, namespace),
        times,
        identity: format!("{host}-{random}"),
        last_renewal: None,
        held_lease: None,
    };
    while !candidate.take_or_renew().await? {
        tokio::time::sleep(times.retry_interval).await;
    }
    info!(identity = candidate.identity, "leading");
    let (leases, identity) = (candidate.leases.clone(), candidate.identity.clone());
    let renewal = tokio::task::spawn(candidate.renew_until_lost());
    Ok(Leadership {
        leases,
        identity,
        renewal,
    })
}

impl Candidate {
    /// Renews the held lease. Ends when another candidate holds it, or when the deadline has
    /// passed, even if a request is still waiting for its response.
    async fn renew_until_lost(mut self) {
        let mut attempts = tokio::time::interval(self.times.retry_interval);
        attempts.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renewed = Instant::now();
        loop {
            attempts.tick().await;
            // Other candidates see the renewal only after this moment, so the lease counts from
            // here.
            let requested = Instant::now();
            let deadline = renewed + self.times.renew_deadline;
            match tokio::time::timeout_at(deadline, self.take_or_renew()).await {
                Ok(Ok(true)) => renewed = requested,
                Ok(Ok(false)) => return,
                Ok(Err(error)) => warn!("renewing the lease: {error}"),
                Err(_) => {
                    let deadline = self.times.renew_deadline;
                    return warn!("renewing the lease: not renewed for {deadline:?}");
                }
            }
        }
    }

    /// Takes or renews the lease. Returns whether this process holds it.
    async fn take_or_renew(&mut self) -> Result<bool, OperatorError> {
        if let Some(held) = self.held_lease.take() {
            let renewed = Lease {
                spec: Some(self.renewed_spec(held.spec.as_ref())),
                ..held
            };
            if self.replace(&renewed).await? {
                return Ok(true);
            }
            // The lease was changed, perhaps without being taken.
        }
        let Some(mut lease) = self.leases.get_opt(NAME).await? else {
            let metadata = ObjectMeta {
                name: Some(NAME.to_owned()),
                ..ObjectMeta::default()
            };
            let lease = Lease {
                metadata,
                spec: Some(self.renewed_spec(None)),
            };
            let created = self.leases.create(&PostParams::default(), &lease).await;
            return self.record_outcome(created);
        };
        let spec = lease.spec.take().unwrap_or_default();
        if spec.holder_identity.as_ref() != Some(&self.identity) && !self.check_free(&spec) {
            return Ok(false);
        }
        lease.spec = Some(self.renewed_spec(Some(&spec)));
        self.replace(&lease).await
    }

    /// Replaces the lease, if it has not been changed since. Returns whether this process holds it.
    async fn replace(&mut self, lease: &Lease) -> Result<bool, OperatorError> {
        let parameters = PostParams::default();
        let replaced = self.leases.replace(NAME, &parameters, lease).await;
        self.record_outcome(replaced)
    }

    /// Records the outcome of an update of the lease. Returns true if it succeeded; a conflict
    /// means that another candidate won.
    fn record_outcome(
        &mut self,
        outcome: Result<Lease, kube::Error>,
    ) -> Result<bool, OperatorError> {
        match outcome {
            Ok(lease) => {
                self.held_lease = Some(lease);
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Records the renewal that the lease shows. Returns true if the lease has no holder, or its
    /// holder has not renewed it in time.
    fn check_free(&mut self, spec: &LeaseSpec) -> bool {
        if spec.holder_identity.as_deref().is_none_or(str::is_empty) {
            return true;
        }
        match &self.last_renewal {
            Some((renewed, at)) if *renewed == spec.renew_time => at.elapsed() >= self.times.lease,
            _ => {
                self.last_renewal = Some((spec.renew_time.clone(), Instant::now()));
                false
            }
        }
    }

    /// Returns the lease's spec with this process as holder, renewed now.
    fn renewed_spec(&self, previous: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let current_term =
            previous.filter(|previous| previous.holder_identity.as_ref() == Some(&self.identity));
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.times.lease.as_secs()).ok(),
            acquire_time: current_term
                .and_then(|previous| previous.acquire_time.clone())
                .or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(
                previous
                    .and_then(|previous| previous.lease_transitions)
                    .unwrap_or(0)
                    + i32::from(current_term.is_none()),
            ),
            ..LeaseSpec::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Method, Request, Response};
    use http_body_util::BodyExt;
    use kube::client::Body;

    use super::*;

    /// Responds as an API server: with the lease that it was sent, or never.
    async fn respond(
        request: Request<Body>,
        is_served: bool,
        delay: Duration,
    ) -> Result<Response<Body>, std::io::Error> {
        if !is_served {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(delay).await;
        let (status, body) = match *request.method() {
            Method::GET => (
                404,
                br#"{"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}"#
                    .to_vec(),
            ),
            _ => {
                let sent = request.into_body().collect().await;
                (
                    200,
                    sent.map_err(std::io::Error::other)?.to_bytes().to_vec(),
                )
            }
        };
        let response = Response::builder().status(status);
        response
            .body(Body::from(body))
            .map_err(std::io::Error::other)
    }

    /// Leads with an API server that serves the first `served` requests, each after `delay`.
    /// Returns how long the lease was held within `watched`, and the number of requests.
    async fn hold(served: usize, delay: Duration, watched: Duration) -> (Duration, usize) {
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        let server = tower::service_fn(move |request| {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            respond(request, number < served, delay)
        });
        let client = Client::new(server, "default");
        let times = ElectionTimes {
            lease: Duration::from_secs(3),
            renew_deadline: Duration::from_millis(2400),
            retry_interval: Duration::from_millis(400),
        };
        let leadership = lead_within(client, "default", times).await.unwrap();
        let taken = Instant::now();
        let _ = tokio::time::timeout(watched, leadership.renewal).await;
        (taken.elapsed(), requests.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn an_operator_whose_renewal_gets_no_response_stops() {
        // Read, created, renewed once; nothing is served from then on.
        let watched = Duration::from_secs(60);
        let (held, requests) = hold(3, Duration::ZERO, watched).await;
        assert!(held < watched && requests == 4, "{held:?} {requests}");
    }

    #[tokio::test]
    async fn an_operator_keeps_its_lease_while_the_api_server_is_slow() {
        let watched = Duration::from_secs(6);
        let (held, requests) = hold(usize::MAX, Duration::from_millis(500), watched).await;
        assert!(held >= watched, "{held:?}");
        // Two to take the lease, then one for each renewal.
        assert!(requests <= 2 + 12 + 1, "{requests}");
    }
}
