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
//! - `tls`: encryption, and the certificates of a job

mod accept;
mod gate;
mod tls;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use tokio::net::TcpListener;
use tonic::transport::{Channel, Endpoint, Server, Uri};
use tonic::{Request, Status};

pub use self::tls::TlsError;

use self::gate::Gate;
use self::tls::{Connector, Member};
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

/// Whether the connections between the processes of a job are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// They are not: all processes are on one machine, or the network is encrypted.
    Off,
    /// Mutual TLS.
    On,
}

impl Encryption {
    /// Returns what the URL of a member says.
    #[must_use]
    pub fn of_url(url: &str) -> Self {
        if url.starts_with("https:") {
            Self::On
        } else {
            Self::Off
        }
    }
}

/// What makes a process a member of a job.
#[derive(Clone)]
pub struct Credentials {
    token: Arc<str>,
    /// Certificate and key; `None` without encryption.
    member: Option<Member>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("encryption", &self.encryption())
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Creates the credentials of a member of the job with this token.
    ///
    /// # Errors
    /// If the system has no random numbers for a key.
    pub fn new(token: &str, encryption: Encryption) -> Result<Self, TlsError> {
        let member = match encryption {
            Encryption::On => Some(Member::of_job(token)?),
            Encryption::Off => None,
        };
        Ok(Self {
            token: token.into(),
            member,
        })
    }

    /// Creates credentials for connections that are not encrypted.
    #[must_use]
    pub fn unencrypted(token: &str) -> Self {
        Self {
            token: token.into(),
            member: None,
        }
    }

    fn encryption(&self) -> Encryption {
        match self.member {
            Some(_) => Encryption::On,
            None => Encryption::Off,
        }
    }

    /// Returns the URL of a listener.
    #[must_use]
    pub fn url(&self, address: SocketAddr) -> String {
        match self.encryption() {
            Encryption::On => format!("https://{address}"),
            Encryption::Off => format!("http://{address}"),
        }
    }

    /// Adds the job's token to a request.
    ///
    /// # Errors
    /// If the token has characters that are not allowed in a header.
    pub fn authorize<T>(&self, request: &mut Request<T>) -> Result<(), Status> {
        let value = format!("Bearer {}", self.token)
            .parse()
            .map_err(|_| Status::internal("the token is not a valid header value"))?;
        request.metadata_mut().insert("authorization", value);
        Ok(())
    }
}

/// A connection to a member of the job failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The other end is not reachable, or is no member of this job.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
    /// One end encrypts, and the other does not.
    #[error("{address}: this process uses encryption {own:?}; use one setting for a job")]
    Encryption {
        /// URL of the other end.
        address: String,
        /// What this process uses.
        own: Encryption,
    },
}

/// Connects to another process's Flight service.
///
/// # Errors
/// If it does not accept the connection in time, or is no member of the job.
pub async fn connect(address: &str, credentials: &Credentials) -> Result<Channel, ConnectError> {
    let own = credentials.encryption();
    if Encryption::of_url(address) != own {
        return Err(ConnectError::Encryption {
            address: address.to_owned(),
            own,
        });
    }
    // tonic refuses `https` where it does not encrypt itself.
    let endpoint = Endpoint::from_shared(address.replacen("https:", "http:", 1))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(CLIENT_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CLIENT_CONNECTION_WINDOW_BYTES);
    let channel = match &credentials.member {
        Some(member) => {
            let connector = Connector(member.connector.clone());
            endpoint.connect_with_connector(connector).await?
        }
        None => endpoint.connect().await?,
    };
    Ok(channel)
}

/// Serves `service` on `listener` until the future is dropped. Requests must carry the job's token:
/// others are refused before a byte of their body is decoded.
///
/// # Errors
/// If the socket fails.
pub async fn serve<S: PeerService>(
    listener: TcpListener,
    service: S,
    credentials: Credentials,
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
        .serve_with_incoming(
            Gate::new(methods, &credentials.token),
            accept::connections(listener, credentials.member),
        )
        .await
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
