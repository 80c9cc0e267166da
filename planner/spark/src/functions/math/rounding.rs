//! Functions that round: `bround` half to even, `ceil(x, scale)` up and `floor(x, scale)` down.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, make_array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Float64Type, Int64Type,
};
use datafusion::common::{Result, plan_err};

use crate::functions::convert::{cast_strictly, to_double};
use crate::functions::scalar::{Call, CallSite, Function, Param, Returns};

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new(
            "bround",
            &[Param::Number, Param::Int],
            Returns::Computed(result_type),
            bround,
        )
        .optional(1),
        to_scale("ceil_to_scale", |call| round_directed(call, Direction::Up)),
        to_scale("floor_to_scale", |call| {
            round_directed(call, Direction::Down)
        }),
    ]
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
    let scale = literal_scale(site)?;
    let whole = precision.saturating_sub(before.unsigned_abs()) + 1;
    let (digits, kept) = match scale {
        ..0 => (whole.max(scale.unsigned_abs() + 1), 0),
        _ => (whole + scale.min(before).unsigned_abs(), scale.min(before)),
    };
    Ok(DataType::Decimal128(
        digits.min(DECIMAL128_MAX_PRECISION),
        kept,
    ))
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
    let data = rounded
        .to_data()
        .into_builder()
        .data_type(call.return_type.clone())
        .build()?;
    Ok(make_array(data))
}

/// Returns the type of the number; a decimal loses the digits that are rounded away.
fn result_type(site: &CallSite) -> Result<DataType> {
    let scale = match site.literals.get(1).copied().flatten() {
        None => 0,
        Some(literal) => literal.to_string().parse().unwrap_or(0),
    };
    Ok(match &site.types[0] {
        DataType::Decimal128(precision, before) => {
            let kept = scale.clamp(0, *before);
            let whole = precision.saturating_sub(before.unsigned_abs()) + 1;
            DataType::Decimal128((whole + kept.unsigned_abs()).min(38), kept)
        }
        data_type if data_type.is_integer() || data_type == &DataType::Float32 => data_type.clone(),
        _ => DataType::Float64,
    })
}

fn bround(call: &Call) -> Result<ArrayRef> {
    let array = &call.arrays[0];
    let scale = |row: usize| {
        if call.has_argument(1) {
            call.int(1).value(row)
        } else {
            0
        }
    };
    match (array.data_type(), &call.return_type) {
        (DataType::Decimal128(_, before), DataType::Decimal128(_, after)) => {
            let values = array.as_primitive::<Decimal128Type>();
            let rounded = call.primitive::<Decimal128Type>(|row| {
                let lost = i32::from(*before) - scale(row).min(i32::from(*before));
                let rounded = half_even(values.value(row), lost.unsigned_abs());
                // Digits rounded before the point must be filled with zeros.
                let kept = i32::from(*before) - lost - i32::from(*after);
                Ok(rounded.and_then(|rounded| {
                    rounded.checked_mul(10_i128.checked_pow(kept.min(0).unsigned_abs())?)
                }))
            })?;
            let data = rounded
                .to_data()
                .into_builder()
                .data_type(call.return_type.clone())
                .build()?;
            Ok(datafusion::arrow::array::make_array(data))
        }
        (data_type, _) if data_type.is_integer() => {
            let values = cast_strictly(array, &DataType::Int64)?;
            let values = values.as_primitive::<Int64Type>();
            let rounded = call.primitive::<Int64Type>(|row| {
                let lost = scale(row).min(0).unsigned_abs();
                let rounded = half_even(values.value(row).into(), lost);
                let whole =
                    rounded.and_then(|rounded| rounded.checked_mul(10_i128.checked_pow(lost)?));
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
            call.primitive::<Float64Type>(|row| {
                Ok(Some(round_double(values.value(row), scale(row))))
            })
        }
    }
}

/// Divides by a power of ten, rounding half to even.
fn half_even(value: i128, digits: u32) -> Option<i128> {
    let unit = 10_i128.checked_pow(digits)?;
    let (quotient, remainder) = (value.div_euclid(unit), value.rem_euclid(unit));
    let is_up = match (remainder * 2).cmp(&unit) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => quotient % 2 != 0,
        std::cmp::Ordering::Greater => true,
    };
    Some(quotient + i128::from(is_up && digits > 0))
}

/// Rounds the shortest decimal form of a double, as Java's `BigDecimal` does.
fn round_double(value: f64, scale: i32) -> f64 {
    if !value.is_finite() || scale > 300 {
        return value;
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
    let lost = (before - scale).unsigned_abs();
    match half_even(digits, lost) {
        Some(rounded) => format!("{rounded}e{}", -scale).parse().unwrap_or(value),
        None => 0.0,
    }
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
                (round_double(value, scale) - expected).abs() < 1e-12,
                "{value} {scale}"
            );
        }
    }
}
