//! Functions of `DOUBLE`. A logarithm of zero or less is NULL; other functions give NaN outside of
//! their domain.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::Result;

use crate::functions::convert::is_text;
use crate::functions::scalar::{Call, Function, Param, Returns};

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let double = &[Param::Double];
    let define = |name, body| Function::new(name, double, Returns::Type(DataType::Float64), body);
    vec![
        define("acos", |call| map_values(call, f64::acos)),
        define("acosh", |call| map_values(call, f64::acosh)),
        define("asin", |call| map_values(call, f64::asin)),
        define("asinh", |call| map_values(call, f64::asinh)),
        define("atan", |call| map_values(call, f64::atan)),
        define("atanh", |call| map_values(call, f64::atanh)),
        define("cbrt", |call| map_values(call, f64::cbrt)),
        define("cos", |call| map_values(call, f64::cos)),
        define("cosh", |call| map_values(call, f64::cosh)),
        define("cot", |call| map_values(call, |x| x.tan().recip())),
        define("csc", |call| map_values(call, |x| x.sin().recip())),
        define("degrees", |call| map_values(call, f64::to_degrees)),
        define("exp", |call| map_values(call, f64::exp)),
        define("expm1", |call| map_values(call, f64::exp_m1)),
        define("radians", |call| map_values(call, f64::to_radians)),
        define("rint", |call| map_values(call, f64::round_ties_even)),
        define("sec", |call| map_values(call, |x| x.cos().recip())),
        define("sin", |call| map_values(call, f64::sin)),
        define("sinh", |call| map_values(call, f64::sinh)),
        define("sqrt", |call| map_values(call, f64::sqrt)),
        define("tan", |call| map_values(call, f64::tan)),
        define("tanh", |call| map_values(call, f64::tanh)),
    ]
    .into_iter()
    .chain(logarithms())
    .chain(other_functions())
    .collect()
}

fn logarithms() -> Vec<Function> {
    let define = |name, body| {
        Function::new(
            name,
            &[Param::Double],
            Returns::Type(DataType::Float64),
            body,
        )
    };
    let binary = |name, body| {
        Function::new(
            name,
            &[Param::Double, Param::Double],
            Returns::Type(DataType::Float64),
            body,
        )
    };
    vec![
        define("ln", |call| map_above(call, 0.0, f64::ln)),
        define("log10", |call| map_above(call, 0.0, f64::log10)),
        define("log2", |call| map_above(call, 0.0, f64::log2)),
        define("log1p", |call| map_above(call, -1.0, f64::ln_1p)),
        binary("atan2", |call| map_pairs(call, f64::atan2)),
        binary("hypot", |call| map_pairs(call, f64::hypot)),
        binary("pow", |call| map_pairs(call, f64::powf)).aliases(&["power"]),
        binary("log", logarithm).optional(1),
    ]
}

fn other_functions() -> Vec<Function> {
    vec![
        Function::new("e", &[], Returns::Type(DataType::Float64), |call| {
            call.primitive::<Float64Type>(|_| Ok(Some(std::f64::consts::E)))
        }),
        Function::new(
            "factorial",
            &[Param::Int],
            Returns::Type(DataType::Int64),
            |call| {
                let numbers = call.int(0);
                call.primitive::<Int64Type>(|row| {
                    let number = i64::from(numbers.value(row));
                    Ok((0..=20).contains(&number).then(|| (1..=number).product()))
                })
            },
        ),
        Function::new(
            "bin",
            &[Param::Long],
            Returns::Type(DataType::Utf8),
            |call| {
                let numbers = call.long(0);
                call.texts(|row| Ok(Some(format!("{:b}", numbers.value(row)))))
            },
        ),
        Function::new(
            "signum",
            &[Param::Any],
            Returns::Type(DataType::Float64),
            sign,
        )
        .aliases(&["sign"]),
        Function::new("positive", &[Param::Any], Returns::Argument(0), |call| {
            Ok(Arc::clone(&call.arrays[0]))
        })
        .unify(|types| {
            Ok(vec![match is_text(&types[0]) {
                true => DataType::Float64,
                false => types[0].clone(),
            }])
        }),
    ]
}

fn map_values(call: &Call, function: impl Fn(f64) -> f64) -> Result<ArrayRef> {
    Ok(Arc::new(call.double(0).unary::<_, Float64Type>(function)))
}

fn map_above(call: &Call, limit: f64, function: impl Fn(f64) -> f64) -> Result<ArrayRef> {
    let values = call.double(0);
    // NaN is not below the limit, and the result for it is NaN.
    let domain = |x: f64| (x > limit || x.is_nan()).then(|| function(x));
    Ok(Arc::new(values.unary_opt::<_, Float64Type>(domain)))
}

fn map_pairs(call: &Call, function: impl Fn(f64, f64) -> f64) -> Result<ArrayRef> {
    let (first, second) = (call.double(0), call.double(1));
    call.primitive::<Float64Type>(|row| Ok(Some(function(first.value(row), second.value(row)))))
}

/// Computes `log(x)`, the natural logarithm, and `log(base, x)`.
fn logarithm(call: &Call) -> Result<ArrayRef> {
    if !call.has_argument(1) {
        return map_above(call, 0.0, f64::ln);
    }
    let (bases, values) = (call.double(0), call.double(1));
    call.primitive::<Float64Type>(|row| {
        let (base, value) = (bases.value(row), values.value(row));
        Ok((base > 0.0 && value > 0.0).then(|| value.ln() / base.ln()))
    })
}

/// Computes the sign of a number or of an interval.
fn sign(call: &Call) -> Result<ArrayRef> {
    let array = &call.arrays[0];
    if let DataType::Interval(_) = array.data_type() {
        let unit = datafusion::arrow::datatypes::IntervalUnit::MonthDayNano;
        let intervals = datafusion::arrow::compute::cast(array, &DataType::Interval(unit))?;
        let intervals = datafusion::arrow::array::AsArray::as_primitive::<
            datafusion::arrow::datatypes::IntervalMonthDayNanoType,
        >(&intervals);
        return call.primitive::<Float64Type>(|row| {
            let value = intervals.value(row);
            let parts = [
                i64::from(value.months),
                i64::from(value.days),
                value.nanoseconds,
            ];
            let sign = parts
                .into_iter()
                .find(|part| *part != 0)
                .map_or(0, i64::signum);
            Ok(i32::try_from(sign).ok().map(f64::from))
        });
    }
    let numbers = crate::functions::convert::to_double(array)?;
    let numbers: &datafusion::arrow::array::Float64Array =
        datafusion::arrow::array::AsArray::as_primitive(&numbers);
    let sign = |x: f64| {
        if x == 0.0 || x.is_nan() {
            x
        } else {
            x.signum()
        }
    };
    Ok(Arc::new(numbers.unary::<_, Float64Type>(sign)))
}
