//! Accepts connections, and writes responses.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION,
    REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use super::access::{Access, Verdict};
use super::pages::{Content, Pages, Target};

/// Number of connections that are served at once.
const CONNECTIONS_MAX: usize = 64;
/// How long a client may take for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Delay after a failure to accept a connection, and between looks at idle time.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(100);
const IDLE_INTERVAL: Duration = Duration::from_secs(30);
/// How long the end waits for browsers to request the final state.
const FINAL_STATE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the end waits for the last response to leave.
const FLUSH: Duration = Duration::from_millis(150);
const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

type Body = Full<Bytes>;

/// What connections share. All of them run on one thread.
struct Server {
    pages: RefCell<Pages>,
    access: Access,
}

/// Serves a page until its sender signals the end, or is dropped.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    pages: Pages,
    access: Access,
    mut ending: oneshot::Receiver<()>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!("the page of the run: {error}");
            return;
        }
    };
    let server = Rc::new(Server {
        pages: RefCell::new(pages),
        access,
    });
    let slots = Rc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut idle = tokio::time::interval(IDLE_INTERVAL);
    idle.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let is_finished = loop {
        tokio::select! {
            end = &mut ending => break end.is_ok(),
            () = accept(&listener, &server, &slots) => {}
            _ = idle.tick() => server.pages.borrow_mut().forget_if_idle(),
        }
    };
    if !is_finished {
        return;
    }
    let deadline = Instant::now() + FINAL_STATE_TIMEOUT;
    while server.pages.borrow().owes_final_state() && Instant::now() < deadline {
        tokio::select! {
            () = accept(&listener, &server, &slots) => {}
            () = tokio::time::sleep(FLUSH) => {}
        }
    }
    tokio::time::sleep(FLUSH).await;
}

/// Accepts one connection, as soon as a slot is free.
async fn accept(listener: &TcpListener, server: &Rc<Server>, slots: &Rc<Semaphore>) {
    // The semaphore is never closed.
    let Ok(slot) = slots.acquire().await else {
        return;
    };
    match listener.accept().await {
        Ok((stream, _)) => {
            slot.forget();
            let (server, slots) = (Rc::clone(server), Rc::clone(slots));
            tokio::task::spawn_local(async move {
                connection(stream, server).await;
                slots.add_permits(1);
            });
        }
        // Out of file descriptors, for example: do not spin.
        Err(_) => tokio::time::sleep(ACCEPT_RETRY_INTERVAL).await,
    }
}

async fn connection(stream: TcpStream, server: Rc<Server>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (parts, _) = request.into_parts();
        std::future::ready(Ok::<_, Infallible>(server.respond(&parts)))
    });
    // A client that leaves is not an error.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl Server {
    fn respond(&self, request: &Parts) -> Response<Body> {
        match self.access.check(request) {
            Verdict::Refused(reason) => return response(StatusCode::FORBIDDEN, TEXT, reason),
            Verdict::Remember { cookie } => return remember(&cookie),
            Verdict::Allowed => {}
        }
        if request.method != Method::GET && request.method != Method::HEAD {
            return response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "use GET\n");
        }
        let Some(target) = Target::parse(request) else {
            return response(StatusCode::NOT_FOUND, TEXT, "unknown address\n");
        };
        let mut pages = self.pages.borrow_mut();
        match pages.content(target) {
            Content::Html(html) => {
                let mut page = response(StatusCode::OK, HTML, html);
                let policy = format!(
                    "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{}'; \
                     connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                     frame-ancestors 'none'",
                    pages.nonce()
                );
                if let Ok(policy) = HeaderValue::from_str(&policy) {
                    page.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
                }
                page
            }
            Content::Json(json) => response(StatusCode::OK, "application/json", json),
            Content::Journal(journal) => {
                let mut file = response(StatusCode::OK, "application/x-ndjson", journal);
                let name = HeaderValue::from_static("attachment; filename=\"journal.jsonl\"");
                file.headers_mut().insert(CONTENT_DISPOSITION, name);
                file
            }
            Content::Missing => {
                response(StatusCode::NOT_FOUND, TEXT, "the run has no such stage\n")
            }
            Content::Failed(reason) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, reason),
        }
    }
}

/// Sets the cookie of a token, and sends the browser to the page without it.
fn remember(cookie: &str) -> Response<Body> {
    let mut redirect = response(StatusCode::SEE_OTHER, TEXT, "");
    let headers = redirect.headers_mut();
    headers.insert(LOCATION, HeaderValue::from_static("./"));
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        headers.insert(SET_COOKIE, cookie);
    }
    redirect
}

fn response(status: StatusCode, kind: &'static str, content: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(content.into()));
    *response.status_mut() = status;
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in headers {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
