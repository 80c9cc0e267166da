//! `avg`: DataFusion's for numbers, and averages of intervals.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Int64Type, IntervalMonthDayNanoType,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature,
    Volatility,
};

use super::distinct::{self, DistinctRows};
use crate::operators::intervals::{INTERVAL, average, micros_of};

/// Other names of `avg`.
pub(super) const ALIASES: [&str; 2] = ["mean", "try_avg"];

/// The average of numbers or intervals. All but intervals is left to DataFusion's function.
#[derive(Debug)]
pub(super) struct Average {
    numbers: Arc<AggregateUDF>,
    aliases: Vec<String>,
    signature: Signature,
}

impl Default for Average {
    fn default() -> Self {
        Self {
            numbers: avg_udaf(),
            aliases: ALIASES.map(str::to_owned).to_vec(),
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl PartialEq for Average {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Average {}

impl Hash for Average {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.numbers.name().hash(state);
    }
}

fn is_interval(field: &FieldRef) -> bool {
    matches!(field.data_type(), DataType::Interval(_))
}

impl AggregateUDFImpl for Average {
    fn name(&self) -> &str {
        self.numbers.name()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if let [DataType::Interval(_)] = types {
            return Ok(vec![INTERVAL]);
        }
        let fields = types.iter();
        let fields = fields.map(|data_type| Arc::new(Field::new("x", data_type.clone(), true)));
        let fields = fields_with_udf(&fields.collect::<Vec<_>>(), self.numbers.as_ref())?;
        Ok(fields
            .iter()
            .map(|field| field.data_type().clone())
            .collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Interval(_)] => Ok(INTERVAL),
            _ => self.numbers.return_type(types),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if !args.expr_fields.iter().any(is_interval) {
            return self.numbers.accumulator(args);
        }
        let intervals = Box::<IntervalAverage>::default();
        match args.is_distinct {
            true => Ok(Box::new(DistinctRows::new(intervals, vec![INTERVAL]))),
            false => Ok(intervals),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if !args.input_fields.iter().any(is_interval) {
            return self.numbers.state_fields(args);
        }
        let types = match args.is_distinct {
            true => distinct::state_types(&[INTERVAL]),
            false => vec![DataType::Int64, MICROS, DataType::Int64],
        };
        let fields = types.into_iter().enumerate();
        let fields = fields.map(|(index, data_type)| {
            let name = format!("{}[{index}]", args.name);
            Arc::new(Field::new(name, data_type, true))
        });
        Ok(fields.collect())
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.expr_fields.iter().any(is_interval) && self.numbers.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        self.numbers.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match args.expr_fields.iter().any(is_interval) {
            true => self.accumulator(args),
            false => self.numbers.create_sliding_accumulator(args),
        }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.numbers.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}

/// Type of the sum of microseconds.
const MICROS: DataType = DataType::Decimal128(38, 0);

/// Months, and days with times of day in microseconds, are averaged separately.
#[derive(Debug, Default)]
struct IntervalAverage {
    months: i64,
    micros: i128,
    count: i64,
}

impl IntervalAverage {
    /// Adds intervals, or removes them with a sign of -1.
    fn add(&mut self, intervals: &ArrayRef, sign: i64) {
        for interval in intervals
            .as_primitive::<IntervalMonthDayNanoType>()
            .iter()
            .flatten()
        {
            self.months += sign * i64::from(interval.months);
            self.micros += i128::from(sign) * micros_of(interval);
            self.count += sign;
        }
    }
}

impl Accumulator for IntervalAverage {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0], 1);
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0], -1);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let months = states[0].as_primitive::<Int64Type>();
        let micros = states[1].as_primitive::<Decimal128Type>();
        let counts = states[2].as_primitive::<Int64Type>();
        self.months += months.iter().flatten().sum::<i64>();
        self.micros += micros.iter().flatten().sum::<i128>();
        self.count += counts.iter().flatten().sum::<i64>();
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![
            ScalarValue::Int64(Some(self.months)),
            ScalarValue::Decimal128(Some(self.micros), 38, 0),
            ScalarValue::Int64(Some(self.count)),
        ])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let average = match self.count {
            0 => None,
            count => Some(average(self.months, self.micros, count)?),
        };
        Ok(ScalarValue::IntervalMonthDayNano(average))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
