//! Computes sums and averages of floating-point numbers over a sliding frame.
//!
//! DataFusion subtracts the values that leave the frame. After an infinity has left, the result is
//! NaN for the rest of the partition (`inf - inf`), and after a large number, small ones are lost.
//! Here nothing is subtracted: the frame is a queue of two stacks with the sums of their parts.
//!
//! ```text
//!   leaves ◄── front, sums from each value to its end │ back, with one sum ◄── enters
//!                           sum of the frame = front.last() + back_sum
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, FieldRef, Float64Type};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue, internal_err};
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, ExprSchemable, LogicalPlan, ReversedUDAF,
    Signature, WindowFunctionDefinition,
};
use datafusion::optimizer::AnalyzerRule;

use super::rewrite_windows;

/// Replaces `sum` and `avg` by [`MovingFunction`]. Runs after type coercion.
#[derive(Debug)]
pub(in crate::workarounds) struct MovingTotals;

impl AnalyzerRule for MovingTotals {
    fn name(&self) -> &'static str {
        "moving_totals"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_windows(plan, |expr, schema| Ok(replace_total(expr, schema)))
    }
}

/// Replaces `sum` or `avg` of doubles over a sliding frame.
fn replace_total(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::WindowFunction(mut window) = expr else {
        return Transformed::no(expr);
    };
    let total = match &window.fun {
        WindowFunctionDefinition::AggregateUDF(function) => Total::for_function(function),
        WindowFunctionDefinition::WindowUDF(_) => None,
    };
    let is_double = |argument: &Expr| {
        let data_type = argument.get_type(schema);
        data_type.is_ok_and(|data_type| data_type == DataType::Float64)
    };
    let params = &window.params;
    let is_sliding = !params.window_frame.is_ever_expanding();
    let total =
        total.filter(|_| is_sliding && !params.distinct && params.args.iter().all(is_double));
    let is_changed = total.is_some();
    if let Some(total) = total {
        let function = AggregateUDF::from(MovingFunction::new(total));
        window.fun = WindowFunctionDefinition::AggregateUDF(Arc::new(function));
    }
    Transformed::new_transformed(Expr::WindowFunction(window), is_changed)
}

/// The result that a function computes for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Total {
    Sum,
    Average,
}

impl Total {
    fn for_function(function: &AggregateUDF) -> Option<Self> {
        match function.name() {
            "sum" | "checked_sum" => Some(Self::Sum),
            "avg" => Some(Self::Average),
            _ => None,
        }
    }
}

/// The function `moving_sum` or `moving_avg` of doubles.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::workarounds) struct MovingFunction {
    total: Total,
    function: Arc<AggregateUDF>,
}

impl MovingFunction {
    /// Returns all functions, for the registry of executors.
    pub(in crate::workarounds) fn all() -> [Self; 2] {
        [Self::new(Total::Sum), Self::new(Total::Average)]
    }

    fn new(total: Total) -> Self {
        let function = match total {
            Total::Sum => sum_udaf(),
            Total::Average => avg_udaf(),
        };
        Self { total, function }
    }
}

impl AggregateUDFImpl for MovingFunction {
    fn name(&self) -> &'static str {
        match self.total {
            Total::Sum => "moving_sum",
            Total::Average => "moving_avg",
        }
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.function.return_type(arg_types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.function.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.function.accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.return_field.data_type() != &DataType::Float64 {
            return internal_err!("{} is a function of doubles", self.name());
        }
        Ok(Box::new(Frame::new(self.total)))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}

/// The values of a frame, in the order in which they leave it.
#[derive(Debug)]
struct Frame {
    total: Total,
    /// Sum from each value to the end of the front. The last one belongs to the first to leave.
    front: Vec<f64>,
    back: Vec<f64>,
    back_sum: f64,
}

impl Frame {
    fn new(total: Total) -> Self {
        Self {
            total,
            front: vec![],
            back: vec![],
            back_sum: 0.0,
        }
    }

    fn enter(&mut self, value: f64) {
        self.back.push(value);
        self.back_sum += value;
    }

    fn leave(&mut self) {
        if self.front.is_empty() {
            let mut sum = 0.0;
            while let Some(value) = self.back.pop() {
                sum += value;
                self.front.push(sum);
            }
            self.back_sum = 0.0;
        }
        self.front.pop();
    }
}

impl Accumulator for Frame {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<Float64Type>();
        values.iter().flatten().for_each(|value| self.enter(value));
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        // Values leave in the order in which they entered, so their number is enough.
        let count = values[0].len() - values[0].null_count();
        (0..count).for_each(|_| self.leave());
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    #[expect(clippy::cast_precision_loss, reason = "no frame has 2^53 rows")]
    fn evaluate(&mut self) -> Result<ScalarValue> {
        let rows = self.front.len() + self.back.len();
        let sum = self.front.last().copied().unwrap_or_default() + self.back_sum;
        let value = match self.total {
            Total::Sum => sum,
            Total::Average => sum / rows as f64,
        };
        Ok(ScalarValue::Float64((rows > 0).then_some(value)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        internal_err!("a window function has no state to send")
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        internal_err!("a window function has no states to merge")
    }

    fn size(&self) -> usize {
        size_of_val(self) + (self.front.capacity() + self.back.capacity()) * size_of::<f64>()
    }
}
