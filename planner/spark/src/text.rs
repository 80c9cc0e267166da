//! Values and types as Spark writes them, for programs that print results.

pub use crate::functions::convert::Zone;
pub use crate::functions::render::{double, float, interval, write_date, write_time, write_wall};
pub use crate::functions::types::name_of;
