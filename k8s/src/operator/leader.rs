//! Several operators, one of which acts: by a Lease, as Kubernetes' own controllers do it.
//!
//! Follows client-go's leaderelection: a lease is taken when its holder has not renewed it for its
//! duration, as seen by our own clock; updates carry the resource version, so that one of two wins.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::{NAME, OperatorError};

/// A lease that was not renewed for so long is free.
const LEASE: Duration = Duration::from_secs(15);
/// A holder that could not renew for so long gives up, before another may take over.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks.
const RETRY: Duration = Duration::from_secs(2);

struct Elector {
    leases: Api<Lease>,
    identity: String,
    /// The last change of the lease that we saw, and when: other machines' clocks are not trusted.
    seen: Option<(Option<MicroTime>, Instant)>,
}

/// The lease is ours.
pub(super) struct Leadership {
    leases: Api<Lease>,
    identity: String,
    /// Ends when it is ours no more.
    pub(super) renewing: JoinHandle<()>,
}

impl Leadership {
    /// Gives the lease back, so that the next one need not wait for its end.
    pub(super) async fn release(self) {
        self.renewing.abort();
        let Ok(Some(mut lease)) = self.leases.get_opt(NAME).await else {
            return;
        };
        let ours = lease
            .spec
            .as_mut()
            .filter(|spec| spec.holder_identity.as_ref() == Some(&self.identity));
        let Some(spec) = ours else { return };
        spec.holder_identity = Some(String::new());
        if let Err(error) = self
            .leases
            .replace(NAME, &PostParams::default(), &lease)
            .await
        {
            warn!("the lease is not given back: {error}");
        }
    }
}

/// Waits until this process leads.
///
/// # Errors
/// If leases cannot be read.
pub(super) async fn lead(client: Client, namespace: &str) -> Result<Leadership, OperatorError> {
    let host = std::env::var("POD_NAME")
        .or_else(|_| std::env::var("HOSTNAME"))
        .unwrap_or_else(|_| NAME.to_owned());
    let random =
        faisca_driver::random_hex(4).map_err(|error| OperatorError::Local(error.to_string()))?;
    let mut elector = Elector {
        leases: Api::namespaced(client, namespace),
        identity: format!("{host}-{random}"),
        seen: None,
    };
    while !elector.try_hold().await? {
        tokio::time::sleep(RETRY).await;
    }
    info!(identity = elector.identity, "leading");
    let (leases, identity) = (elector.leases.clone(), elector.identity.clone());
    let renewing = tokio::task::spawn(async move {
        let mut renewed = Instant::now();
        while renewed.elapsed() < RENEW_DEADLINE {
            tokio::time::sleep(RETRY).await;
            match elector.try_hold().await {
                Ok(true) => renewed = Instant::now(),
                Ok(false) => return,
                Err(error) => warn!("renewing the lease: {error}"),
            }
        }
    });
    Ok(Leadership {
        leases,
        identity,
        renewing,
    })
}

impl Elector {
    /// Takes or renews the lease; answers whether it is ours.
    async fn try_hold(&mut self) -> Result<bool, OperatorError> {
        let Some(mut lease) = self.leases.get_opt(NAME).await? else {
            let metadata = ObjectMeta {
                name: Some(NAME.to_owned()),
                ..ObjectMeta::default()
            };
            let lease = Lease {
                metadata,
                spec: Some(self.held(None)),
            };
            return won(self.leases.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.take().unwrap_or_default();
        if spec.holder_identity.as_ref() != Some(&self.identity) && !self.is_free(&spec) {
            return Ok(false);
        }
        lease.spec = Some(self.held(Some(&spec)));
        won(self
            .leases
            .replace(NAME, &PostParams::default(), &lease)
            .await)
    }

    fn is_free(&mut self, spec: &LeaseSpec) -> bool {
        if spec.holder_identity.as_deref().is_none_or(str::is_empty) {
            return true;
        }
        match &self.seen {
            Some((renewed, at)) if *renewed == spec.renew_time => at.elapsed() >= LEASE,
            _ => {
                self.seen = Some((spec.renew_time.clone(), Instant::now()));
                false
            }
        }
    }

    fn held(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let ours = before.filter(|before| before.holder_identity.as_ref() == Some(&self.identity));
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: ours
                .and_then(|before| before.acquire_time.clone())
                .or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(
                before
                    .and_then(|before| before.lease_transitions)
                    .unwrap_or(0)
                    + i32::from(ours.is_none()),
            ),
            ..LeaseSpec::default()
        }
    }
}

/// Whoever was faster has it.
fn won(outcome: Result<Lease, kube::Error>) -> Result<bool, OperatorError> {
    match outcome {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error.into()),
    }
}
