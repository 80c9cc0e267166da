//! The engine end to end: real files, real processes, an oracle that is not ours.

mod api;
mod bad_input;
mod names;
mod pipeline;
mod recovery;
mod slt;
mod support;
mod tpch;
mod writes;
