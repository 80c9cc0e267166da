//! `width_bucket`.

use datafusion::arrow::array::{ArrayRef, AsArray, Float64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Float64Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::common::{Result, plan_err};

use crate::functions::convert::{DAY_MICROS, to_double};
use crate::functions::scalar::{Call, Function, Param, Returns};

/// Days of a month, to compare intervals. Those of one call have either months or days.
const MONTH_DAYS: i64 = 30;

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let params = &[Param::Any, Param::Any, Param::Any, Param::Long];
    vec![
        Function::new(
            "width_bucket",
            params,
            Returns::Type(DataType::Int64),
            bucket_numbers,
        )
        .unify(|types| {
            let is_interval = |data_type: &DataType| {
                matches!(data_type, DataType::Interval(_) | DataType::Duration(_))
            };
            let Some((count, ends)) = types.split_last() else {
                return plan_err!("width_bucket: expected 4 arguments");
            };
            let value = match ends.iter().any(is_interval) {
                true => DataType::Interval(IntervalUnit::MonthDayNano),
                false => DataType::Float64,
            };
            Ok(vec![value.clone(), value.clone(), value, count.clone()])
        }),
    ]
}

/// Values or intervals as numbers.
#[expect(
    clippy::cast_precision_loss,
    reason = "Spark computes buckets with DOUBLE, too"
)]
fn numbers(array: &ArrayRef) -> Result<Float64Array> {
    if !matches!(
        array.data_type(),
        DataType::Interval(_) | DataType::Duration(_)
    ) {
        return Ok(to_double(array)?.as_primitive::<Float64Type>().clone());
    }
    let intervals = cast(array, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
    Ok(intervals.unary::<_, Float64Type>(|interval| {
        let days = i64::from(interval.months) * MONTH_DAYS + i64::from(interval.days);
        days as f64 * DAY_MICROS as f64 + (interval.nanoseconds / 1_000) as f64
    }))
}

fn bucket_numbers(call: &Call) -> Result<ArrayRef> {
    let (values, starts, ends) = (
        numbers(&call.arrays[0])?,
        numbers(&call.arrays[1])?,
        numbers(&call.arrays[2])?,
    );
    let counts = call.long(3);
    call.primitive::<Int64Type>(|row| {
        Ok(bucket(
            values.value(row),
            (starts.value(row), ends.value(row)),
            counts.value(row),
        ))
    })
}

/// The number of the bucket of a value: 0 is before the first one. `None` if there are no such
/// buckets.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "Spark computes buckets with DOUBLE, too"
)]
fn bucket(value: f64, (start, end): (f64, f64), count: i64) -> Option<i64> {
    let has_buckets = count > 0 && count < i64::MAX && start.is_finite() && end.is_finite();
    if !has_buckets || start == end || value.is_nan() {
        return None;
    }
    // Buckets may count downwards.
    let share = (value - start) / (end - start);
    Some(if share < 0.0 {
        0
    } else if share >= 1.0 {
        count + 1
    } else {
        (count as f64 * share) as i64 + 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_outside_are_before_the_first_and_after_the_last_bucket() {
        for (value, ends, count, expected) in [
            (5.3, (0.2, 10.6), 5, Some(3)),
            (-2.1, (1.3, 3.4), 3, Some(0)),
            (8.1, (0.0, 5.7), 4, Some(5)),
            (-0.9, (5.2, 0.5), 2, Some(3)),
            (f64::INFINITY, (1.0, 10.0), 10, Some(11)),
            (f64::NEG_INFINITY, (1.0, 10.0), 10, Some(0)),
            (1.0, (1.0, 1.0), 10, None),
            (1.0, (1.0, f64::INFINITY), 10, None),
        ] {
            assert_eq!(bucket(value, ends, count), expected, "{value}");
        }
    }
}
