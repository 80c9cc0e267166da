//! `faisca operator`: runs the Kubernetes operator.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use faisca::{Error, Result};
use faisca_k8s::kube::Client;
use faisca_k8s::operator::{OperatorConfig, StartupTimeouts, run};

/// Flags of `faisca operator`.
#[derive(Debug, Args)]
pub(super) struct OperatorArgs {
    /// Namespaces to watch, separated by commas [default: all].
    #[arg(
        long = "namespace",
        env = "FAISCA_NAMESPACE",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    namespaces: Vec<String>,
    /// Image of applications that do not set one.
    #[arg(long, env = "FAISCA_IMAGE", value_name = "IMAGE")]
    image: Option<String>,
    /// Service account of applications that do not set one.
    #[arg(long, env = "FAISCA_SERVICE_ACCOUNT", value_name = "NAME")]
    service_account: Option<String>,
    /// Address of /metrics, /healthz and /readyz.
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Namespace of the lease that elects one of several operators [default: no election].
    #[arg(long, env = "FAISCA_LEASE_NAMESPACE", value_name = "NAME")]
    lease_namespace: Option<String>,
    /// Seconds that a driver may wait for its image before its application fails.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    start_timeout: u64,
    /// Seconds that a driver may wait for a node before its application fails.
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    schedule_timeout: u64,
    /// Seconds after its end at which an application that sets no `timeToLiveSeconds` is deleted
    /// [default: never].
    #[arg(long, value_name = "SECONDS")]
    time_to_live: Option<u64>,
}

pub(super) async fn operator(args: OperatorArgs, end: impl Future<Output = ()>) -> Result<()> {
    let client = Client::try_default()
        .await
        .map_err(|error| Error::Platform(format!("Kubernetes' API: {error}").into()))?;
    let config = OperatorConfig {
        namespaces: args
            .namespaces
            .into_iter()
            .filter(|name| !name.is_empty())
            .collect(),
        image: args.image,
        service_account: args.service_account,
        listen: args.listen,
        lease_namespace: args.lease_namespace.filter(|name| !name.is_empty()),
        startup_timeouts: StartupTimeouts {
            start: Duration::from_secs(args.start_timeout),
            schedule: Duration::from_secs(args.schedule_timeout),
        },
        time_to_live_seconds: args.time_to_live,
    };
    run(client, config, end)
        .await
        .map_err(|error| Error::Platform(Box::new(error)))
}
