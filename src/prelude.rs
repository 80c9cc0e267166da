//! `use faisca::prelude::*;`

pub use datafusion::common::JoinType;
pub use datafusion::functions_aggregate::expr_fn::*;
pub use datafusion::prelude::{Expr, col, create_udf, ident, lit, when};
pub use faisca_driver::{DataFrame, Session};
pub use faisca_planner::manifest::SaveMode;

pub use crate::start::NewSession;
