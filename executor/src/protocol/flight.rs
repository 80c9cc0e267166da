//! Flight connections between processes: connect, serve, and the job's token on each request.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server, Uri};
use tonic::{Request, Status};

use super::service::{FlightMethods, PeerService};

/// Largest message on the wire; batches are split long before.
pub(crate) const MESSAGE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Longest time to open a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval of probes on a silent connection, and the longest wait for the response to one.
const KEEPALIVE: Duration = Duration::from_secs(5);

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
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(16 * 1024 * 1024);
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

/// Refuses requests that lack the job's token.
///
/// # Errors
/// `UNAUTHENTICATED`.
pub(super) fn authorize<T>(request: &Request<T>, token: &str) -> Result<(), Status> {
    let actual = request
        .metadata()
        .get("authorization")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let expected = format!("Bearer {token}");
    // Compares every byte, so that the time does not depend on the number of correct bytes.
    let is_equal = actual.len() == expected.len()
        && actual
            .bytes()
            .zip(expected.bytes())
            .fold(0, |diff, (a, b)| diff | (a ^ b))
            == 0;
    if is_equal {
        Ok(())
    } else {
        Err(Status::unauthenticated(
            "the job's token is missing or wrong",
        ))
    }
}

/// Serves `service` on `listener` until the future is dropped. Requests must carry `token`.
///
/// # Errors
/// If the socket fails.
pub async fn serve<S: PeerService>(
    listener: TcpListener,
    service: S,
    token: String,
) -> Result<(), tonic::transport::Error> {
    let methods = FlightMethods { service, token };
    let service = FlightServiceServer::new(methods).max_decoding_message_size(MESSAGE_BYTES_MAX);
    // Set on the listener, because the server's option affects only connections that it accepts itself.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(16 * 1024 * 1024);
    server
        .add_service(service)
        .serve_with_incoming(incoming)
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
