//! Serves metrics for Prometheus, and health for Kubernetes' probes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::error::OperatorError;
use crate::resource::ApplicationState;

/// Delay after a failure to accept a connection.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Label of a counter: a state, in lower case.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabel {
    state: String,
}

/// Metrics of one operator. Cheap to clone.
#[derive(Clone)]
pub(super) struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    is_leading: AtomicBool,
    drivers_created: Counter,
    reconcile_failures: Counter,
    states_entered: Family<StateLabel, Counter>,
    reconcile_seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("faisca_operator");
        let drivers_created = Counter::default();
        let reconcile_failures = Counter::default();
        let states_entered = Family::default();
        let reconcile_seconds = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        registry.register(
            "driver_pods",
            "Driver pods created",
            drivers_created.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Failed reconciliations",
            reconcile_failures.clone(),
        );
        registry.register(
            "applications_entered",
            "Applications that entered a state",
            states_entered.clone(),
        );
        registry.register(
            "reconcile_seconds",
            "Duration of reconciliations",
            reconcile_seconds.clone(),
        );
        Self(Arc::new(Inner {
            registry,
            is_leading: AtomicBool::new(false),
            drivers_created,
            reconcile_failures,
            states_entered,
            reconcile_seconds,
        }))
    }
}

impl Metrics {
    /// Reports on `/readyz` that this operator leads.
    pub(super) fn set_leading(&self) {
        self.0.is_leading.store(true, Ordering::Relaxed);
    }

    pub(super) fn driver_created(&self) {
        self.0.drivers_created.inc();
    }

    pub(super) fn reconcile_failed(&self) {
        self.0.reconcile_failures.inc();
    }

    pub(super) fn state_entered(&self, state: ApplicationState) {
        self.0
            .states_entered
            .get_or_create(&StateLabel {
                state: format!("{state:?}").to_lowercase(),
            })
            .inc();
    }

    /// Records the duration of a successful reconciliation.
    pub(super) fn record_reconciliation(&self, duration: Duration) {
        self.0.reconcile_seconds.observe(duration.as_secs_f64());
    }

    /// Responds to a request for a path.
    fn respond(&self, path: &str) -> Response<Full<hyper::body::Bytes>> {
        let response = |status: StatusCode, text: String| {
            let mut response = Response::new(Full::from(text));
            *response.status_mut() = status;
            response
        };
        match path {
            "/metrics" => {
                let mut text = String::new();
                match prometheus_client::encoding::text::encode(&mut text, &self.0.registry) {
                    Ok(()) => response(StatusCode::OK, text),
                    Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
                }
            }
            "/healthz" => response(StatusCode::OK, "ok\n".to_owned()),
            // An operator that waits for the lease is ready, too: a rollout must not wait for it to
            // lead.
            "/readyz" => response(
                StatusCode::OK,
                if self.0.is_leading.load(Ordering::Relaxed) {
                    "leading\n"
                } else {
                    "waiting\n"
                }
                .to_owned(),
            ),
            _ => response(
                StatusCode::NOT_FOUND,
                "unknown path: use /metrics, /healthz or /readyz\n".to_owned(),
            ),
        }
    }
}

/// Serves `/metrics`, `/healthz` and `/readyz` in a task of its own.
///
/// # Errors
/// If the address is in use.
pub(super) async fn serve(
    address: SocketAddr,
    metrics: Metrics,
) -> Result<JoinHandle<()>, OperatorError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| OperatorError::Listen { address, source })?;
    Ok(tokio::task::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of file descriptors, for example: do not spin.
                tokio::time::sleep(ACCEPT_RETRY_INTERVAL).await;
                continue;
            };
            let metrics = metrics.clone();
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                std::future::ready(Ok::<_, std::convert::Infallible>(
                    metrics.respond(request.uri().path()),
                ))
            });
            tokio::task::spawn(
                http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    }))
}
