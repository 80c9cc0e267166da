//! What queries write: sinks in the tasks, one commit in the driver.

pub(crate) mod commit;
mod layout;
mod save_mode;
pub(crate) mod write;

pub(crate) use layout::values;
