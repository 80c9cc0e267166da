//! Values as bytes: postcard, in the `app_metadata` of a Flight frame, in a ticket, or in the
//! details of a status.
//!
//! Both sides are of one build ([`BUILD`], checked in step 3), so the format has no versions.

use arrow_flight::{FlightData, Ticket};
use faisca_planner::ids::BlockId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::{Code, Status};

use super::{FetchRequest, HandOverFrame};

/// Version that driver and executors must share.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Identity of the build, which driver and executors must share, too: a hash of the sources.
pub const BUILD: &str = env!("FAISCA_BUILD");

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Status> {
    postcard::to_stdvec(value).map_err(|e| Status::internal(format!("encoding: {e}")))
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Status> {
    postcard::from_bytes(bytes).map_err(|e| {
        Status::invalid_argument(format!(
            "a message that this build (faisca {VERSION}) cannot read: {e}"
        ))
    })
}

/// Encodes a message as a frame of a stream.
///
/// # Errors
/// Only if a value cannot be serialized, which would be a bug.
pub fn frame<T: Serialize>(message: &T) -> Result<FlightData, Status> {
    Ok(FlightData {
        app_metadata: encode(message)?.into(),
        ..FlightData::default()
    })
}

/// Decodes the message of a frame.
///
/// # Errors
/// If another build encoded it.
pub fn unframe<T: DeserializeOwned>(frame: &FlightData) -> Result<T, Status> {
    decode(&frame.app_metadata)
}

/// Encodes a frame of a hand-over; `body` is the segment.
pub(crate) fn hand_over_frame(header: &HandOverFrame, body: Vec<u8>) -> Result<FlightData, Status> {
    Ok(FlightData {
        data_body: body.into(),
        ..frame(header)?
    })
}

/// Encodes a reader's request.
pub(crate) fn ticket(request: &FetchRequest) -> Result<Ticket, Status> {
    Ok(Ticket {
        ticket: encode(request)?.into(),
    })
}

/// The status for a block that the executor does not hold. Its details are the block.
pub(crate) fn block_lost(block: BlockId) -> Status {
    let details = encode(&block).unwrap_or_default();
    Status::with_details(Code::NotFound, format!("no block {block}"), details.into())
}

/// Whether a status says that blocks are lost; `requested` stands for a block that it does not
/// name.
pub(crate) fn lost_block(status: &Status, requested: BlockId) -> Option<BlockId> {
    (status.code() == Code::NotFound).then(|| decode(status.details()).unwrap_or(requested))
}
