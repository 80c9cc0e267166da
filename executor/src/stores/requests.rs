//! Counts of requests, as they go over the wire: each retry is one more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use serde::{Deserialize, Serialize};

/// Requests of one process to all of its stores.
#[derive(Debug, Default)]
pub struct RequestCounts {
    reads: AtomicU64,
    writes: AtomicU64,
    deletes: AtomicU64,
    refused: AtomicU64,
    broken: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestSnapshot {
    /// GET and HEAD: objects, parts of them, listings.
    pub reads: u64,
    /// PUT and POST: objects, parts, completions, bulk deletes.
    pub writes: u64,
    /// DELETE.
    pub deletes: u64,
    /// Answered by 429 or 5xx: the store wants us slower, or has a problem.
    pub refused: u64,
    /// Not answered: a broken connection or none at all.
    pub broken: u64,
}

impl RequestSnapshot {
    /// Requests in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.reads + self.writes + self.deletes
    }

    /// Those of two processes.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            reads: self.reads + other.reads,
            writes: self.writes + other.writes,
            deletes: self.deletes + other.deletes,
            refused: self.refused + other.refused,
            broken: self.broken + other.broken,
        }
    }

    /// Requests that were sent again.
    #[must_use]
    pub fn retried(&self) -> u64 {
        self.refused + self.broken
    }
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

/// Makes clients that count.
#[derive(Debug)]
pub(super) struct CountingConnector(pub(super) Arc<RequestCounts>);

impl HttpConnector for CountingConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Counting {
            inner,
            counts: Arc::clone(&self.0),
        }))
    }
}

#[derive(Debug)]
struct Counting {
    inner: HttpClient,
    counts: Arc<RequestCounts>,
}

#[async_trait]
impl HttpService for Counting {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let kind = match request.method().as_str() {
            "GET" | "HEAD" => &self.counts.reads,
            "DELETE" => &self.counts.deletes,
            _ => &self.counts.writes,
        };
        kind.fetch_add(1, Ordering::Relaxed);
        let answer = self.inner.execute(request).await;
        match &answer {
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
        answer
    }
}
