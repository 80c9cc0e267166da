//! Functions of one row on sketches of different values: `theta_union`, `hll_sketch_estimate`,
//! `tuple_difference_double`.

use datafusion::arrow::array::{ArrayRef, AsArray, BinaryArray};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{Result, exec_err};

use super::keys::{Keys, Kind, Mode};
use crate::functions::scalar::{Call, Function, Param, Returns};

const SKETCH: &[Param] = &[Param::Binary];
const SKETCHES: &[Param] = &[Param::Binary, Param::Binary];
/// With a size, a flag or a mode.
const SKETCHES_AND_OPTIONS: &[Param] = &[Param::Binary, Param::Binary, Param::Any, Param::Text];

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    [numbers(), combinations()].concat()
}

/// Estimates from one sketch.
fn numbers() -> Vec<Function> {
    let long = Returns::Type(DataType::Int64);
    let double = Returns::Type(DataType::Float64);
    vec![
        Function::new("hll_sketch_estimate", SKETCH, long.clone(), |call| {
            whole_estimate(call, Kind::Hll)
        }),
        Function::new("theta_sketch_estimate", SKETCH, long.clone(), |call| {
            whole_estimate(call, Kind::Theta)
        }),
        Function::new(
            "tuple_sketch_estimate_double",
            SKETCH,
            double.clone(),
            |call| estimate(call, Kind::TupleDouble),
        ),
        Function::new(
            "tuple_sketch_estimate_integer",
            SKETCH,
            double.clone(),
            |call| estimate(call, Kind::TupleInteger),
        ),
        Function::new(
            "tuple_sketch_theta_double",
            SKETCH,
            double.clone(),
            |call| share(call, Kind::TupleDouble),
        ),
        Function::new(
            "tuple_sketch_theta_integer",
            SKETCH,
            double.clone(),
            |call| share(call, Kind::TupleInteger),
        ),
        Function::new(
            "tuple_sketch_summary_double",
            TUPLE_AND_MODE,
            double,
            summary_double,
        )
        .optional(1),
        Function::new(
            "tuple_sketch_summary_integer",
            TUPLE_AND_MODE,
            long,
            summary_integer,
        )
        .optional(1),
    ]
}

/// Sketches of two others.
fn combinations() -> Vec<Function> {
    let sketch = Returns::Type(DataType::Binary);
    let combined =
        |name, body| Function::new(name, SKETCHES_AND_OPTIONS, sketch.clone(), body).optional(2);
    let of_two = |name, body| Function::new(name, SKETCHES, sketch.clone(), body);
    vec![
        combined("hll_union", |call| union(call, Kind::Hll, Kind::Hll)),
        combined("theta_union", |call| union(call, Kind::Theta, Kind::Theta)),
        combined("tuple_union_double", |call| {
            union(call, Kind::TupleDouble, Kind::TupleDouble)
        }),
        combined("tuple_union_integer", |call| {
            union(call, Kind::TupleInteger, Kind::TupleInteger)
        }),
        combined("tuple_union_theta_double", |call| {
            union(call, Kind::TupleDouble, Kind::Theta)
        }),
        combined("tuple_union_theta_integer", |call| {
            union(call, Kind::TupleInteger, Kind::Theta)
        }),
        of_two("theta_intersection", |call| {
            intersect(call, Kind::Theta, Kind::Theta)
        }),
        combined("tuple_intersection_double", |call| {
            intersect(call, Kind::TupleDouble, Kind::TupleDouble)
        }),
        combined("tuple_intersection_integer", |call| {
            intersect(call, Kind::TupleInteger, Kind::TupleInteger)
        }),
        combined("tuple_intersection_theta_double", |call| {
            intersect(call, Kind::TupleDouble, Kind::Theta)
        }),
        combined("tuple_intersection_theta_integer", |call| {
            intersect(call, Kind::TupleInteger, Kind::Theta)
        }),
        of_two("theta_difference", |call| {
            subtract(call, Kind::Theta, Kind::Theta)
        }),
        of_two("tuple_difference_double", |call| {
            subtract(call, Kind::TupleDouble, Kind::TupleDouble)
        }),
        of_two("tuple_difference_integer", |call| {
            subtract(call, Kind::TupleInteger, Kind::TupleInteger)
        }),
        of_two("tuple_difference_theta_double", |call| {
            subtract(call, Kind::TupleDouble, Kind::Theta)
        }),
        of_two("tuple_difference_theta_integer", |call| {
            subtract(call, Kind::TupleInteger, Kind::Theta)
        }),
    ]
}

const TUPLE_AND_MODE: &[Param] = &[Param::Binary, Param::Text];

fn sketch(call: &Call, argument: usize, row: usize, kind: Kind) -> Result<Keys> {
    Keys::from_bytes(call.arrays[argument].as_binary::<i32>().value(row), kind)
}

fn estimate(call: &Call, kind: Kind) -> Result<ArrayRef> {
    call.primitive::<Float64Type>(|row| Ok(Some(sketch(call, 0, row, kind)?.estimate())))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "an estimate is far below the largest BIGINT"
)]
fn whole_estimate(call: &Call, kind: Kind) -> Result<ArrayRef> {
    call.primitive::<Int64Type>(|row| {
        let estimate = sketch(call, 0, row, kind)?.estimate();
        Ok(Some(estimate.round() as i64))
    })
}

fn share(call: &Call, kind: Kind) -> Result<ArrayRef> {
    call.primitive::<Float64Type>(|row| Ok(Some(sketch(call, 0, row, kind)?.share())))
}

/// Combines the summaries of all keys, scaled up to the values that are not kept.
fn summary(call: &Call, row: usize, kind: Kind) -> Result<Option<(u64, f64, Mode)>> {
    let keys = sketch(call, 0, row, kind)?;
    let mode = mode(call, 1, row)?;
    let summaries = keys.entries.values().copied();
    let combined = summaries.reduce(|a, b| mode.combine(kind, a, b));
    Ok(combined.map(|bits| (bits, keys.share(), mode)))
}

fn summary_double(call: &Call) -> Result<ArrayRef> {
    call.primitive::<Float64Type>(|row| {
        let summary = summary(call, row, Kind::TupleDouble)?;
        Ok(Some(summary.map_or(
            0.0,
            |(bits, share, mode)| match mode {
                Mode::Sum => f64::from_bits(bits) / share,
                _ => f64::from_bits(bits),
            },
        )))
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a scaled sum is an estimate"
)]
fn summary_integer(call: &Call) -> Result<ArrayRef> {
    call.primitive::<Int64Type>(|row| {
        let summary = summary(call, row, Kind::TupleInteger)?;
        Ok(Some(summary.map_or(0, |(bits, share, mode)| match mode {
            Mode::Sum if share < 1.0 => (bits.cast_signed() as f64 / share) as i64,
            _ => bits.cast_signed(),
        })))
    })
}

/// The mode that an argument names; `sum` without one.
fn mode(call: &Call, argument: usize, row: usize) -> Result<Mode> {
    match call
        .arrays
        .get(argument)
        .and_then(|array| array.as_string_opt::<i32>())
    {
        Some(names) => Mode::parse(names.value(row)),
        None => Ok(Mode::Sum),
    }
}

/// The mode of a call with two sketches: the last argument that is text.
fn mode_of_two(call: &Call, row: usize) -> Result<Mode> {
    match call.arrays.len() {
        4 => mode(call, 3, row),
        _ => mode(call, 2, row),
    }
}

fn combine(
    call: &Call,
    kinds: (Kind, Kind),
    body: impl Fn(&mut Keys, &Keys, usize) -> Result<()>,
) -> Result<ArrayRef> {
    call.strict::<BinaryArray, Vec<u8>>(|row| {
        let mut first = sketch(call, 0, row, kinds.0)?;
        let second = sketch(call, 1, row, kinds.1)?;
        body(&mut first, &second, row)?;
        Ok(Some(first.to_bytes()))
    })
}

fn union(call: &Call, kind: Kind, other: Kind) -> Result<ArrayRef> {
    combine(call, (kind, other), |first, second, row| {
        let flag = call.arrays.get(2).and_then(|array| array.as_boolean_opt());
        let allows_sizes = flag.is_some_and(|flags| flags.value(row));
        if kind == Kind::Hll && first.lg_size != second.lg_size && !allows_sizes {
            return exec_err!(
                "[HLL_UNION_DIFFERENT_LG_K] the sketches have the sizes {} and {}; write true as the third argument to \
                 allow that",
                first.lg_size,
                second.lg_size
            );
        }
        let size = call.arrays.get(2).and_then(|array| {
            let array = datafusion::arrow::compute::cast(array, &DataType::Int64).ok()?;
            let is_number = call.arrays[2].data_type().is_integer();
            is_number.then(|| array.as_primitive::<Int64Type>().value(row))
        });
        first.lg_size = match size {
            Some(size) => kind.size(size)?,
            None => first.lg_size.min(second.lg_size),
        };
        first.union(second, mode_of_two(call, row)?);
        Ok(())
    })
}

fn intersect(call: &Call, kind: Kind, other: Kind) -> Result<ArrayRef> {
    combine(call, (kind, other), |first, second, row| {
        first.intersect(second, mode_of_two(call, row)?);
        Ok(())
    })
}

fn subtract(call: &Call, kind: Kind, other: Kind) -> Result<ArrayRef> {
    combine(call, (kind, other), |first, second, _| {
        first.subtract(second);
        Ok(())
    })
}
