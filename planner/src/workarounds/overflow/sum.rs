//! The function `checked_sum` of whole numbers and decimals, which fails if the sum does not fit
//! its type.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, DecimalType, FieldRef, Int64Type, UInt64Type,
};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::expr::{AggregateFunctionParams, WindowFunctionParams};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, SetMonotonicity,
    Signature, StatisticsArgs,
};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

/// DataFusion's `sum` with checked additions.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct CheckedSum {
    sum: Sum,
}

/// Expands to `$make!(T)` for the types whose sums may overflow, else to `$other`.
macro_rules! by_type {
    ($type:expr, $make:ident, $other:expr) => {
        match $type {
            DataType::Int64 => $make!(Int64Type),
            DataType::UInt64 => $make!(UInt64Type),
            DataType::Decimal128(_, _) => $make!(Decimal128Type),
            DataType::Decimal256(_, _) => $make!(Decimal256Type),
            _ => $other,
        }
    };
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &'static str {
        "checked_sum"
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.sum.schema_name(params)
    }

    fn human_display(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.sum.human_display(params)
    }

    fn display_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.sum.display_name(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.sum.window_function_schema_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.sum.window_function_display_name(params)
    }

    fn signature(&self) -> &Signature {
        self.sum.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.sum.return_type(arg_types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.sum.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return self.distinct(args);
        }
        let data_type = args.return_field.data_type().clone();
        macro_rules! make {
            ($type:ty) => {
                Ok(Box::new(Total::<$type>::new(data_type)))
            };
        }
        by_type!(&data_type, make, self.sum.accumulator(args))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return self.sum.create_sliding_accumulator(args);
        }
        self.accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.sum.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let data_type = args.return_field.data_type().clone();
        macro_rules! make {
            ($type:ty) => {
                Ok(group_totals::<$type>(data_type))
            };
        }
        by_type!(&data_type, make, self.sum.create_groups_accumulator(args))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.sum.order_sensitivity()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.sum.set_monotonicity(data_type)
    }

    fn value_from_stats(&self, _args: &StatisticsArgs) -> Option<ScalarValue> {
        None
    }
}

impl CheckedSum {
    fn distinct(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let data_type = args.return_field.data_type().clone();
        let values = self.sum.accumulator(args)?;
        macro_rules! make {
            ($type:ty) => {
                Ok(Box::new(DistinctTotal::<$type> {
                    values,
                    total: Total::new(data_type),
                }))
            };
        }
        by_type!(&data_type, make, Ok(values))
    }
}

fn overflow_error<T>(data_type: &DataType) -> Result<T> {
    exec_err!(
        "sum overflows its type {data_type}; sum a wider type, as in sum(CAST(x AS DECIMAL(38, 0))), or a DOUBLE, \
         or set spark.sql.ansi.enabled to false for sums that wrap around"
    )
}

/// Whether a decimal has more digits than its type.
fn is_too_long(values: &dyn Array) -> bool {
    fn exceeds_precision<T: DecimalType>(values: &dyn Array, precision: u8) -> bool {
        values
            .as_primitive::<T>()
            .validate_decimal_precision(precision)
            .is_err()
    }
    match values.data_type() {
        DataType::Decimal128(precision, _) => {
            exceeds_precision::<Decimal128Type>(values, *precision)
        }
        DataType::Decimal256(precision, _) => {
            exceeds_precision::<Decimal256Type>(values, *precision)
        }
        _ => false,
    }
}

/// One sum, also over a sliding window. `wraps` counts how often the sum wrapped around, upwards
/// minus downwards: a sum that leaves its type's range and returns to it is still correct.
#[derive(Debug)]
struct Total<T: ArrowPrimitiveType> {
    sum: T::Native,
    wraps: i64,
    rows: u64,
    data_type: DataType,
}

impl<T: ArrowPrimitiveType> Total<T>
where
    T::Native: ArrowNativeTypeOp,
{
    fn new(data_type: DataType) -> Self {
        Self {
            sum: T::Native::ZERO,
            wraps: 0,
            rows: 0,
            data_type,
        }
    }

    fn add(&mut self, value: T::Native) {
        let sum = self.sum.add_wrapping(value);
        let is_negative = value.is_lt(T::Native::ZERO);
        if !is_negative && sum.is_lt(self.sum) {
            self.wraps += 1;
        } else if is_negative && self.sum.is_lt(sum) {
            self.wraps -= 1;
        }
        self.sum = sum;
    }

    fn subtract(&mut self, value: T::Native) {
        let sum = self.sum.sub_wrapping(value);
        let is_negative = value.is_lt(T::Native::ZERO);
        if !is_negative && self.sum.is_lt(sum) {
            self.wraps -= 1;
        } else if is_negative && sum.is_lt(self.sum) {
            self.wraps += 1;
        }
        self.sum = sum;
    }
}

impl<T: ArrowPrimitiveType + Debug> Accumulator for Total<T>
where
    T::Native: ArrowNativeTypeOp,
{
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<T>();
        self.rows += (values.len() - values.null_count()) as u64;
        values.iter().flatten().for_each(|value| self.add(value));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<T>();
        self.rows -= (values.len() - values.null_count()) as u64;
        values
            .iter()
            .flatten()
            .for_each(|value| self.subtract(value));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = (self.rows > 0).then_some(self.sum);
        let value = ScalarValue::new_primitive::<T>(sum, &self.data_type)?;
        if self.wraps != 0 || is_too_long(&value.to_array()?) {
            return overflow_error(&self.data_type);
        }
        Ok(value)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The sum of distinct values, which DataFusion's accumulator collects.
#[derive(Debug)]
struct DistinctTotal<T: ArrowPrimitiveType> {
    values: Box<dyn Accumulator>,
    total: Total<T>,
}

impl<T: ArrowPrimitiveType + Debug> Accumulator for DistinctTotal<T>
where
    T::Native: ArrowNativeTypeOp,
{
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.values.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.values.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut total = Total::<T>::new(self.total.data_type.clone());
        for state in self.values.state()? {
            let ScalarValue::List(list) = state else {
                continue;
            };
            total.update_batch(&[Arc::clone(list.values())])?;
        }
        total.evaluate()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.size()
    }
}

/// Sums by group: DataFusion's accumulator, with an addition that sets a flag when it overflows.
struct GroupTotals {
    sums: Box<dyn GroupsAccumulator>,
    has_overflowed: Arc<AtomicBool>,
    data_type: DataType,
}

fn group_totals<T: ArrowPrimitiveType + Send>(data_type: DataType) -> Box<dyn GroupsAccumulator>
where
    T::Native: ArrowNativeTypeOp,
{
    let has_overflowed = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&has_overflowed);
    let add = move |sum: &mut T::Native, value: T::Native| match sum.add_checked(value) {
        Ok(total) => *sum = total,
        Err(_) => flag.store(true, Ordering::Relaxed),
    };
    let sums = Box::new(PrimitiveGroupsAccumulator::<T, _>::new(&data_type, add));
    Box::new(GroupTotals {
        sums,
        has_overflowed,
        data_type,
    })
}

impl GroupTotals {
    fn check(&self) -> Result<()> {
        if self.has_overflowed.load(Ordering::Relaxed) {
            return overflow_error(&self.data_type);
        }
        Ok(())
    }
}

impl GroupsAccumulator for GroupTotals {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.sums
            .update_batch(values, group_indices, opt_filter, total_num_groups)?;
        self.check()
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.sums
            .merge_batch(values, group_indices, total_num_groups)?;
        self.check()
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let values = self.sums.evaluate(emit_to)?;
        if is_too_long(&values) {
            return overflow_error(&self.data_type);
        }
        Ok(values)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.sums.state(emit_to)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        self.sums.convert_to_state(values, opt_filter)
    }

    fn size(&self) -> usize {
        self.sums.size()
    }
}
