//! The Flight service of a process: three methods of [`FlightService`].

use std::pin::Pin;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::FetchRequest;
use super::encoding::decode;

/// A stream of a Flight response.
pub type BoxedStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What a process does for its peers.
///
/// [`super::flight::serve`] checks the job's token before it calls any of these, and refuses the
/// methods of Flight that are not here. A future or stream is dropped when the caller hangs up.
#[tonic::async_trait]
pub trait PeerService: Send + Sync + 'static {
    /// Step 7: streams the rows of blocks.
    async fn fetch(&self, request: FetchRequest) -> Result<BoxedStream<FlightData>, Status>;

    /// Step 12: stores a block that a draining executor sends. Returns once all of it is stored.
    async fn receive_block(&self, frames: Streaming<FlightData>) -> Result<(), Status>;

    /// Steps 2 to 14, on the driver: takes the messages of an executor, returns those to it.
    async fn control(
        &self,
        _reports: Streaming<FlightData>,
    ) -> Result<BoxedStream<FlightData>, Status> {
        Err(unsupported_call())
    }
}

/// A [`PeerService`] as Flight's own trait wants it.
pub(super) struct FlightMethods<S>(pub(super) S);

#[tonic::async_trait]
impl<S: PeerService> FlightService for FlightMethods<S> {
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
        let request = decode(&request.into_inner().ticket)?;
        Ok(Response::new(self.0.fetch(request).await?))
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        self.0.receive_block(request.into_inner()).await?;
        let confirmed = futures::stream::once(async { Ok(PutResult::default()) });
        Ok(Response::new(confirmed.boxed()))
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        let commands = self.0.control(request.into_inner()).await?;
        Ok(Response::new(commands))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(unsupported_call())
    }

    async fn list_flights(
        &self,
        _: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(unsupported_call())
    }

    async fn get_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        Err(unsupported_call())
    }

    async fn poll_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        Err(unsupported_call())
    }

    async fn get_schema(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        Err(unsupported_call())
    }

    async fn do_action(
        &self,
        _: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        Err(unsupported_call())
    }

    async fn list_actions(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        Err(unsupported_call())
    }
}

fn unsupported_call() -> Status {
    Status::unimplemented("Faísca serves DoGet and DoPut of blocks, and DoExchange on the driver")
}
