//! The functions `try_add` and its like, which return NULL where the operator fails, and `div` of
//! whole numbers.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Datum, new_empty_array, new_null_array};
use datafusion::arrow::compute::kernels::numeric::{add, div, mul, rem, sub};
use datafusion::arrow::compute::{cast, concat};
use datafusion::arrow::datatypes::{
    DataType, Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::arrow::error::ArrowError;
use datafusion::common::Result;

use crate::functions::arrays::common;
use crate::functions::scalar::{Call, CallSite, Function, Param, Returns};

type Operator = fn(&dyn Datum, &dyn Datum) -> std::result::Result<ArrayRef, ArrowError>;

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let two = &[Param::Any, Param::Any];
    vec![
        Function::new(
            "try_add",
            two,
            Returns::Computed(|site| type_of(site, add)),
            |call| apply_or_null(call, add),
        )
        .unify(unify),
        Function::new(
            "try_subtract",
            two,
            Returns::Computed(|site| type_of(site, sub)),
            |call| apply_or_null(call, sub),
        )
        .unify(unify),
        Function::new(
            "try_multiply",
            two,
            Returns::Computed(|site| type_of(site, mul)),
            |call| apply_or_null(call, mul),
        )
        .unify(unify),
        Function::new(
            "try_divide",
            two,
            Returns::Computed(|site| type_of(site, div)),
            |call| apply_or_null(call, div),
        )
        .unify(unify_quotient),
        Function::new(
            "try_mod",
            two,
            Returns::Computed(|site| type_of(site, rem)),
            |call| apply_or_null(call, rem),
        )
        .unify(unify),
        Function::new(
            "div",
            &[Param::Long, Param::Long],
            Returns::Type(DataType::Int64),
            |call| {
                let (dividends, divisors) = (call.long(0), call.long(1));
                call.primitive::<Int64Type>(|row| {
                    match dividends.value(row).checked_div(divisors.value(row)) {
                        Some(quotient) => Ok(Some(quotient)),
                        None => call.fail(
                            "[DIVIDE_BY_ZERO] division by zero; try_divide returns NULL for it",
                        ),
                    }
                })
            },
        ),
    ]
}

fn is_date_and_number(types: &[DataType]) -> bool {
    types[0] == DataType::Date32 && types[1].is_integer()
}

fn unify(types: &[DataType]) -> Result<Vec<DataType>> {
    let is_number = |data_type: &DataType| {
        data_type.is_numeric()
            || data_type.is_null()
            || crate::functions::convert::is_text(data_type)
    };
    if !types.iter().all(is_number) {
        // A number beside a date is a number of days; dates and intervals keep their types.
        return Ok(match is_date_and_number(types) {
            true => vec![types[0].clone(), DataType::Int32],
            false => types.to_vec(),
        });
    }
    let number = |data_type: &DataType| match data_type {
        data_type if crate::functions::convert::is_text(data_type) => DataType::Float64,
        data_type => data_type.clone(),
    };
    let common_number = common(&number(&types[0]), &number(&types[1]))?;
    // Decimals keep their scales: the operator computes the scale of the result.
    let is_decimal = |data_type: &DataType| matches!(data_type, DataType::Decimal128(..));
    if is_decimal(&types[0]) && is_decimal(&types[1]) {
        return Ok(types.to_vec());
    }
    Ok(vec![common_number; 2])
}

fn unify_quotient(types: &[DataType]) -> Result<Vec<DataType>> {
    let is_interval = matches!(types[0], DataType::Interval(_) | DataType::Duration(_));
    let is_decimal = |data_type: &DataType| matches!(data_type, DataType::Decimal128(..));
    if is_interval || (is_decimal(&types[0]) && is_decimal(&types[1])) {
        return Ok(types.to_vec());
    }
    Ok(vec![DataType::Float64; 2])
}

fn to_day_intervals(array: &ArrayRef) -> ArrayRef {
    let days = array.as_primitive::<Int32Type>();
    Arc::new(
        days.unary::<_, IntervalMonthDayNanoType>(|days| IntervalMonthDayNano {
            months: 0,
            days,
            nanoseconds: 0,
        }),
    )
}

fn type_of(site: &CallSite, operator: Operator) -> Result<DataType> {
    let mut types = site.types.to_vec();
    if is_date_and_number(&types) {
        types[1] = DataType::Interval(IntervalUnit::MonthDayNano);
    }
    let (first, second) = (new_empty_array(&types[0]), new_empty_array(&types[1]));
    Ok(operator(&first, &second)?.data_type().clone())
}

/// Applies an operator; rows for which it fails are null.
fn apply_or_null(call: &Call, operator: Operator) -> Result<ArrayRef> {
    let (first, second) = (&call.arrays[0], &call.arrays[1]);
    let second =
        match first.data_type() == &DataType::Date32 && second.data_type() == &DataType::Int32 {
            true => &to_day_intervals(second),
            false => second,
        };
    let is_safe = !is_division_by_zero(second);
    if let (true, Ok(result)) = (is_safe, operator(first, second)) {
        return Ok(result);
    }
    let missing = new_null_array(&call.return_type, 1);
    let rows: Vec<ArrayRef> = (0..call.rows)
        .map(|row| {
            let divisor = second.slice(row, 1);
            match is_division_by_zero(&divisor) && is_quotient(operator) {
                true => Arc::clone(&missing),
                false => operator(&first.slice(row, 1), &divisor)
                    .and_then(|result| cast(&result, &call.return_type))
                    .unwrap_or_else(|_| Arc::clone(&missing)),
            }
        })
        .collect();
    let rows: Vec<&dyn Array> = rows.iter().map(AsRef::as_ref).collect();
    match rows.is_empty() {
        true => Ok(new_empty_array(&call.return_type)),
        false => Ok(concat(&rows)?),
    }
}

/// Returns whether a divisor is zero. Arrow divides doubles by zero without an error, where Spark
/// returns NULL.
fn is_division_by_zero(divisors: &ArrayRef) -> bool {
    divisors
        .as_primitive_opt::<datafusion::arrow::datatypes::Float64Type>()
        .is_some_and(|divisors| divisors.iter().flatten().any(|divisor| divisor == 0.0))
}

/// Returns whether an operator divides. Functions cannot be compared reliably, so it is tried: only
/// a division by zero returns an infinity.
fn is_quotient(operator: Operator) -> bool {
    let unit: ArrayRef = Arc::new(datafusion::arrow::array::Float64Array::from(vec![1.0]));
    let zero: ArrayRef = Arc::new(datafusion::arrow::array::Float64Array::from(vec![0.0]));
    let result = operator(&unit, &zero).ok();
    let result = result.as_ref().and_then(|result| {
        result
            .as_primitive_opt::<datafusion::arrow::datatypes::Float64Type>()
            .map(|result| result.value(0))
    });
    result.is_some_and(|result| !result.is_finite())
}
