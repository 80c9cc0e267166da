//! Functions that round: `round` halves away from zero, `bround` to the even neighbour, `ceil(x, scale)`
//! up and `floor(x, scale)` down.

use std::cmp::Ordering;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, make_array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, DecimalType, Float64Type, Int64Type,
};
use datafusion::common::{Result, plan_err};

use crate::functions::convert::{cast_strictly, to_double};
use crate::functions::scalar::{Call, CallSite, Function, Param, Returns};

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    vec![
        to_nearest("round", |call| round_nearest(call, Tie::AwayFromZero)),
        to_nearest("bround", |call| round_nearest(call, Tie::ToEven)),
        to_scale("ceil_to_scale", |call| round_directed(call, Direction::Up)),
        to_scale("floor_to_scale", |call| {
            round_directed(call, Direction::Down)
        }),
    ]
}

/// Defines `round` or `bround`.
fn to_nearest(name: &'static str, body: fn(&Call) -> Result<ArrayRef>) -> Function {
    let params = &[Param::Number, Param::Int];
    Function::new(name, params, Returns::Computed(nearest_type), body).optional(1)
}

/// Defines `ceil` or `floor` with a scale, which round a decimal.
fn to_scale(name: &'static str, body: fn(&Call) -> Result<ArrayRef>) -> Function {
    Function::new(
        name,
        &[Param::Number, Param::Int],
        Returns::Computed(directed_type),
        body,
    )
    .unify(|types| Ok(vec![decimal_of(&types[0]), types[1].clone()]))
}

/// Returns the decimal type to which Spark converts a number.
fn decimal_of(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Decimal128(..) => data_type.clone(),
        DataType::Int8 => DataType::Decimal128(3, 0),
        DataType::Int16 | DataType::UInt8 => DataType::Decimal128(5, 0),
        DataType::Int32 | DataType::UInt16 => DataType::Decimal128(10, 0),
        data_type if data_type.is_integer() => DataType::Decimal128(20, 0),
        DataType::Float32 => DataType::Decimal128(14, 7),
        _ => DataType::Decimal128(30, 15),
    }
}

fn literal_scale(site: &CallSite) -> Result<i8> {
    let literal = site.literals.get(1).copied().flatten();
    match literal.and_then(|literal| literal.to_string().parse().ok()) {
        Some(scale) => Ok(scale),
        None => plan_err!("the scale of {} must be a literal", site.name),
    }
}

fn directed_type(site: &CallSite) -> Result<DataType> {
    let DataType::Decimal128(precision, before) = decimal_of(&site.types[0]) else {
        return plan_err!("{}: expected a number", site.name);
    };
    Ok(rounded_decimal(precision, before, literal_scale(site)?))
}

/// Returns the type of a decimal that is rounded to a scale: with one more digit before the point.
fn rounded_decimal(precision: u8, before: i8, scale: i8) -> DataType {
    let whole = precision.saturating_sub(before.unsigned_abs()) + 1;
    let (digits, kept) = match scale {
        ..0 => (whole.max(scale.unsigned_abs() + 1), 0),
        _ => (whole + scale.min(before).unsigned_abs(), scale.min(before)),
    };
    DataType::Decimal128(digits.min(DECIMAL128_MAX_PRECISION), kept)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

fn round_directed(call: &Call, direction: Direction) -> Result<ArrayRef> {
    let decimals = cast(&call.arrays[0], &decimal_of(call.arrays[0].data_type()))?;
    let (DataType::Decimal128(_, before), DataType::Decimal128(_, after)) =
        (decimals.data_type(), &call.return_type)
    else {
        return call.fail("expected a number");
    };
    let values = decimals.as_primitive::<Decimal128Type>();
    let scales = call.int(1);
    let rounded = call.primitive::<Decimal128Type>(|row| {
        let lost = (i32::from(*before) - scales.value(row))
            .max(0)
            .unsigned_abs();
        // Rounded digits before the point become zeros.
        let zeros = (i32::from(*after) - scales.value(row))
            .max(0)
            .unsigned_abs();
        let power = |digits| 10_i128.checked_pow(digits);
        let (Some(unit), Some(zeros)) = (power(lost), power(zeros)) else {
            return call.fail("[ARITHMETIC_OVERFLOW] the scale is out of range");
        };
        let value = values.value(row);
        let down = value.div_euclid(unit);
        let is_up = direction == Direction::Up && value.rem_euclid(unit) != 0;
        match (down + i128::from(is_up)).checked_mul(zeros) {
            Some(rounded) => Ok(Some(rounded)),
            None => call.fail("[ARITHMETIC_OVERFLOW] the rounded number is out of range"),
        }
    })?;
    with_return_type(&rounded, call)
}

/// Gives the digits of decimals the precision and scale of the result.
fn with_return_type(digits: &ArrayRef, call: &Call) -> Result<ArrayRef> {
    let data = digits.to_data().into_builder();
    Ok(make_array(
        data.data_type(call.return_type.clone()).build()?,
    ))
}

/// Returns the type of the number; a decimal loses the digits that are rounded away.
fn nearest_type(site: &CallSite) -> Result<DataType> {
    let scale = match site.literals.get(1).copied().flatten() {
        None => 0,
        Some(literal) => literal.to_string().parse().unwrap_or(0),
    };
    Ok(match &site.types[0] {
        DataType::Decimal128(precision, before) => rounded_decimal(*precision, *before, scale),
        data_type if data_type.is_integer() || data_type == &DataType::Float32 => data_type.clone(),
        _ => DataType::Float64,
    })
}

/// Where a number goes that is as far from one neighbour as from the other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tie {
    ToEven,
    AwayFromZero,
}

fn round_nearest(call: &Call, tie: Tie) -> Result<ArrayRef> {
    let array = &call.arrays[0];
    let scale = |row: usize| match call.has_argument(1) {
        true => call.int(1).value(row),
        false => 0,
    };
    match (array.data_type(), &call.return_type) {
        (DataType::Decimal128(_, before), DataType::Decimal128(precision, after)) => {
            let values = array.as_primitive::<Decimal128Type>();
            let rounded = call.primitive::<Decimal128Type>(|row| {
                let lost = i32::from(*before) - scale(row).min(i32::from(*before));
                let rounded = divide_nearest(values.value(row), lost.unsigned_abs(), tie);
                // Digits rounded before the point must be filled with zeros.
                let zeros = (i32::from(*after) - (i32::from(*before) - lost)).max(0);
                let rounded = rounded.checked_mul(power_of_ten(zeros.unsigned_abs()));
                let is_valid = |value: &i128| {
                    Decimal128Type::validate_decimal_precision(*value, *precision, *after).is_ok()
                };
                match rounded.filter(is_valid) {
                    Some(rounded) => Ok(Some(rounded)),
                    None => call.fail("[ARITHMETIC_OVERFLOW] the rounded number is out of range"),
                }
            })?;
            with_return_type(&rounded, call)
        }
        (data_type, _) if data_type.is_integer() => {
            let values = cast_strictly(array, &DataType::Int64)?;
            let values = values.as_primitive::<Int64Type>();
            let rounded = call.primitive::<Int64Type>(|row| {
                let lost = scale(row).min(0).unsigned_abs();
                let rounded = divide_nearest(values.value(row).into(), lost, tie);
                let whole = rounded.checked_mul(power_of_ten(lost));
                match whole.and_then(|whole| i64::try_from(whole).ok()) {
                    Some(whole) => Ok(Some(whole)),
                    None => call.fail("[ARITHMETIC_OVERFLOW] the rounded number is out of range"),
                }
            })?;
            cast_strictly(&rounded, &call.return_type)
        }
        _ => {
            let values = to_double(array)?;
            let values = values.as_primitive::<Float64Type>();
            let rounded = call.primitive::<Float64Type>(|row| {
                Ok(Some(round_double(values.value(row), scale(row), tie)))
            })?;
            cast_strictly(&rounded, &call.return_type)
        }
    }
}

/// Returns a power of ten; the largest one that fits for more digits than an `i128` has.
fn power_of_ten(digits: u32) -> i128 {
    10_i128.pow(digits.min(DECIMAL128_MAX_PRECISION.into()))
}

/// Divides by a power of ten, rounding to the nearest number.
fn divide_nearest(value: i128, digits: u32, tie: Tie) -> i128 {
    if digits > DECIMAL128_MAX_PRECISION.into() {
        // Less than half of the power for each number.
        return 0;
    }
    let unit = power_of_ten(digits);
    let (quotient, remainder) = (value.div_euclid(unit), value.rem_euclid(unit));
    let is_up = match remainder.cmp(&(unit - remainder)) {
        Ordering::Less => false,
        Ordering::Equal => match tie {
            Tie::ToEven => quotient % 2 != 0,
            Tie::AwayFromZero => value >= 0,
        },
        Ordering::Greater => true,
    };
    quotient + i128::from(is_up && digits > 0)
}

/// Scaled numbers below this one are whole where they are rounded, and exact.
const EXACT_MAX: f64 = 1e15;
/// Powers of ten up to this one are exact.
const EXACT_SCALE_MAX: i32 = 22;
/// A fraction this far from a half is on the same side of it in the decimal form.
const HALF_MARGIN: f64 = 0.01;

/// Rounds the shortest decimal form of a double, as Java's `BigDecimal` does.
fn round_double(value: f64, scale: i32, tie: Tie) -> f64 {
    if !value.is_finite() || scale > 300 {
        return value;
    }
    if (0..=EXACT_SCALE_MAX).contains(&scale) {
        let unit = 10_f64.powi(scale);
        let scaled = value * unit;
        if scaled.abs() < EXACT_MAX && ((scaled - scaled.trunc()).abs() - 0.5).abs() > HALF_MARGIN {
            return scaled.round() / unit;
        }
    }
    let text = value.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let before = i32::try_from(fraction.len()).unwrap_or(i32::MAX);
    if scale >= before {
        return value;
    }
    let Ok(digits) = format!("{whole}{fraction}").parse::<i128>() else {
        return value;
    };
    let rounded = divide_nearest(digits, (before - scale).unsigned_abs(), tie);
    format!("{rounded}e{}", -scale).parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_neighbour() {
        for (value, scale, expected) in [
            (2.5, 0, 2.0),
            (3.5, 0, 4.0),
            (-2.5, 0, -2.0),
            (0.125, 2, 0.12),
            (1.15, 1, 1.2),
            (25.0, -1, 20.0),
            (1e300, 3, 1e300),
        ] {
            assert!(
                (round_double(value, scale, Tie::ToEven) - expected).abs() < 1e-12,
                "{value} {scale}"
            );
        }
    }

    #[test]
    fn halves_of_the_decimal_form_go_away_from_zero() {
        for (value, scale, expected) in [
            (2.5, 0, 3.0),
            (-2.5, 0, -3.0),
            (0.285, 2, 0.29),
            (1.005, 2, 1.01),
            (8.325, 2, 8.33),
            (-8.325, 2, -8.33),
            (0.1 + 0.2, 1, 0.3),
            (1234.5678, -2, 1200.0),
            (1e300, 3, 1e300),
            (f64::from(f32::MAX), 2, f64::from(f32::MAX)),
        ] {
            let rounded = round_double(value, scale, Tie::AwayFromZero);
            assert_eq!(rounded.to_bits(), f64::to_bits(expected), "{value} {scale}");
        }
    }
}
