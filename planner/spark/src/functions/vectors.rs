//! Vectors, which are arrays of FLOAT: `vector_cosine_similarity`, `vector_inner_product`,
//! `vector_sum`.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Float32Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::Accumulator;

use super::aggregates::Aggregate;
use super::arrays::list_of;
use super::scalar::{Call, Function, Param, Returns};

/// Returns the functions of this family.
pub(crate) fn functions() -> Vec<Function> {
    let of_two = |name, body| {
        let lists = &[Param::List, Param::List];
        Function::new(name, lists, Returns::Type(DataType::Float32), body)
            .unify(|_| Ok(vec![list_of(DataType::Float32); 2]))
    };
    vec![
        of_two("vector_cosine_similarity", |call| {
            over_pairs(call, |a, b| {
                let lengths = inner_product(a, a).sqrt() * inner_product(b, b).sqrt();
                (lengths > 0.0).then(|| inner_product(a, b) / lengths)
            })
        }),
        of_two("vector_inner_product", |call| {
            over_pairs(call, |a, b| Some(inner_product(a, b)))
        }),
        of_two("vector_l2_distance", |call| {
            over_pairs(call, |a, b| {
                let squares = a
                    .iter()
                    .zip(b)
                    .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
                Some(squares.sum::<f64>().sqrt())
            })
        }),
    ]
}

fn inner_product(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

/// The numbers of a vector; `None` if one of them is null.
fn numbers(list: &ArrayRef) -> Option<Vec<f32>> {
    let numbers = list.as_primitive::<Float32Type>();
    numbers.iter().collect()
}

#[expect(clippy::cast_possible_truncation, reason = "the result is a FLOAT")]
fn over_pairs(call: &Call, result: fn(&[f32], &[f32]) -> Option<f64>) -> Result<ArrayRef> {
    let (first, second) = (call.list(0), call.list(1));
    call.primitive::<Float32Type>(|row| {
        let (Some(a), Some(b)) = (numbers(&first.value(row)), numbers(&second.value(row))) else {
            return Ok(None);
        };
        if a.len() != b.len() {
            return exec_err!(
                "[VECTOR_DIMENSION_MISMATCH] {}: the vectors have {} and {} numbers",
                call.name,
                a.len(),
                b.len()
            );
        }
        Ok(result(&a, &b).map(|value| value as f32))
    })
}

/// Returns the aggregates of this family.
pub(crate) fn aggregates() -> Vec<Aggregate> {
    let aggregate = |name, create| Aggregate {
        name,
        aliases: &[],
        arguments: (1, 1),
        returns: |_| Ok(list_of(DataType::Float32)),
        coerce: |_| vec![list_of(DataType::Float32)],
        state: |_| vec![list_of(DataType::Float64), DataType::Int64],
        create,
    };
    vec![
        aggregate("vector_sum", |_, _| Ok(Box::new(Sums::new(Statistic::Sum)))),
        aggregate("vector_avg", |_, _| {
            Ok(Box::new(Sums::new(Statistic::Average)))
        }),
    ]
}

/// What an aggregate of vectors computes of the numbers at each place.
#[derive(Debug, Clone, Copy)]
enum Statistic {
    Sum,
    Average,
}

/// The sums of the numbers at each place of the vectors of a group.
#[derive(Debug)]
struct Sums {
    statistic: Statistic,
    count: i64,
    sums: Vec<f64>,
}

impl Sums {
    fn new(statistic: Statistic) -> Self {
        Self {
            statistic,
            count: 0,
            sums: Vec::new(),
        }
    }

    fn add(&mut self, numbers: impl ExactSizeIterator<Item = f64>, count: i64) -> Result<()> {
        if self.count == 0 {
            self.sums = vec![0.0; numbers.len()];
        }
        if self.sums.len() != numbers.len() {
            return exec_err!(
                "[VECTOR_DIMENSION_MISMATCH] the vectors have {} and {} numbers",
                self.sums.len(),
                numbers.len()
            );
        }
        self.count += count;
        for (sum, number) in self.sums.iter_mut().zip(numbers) {
            *sum += number;
        }
        Ok(())
    }
}

impl Accumulator for Sums {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let vectors = columns[0].as_list::<i32>();
        for row in (0..vectors.len()).filter(|row| vectors.is_valid(*row)) {
            if let Some(numbers) = numbers(&vectors.value(row)) {
                self.add(numbers.into_iter().map(f64::from), 1)?;
            }
        }
        Ok(())
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "the result is a vector of FLOAT"
    )]
    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.count == 0 {
            return ScalarValue::try_from(&list_of(DataType::Float32));
        }
        let divisor = match self.statistic {
            Statistic::Sum => 1.0,
            Statistic::Average => self.count as f64,
        };
        let numbers = self
            .sums
            .iter()
            .map(|sum| ScalarValue::from((sum / divisor) as f32));
        let numbers: Vec<_> = numbers.collect();
        Ok(ScalarValue::List(ScalarValue::new_list(
            &numbers,
            &DataType::Float32,
            true,
        )))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.sums.capacity() * size_of::<f64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sums: Vec<_> = self.sums.iter().copied().map(ScalarValue::from).collect();
        let sums = ScalarValue::new_list(&sums, &DataType::Float64, true);
        Ok(vec![ScalarValue::List(sums), ScalarValue::from(self.count)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let sums = states[0].as_list::<i32>();
        let counts = states[1].as_primitive::<datafusion::arrow::datatypes::Int64Type>();
        for row in (0..sums.len()).filter(|row| counts.value(*row) > 0) {
            let numbers = sums.value(row);
            let numbers = numbers.as_primitive::<datafusion::arrow::datatypes::Float64Type>();
            self.add(numbers.values().iter().copied(), counts.value(row))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::Float32Array;

    use super::*;

    #[test]
    fn a_vector_has_a_length_and_a_direction() {
        assert!((inner_product(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]) - 32.0).abs() < 1e-9);
        let list: ArrayRef = std::sync::Arc::new(Float32Array::from(vec![Some(1.0), None]));
        assert_eq!(numbers(&list), None);
    }
}
