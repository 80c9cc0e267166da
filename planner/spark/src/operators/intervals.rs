//! Intervals that are multiplied or divided, and the interval between two dates.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{AsArray, Date32Array, Decimal128Array, IntervalMonthDayNanoArray};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    IntervalUnit, i256,
};
use datafusion::common::{DataFusionError, Result, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::decimal::divide_half_up;
use super::pair::{apply_to_pair, join_names};

pub(crate) const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);
/// Type of a factor or divisor: it holds every BIGINT, and as many digits after the point as a
/// DOUBLE has.
pub(super) const FACTOR: DataType = DataType::Decimal128(38, FACTOR_SCALE);
const FACTOR_SCALE: i8 = 18;
const FACTOR_UNIT: i128 = 10_i128.pow(FACTOR_SCALE as u32);
const MICROS_PER_DAY: i128 = 86_400_000_000;
const NANOS_PER_MICRO: i128 = 1_000;

static SIGNATURE: LazyLock<Signature> = LazyLock::new(|| Signature::any(2, Volatility::Immutable));

/// The days and the time of day of an interval, in microseconds.
pub(crate) fn micros_of(interval: IntervalMonthDayNano) -> i128 {
    i128::from(interval.days) * MICROS_PER_DAY + i128::from(interval.nanoseconds) / NANOS_PER_MICRO
}

/// Returns the interval of months and microseconds; `None` if it is too long.
fn interval_of(months: i128, micros: i128) -> Option<IntervalMonthDayNano> {
    // Spark counts the microseconds of an interval in 64 bits.
    let micros = i128::from(i64::try_from(micros).ok()?);
    let nanos = (micros % MICROS_PER_DAY) * NANOS_PER_MICRO;
    Some(IntervalMonthDayNano::new(
        i32::try_from(months).ok()?,
        i32::try_from(micros / MICROS_PER_DAY).ok()?,
        i64::try_from(nanos).ok()?,
    ))
}

fn too_long() -> DataFusionError {
    exec_datafusion_err!("[ARITHMETIC_OVERFLOW] the interval is too long")
}

/// Divides sums of months and microseconds by the number of intervals, each rounded half up.
///
/// # Errors
/// If the sum is too long for an interval.
pub(crate) fn average(months: i64, micros: i128, count: i64) -> Result<IntervalMonthDayNano> {
    if i32::try_from(months).is_err() || i64::try_from(micros).is_err() {
        return Err(too_long());
    }
    let divided = |sum: i128| {
        let count = i256::from_i128(i128::from(count));
        divide_half_up(i256::from_i128(sum), count)?.to_i128()
    };
    let divide_parts = || interval_of(divided(i128::from(months))?, divided(micros)?);
    divide_parts().ok_or_else(too_long)
}

/// An operation whose result is an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum IntervalOperator {
    Multiply,
    Divide,
    /// The days between two dates.
    Between,
}

impl IntervalOperator {
    pub(super) const ALL: [Self; 3] = [Self::Multiply, Self::Divide, Self::Between];

    fn sign(self) -> char {
        match self {
            Self::Multiply => '*',
            Self::Divide => '/',
            Self::Between => '-',
        }
    }

    /// Multiplies or divides months, and days with times of day, each rounded half up.
    fn scale(self, interval: IntervalMonthDayNano, factor: i128) -> Result<IntervalMonthDayNano> {
        if self == Self::Divide && factor == 0 {
            return exec_err!("division of an interval by zero");
        }
        let scaled = |value: i128| {
            let (value, factor) = (i256::from_i128(value), i256::from_i128(factor));
            let unit = i256::from_i128(FACTOR_UNIT);
            let scaled = match self {
                Self::Divide => divide_half_up(value.checked_mul(unit)?, factor),
                _ => divide_half_up(value.checked_mul(factor)?, unit),
            };
            scaled?.to_i128()
        };
        let micros = micros_of(interval);
        let scale_parts = || interval_of(scaled(i128::from(interval.months))?, scaled(micros)?);
        scale_parts().ok_or_else(too_long)
    }

    fn scale_all(
        self,
        intervals: &IntervalMonthDayNanoArray,
        factors: &Decimal128Array,
    ) -> Result<IntervalMonthDayNanoArray> {
        let pairs = intervals.iter().zip(factors);
        pairs
            .map(|pair| match pair {
                (Some(interval), Some(factor)) => self.scale(interval, factor).map(Some),
                _ => Ok(None),
            })
            .collect()
    }
}

fn days_between(later: &Date32Array, earlier: &Date32Array) -> Result<IntervalMonthDayNanoArray> {
    later
        .iter()
        .zip(earlier)
        .map(|pair| match pair {
            (Some(later), Some(earlier)) => match later.checked_sub(earlier) {
                Some(days) => Ok(Some(IntervalMonthDayNano::new(0, days, 0))),
                None => exec_err!("[ARITHMETIC_OVERFLOW] the interval is too long"),
            },
            _ => Ok(None),
        })
        .collect()
}

impl ScalarUDFImpl for IntervalOperator {
    fn name(&self) -> &'static str {
        match self {
            Self::Multiply => "interval_multiply",
            Self::Divide => "interval_divide",
            Self::Between => "interval_between",
        }
    }

    fn signature(&self) -> &Signature {
        &SIGNATURE
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let expected = match self {
            Self::Between => [DataType::Date32, DataType::Date32],
            Self::Multiply | Self::Divide => [INTERVAL, FACTOR],
        };
        match arguments == expected {
            true => Ok(INTERVAL),
            false => plan_err!(
                "{} takes {expected:?}, not {arguments:?}; use the operator",
                self.name()
            ),
        }
    }

    /// Returns the name that the operator has.
    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        Ok(join_names(arguments, self.sign()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        apply_to_pair(self.name(), args, |left, right| {
            let results = match self {
                Self::Between => days_between(
                    left.as_primitive::<Date32Type>(),
                    right.as_primitive::<Date32Type>(),
                )?,
                Self::Multiply | Self::Divide => self.scale_all(
                    left.as_primitive::<IntervalMonthDayNanoType>(),
                    right.as_primitive::<Decimal128Type>(),
                )?,
            };
            Ok(Arc::new(results))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_multiplied_and_divided_as_in_spark() {
        let interval = IntervalMonthDayNano::new;
        let second = 1_000_000_000;
        for (operator, value, factor, expected) in [
            (
                IntervalOperator::Multiply,
                interval(24, 0, 0),
                15,
                interval(36, 0, 0),
            ),
            (
                IntervalOperator::Divide,
                interval(13, 0, 0),
                20,
                interval(7, 0, 0),
            ),
            (
                IntervalOperator::Multiply,
                interval(0, 1, 0),
                15,
                interval(0, 1, 43_200 * second),
            ),
            (
                IntervalOperator::Divide,
                interval(0, 0, 2 * second),
                20,
                interval(0, 0, second),
            ),
        ] {
            let factor = factor * FACTOR_UNIT / 10;
            assert_eq!(operator.scale(value, factor).unwrap(), expected);
        }
        assert!(
            IntervalOperator::Divide
                .scale(interval(1, 0, 0), 0)
                .is_err()
        );
    }
}
