//! Metrics for Prometheus, and whether the operator lives and works.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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

use super::OperatorError;
use crate::resource::ApplicationState;

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct State {
    state: String,
}

/// Counts of one operator. Cheap to clone.
#[derive(Clone)]
pub(super) struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    is_ready: AtomicBool,
    submissions: Counter,
    failures: Counter,
    transitions: Family<State, Counter>,
    seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("faisca_operator");
        let (submissions, failures, transitions) =
            (Counter::default(), Counter::default(), Family::default());
        let seconds = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        registry.register(
            "driver_pods",
            "Driver pods that were asked for",
            submissions.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Reconciliations that failed",
            failures.clone(),
        );
        registry.register(
            "applications_entered",
            "Applications that entered a state",
            transitions.clone(),
        );
        registry.register(
            "reconcile_seconds",
            "Duration of reconciliations",
            seconds.clone(),
        );
        Self(Arc::new(Inner {
            registry,
            is_ready: AtomicBool::new(false),
            submissions,
            failures,
            transitions,
            seconds,
        }))
    }
}

impl Metrics {
    pub(super) fn ready(&self) {
        self.0.is_ready.store(true, Ordering::Relaxed);
    }

    pub(super) fn submitted(&self) {
        self.0.submissions.inc();
    }

    pub(super) fn reconcile_failed(&self) {
        self.0.failures.inc();
    }

    pub(super) fn entered(&self, state: ApplicationState) {
        self.0
            .transitions
            .get_or_create(&State {
                state: format!("{state:?}").to_lowercase(),
            })
            .inc();
    }

    #[expect(clippy::unused_self, reason = "begins what `reconciled` ends")]
    pub(super) fn reconcile_started(&self) -> Instant {
        Instant::now()
    }

    pub(super) fn reconciled(&self, started: Instant) {
        self.0.seconds.observe(started.elapsed().as_secs_f64());
    }

    fn answer(&self, path: &str) -> Response<Full<hyper::body::Bytes>> {
        let told = |status: StatusCode, text: String| {
            let mut response = Response::new(Full::from(text));
            *response.status_mut() = status;
            response
        };
        match path {
            "/metrics" => {
                let mut text = String::new();
                match prometheus_client::encoding::text::encode(&mut text, &self.0.registry) {
                    Ok(()) => told(StatusCode::OK, text),
                    Err(error) => told(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
                }
            }
            "/healthz" => told(StatusCode::OK, "ok\n".to_owned()),
            // One that waits for the lease is ready too: it is there to take over.
            "/readyz" => told(
                StatusCode::OK,
                if self.0.is_ready.load(Ordering::Relaxed) {
                    "leading\n"
                } else {
                    "waiting\n"
                }
                .to_owned(),
            ),
            _ => told(
                StatusCode::NOT_FOUND,
                "known are /metrics, /healthz, /readyz\n".to_owned(),
            ),
        }
    }
}

/// Serves `/metrics`, `/healthz` and `/readyz`.
///
/// # Errors
/// If the address is in use.
pub(super) async fn serve(
    address: SocketAddr,
    metrics: Metrics,
) -> Result<JoinHandle<()>, OperatorError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| OperatorError::Local(format!("{address}: {error}")))?;
    Ok(tokio::task::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let metrics = metrics.clone();
            let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
                std::future::ready(Ok::<_, std::convert::Infallible>(
                    metrics.answer(request.uri().path()),
                ))
            });
            tokio::task::spawn(
                http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
            );
        }
    }))
}
