//! Supports windows ordered by values that have no distance, such as BYTEA.
//!
//! The default frame is `RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW`, for which DataFusion
//! refuses such types by an internal error. Without a distance, RANGE and GROUPS mean the same:
//! all rows up to the last peer of the current row.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, WindowFrame, WindowFrameBound, WindowFrameUnits,
};
use datafusion::optimizer::AnalyzerRule;

use super::rewrite_windows;

/// Replaces the default frames of such windows. Runs before type coercion, which refuses them.
#[derive(Debug)]
pub(in crate::workarounds) struct WindowsByBytes;

impl AnalyzerRule for WindowsByBytes {
    fn name(&self) -> &'static str {
        "windows_by_bytes"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_windows(plan, |expr, schema| Ok(use_groups(expr, schema)))
    }
}

/// Changes the frame from RANGE to GROUPS if it is ordered by bytes.
fn use_groups(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::WindowFunction(mut window) = expr else {
        return Transformed::no(expr);
    };
    let has_bytes = window.params.order_by.iter().any(|sort| {
        let data_type = sort.expr.get_type(schema);
        data_type.is_ok_and(|data_type| is_bytes(&data_type))
    });
    let is_changed = has_bytes && has_no_distance(&window.params.window_frame);
    if is_changed {
        window.params.window_frame.units = WindowFrameUnits::Groups;
    }
    Transformed::new_transformed(Expr::WindowFunction(window), is_changed)
}

fn is_bytes(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_bytes(values),
        other => other.is_binary() || matches!(other, DataType::FixedSizeBinary(_)),
    }
}

fn has_no_distance(frame: &WindowFrame) -> bool {
    let is_plain = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::CurrentRow => true,
        WindowFrameBound::Preceding(distance) | WindowFrameBound::Following(distance) => {
            distance.is_null()
        }
    };
    frame.units == WindowFrameUnits::Range
        && is_plain(&frame.start_bound)
        && is_plain(&frame.end_bound)
}
