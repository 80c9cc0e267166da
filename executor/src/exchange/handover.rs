//! Handing a block to another executor, before this one ends.
//!
//! A block travels as it would lie on disk: the sender encodes what it has in memory, the receiver
//! writes all of it to its spill folder, so that taking a neighbour's blocks costs it no memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_flight::FlightData;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err};
use datafusion::execution::runtime_env::RuntimeEnv;
use faisca_planner::ids::BlockId;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tonic::Status;

use super::block::{SealedBlock, Segment};
use super::disk::SpillWriter;
use super::store::BlockStore;
use crate::wire::{BucketSize, HandOverFrame};

/// Sends the messages that carry a block. Blocks its thread while the other side is slower.
///
/// # Errors
/// A segment that cannot be read: the receiver then misses buckets and refuses.
pub(crate) fn send(
    id: BlockId,
    block: &SealedBlock,
    frames: &mpsc::Sender<FlightData>,
) -> Result<()> {
    let send = |frame: FlightData| {
        frames
            .blocking_send(frame)
            .map_err(|_| exec_datafusion_err!("the peer hung up"))
    };
    send(frame(
        &HandOverFrame::Block {
            block: id,
            buckets: block.sizes().to_vec(),
        },
        vec![],
    )?)?;
    for place in block.segments(None) {
        for body in block.encoded(place)? {
            send(frame(
                &HandOverFrame::Segment {
                    bucket: place.bucket,
                    crc: crc32fast::hash(&body),
                },
                body,
            )?)?;
        }
    }
    Ok(())
}

fn frame(header: &HandOverFrame, body: Vec<u8>) -> Result<FlightData> {
    let header = postcard::to_stdvec(header).map_err(|e| exec_datafusion_err!("encoding: {e}"))?;
    Ok(FlightData {
        app_metadata: header.into(),
        data_body: body.into(),
        ..FlightData::default()
    })
}

/// Takes a block in.
///
/// # Errors
/// If messages are missing or damaged, or the disk is full.
pub(crate) async fn receive(
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
        buckets: sizes,
    } = header(&first)?
    else {
        return Err(Status::invalid_argument(
            "a hand-over starts with its block",
        ));
    };
    let mut spill = SpillWriter::new(runtime).map_err(|e| internal(&e))?;
    let mut buckets: BTreeMap<u32, Vec<Segment>> = BTreeMap::new();
    while let Some(message) = frames.next().await {
        let message = message?;
        let HandOverFrame::Segment { bucket, crc } = header(&message)? else {
            return Err(Status::invalid_argument("one block at a time"));
        };
        if crc32fast::hash(&message.data_body) != crc {
            return Err(Status::data_loss(format!(
                "block {block}: the checksum of a segment differs"
            )));
        }
        buckets.entry(bucket).or_default().push(Segment::Disk(
            spill.append(&message.data_body).map_err(|e| internal(&e))?,
        ));
    }
    check_whole(block, &sizes, &buckets)?;
    let file = spill.finish().map_err(|e| internal(&e))?;
    store.put(
        block,
        SealedBlock {
            buckets,
            sizes,
            file: Some(Arc::new(file)),
            _memory: None,
        },
    );
    Ok(())
}

fn check_whole(
    block: BlockId,
    sizes: &[BucketSize],
    buckets: &BTreeMap<u32, Vec<Segment>>,
) -> Result<(), Status> {
    match sizes
        .iter()
        .find(|size| !buckets.contains_key(&size.bucket))
    {
        Some(missing) => Err(Status::data_loss(format!(
            "block {block}: bucket {} did not arrive",
            missing.bucket
        ))),
        None => Ok(()),
    }
}

fn header(frame: &FlightData) -> Result<HandOverFrame, Status> {
    postcard::from_bytes(&frame.app_metadata)
        .map_err(|e| Status::invalid_argument(format!("hand-over: {e}")))
}

fn internal(error: &DataFusionError) -> Status {
    Status::internal(error.strip_backtrace())
}
