//! Blocks between processes: a reader's request, and a hand-over to another executor.

use faisca_planner::ids::BlockId;
use serde::{Deserialize, Serialize};

use super::PartitionSize;

/// Step 7: what a reader requests from an executor, as the ticket of a Flight `DoGet`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FetchRequest {
    /// The blocks, in the order in which their rows are returned.
    pub blocks: Vec<BlockId>,
    /// The partition to read of each block; `None` reads all in ascending order.
    pub partition: Option<u32>,
    /// Whether to compress the rows. Compression costs more than it saves within one machine.
    pub is_compressed: bool,
}

/// Step 12: one frame of a Flight `DoPut`, by which a draining executor hands a block over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum HandOverFrame {
    /// The first frame: the identity of the block, and what it must contain.
    Block {
        /// The block.
        block: BlockId,
        /// Its non-empty partitions.
        partitions: Vec<PartitionSize>,
    },
    /// Every frame between: a part of a partition, as an Arrow IPC stream in the body of the frame.
    Segment {
        /// The partition of the exchange.
        partition: u32,
        /// CRC-32 of the body.
        crc: u32,
    },
    /// The last frame.
    End {
        /// Number of segments sent.
        segments: u64,
    },
}
