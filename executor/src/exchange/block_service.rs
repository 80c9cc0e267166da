//! Serves the blocks of one process to peers and to the driver.

use std::sync::Arc;

use arrow::ipc::CompressionType;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::FlightData;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use datafusion::common::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use faisca_planner::ids::ExecutorId;
use futures::{StreamExt, TryStreamExt};
use tonic::{Status, Streaming};

use super::{BlockStore, handover, reader};
use crate::error::block_to_recompute;
use crate::protocol::{BoxedStream, FetchRequest, PeerService, block_lost};

/// Serves the blocks of one store.
#[derive(Debug)]
pub struct BlockService {
    executor: ExecutorId,
    store: Arc<BlockStore>,
    runtime: Arc<RuntimeEnv>,
}

impl BlockService {
    /// Serves the blocks of `executor`. Blocks that others hand over go to the spill folder of
    /// `runtime`.
    #[must_use]
    pub fn new(executor: ExecutorId, store: Arc<BlockStore>, runtime: Arc<RuntimeEnv>) -> Self {
        Self {
            executor,
            store,
            runtime,
        }
    }

    /// Refuses a request for a block that is not here, before any row of another was sent.
    fn check(&self, request: &FetchRequest) -> Result<(), Status> {
        let missing = request
            .blocks
            .iter()
            .find(|id| self.store.get(**id).is_none());
        missing.map_or(Ok(()), |block| Err(block_lost(*block)))
    }
}

/// Names the block to the reader: it requested several, and must not blame another one.
fn flight_error(error: DataFusionError) -> FlightError {
    match block_to_recompute(&error) {
        Some(block) => FlightError::Tonic(Box::new(block_lost(block))),
        None => FlightError::ExternalError(Box::new(error)),
    }
}

#[tonic::async_trait]
impl PeerService for BlockService {
    async fn fetch(&self, request: FetchRequest) -> Result<BoxedStream<FlightData>, Status> {
        self.check(&request)?;
        let compression = request.is_compressed.then_some(CompressionType::LZ4_FRAME);
        let options = IpcWriteOptions::default()
            .try_with_compression(compression)
            .map_err(|e| Status::internal(e.to_string()))?;
        let batches = reader::local_batches(Arc::clone(&self.store), self.executor, request);
        let encoded = FlightDataEncoderBuilder::new()
            .with_options(options)
            .with_dictionary_handling(DictionaryHandling::Resend)
            .build(batches.map_err(flight_error));
        Ok(encoded.map_err(Status::from).boxed())
    }

    async fn receive_block(&self, frames: Streaming<FlightData>) -> Result<(), Status> {
        handover::receive(frames, &self.store, &self.runtime).await
    }
}
