//! Rewrites window functions that would lose a part of themselves on the way to an executor.
//!
//! DataFusion's protobuf message for a window function has no field for a `FILTER`, for `IGNORE
//! NULLS` of `lag`, `lead`, `first_value`, `last_value` and `nth_value`, and for the reversed
//! evaluation by which the optimizer saves a sort: an executor computes `lead` instead of `lag`.
//!
//! ```text
//!   sum(x) FILTER (WHERE c) OVER w    ──►   sum(CASE WHEN c THEN x END) OVER w
//!   lag(x) IGNORE NULLS OVER w        ──►   lag_ignoring_nulls(x) OVER w, one of our functions
//!   lag(x) OVER w                     ──►   lag(x) OVER w, a function that cannot be reversed
//! ```
//!
//! `lead(x, n) IGNORE NULLS` also gets the whole partition at once: row by row, DataFusion loses a
//! value if a null is between it and the next one.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result, plan_err};
use datafusion::functions_window::lead_lag::{lag_udwf, lead_udwf};
use datafusion::functions_window::nth_value::{first_value_udwf, last_value_udwf, nth_value_udwf};
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction};
use datafusion::logical_expr::function::{
    ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs,
};
use datafusion::logical_expr::{
    Expr, LimitEffect, LogicalPlan, PartitionEvaluator, ReversedUDWF, Signature,
    WindowFunctionDefinition, WindowUDF, WindowUDFImpl, when,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr::PhysicalExpr;

use super::rewrite_windows;

/// Aggregates for which null is a value: a CASE instead of a FILTER would change their results.
const NULL_SENSITIVE: [&str; 4] = ["array_agg", "first_value", "last_value", "nth_value"];

/// Rewrites window functions so that their messages are complete. Runs after type coercion.
#[derive(Debug)]
pub(in crate::workarounds) struct SendableWindows;

impl AnalyzerRule for SendableWindows {
    fn name(&self) -> &'static str {
        "sendable_windows"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_windows(plan, |expr, _schema| make_sendable(expr))
    }
}

/// Rewrites a window function whose message would lose a part of it.
fn make_sendable(expr: Expr) -> Result<Transformed<Expr>> {
    let Expr::WindowFunction(mut window) = expr else {
        return Ok(Transformed::no(expr));
    };
    let mut is_changed = false;
    if let WindowFunctionDefinition::WindowUDF(function) = &window.fun
        && let Some(one_way) = OneWayFunction::for_function(function, window.params.null_treatment)
    {
        window.fun = WindowFunctionDefinition::WindowUDF(Arc::new(WindowUDF::from(one_way)));
        window.params.null_treatment = None;
        is_changed = true;
    }
    if let Some(filter) = window.params.filter.take() {
        filter_arguments(&mut window, &filter)?;
        is_changed = true;
    }
    let window = Expr::WindowFunction(window);
    Ok(Transformed::new_transformed(window, is_changed))
}

/// Makes the arguments null where the filter does not hold.
fn filter_arguments(window: &mut WindowFunction, filter: &Expr) -> Result<()> {
    let name = window.fun.name();
    let ignores_nulls = window.params.null_treatment == Some(NullTreatment::IgnoreNulls);
    if NULL_SENSITIVE.contains(&name) && !ignores_nulls {
        return plan_err!(
            "{name} with FILTER in a window is not supported; write {name}(CASE WHEN … THEN … END) IGNORE NULLS, \
             or filter the rows in a derived table"
        );
    }
    for argument in &mut window.params.args {
        *argument = when(filter.clone(), argument.clone()).end()?;
    }
    Ok(())
}

/// A function of DataFusion that cannot be reversed, and that knows whether it ignores nulls.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::workarounds) struct OneWayFunction {
    name: String,
    function: Arc<WindowUDF>,
    ignores_nulls: bool,
}

impl OneWayFunction {
    /// Returns all functions, for the registry of executors.
    pub(in crate::workarounds) fn all() -> Vec<Self> {
        let functions = originals().into_iter();
        functions
            .flat_map(|function| [false, true].map(|ignores| Self::new(&function, ignores)))
            .collect()
    }

    fn new(function: &Arc<WindowUDF>, ignores_nulls: bool) -> Self {
        let name = function.name();
        Self {
            name: if ignores_nulls {
                format!("{name}_ignoring_nulls")
            } else {
                name.to_owned()
            },
            function: Arc::clone(function),
            ignores_nulls,
        }
    }

    /// Returns the replacement of a function; `None` if it needs none.
    fn for_function(function: &WindowUDF, nulls: Option<NullTreatment>) -> Option<Self> {
        let ignores_nulls = nulls == Some(NullTreatment::IgnoreNulls);
        if function.inner().is::<Self>() && !ignores_nulls {
            return None;
        }
        let originals = originals();
        let original = originals.iter().find(|o| o.name() == function.name());
        original.map(|original| Self::new(original, ignores_nulls))
    }
}

fn originals() -> [Arc<WindowUDF>; 5] {
    [
        lag_udwf(),
        lead_udwf(),
        first_value_udwf(),
        last_value_udwf(),
        nth_value_udwf(),
    ]
}

impl WindowUDFImpl for OneWayFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn expressions(&self, args: ExpressionArgs) -> Vec<Arc<dyn PhysicalExpr>> {
        self.function.expressions(args)
    }

    fn partition_evaluator(
        &self,
        args: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        let (exprs, fields) = (args.input_exprs(), args.input_fields());
        let evaluator = self
            .function
            .partition_evaluator_factory(PartitionEvaluatorArgs::new(
                exprs,
                fields,
                false,
                self.ignores_nulls,
            ))?;
        // `lag` with a negative offset is `lead`; the evaluator that looks back is causal.
        let is_shift = matches!(self.function.name(), "lag" | "lead");
        match is_shift && self.ignores_nulls && !evaluator.is_causal() {
            true => Ok(Box::new(WholePartition(evaluator))),
            false => Ok(evaluator),
        }
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        self.function.field(args)
    }

    fn sort_options(&self) -> Option<SortOptions> {
        self.function.sort_options()
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.function.coerce_types(arg_types)
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        ReversedUDWF::NotSupported
    }

    fn limit_effect(&self, args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        self.function.inner().limit_effect(args)
    }
}

/// Evaluates a function for all rows of a partition at once, never row by row.
#[derive(Debug)]
struct WholePartition(Box<dyn PartitionEvaluator>);

impl PartitionEvaluator for WholePartition {
    fn evaluate_all(&mut self, values: &[ArrayRef], num_rows: usize) -> Result<ArrayRef> {
        self.0.evaluate_all(values, num_rows)
    }
}
