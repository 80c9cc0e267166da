//! The aggregate `approx_count_distinct` with Spark's type, BIGINT.
//!
//! DataFusion's `approx_distinct` computes it, and returns an unsigned number, which Spark lacks.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::approx_distinct::approx_distinct_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator,
    Signature,
};

/// The function `approx_count_distinct`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ApproxCountDistinct {
    function: Arc<AggregateUDF>,
}

impl Default for ApproxCountDistinct {
    fn default() -> Self {
        Self {
            function: approx_distinct_udaf(),
        }
    }
}

impl AggregateUDFImpl for ApproxCountDistinct {
    fn name(&self) -> &'static str {
        "approx_count_distinct"
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn default_value(&self, _data_type: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::from(0_i64))
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.function.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let accumulator = self.function.accumulator(args)?;
        Ok(Box::new(SignedCount { accumulator }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.function.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let accumulator = self.function.create_groups_accumulator(args)?;
        Ok(Box::new(SignedCounts { accumulator }))
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.function.documentation()
    }
}

/// The count of one group.
#[derive(Debug)]
struct SignedCount {
    accumulator: Box<dyn Accumulator>,
}

impl Accumulator for SignedCount {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.accumulator.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.accumulator.evaluate()?.cast_to(&DataType::Int64)
    }

    fn size(&self) -> usize {
        self.accumulator.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.accumulator.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.accumulator.merge_batch(states)
    }
}

/// The counts of many groups.
struct SignedCounts {
    accumulator: Box<dyn GroupsAccumulator>,
}

impl GroupsAccumulator for SignedCounts {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        self.accumulator
            .update_batch(values, groups, filter, group_count)
    }

    fn evaluate(&mut self, groups: EmitTo) -> Result<ArrayRef> {
        Ok(cast(&self.accumulator.evaluate(groups)?, &DataType::Int64)?)
    }

    fn state(&mut self, groups: EmitTo) -> Result<Vec<ArrayRef>> {
        self.accumulator.state(groups)
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        groups: &[usize],
        group_count: usize,
    ) -> Result<()> {
        self.accumulator.merge_batch(states, groups, group_count)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        self.accumulator.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        self.accumulator.size()
    }
}
