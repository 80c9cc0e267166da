//! What most programs import: `use faisca::prelude::*;`
//!
//! [`functions`](crate::functions) has all functions; the prelude has those that most programs
//! need.

pub use datafusion::common::JoinType;
pub use datafusion::prelude::create_udf;

pub use crate::columns::{Column, FrameBound, Window, col, expr, left_col, lit, right_col, when};
pub use crate::functions::{avg, call_function, count, count_distinct, max, min, sum};
pub use crate::{DataFrame, MissingColumns, SaveMode, Session};
