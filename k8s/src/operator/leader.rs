//! Elects one of several operators by a Lease, like Kubernetes' own controllers.
//!
//! It follows client-go's `leaderelection`. A candidate takes the lease when its holder has not
//! renewed it for the lease's duration, measured by the candidate's own clock. Updates carry the
//! resource version, so only one of two candidates succeeds.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::NAME;
use crate::error::OperatorError;

/// Duration after which a lease that was not renewed is free.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// A holder that cannot renew for this long stops. Shorter than the lease, so that two operators
/// never act at once.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Interval between two attempts to take or renew the lease.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// A candidate for the lease.
struct Candidate {
    leases: Api<Lease>,
    identity: String,
    /// The latest renewal by another holder, and when this process saw it. Its timestamp comes from
    /// another machine's clock, so it is compared for equality only.
    last_renewal: Option<(Option<MicroTime>, Instant)>,
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
    let host = std::env::var("POD_NAME")
        .or_else(|_| std::env::var("HOSTNAME"))
        .unwrap_or_else(|_| NAME.to_owned());
    let random = faisca_driver::random_hex(4).map_err(OperatorError::Random)?;
    let mut candidate = Candidate {
        leases: Api::namespaced(client, namespace),
        identity: format!("{host}-{random}"),
        last_renewal: None,
    };
    while !candidate.take_or_renew().await? {
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
    info!(identity = candidate.identity, "leading");
    let (leases, identity) = (candidate.leases.clone(), candidate.identity.clone());
    let renewal = tokio::task::spawn(async move {
        let mut renewed = Instant::now();
        while renewed.elapsed() < RENEW_DEADLINE {
            tokio::time::sleep(RETRY_INTERVAL).await;
            match candidate.take_or_renew().await {
                Ok(true) => renewed = Instant::now(),
                Ok(false) => return,
                Err(error) => warn!("renewing the lease: {error}"),
            }
        }
    });
    Ok(Leadership {
        leases,
        identity,
        renewal,
    })
}

impl Candidate {
    /// Takes or renews the lease. Returns whether this process holds it.
    async fn take_or_renew(&mut self) -> Result<bool, OperatorError> {
        let Some(mut lease) = self.leases.get_opt(NAME).await? else {
            let metadata = ObjectMeta {
                name: Some(NAME.to_owned()),
                ..ObjectMeta::default()
            };
            let lease = Lease {
                metadata,
                spec: Some(self.renewed_spec(None)),
            };
            return is_won(self.leases.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.take().unwrap_or_default();
        if spec.holder_identity.as_ref() != Some(&self.identity) && !self.is_free(&spec) {
            return Ok(false);
        }
        lease.spec = Some(self.renewed_spec(Some(&spec)));
        is_won(
            self.leases
                .replace(NAME, &PostParams::default(), &lease)
                .await,
        )
    }

    /// Whether the lease has no holder, or its holder has not renewed it in time.
    fn is_free(&mut self, spec: &LeaseSpec) -> bool {
        if spec.holder_identity.as_deref().is_none_or(str::is_empty) {
            return true;
        }
        match &self.last_renewal {
            Some((renewed, at)) if *renewed == spec.renew_time => at.elapsed() >= LEASE_DURATION,
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
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
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

/// Returns whether an update of the lease succeeded. A conflict means that another candidate won.
fn is_won(outcome: Result<Lease, kube::Error>) -> Result<bool, OperatorError> {
    match outcome {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error.into()),
    }
}
