//! Counts of HTTP requests. Each retry is a request of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};

use crate::protocol::RequestSnapshot;

/// Counters of the requests of one process to its stores.
#[derive(Debug, Default)]
pub(crate) struct RequestCounts {
    reads: AtomicU64,
    writes: AtomicU64,
    deletes: AtomicU64,
    refused: AtomicU64,
    broken: AtomicU64,
}

impl RequestCounts {
    pub(super) fn snapshot(&self) -> RequestSnapshot {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RequestSnapshot {
            reads: get(&self.reads),
            writes: get(&self.writes),
            deletes: get(&self.deletes),
            refused: get(&self.refused),
            broken: get(&self.broken),
        }
    }
}

/// Creates HTTP clients that count their requests.
#[derive(Debug)]
pub(super) struct CountingConnector(pub(super) Arc<RequestCounts>);

impl HttpConnector for CountingConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(CountingService {
            inner,
            counts: Arc::clone(&self.0),
        }))
    }
}

#[derive(Debug)]
struct CountingService {
    inner: HttpClient,
    counts: Arc<RequestCounts>,
}

#[async_trait]
impl HttpService for CountingService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let kind = match request.method().as_str() {
            "GET" | "HEAD" => &self.counts.reads,
            "DELETE" => &self.counts.deletes,
            _ => &self.counts.writes,
        };
        kind.fetch_add(1, Ordering::Relaxed);
        let outcome = self.inner.execute(request).await;
        match &outcome {
            Ok(response)
                if response.status().is_server_error() || response.status().as_u16() == 429 =>
            {
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
            }
            Ok(_) => {}
            Err(_) => {
                self.counts.broken.fetch_add(1, Ordering::Relaxed);
            }
        }
        outcome
    }
}
