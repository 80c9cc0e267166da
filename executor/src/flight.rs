//! The executor's Flight service: serves blocks to peers and to the driver.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrow::ipc::CompressionType;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use datafusion::execution::runtime_env::RuntimeEnv;
use faisca_planner::ids::ExecutorId;
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server, Uri};
use tonic::{Request, Response, Status, Streaming};

use crate::exchange::BlockStore;
use crate::wire::FetchRequest;

/// Largest message on the wire; batches are split long before.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A silent connection is probed this often, and given up after as long again.
const KEEPALIVE: Duration = Duration::from_secs(5);

type BoxedStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Connects to another process's Flight service.
///
/// # Errors
/// If it does not answer in time.
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

/// Puts the job's token on a request.
///
/// # Errors
/// If the token has characters that no header can carry.
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
pub fn authorize<T>(request: &Request<T>, token: &str) -> Result<(), Status> {
    let given = request
        .metadata()
        .get("authorization")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let wanted = format!("Bearer {token}");
    // Compares every byte, so that the time taken tells nothing.
    let same = given.len() == wanted.len()
        && given
            .bytes()
            .zip(wanted.bytes())
            .fold(0, |diff, (a, b)| diff | (a ^ b))
            == 0;
    if same {
        Ok(())
    } else {
        Err(Status::unauthenticated(
            "the job's token is missing or wrong",
        ))
    }
}

/// Serves `service` on `listener` until the future is dropped.
///
/// # Errors
/// If the socket fails.
pub async fn serve<S: FlightService>(
    listener: TcpListener,
    service: S,
) -> Result<(), tonic::transport::Error> {
    let service = FlightServiceServer::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX);
    // Set on the listener: the server's own switch does not reach connections that it did not bind.
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

/// URL of a listener, for others to connect to.
#[must_use]
pub fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Whether a URL leads to this machine, by a loopback address.
#[must_use]
pub fn is_loopback(url: &str) -> bool {
    let host = url
        .parse::<Uri>()
        .ok()
        .and_then(|uri| uri.host().map(str::to_owned))
        .unwrap_or_default();
    host.trim_matches(['[', ']'])
        .parse::<IpAddr>()
        .is_ok_and(|ip| ip.is_loopback())
}

/// Serves the blocks of one store.
pub struct BlockService {
    me: ExecutorId,
    store: Arc<BlockStore>,
    runtime: Arc<RuntimeEnv>,
    token: String,
}

impl BlockService {
    /// Requests must carry `token`. Blocks that others hand over go to the spill folder of `runtime`.
    #[must_use]
    pub fn new(
        me: ExecutorId,
        store: Arc<BlockStore>,
        runtime: Arc<RuntimeEnv>,
        token: String,
    ) -> Self {
        Self {
            me,
            store,
            runtime,
            token,
        }
    }

    fn check(&self, request: &FetchRequest) -> Result<(), Status> {
        match request
            .blocks
            .iter()
            .find(|id| self.store.get(**id).is_none())
        {
            Some(lost) => {
                let details = postcard::to_stdvec(lost).unwrap_or_default();
                Err(Status::with_details(
                    tonic::Code::NotFound,
                    format!("no block {lost}"),
                    details.into(),
                ))
            }
            None => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl FlightService for BlockService {
    type HandshakeStream = BoxedStream<HandshakeResponse>;
    type ListFlightsStream = BoxedStream<FlightInfo>;
    type DoGetStream = BoxedStream<FlightData>;
    type DoPutStream = BoxedStream<PutResult>;
    type DoExchangeStream = BoxedStream<FlightData>;
    type DoActionStream = BoxedStream<arrow_flight::Result>;
    type ListActionsStream = BoxedStream<ActionType>;

    async fn do_get(
        &self,
        request: Request<Ticket>,
    ) -> Result<Response<Self::DoGetStream>, Status> {
        authorize(&request, &self.token)?;
        let request: FetchRequest = postcard::from_bytes(&request.into_inner().ticket)
            .map_err(|e| Status::invalid_argument(format!("ticket: {e}")))?;
        self.check(&request)?;
        let compressed = request.compressed;
        let batches = crate::exchange::local_batches(Arc::clone(&self.store), self.me, request);
        let options = IpcWriteOptions::default()
            .try_with_compression(compressed.then_some(CompressionType::LZ4_FRAME));
        let options = options.map_err(|e| Status::internal(e.to_string()))?;
        let encoded = FlightDataEncoderBuilder::new()
            .with_options(options)
            .with_dictionary_handling(DictionaryHandling::Resend)
            .build(batches.map_err(|e| FlightError::ExternalError(Box::new(e))));
        Ok(Response::new(encoded.map_err(Status::from).boxed()))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(unsupported())
    }

    async fn list_flights(
        &self,
        _: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(unsupported())
    }

    async fn get_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        Err(unsupported())
    }

    async fn poll_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        Err(unsupported())
    }

    async fn get_schema(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        Err(unsupported())
    }

    /// Takes a block from an executor that ends; answers once it has all of it.
    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        authorize(&request, &self.token)?;
        crate::exchange::receive_hand_over(request.into_inner(), &self.store, &self.runtime)
            .await?;
        Ok(Response::new(
            futures::stream::once(async { Ok(PutResult::default()) }).boxed(),
        ))
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(unsupported())
    }

    async fn do_action(
        &self,
        _: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        Err(unsupported())
    }

    async fn list_actions(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        Err(unsupported())
    }
}

/// For the methods of Flight that Faísca has no use for.
#[must_use]
pub fn unsupported() -> Status {
    Status::unimplemented("Faísca serves DoGet and DoPut of blocks, and DoExchange on the driver")
}
