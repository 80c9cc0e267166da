//! Syntax that calls functions: `EXTRACT(YEAR FROM d)`, `SUBSTRING(s FROM 2 FOR 3)`.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult};
use datafusion::logical_expr::{Expr, ScalarUDF};

use super::scalar::{Function, SparkFunction};
use super::{datetime, strings};

/// Plans such syntax as calls of Spark's functions.
#[derive(Debug)]
pub(crate) struct FunctionSyntax {
    extract: Arc<ScalarUDF>,
    substring: Arc<ScalarUDF>,
}

impl FunctionSyntax {
    pub(crate) fn new() -> Self {
        let udf =
            |function: Function| Arc::new(ScalarUDF::new_from_impl(SparkFunction::new(function)));
        Self {
            extract: udf(datetime::date_part()),
            substring: udf(strings::substring()),
        }
    }
}

fn call(udf: &Arc<ScalarUDF>, args: Vec<Expr>) -> PlannerResult<Vec<Expr>> {
    PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(
        Arc::clone(udf),
        args,
    )))
}

impl ExprPlanner for FunctionSyntax {
    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(call(&self.extract, args))
    }

    fn plan_substring(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(call(&self.substring, args))
    }
}
