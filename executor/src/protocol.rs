//! Everything that crosses processes: messages, environment variables, Flight requests, and their
//! encoding. **No other module serializes a message.**
//!
//! Plans are encoded by [`crate::codec`], rows by Arrow IPC, column statistics by [`crate::sink`].
//!
//! The same messages pass through channels inside one process and through a Flight `DoExchange`
//! stream between processes; nothing else differs between the two kinds of fleet.
//!
//! ```text
//! driver                                            executor
//!   │ 1 start: environment variables (settings) ───────► │
//!   │ ◄─────────────────────────────────── 2 Register    │
//!   │ 3 accepts, or refuses another build ─────────────► │
//!   │ ◄─────────────────────────────────── 4 Heartbeat   │ every 2 s
//!   │ 5 Stage, once for each executor that runs it ────► │
//!   │ 6 Launch (input block locations) ────────────────► │ ── 7 DoGet: blocks of peers
//!   │ ◄────────────────────────── 8 Finished | Failed    │
//!   │ 9 Cancel, or Release at the end of the query ────► │
//!   │ ◄──────────────────────────────────── 10 Draining  │ after SIGTERM
//!   │ 11 HandOver ─────────────────────────────────────► │ ── 12 DoPut: blocks to a peer
//!   │ ◄────────────────────────────────── 13 HandedOver  │
//!   │ 14 Shutdown ─────────────────────────────────────► │
//! ```

mod block;
mod csv;
mod encoding;
mod failure;
pub mod flight;
mod messages;
mod service;
mod settings;
mod stage;
mod task;

pub use block::FetchRequest;
pub(crate) use block::HandOverFrame;
pub use csv::CsvReadOptions;
pub use encoding::{BUILD, VERSION, frame, unframe};
pub(crate) use encoding::{block_lost, hand_over_frame, lost_block, ticket};
pub use failure::{Failure, FailureKind};
pub use messages::{FromExecutor, Registration, ToExecutor};
pub use service::{BoxedStream, PeerService};
pub use settings::{DurableExchange, ExecutorConfig, InvalidVariable, Limits, env};
pub use stage::{Durability, EmptyOutput, OutputSpec, SinkSpec, StageSpec};
pub use task::{
    BlockLocation, PartitionSize, PendingFile, PendingUpload, RequestSnapshot, StageBlocks,
    TaskMetrics, TaskReport, TaskSpec,
};

/// Control messages queued in each direction at most.
pub const QUEUE_LENGTH: usize = 4096;
