//! Connections to the Flight services of other executors.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use faisca_planner::ids::{BlockHome, BlockId};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use crate::error::FetchError;
use crate::protocol::flight::{Credentials, MESSAGE_BYTES_MAX, connect};
use crate::protocol::{FetchRequest, lost_block, ticket};

/// Connections to other executors, one for each address, opened when first needed.
#[derive(Debug)]
pub struct PeerClients {
    credentials: Credentials,
    /// Guards only the map; connecting happens outside the lock.
    channels: Mutex<HashMap<String, Channel>>,
}

/// The executor that a request goes to.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) home: BlockHome,
    /// URL of its Flight service; `None` if it has none.
    pub(super) address: Option<String>,
}

impl PeerClients {
    /// Creates clients that are members of a job.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            channels: Mutex::default(),
        }
    }

    /// Step 7: streams the rows of blocks of one peer. Adds the bytes received to `fetched_bytes`.
    pub(super) async fn fetch(
        &self,
        peer: Peer,
        request: &FetchRequest,
        schema: SchemaRef,
        fetched_bytes: Arc<AtomicU64>,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let first = *request
            .blocks
            .first()
            .ok_or_else(|| internal_datafusion_err!("a fetch of no block"))?;
        let stream = self
            .get(peer.address.as_deref(), request)
            .await
            .map_err(|status| fetch_error(first, &peer, status))?;
        let counted = stream.map_err(FlightError::from).inspect_ok(move |data| {
            fetched_bytes.fetch_add(data.data_body.len() as u64, Ordering::Relaxed);
        });
        let batches = FlightRecordBatchStream::new_from_flight_data(counted).map(move |item| {
            let batch = item.map_err(|error| {
                let status = match error {
                    FlightError::Tonic(status) => *status,
                    other => Status::from_error(Box::new(other)),
                };
                fetch_error(first, &peer, status)
            })?;
            Ok(batch.with_schema(Arc::clone(&schema))?)
        });
        Ok(batches.boxed())
    }

    async fn get(
        &self,
        address: Option<&str>,
        request: &FetchRequest,
    ) -> Result<Streaming<FlightData>, Status> {
        let mut request = Request::new(ticket(request)?);
        self.credentials.authorize(&mut request)?;
        let response = self.client(address).await?.do_get(request).await?;
        Ok(response.into_inner())
    }

    /// Step 12: sends the frames of a block. Returns once the peer has stored all of it.
    pub(super) async fn put(
        &self,
        address: Option<&str>,
        frames: mpsc::Receiver<FlightData>,
    ) -> Result<(), Status> {
        let mut request = Request::new(ReceiverStream::new(frames));
        self.credentials.authorize(&mut request)?;
        let response = self.client(address).await?.do_put(request).await?;
        match response.into_inner().message().await? {
            Some(_) => Ok(()),
            None => Err(Status::aborted("the peer did not confirm the block")),
        }
    }

    async fn client(&self, address: Option<&str>) -> Result<FlightServiceClient<Channel>, Status> {
        let address = address.ok_or_else(|| Status::unavailable("it has no address"))?;
        let cached = self.channels.lock().get(address).cloned();
        let channel = match cached {
            Some(channel) => channel,
            None => {
                let channel = connect(address, &self.credentials)
                    .await
                    .map_err(|e| Status::unavailable(format!("{e:?}")))?;
                self.channels
                    .lock()
                    .insert(address.to_owned(), channel.clone());
                channel
            }
        };
        Ok(FlightServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }
}

fn fetch_error(first: BlockId, peer: &Peer, status: Status) -> DataFusionError {
    let home = peer.home;
    let error = match lost_block(&status, first) {
        Some(block) => FetchError::Lost { block, home },
        None => FetchError::Peer {
            block: first,
            home,
            address: peer.address.clone(),
            source: Box::new(status),
        },
    };
    DataFusionError::External(Box::new(error))
}
