//! The journal of a run: what was decided, when, in lines that outlive the driver.
//!
//! A finished run should explain where its time went, and a dead driver should not take that
//! knowledge with it.
//!
//! ```text
//!   session: run, steps ──┐
//!   engine: queries,      ├─ Record ─► Journal: one JSON line, into a bounded buffer
//!   stages, attempts,     │                       │ a thread of its own
//!   executors ────────────┘                       ▼
//!                                      FILE.jsonl ──► read() ──► report
//! ```
//!
//! - [`record`]: the records, and the version of their format
//! - `parent`: the run of a scheduler that started this one
//! - `recorder`: writes them, and never blocks its caller
//! - `read`: reads them back, also those of a run that was killed
//! - `tail`: reads them while they are written

mod parent;
mod read;
pub mod record;
mod recorder;
mod tail;

pub use read::{JournalError, RecordedRun, read};
pub use recorder::Journal;
pub use tail::JournalTail;
