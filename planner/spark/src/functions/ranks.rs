//! The window functions `row_number`, `rank`, `dense_rank` and `ntile` with Spark's type, INT.
//!
//! DataFusion's return unsigned numbers of 64 bits, which Spark lacks. They compute the values here,
//! too, under the same names, by which rules of the optimizer recognize them.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Int32Array};
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, UInt64Type};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_datafusion_err, internal_err};
use datafusion::functions_window::ntile::ntile_udwf;
use datafusion::functions_window::rank::{dense_rank_udwf, rank_udwf};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    Documentation, LimitEffect, PartitionEvaluator, Signature, WindowUDF, WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;

/// Returns the functions of this family.
pub(super) fn functions() -> impl Iterator<Item = Arc<WindowUDF>> {
    [
        dense_rank_udwf(),
        ntile_udwf(),
        rank_udwf(),
        row_number_udwf(),
    ]
    .into_iter()
    .map(|function| Arc::new(WindowUDF::from(RankFunction { function })))
}

/// A function of DataFusion whose numbers are INT.
#[derive(Debug, PartialEq, Eq, Hash)]
struct RankFunction {
    function: Arc<WindowUDF>,
}

impl WindowUDFImpl for RankFunction {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn partition_evaluator(
        &self,
        args: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        let evaluator = self.function.partition_evaluator_factory(args)?;
        Ok(Box::new(IntEvaluator(evaluator)))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::Int32, false)))
    }

    fn sort_options(&self) -> Option<SortOptions> {
        self.function.sort_options()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.function.documentation()
    }

    fn limit_effect(&self, args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        self.function.inner().limit_effect(args)
    }
}

/// Evaluates a function and makes its numbers INT.
#[derive(Debug)]
struct IntEvaluator(Box<dyn PartitionEvaluator>);

impl PartitionEvaluator for IntEvaluator {
    fn get_range(&self, index: usize, row_count: usize) -> Result<Range<usize>> {
        self.0.get_range(index, row_count)
    }

    fn is_causal(&self) -> bool {
        self.0.is_causal()
    }

    fn evaluate_all(&mut self, values: &[ArrayRef], row_count: usize) -> Result<ArrayRef> {
        ints_of(&self.0.evaluate_all(values, row_count)?)
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        match self.0.evaluate(values, range)? {
            ScalarValue::UInt64(Some(number)) => int_of(number).map(ScalarValue::from),
            other => internal_err!("a rank is {other:?}"),
        }
    }

    fn evaluate_all_with_rank(&self, row_count: usize, peers: &[Range<usize>]) -> Result<ArrayRef> {
        ints_of(&self.0.evaluate_all_with_rank(row_count, peers)?)
    }

    fn supports_bounded_execution(&self) -> bool {
        self.0.supports_bounded_execution()
    }

    fn uses_window_frame(&self) -> bool {
        self.0.uses_window_frame()
    }

    fn include_rank(&self) -> bool {
        self.0.include_rank()
    }
}

fn ints_of(numbers: &ArrayRef) -> Result<ArrayRef> {
    let Some(numbers) = numbers.as_primitive_opt::<UInt64Type>() else {
        return internal_err!("ranks are {}", numbers.data_type());
    };
    let ints = numbers.values().iter().map(|number| int_of(*number));
    let ints: Int32Array = ints.collect::<Result<Vec<i32>>>()?.into();
    Ok(Arc::new(ints))
}

fn int_of(number: u64) -> Result<i32, DataFusionError> {
    i32::try_from(number).map_err(|_| {
        exec_datafusion_err!(
            "[ARITHMETIC_OVERFLOW] integer overflow: a partition of a window has more than {} rows",
            i32::MAX
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::UInt64Array;

    #[test]
    fn ranks_are_ints_and_too_large_ones_are_errors() {
        let numbers: ArrayRef = Arc::new(UInt64Array::from(vec![1, 2_147_483_647]));
        let ints: ArrayRef = Arc::new(Int32Array::from(vec![1, i32::MAX]));
        assert_eq!(&ints_of(&numbers).unwrap(), &ints);
        let error = int_of(2_147_483_648).unwrap_err().to_string();
        assert!(error.contains("ARITHMETIC_OVERFLOW"), "{error}");
    }

    #[test]
    fn functions_keep_the_names_that_rules_recognize() {
        let names: Vec<_> = functions()
            .map(|function| function.name().to_owned())
            .collect();
        assert_eq!(names, ["dense_rank", "ntile", "rank", "row_number"]);
    }
}
