//! Handing blocks over to another executor or to the object store, before this executor ends.
//!
//! ```text
//! draining executor                                       executor that takes the block
//!   BlockHandOver ─► send ─► Block{id, sizes}  ──────────► receive
//!      ▲                     Segment{crc} + IPC bytes ───►   │ append to a spill file
//!      │                     … End{segments}                 │ all segments present?
//!      └────────────────── confirmed ◄───────────────────────┴─► BlockStore
//! ```
//!
//! A block travels in the encoding that it has on disk: the sender encodes its segments in memory,
//! the receiver writes all of them to its spill folder. So the receiver needs no memory for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_flight::FlightData;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err};
use datafusion::execution::runtime_env::RuntimeEnv;
use faisca_planner::ids::{BlockHome, BlockId};
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tonic::Status;
use tracing::warn;

use super::block::{SealedBlock, Segment};
use super::disk::SpillWriter;
use super::store::BlockStore;
use super::{DurableTier, PeerClients};
use crate::protocol::{FromExecutor, HandOverFrame, PartitionSize, hand_over_frame, unframe};

/// Frames of a block in flight to another executor, of some MiB each.
const FRAMES_MAX: usize = 4;

/// Steps 11 to 13 of [the protocol](crate::protocol): moves blocks from this executor to `to`.
pub(crate) struct BlockHandOver {
    pub(crate) store: Arc<BlockStore>,
    pub(crate) peers: Arc<PeerClients>,
    pub(crate) durable: Option<Arc<DurableTier>>,
    /// Where the blocks go.
    pub(crate) to: BlockHome,
    /// URL of its Flight service; `None` for the object store.
    pub(crate) address: Option<String>,
}

impl BlockHandOver {
    /// Moves the blocks one after another, and reports each to the driver.
    pub(crate) async fn run(self, blocks: Vec<BlockId>, reports: mpsc::Sender<FromExecutor>) {
        for block in blocks {
            let outcome = self.hand_over(block).await;
            if let Err(error) = &outcome {
                let reason = error.strip_backtrace();
                warn!(%block, to = %self.to, "the block was not handed over: {reason}");
            }
            let to = outcome.is_ok().then_some(self.to);
            let _ = reports.send(FromExecutor::HandedOver { block, to }).await;
        }
    }

    async fn hand_over(&self, id: BlockId) -> Result<()> {
        let block = self
            .store
            .get(id)
            .ok_or_else(|| exec_datafusion_err!("this executor does not hold the block"))?;
        match &self.durable {
            Some(tier) if self.to == BlockHome::ObjectStore => tier.write(id, block).await,
            _ => self.send_to_peer(id, block).await,
        }
    }

    async fn send_to_peer(&self, id: BlockId, block: Arc<SealedBlock>) -> Result<()> {
        let (sender, frames) = mpsc::channel(FRAMES_MAX);
        let sending = tokio::task::spawn_blocking(move || send(id, &block, &sender));
        let put = self.peers.put(self.address.as_deref(), frames).await;
        // An unreadable segment explains more than the peer's complaint that it is missing.
        sending
            .await
            .map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))??;
        put.map_err(status_error)
    }
}

/// Step 12, sender: sends the frames of a block. Blocks its thread while the receiver is slower.
///
/// If a segment cannot be read, the receiver misses the end and refuses the block.
fn send(id: BlockId, block: &SealedBlock, frames: &mpsc::Sender<FlightData>) -> Result<()> {
    let send_frame = |header: HandOverFrame, body: Vec<u8>| {
        let frame = hand_over_frame(&header, body).map_err(status_error)?;
        frames
            .blocking_send(frame)
            .map_err(|_| exec_datafusion_err!("the peer hung up"))
    };
    let header = HandOverFrame::Block {
        block: id,
        partitions: block.sizes().to_vec(),
    };
    send_frame(header, vec![])?;
    let mut segments = 0;
    for segment in block.segments(None) {
        for body in block.encode_segment(segment)? {
            segments += 1;
            let header = HandOverFrame::Segment {
                partition: segment.partition,
                crc: crc32fast::hash(&body),
            };
            send_frame(header, body)?;
        }
    }
    send_frame(HandOverFrame::End { segments }, vec![])
}

/// Step 12, receiver: stores a block that another executor sends.
///
/// # Errors
/// If frames are missing or damaged, or the disk is full.
pub(super) async fn receive(
    mut frames: impl Stream<Item = Result<FlightData, Status>> + Unpin,
    store: &BlockStore,
    runtime: &Arc<RuntimeEnv>,
) -> Result<(), Status> {
    let first = frames
        .next()
        .await
        .ok_or_else(|| Status::invalid_argument("an empty hand-over"))??;
    let HandOverFrame::Block {
        block,
        partitions: sizes,
    } = unframe(&first)?
    else {
        return Err(Status::invalid_argument(
            "a hand-over starts with the identity of its block",
        ));
    };
    let mut spill = SpillWriter::new(runtime).map_err(|e| internal(&e))?;
    let mut partitions: BTreeMap<u32, Vec<Segment>> = BTreeMap::new();
    let (mut received, mut sent) = (0, None);
    while let Some(frame) = frames.next().await {
        let frame = frame?;
        let (partition, crc) = match unframe(&frame)? {
            HandOverFrame::Segment { partition, crc } => (partition, crc),
            HandOverFrame::End { segments } => {
                sent = Some(segments);
                break;
            }
            HandOverFrame::Block { .. } => {
                return Err(Status::invalid_argument("a hand-over has a single block"));
            }
        };
        received += 1;
        if crc32fast::hash(&frame.data_body) != crc {
            return Err(Status::data_loss(format!(
                "block {block}: the checksum of a segment differs"
            )));
        }
        let segment = spill.append(&frame.data_body).map_err(|e| internal(&e))?;
        partitions
            .entry(partition)
            .or_default()
            .push(Segment::Disk(segment));
    }
    if sent != Some(received) {
        return Err(Status::data_loss(format!(
            "block {block}: {received} segments arrived, and not all"
        )));
    }
    check_complete(block, &sizes, &partitions)?;
    let file = spill.finish().map_err(|e| internal(&e))?;
    store.put(
        block,
        SealedBlock {
            partitions,
            sizes,
            file: Some(Arc::new(file)),
            _memory: None,
        },
    );
    Ok(())
}

fn check_complete(
    block: BlockId,
    sizes: &[PartitionSize],
    partitions: &BTreeMap<u32, Vec<Segment>>,
) -> Result<(), Status> {
    let missing = sizes
        .iter()
        .find(|size| !partitions.contains_key(&size.partition));
    match missing {
        Some(missing) => Err(Status::data_loss(format!(
            "block {block}: partition {} did not arrive",
            missing.partition
        ))),
        None => Ok(()),
    }
}

fn status_error(status: Status) -> DataFusionError {
    DataFusionError::External(Box::new(status))
}

fn internal(error: &DataFusionError) -> Status {
    Status::internal(error.strip_backtrace())
}
