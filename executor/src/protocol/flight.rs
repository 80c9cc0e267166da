//! Flight connections between processes: connect, serve, and the job's token on each request.
//!
//! ```text
//!   socket ─► accept: visitor, for 10 s at most ─► HTTP/2 ─► gate: token, method, size ─► FlightMethods
//!                        ▲                                      │
//!                        └────── admitted, or closed ◄──────────┘
//! ```
//!
//! - `accept`: connections, and which of them stay
//! - `gate`: requests, judged by their headers alone

mod accept;
mod gate;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use tokio::net::TcpListener;
use tonic::transport::{Channel, Endpoint, Server, Uri};
use tonic::{Request, Status};

use self::gate::Gate;
use super::service::{FlightMethods, PeerService};

/// Largest message on the wire; batches are split long before.
pub(crate) const MESSAGE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Longest time to open a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval of probes on a silent connection, and the longest wait for the response to one.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Bytes that the sender of a response may be ahead of its reader, for each stream.
const CLIENT_STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// The same for all streams of a connection.
const CLIENT_CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Bytes that the sender of a request may be ahead of its reader, for each stream. Smaller than for
/// responses: a stranger can fill it before its token is checked.
const SERVER_STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// The same for all streams of a connection.
const SERVER_CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Open requests of one connection. An executor reads many blocks of a peer at once over a single
/// connection, and some readers consume one only when all are open: the limit must be far above
/// slots × partitions × inputs of a task.
const STREAMS_MAX: u32 = 16 * 1024;
/// Bytes of all headers of a request. The token and gRPC's own headers have a few hundred.
const HEADER_BYTES_MAX: u32 = 16 * 1024;

/// Connects to another process's Flight service.
///
/// # Errors
/// If it does not accept the connection in time.
pub async fn connect(address: &str) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(address.to_owned())?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(CLIENT_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CLIENT_CONNECTION_WINDOW_BYTES);
    endpoint.connect().await
}

/// Adds the job's token to a request.
///
/// # Errors
/// If the token has characters that are not allowed in a header.
pub fn bearer<T>(request: &mut Request<T>, token: &str) -> Result<(), Status> {
    let value = format!("Bearer {token}")
        .parse()
        .map_err(|_| Status::internal("the token is not a valid header value"))?;
    request.metadata_mut().insert("authorization", value);
    Ok(())
}

/// Serves `service` on `listener` until the future is dropped. Requests must carry `token`: others
/// are refused before a byte of their body is decoded.
///
/// # Errors
/// If the socket fails.
pub async fn serve<S: PeerService>(
    listener: TcpListener,
    service: S,
    token: String,
) -> Result<(), tonic::transport::Error> {
    let methods = FlightServiceServer::new(FlightMethods(service))
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .http2_max_header_list_size(Some(HEADER_BYTES_MAX))
        .max_concurrent_streams(Some(STREAMS_MAX))
        .initial_stream_window_size(SERVER_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(SERVER_CONNECTION_WINDOW_BYTES)
        .serve_with_incoming(Gate::new(methods, &token), accept::connections(listener))
        .await
}

/// Returns the URL of a listener.
#[must_use]
pub fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Whether the host of a URL is a loopback address.
#[must_use]
pub(crate) fn is_loopback(url: &str) -> bool {
    let host = url
        .parse::<Uri>()
        .ok()
        .and_then(|uri| uri.host().map(str::to_owned))
        .unwrap_or_default();
    host.trim_matches(['[', ']'])
        .parse::<IpAddr>()
        .is_ok_and(|ip| ip.is_loopback())
}
