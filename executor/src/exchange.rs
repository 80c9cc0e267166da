//! The exchange: how rows change hands between stages.
//!
//! ```text
//!  task                          BlockStore                         task of the next stage
//!  batches ─► ExchangeWriter ─► memory, reserved ──┐
//!                   │ pool full                    ├─ SealedBlock ─► ExchangeReader
//!                   └─────────► disk, LZ4, crc ────┘    same process: no copy; else Flight DoGet;
//!                                    │ as asked            else, where kept, from the object store
//!                                    └─────► object store: outlives its executor
//! ```
//!
//! **Invariants.** A sealed block is immutable. Every byte of a block in memory is reserved in the
//! executor's pool. Nothing is ever listed: blocks are found by their identity alone.

mod block;
mod disk;
mod durable;
mod handover;
mod object;
mod reader;
mod store;
mod writer;

pub use block::{SealedBlock, SegmentPlace};
pub use durable::{DurableExchange, DurableTier};
pub(crate) use handover::{receive as receive_hand_over, send as send_hand_over};
pub(crate) use reader::local as local_batches;
pub use reader::{ExchangeReader, PeerClients};
pub use store::{BlockMemory, BlockStore};
pub use writer::{ExchangeWriter, Spread};
