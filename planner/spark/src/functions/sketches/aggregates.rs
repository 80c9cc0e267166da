//! The aggregates that build sketches of different values, and combine them.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::Accumulator;

use super::keys::{Keys, Kind, LG_SIZE, Mode};
use super::{frequent, quantiles};
use crate::functions::aggregates::{Aggregate, Create};
use crate::functions::convert::{is_binary, is_text};
use crate::functions::hash::xxhash64_of_row;

/// Returns the aggregates of all sketches.
pub(crate) fn aggregates() -> Vec<Aggregate> {
    let mut aggregates = vec![
        of_values("hll_sketch_agg", (1, 2), |_, _| {
            accumulate(Kind::Hll, Operation::Build)
        }),
        of_values("theta_sketch_agg", (1, 2), |_, _| {
            accumulate(Kind::Theta, Operation::Build)
        }),
        of_pairs("tuple_sketch_agg_double", |_, _| {
            accumulate(Kind::TupleDouble, Operation::Build)
        }),
        of_pairs("tuple_sketch_agg_integer", |_, _| {
            accumulate(Kind::TupleInteger, Operation::Build)
        }),
        of_sketches("hll_union_agg", |_, _| {
            accumulate(Kind::Hll, Operation::Unite)
        }),
        of_sketches("theta_union_agg", |_, _| {
            accumulate(Kind::Theta, Operation::Unite)
        }),
        of_sketches("theta_intersection_agg", |_, _| {
            accumulate(Kind::Theta, Operation::Intersect)
        }),
        of_sketches("tuple_union_agg_double", |_, _| {
            accumulate(Kind::TupleDouble, Operation::Unite)
        }),
        of_sketches("tuple_union_agg_integer", |_, _| {
            accumulate(Kind::TupleInteger, Operation::Unite)
        }),
        of_sketches("tuple_intersection_agg_double", |_, _| {
            accumulate(Kind::TupleDouble, Operation::Intersect)
        }),
        of_sketches("tuple_intersection_agg_integer", |_, _| {
            accumulate(Kind::TupleInteger, Operation::Intersect)
        }),
    ];
    aggregates.extend(quantiles::aggregates());
    aggregates.extend(frequent::aggregates());
    aggregates
}

/// Values of any one type: numbers are widened, so that equal ones have one hash.
fn hashed_type(data_type: &DataType) -> DataType {
    match data_type {
        data_type if data_type.is_integer() => DataType::Int64,
        DataType::Float16 | DataType::Float32 => DataType::Float64,
        data_type if is_text(data_type) => DataType::Utf8,
        data_type if is_binary(data_type) => DataType::Binary,
        other => other.clone(),
    }
}

fn of_values(name: &'static str, arguments: (usize, usize), create: Create) -> Aggregate {
    Aggregate {
        name,
        aliases: &[],
        arguments,
        returns: |_| Ok(DataType::Binary),
        coerce: |types| {
            let size = types.get(1).map(|_| DataType::Int64);
            types.iter().take(1).map(hashed_type).chain(size).collect()
        },
        state: |_| vec![DataType::Binary],
        create,
    }
}

fn of_pairs(name: &'static str, create: Create) -> Aggregate {
    Aggregate {
        coerce: |types| {
            let expected = [DataType::Float64, DataType::Int64, DataType::Utf8];
            let options = types
                .iter()
                .skip(1)
                .zip(expected)
                .map(|(data_type, other)| {
                    // The summary of a sketch of integers stays a whole number.
                    match data_type.is_integer() && other == DataType::Float64 {
                        true => DataType::Int64,
                        false => other,
                    }
                });
            types
                .iter()
                .take(1)
                .map(hashed_type)
                .chain(options)
                .collect()
        },
        ..of_values(name, (2, 4), create)
    }
}

fn of_sketches(name: &'static str, create: Create) -> Aggregate {
    Aggregate {
        coerce: |types| {
            let options = types.iter().skip(1).map(|data_type| match data_type {
                DataType::Boolean => DataType::Boolean,
                data_type if is_text(data_type) => DataType::Utf8,
                _ => DataType::Int64,
            });
            std::iter::once(DataType::Binary).chain(options).collect()
        },
        ..of_values(name, (1, 3), create)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every constructor")]
fn accumulate(kind: Kind, operation: Operation) -> Result<Box<dyn Accumulator>> {
    Ok(Box::new(SketchAccumulator::new(kind, operation)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    /// From values.
    Build,
    /// From sketches: the values of any.
    Unite,
    /// From sketches: the values that all have.
    Intersect,
}

#[derive(Debug)]
struct SketchAccumulator {
    kind: Kind,
    operation: Operation,
    mode: Mode,
    lg_size: u8,
    allows_sizes: bool,
    sketch: Option<Keys>,
}

impl SketchAccumulator {
    fn new(kind: Kind, operation: Operation) -> Self {
        Self {
            kind,
            operation,
            mode: Mode::Sum,
            lg_size: LG_SIZE,
            allows_sizes: false,
            sketch: None,
        }
    }

    /// Reads the size, the mode and the flag, by their types.
    fn read_options(&mut self, columns: &[ArrayRef]) -> Result<()> {
        for column in columns.iter().filter(|column| !column.is_empty()) {
            if let Some(flags) = column.as_boolean_opt() {
                self.allows_sizes = flags.value(0);
            } else if let Some(names) = column.as_string_opt::<i32>() {
                self.mode = Mode::parse(names.value(0))?;
            } else if let Some(sizes) = column.as_primitive_opt::<Int64Type>() {
                self.lg_size = self.kind.size(sizes.value(0))?;
            }
        }
        Ok(())
    }

    fn add_values(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let summaries = self.summaries(columns)?;
        let (kind, lg_size, mode) = (self.kind, self.lg_size, self.mode);
        let sketch = self.sketch.get_or_insert_with(|| Keys::new(kind, lg_size));
        let values = &columns[0];
        let nulls = values.logical_nulls();
        for row in 0..values.len() {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                continue;
            }
            let summary = match &summaries {
                Some(summaries) => match summaries[row] {
                    Some(summary) => summary,
                    None => continue,
                },
                None => 0,
            };
            let hash = xxhash64_of_row(values, row)?.cast_unsigned();
            sketch.add(hash, summary, mode);
        }
        Ok(())
    }

    /// The bits of the summaries of a batch; a null has none.
    fn summaries(&self, columns: &[ArrayRef]) -> Result<Option<Vec<Option<u64>>>> {
        Ok(match self.kind {
            Kind::Hll | Kind::Theta => None,
            Kind::TupleDouble => {
                let column = cast(&columns[1], &DataType::Float64)?;
                let values = column.as_primitive::<Float64Type>().iter();
                Some(values.map(|value| value.map(f64::to_bits)).collect())
            }
            Kind::TupleInteger => {
                let column = cast(&columns[1], &DataType::Int64)?;
                let values = column.as_primitive::<Int64Type>().iter();
                Some(values.map(|value| value.map(i64::cast_unsigned)).collect())
            }
        })
    }

    fn combine(&mut self, bytes: &[u8]) -> Result<()> {
        let other = Keys::from_bytes(bytes, self.kind)?;
        let Some(sketch) = &mut self.sketch else {
            self.sketch = Some(other);
            return Ok(());
        };
        if self.operation == Operation::Intersect {
            sketch.intersect(&other, self.mode);
            return Ok(());
        }
        if sketch.lg_size != other.lg_size {
            if self.kind == Kind::Hll && !self.allows_sizes {
                return exec_err!(
                    "[HLL_UNION_DIFFERENT_LG_K] the sketches have the sizes {} and {}; write true as the second argument \
                     to allow that",
                    sketch.lg_size,
                    other.lg_size
                );
            }
            sketch.lg_size = sketch.lg_size.min(other.lg_size);
        }
        sketch.union(&other, self.mode);
        Ok(())
    }
}

impl Accumulator for SketchAccumulator {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let values = match self.kind {
            Kind::TupleDouble | Kind::TupleInteger if self.operation == Operation::Build => 2,
            _ => 1,
        };
        self.read_options(&columns[values.min(columns.len())..])?;
        if self.operation == Operation::Build {
            return self.add_values(columns);
        }
        let sketches = columns[0].as_binary::<i32>();
        sketches
            .iter()
            .flatten()
            .try_for_each(|bytes| self.combine(bytes))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sketch = match &self.sketch {
            Some(sketch) => sketch.to_bytes(),
            None => Keys::new(self.kind, self.lg_size).to_bytes(),
        };
        Ok(ScalarValue::Binary(Some(sketch)))
    }

    fn size(&self) -> usize {
        // A node of the tree has a hash and a summary, and is about half full.
        let entries = self
            .sketch
            .as_ref()
            .map_or(0, |sketch| sketch.entries.len());
        size_of::<Self>() + entries * 4 * size_of::<u64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let state = self.sketch.as_ref().map(Keys::to_bytes);
        let mut state = state.unwrap_or_default();
        if !state.is_empty() {
            // What this aggregate has read of its arguments goes to the one that combines the
            // states.
            state.push(u8::from(self.allows_sizes));
            state.push(self.mode.code());
        }
        Ok(vec![ScalarValue::Binary(Some(state))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for state in states[0].as_binary::<i32>().iter().flatten() {
            if let [bytes @ .., allows_sizes, mode] = state {
                self.allows_sizes |= *allows_sizes == 1;
                self.mode = Mode::of_code(*mode);
                self.combine(bytes)?;
            }
        }
        Ok(())
    }
}
