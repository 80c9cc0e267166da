//! `min` and `max` of floating-point numbers by group.
//!
//! DataFusion's accumulator of groups starts at the largest finite number for `min` and at the
//! smallest for `max`, so infinities are lost, and it compares by `partial_cmp`, so the result
//! depends on where NaN stands. Here both start at the end of the total order, in which NaN is the
//! largest number, as in Spark. The functions have DataFusion's names, so that plans stay as they
//! are and executors find them.

use std::sync::Arc;

use arrow::array::{ArrowNativeTypeOp, ArrowPrimitiveType};
use arrow::datatypes::{DataType, FieldRef, Float16Type, Float32Type, Float64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, SetMonotonicity,
    Signature, StatisticsArgs,
};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Extreme {
    Min,
    Max,
}

/// DataFusion's `min` or `max` with another accumulator for groups of floating-point numbers.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::workarounds) struct TotalOrderExtreme {
    extreme: Extreme,
    function: Arc<AggregateUDF>,
}

impl TotalOrderExtreme {
    pub(in crate::workarounds) fn min() -> Self {
        Self {
            extreme: Extreme::Min,
            function: min_udaf(),
        }
    }

    pub(in crate::workarounds) fn max() -> Self {
        Self {
            extreme: Extreme::Max,
            function: max_udaf(),
        }
    }

    fn groups<T: ArrowPrimitiveType + Send>(
        &self,
        data_type: &DataType,
    ) -> Box<dyn GroupsAccumulator>
    where
        T::Native: ArrowNativeTypeOp,
    {
        match self.extreme {
            Extreme::Min => {
                let keep = |least: &mut T::Native, value: T::Native| {
                    if value.is_lt(*least) {
                        *least = value;
                    }
                };
                let groups = PrimitiveGroupsAccumulator::<T, _>::new(data_type, keep);
                Box::new(groups.with_starting_value(T::Native::MAX_TOTAL_ORDER))
            }
            Extreme::Max => {
                let keep = |largest: &mut T::Native, value: T::Native| {
                    if value.is_gt(*largest) {
                        *largest = value;
                    }
                };
                let groups = PrimitiveGroupsAccumulator::<T, _>::new(data_type, keep);
                Box::new(groups.with_starting_value(T::Native::MIN_TOTAL_ORDER))
            }
        }
    }
}

impl AggregateUDFImpl for TotalOrderExtreme {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.function.return_type(arg_types)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.function.coerce_types(arg_types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.function.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.function.accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.function.create_sliding_accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.function.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let data_type = args.return_field.data_type().clone();
        match data_type {
            DataType::Float16 => Ok(self.groups::<Float16Type>(&data_type)),
            DataType::Float32 => Ok(self.groups::<Float32Type>(&data_type)),
            DataType::Float64 => Ok(self.groups::<Float64Type>(&data_type)),
            _ => self.function.create_groups_accumulator(args),
        }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.function.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.function.reverse_udf()
    }

    fn is_descending(&self) -> Option<bool> {
        self.function.is_descending()
    }

    fn value_from_stats(&self, args: &StatisticsArgs) -> Option<ScalarValue> {
        self.function.value_from_stats(args)
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.function.inner().set_monotonicity(data_type)
    }
}
