//! The exchange: how rows move from the tasks of one stage to the tasks of the next.
//!
//! ```text
//!  task                          BlockStore                         task of the next stage
//!  batches ─► ExchangeWriter ─► memory, reserved ──┐
//!                   │ pool full                    ├─ SealedBlock ─► ExchangeReader
//!                   └─────────► disk, LZ4, crc ────┘    same process: no copy; else Flight DoGet;
//!                                    │ by Durability       else the durable copy, if there is one
//!                                    └─────► object store: outlives its executor
//! ```
//!
//! **Invariants.** A sealed block is immutable. Every byte of a block in memory is reserved in the
//! executor's pool. Nothing is ever listed: the location of a block follows from its identity.
//!
//! What a task reads, by input mode, is drawn in `reader`; how a draining executor hands its blocks
//! over, in `handover`.

mod block;
mod block_service;
mod disk;
mod durable;
mod handover;
mod object;
mod peers;
mod reader;
mod store;
mod writer;

pub use block::SealedBlock;
pub use block_service::BlockService;
pub use durable::DurableTier;
pub(crate) use handover::BlockHandOver;
pub use peers::PeerClients;
pub use reader::ExchangeReader;
pub use store::{BlockMemory, BlockStore};
pub use writer::{ExchangeWriter, RowPartitioner};
