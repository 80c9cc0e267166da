//! The output of queries: sinks in the tasks write files, and one commit in the driver makes them
//! visible.

mod append;
mod columns;
pub(crate) mod commit;
mod layout;
mod save_mode;
mod stored_types;
pub(crate) mod write;

pub(crate) use layout::values;
