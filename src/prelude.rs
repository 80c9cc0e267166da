//! What most programs import: `use faisca::prelude::*;`

pub use datafusion::common::JoinType;
pub use datafusion::functions_aggregate::expr_fn::*;
pub use datafusion::prelude::{Expr, col, create_udf, ident, lit, when};

pub use crate::{DataFrame, SaveMode, Session};
