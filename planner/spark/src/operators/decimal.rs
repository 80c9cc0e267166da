//! Operators on decimals whose results have another type than Arrow's: quotients, and results
//! beyond 38 digits.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, DecimalType, i256,
};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::pair::{apply_to_pair, join_names};
use crate::coercion::precision_and_scale;

/// Digits after the point that a result beyond 38 digits keeps.
const KEPT_SCALE: i16 = 6;
const PRECISION_MAX: i16 = DECIMAL128_MAX_PRECISION as i16;

static SIGNATURE: LazyLock<Signature> = LazyLock::new(|| Signature::any(2, Volatility::Immutable));

/// An operator on two decimals. Results are rounded half up to the digits of their type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum DecimalOperator {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// Returns the decimal type of a precision and a scale. Beyond 38 digits, digits after the point
/// are dropped down to [`KEPT_SCALE`], as Spark does.
pub(super) fn bounded_decimal(precision: i16, scale: i16) -> DataType {
    let (precision, scale) = if precision <= PRECISION_MAX {
        (precision, scale)
    } else {
        let whole = precision - scale;
        (
            PRECISION_MAX,
            (PRECISION_MAX - whole).max(scale.min(KEPT_SCALE)),
        )
    };
    DataType::Decimal128(
        u8::try_from(precision).unwrap_or(DECIMAL128_MAX_PRECISION),
        i8::try_from(scale).unwrap_or_default(),
    )
}

impl DecimalOperator {
    pub(super) const ALL: [Self; 4] = [Self::Add, Self::Subtract, Self::Multiply, Self::Divide];

    /// Returns the function for an operator; `None` if Arrow's result has Spark's type.
    pub(super) fn for_operator(operator: Operator) -> Option<Self> {
        Some(match operator {
            Operator::Plus => Self::Add,
            Operator::Minus => Self::Subtract,
            Operator::Multiply => Self::Multiply,
            Operator::Divide => Self::Divide,
            _ => return None,
        })
    }

    /// Returns the result type for operands of these precisions and scales.
    pub(super) fn result_type(self, left: (i16, i16), right: (i16, i16)) -> DataType {
        let (precision, scale) = self.exact_digits(left, right);
        bounded_decimal(precision, scale)
    }

    /// Whether a result can have more digits than its type.
    pub(super) fn can_overflow(self, left: (i16, i16), right: (i16, i16)) -> bool {
        self.exact_digits(left, right).0 > PRECISION_MAX
    }

    /// Returns the precision and scale that hold each result; each quotient when it is rounded.
    fn exact_digits(self, (p1, s1): (i16, i16), (p2, s2): (i16, i16)) -> (i16, i16) {
        match self {
            Self::Add | Self::Subtract => {
                let scale = s1.max(s2);
                ((p1 - s1).max(p2 - s2) + scale + 1, scale)
            }
            Self::Multiply => (p1 + p2 + 1, s1 + s2),
            Self::Divide => {
                let scale = KEPT_SCALE.max(s1 + p2 + 1);
                (p1 - s1 + s2 + scale, scale)
            }
        }
    }

    /// Computes all results by Arrow, which is faster; `None` if one does not fit, or the type has fewer
    /// digits after the point than an exact result.
    fn compute_all(self, left: &ArrayRef, right: &ArrayRef, result: &DataType) -> Option<ArrayRef> {
        let results = match self {
            Self::Add => numeric::add(left, right),
            Self::Subtract => numeric::sub(left, right),
            Self::Multiply => numeric::mul(left, right),
            Self::Divide => return None,
        };
        let results = results
            .ok()
            .filter(|results| results.data_type() == result)?;
        let decimals = results.as_primitive::<Decimal128Type>();
        let is_valid = decimals.validate_decimal_precision(decimals.precision());
        is_valid.is_ok().then_some(results)
    }

    fn sign(self) -> char {
        match self {
            Self::Add => '+',
            Self::Subtract => '-',
            Self::Multiply => '*',
            Self::Divide => '/',
        }
    }

    /// Computes a result at a scale; `None` if it overflows.
    fn compute(self, left: i128, right: i128, scales: Scales) -> Option<i128> {
        let (l, r) = (i256::from_i128(left), i256::from_i128(right));
        let (exact, scale) = match self {
            Self::Add | Self::Subtract => {
                let scale = scales.left.max(scales.right);
                let l = l.checked_mul(power_of_ten(scale - scales.left)?)?;
                let r = r.checked_mul(power_of_ten(scale - scales.right)?)?;
                let sum = match self {
                    Self::Add => l.checked_add(r)?,
                    _ => l.checked_sub(r)?,
                };
                (sum, scale)
            }
            Self::Multiply => (l.checked_mul(r)?, scales.left + scales.right),
            Self::Divide => return scales.divide(left, right),
        };
        match scale - scales.result {
            0 => exact.to_i128(),
            digits => divide_half_up(exact, power_of_ten(digits)?)?.to_i128(),
        }
    }
}

/// Digits after the point of both operands and the result.
#[derive(Clone, Copy)]
struct Scales {
    left: i16,
    right: i16,
    result: i16,
}

impl Scales {
    fn divide(self, left: i128, right: i128) -> Option<i128> {
        let digits = self.result + self.right - self.left;
        let (up, down) = (
            power_of_ten(digits.max(0))?,
            power_of_ten((-digits).max(0))?,
        );
        // Most quotients need no more than the 38 digits of an i128.
        if let Some(dividend) = up.to_i128().and_then(|up| left.checked_mul(up))
            && digits >= 0
        {
            let (quotient, remainder) = (dividend / right, dividend % right);
            let is_half =
                remainder.unsigned_abs() >= right.unsigned_abs() - remainder.unsigned_abs();
            let away_from_zero = if (dividend < 0) == (right < 0) { 1 } else { -1 };
            return Some(if is_half {
                quotient + away_from_zero
            } else {
                quotient
            });
        }
        let dividend = i256::from_i128(left).checked_mul(up)?;
        let divisor = i256::from_i128(right).checked_mul(down)?;
        divide_half_up(dividend, divisor)?.to_i128()
    }
}

fn power_of_ten(digits: i16) -> Option<i256> {
    i256::from_i128(10).checked_pow(u32::try_from(digits).ok()?)
}

/// Divides, and rounds half away from zero; `None` if it overflows.
pub(super) fn divide_half_up(dividend: i256, divisor: i256) -> Option<i256> {
    let quotient = dividend.checked_div(divisor)?;
    let remainder = dividend.checked_rem(divisor)?.wrapping_abs();
    let is_half = remainder >= divisor.wrapping_abs().checked_sub(remainder)?;
    let away_from_zero = match dividend.is_negative() == divisor.is_negative() {
        true => i256::ONE,
        false => i256::MINUS_ONE,
    };
    match is_half {
        true => quotient.checked_add(away_from_zero),
        false => Some(quotient),
    }
}

impl ScalarUDFImpl for DecimalOperator {
    fn name(&self) -> &'static str {
        match self {
            Self::Add => "decimal_add",
            Self::Subtract => "decimal_subtract",
            Self::Multiply => "decimal_multiply",
            Self::Divide => "decimal_divide",
        }
    }

    fn signature(&self) -> &Signature {
        &SIGNATURE
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [
                left @ DataType::Decimal128(..),
                right @ DataType::Decimal128(..),
            ] => match (precision_and_scale(left), precision_and_scale(right)) {
                (Some(left), Some(right)) => Ok(self.result_type(left, right)),
                _ => plan_err!("{} takes two decimals", self.name()),
            },
            _ => plan_err!("{} takes two decimals", self.name()),
        }
    }

    /// Returns the name that the operator has, so that columns keep their names.
    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        Ok(join_names(arguments, self.sign()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let data_type = args.return_field.data_type().clone();
        apply_to_pair(self.name(), args, |left, right| {
            self.results(left, right, &data_type)
        })
    }
}

impl DecimalOperator {
    fn results(self, left: &ArrayRef, right: &ArrayRef, result: &DataType) -> Result<ArrayRef> {
        if let Some(results) = self.compute_all(left, right, result) {
            return Ok(results);
        }
        let scale_of =
            |data_type: &DataType| precision_and_scale(data_type).map_or(0, |(_, scale)| scale);
        let scales = Scales {
            left: scale_of(left.data_type()),
            right: scale_of(right.data_type()),
            result: scale_of(result),
        };
        let DataType::Decimal128(precision, scale) = *result else {
            return exec_err!("{} returns a decimal, not {result}", self.name());
        };
        let (left, right) = (
            left.as_primitive::<Decimal128Type>(),
            right.as_primitive::<Decimal128Type>(),
        );
        let mut values = Vec::with_capacity(left.len());
        for (left, right) in left.iter().zip(right) {
            let (Some(left), Some(right)) = (left, right) else {
                values.push(None);
                continue;
            };
            if right == 0 && self == Self::Divide {
                return exec_err!(
                    "division by zero; use try_divide, or nullif(divisor, 0), to get null instead"
                );
            }
            let value = self.compute(left, right, scales).filter(|value| {
                Decimal128Type::validate_decimal_precision(*value, precision, scale).is_ok()
            });
            if value.is_none() {
                return exec_err!(
                    "`{}` overflows its type DECIMAL({precision}, {scale}); cast the numbers to fewer digits or to DOUBLE",
                    self.sign()
                );
            }
            values.push(value);
        }
        let values = Decimal128Array::from(values).with_precision_and_scale(precision, scale)?;
        Ok(Arc::new(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_types_are_those_of_spark() {
        let types = |operator: DecimalOperator, left, right| operator.result_type(left, right);
        for (operator, left, right, expected) in [
            (DecimalOperator::Add, (15, 2), (10, 0), (16, 2)),
            (DecimalOperator::Add, (38, 10), (38, 2), (38, 6)),
            (DecimalOperator::Multiply, (15, 2), (16, 2), (32, 4)),
            (DecimalOperator::Multiply, (38, 10), (38, 10), (38, 6)),
            (DecimalOperator::Divide, (15, 2), (2, 1), (20, 6)),
            (DecimalOperator::Divide, (38, 6), (38, 4), (38, 6)),
        ] {
            let expected = DataType::Decimal128(expected.0, expected.1);
            assert_eq!(types(operator, left, right), expected, "{operator:?}");
        }
    }

    #[test]
    fn results_are_rounded_half_up() {
        let compute = |operator: DecimalOperator, left, right, scales: (i16, i16, i16)| {
            let (l, r, result) = scales;
            let scales = Scales {
                left: l,
                right: r,
                result,
            };
            operator.compute(left, right, scales)
        };
        let most = 10_i128.pow(38) - 1;
        for (operator, left, right, scales, expected) in [
            (DecimalOperator::Divide, 10, 4, (1, 1, 0), Some(3)),
            (DecimalOperator::Divide, -10, 4, (1, 1, 0), Some(-3)),
            (DecimalOperator::Divide, 20, 3, (0, 0, 6), Some(6_666_667)),
            (DecimalOperator::Divide, most, 2, (0, 0, 6), None),
            (
                DecimalOperator::Divide,
                15,
                10_i128.pow(30),
                (0, 30, 2),
                Some(1500),
            ),
            (DecimalOperator::Multiply, 15, 15, (1, 1, 1), Some(23)),
            (DecimalOperator::Multiply, -15, 15, (1, 1, 1), Some(-23)),
            (DecimalOperator::Add, 15, 1, (1, 0, 1), Some(25)),
            (DecimalOperator::Subtract, 15, 1, (2, 0, 1), Some(-9)),
            (DecimalOperator::Multiply, most, most, (0, 0, 0), None),
        ] {
            assert_eq!(
                compute(operator, left, right, scales),
                expected,
                "{operator:?} {left} {right}"
            );
        }
    }
}
