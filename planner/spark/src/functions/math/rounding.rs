//! `bround`: rounding half to even.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use datafusion::common::Result;

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
    ]
}

/// The type of the number; a decimal loses the digits that are rounded away.
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
                // Rounding left of the point leaves zeros to be kept.
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
    let (quotient, rest) = (value.div_euclid(unit), value.rem_euclid(unit));
    let is_up = match (rest * 2).cmp(&unit) {
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
