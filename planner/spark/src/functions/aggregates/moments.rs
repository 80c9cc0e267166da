//! `skewness` and `kurtosis`, by central moments that merge without loss of digits.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

use super::Aggregate;

/// Returns the aggregates of this family.
pub(super) fn aggregates() -> Vec<Aggregate> {
    let moment = |name, create| Aggregate {
        name,
        aliases: &[],
        arguments: (1, 1),
        returns: |_: &[DataType]| Ok(DataType::Float64),
        coerce: |_: &[DataType]| vec![DataType::Float64],
        state: |_: &[DataType]| vec![DataType::Float64; 5],
        create,
    };
    vec![
        moment("skewness", |_, _| Ok(Box::new(Moments::new(Moment::Third)))),
        moment("kurtosis", |_, _| {
            Ok(Box::new(Moments::new(Moment::Fourth)))
        }),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Third,
    Fourth,
}

/// Number, mean, and sums of powers of the distances from the mean.
#[derive(Debug, Clone, Copy)]
struct Moments {
    moment: Moment,
    count: f64,
    mean: f64,
    second: f64,
    third: f64,
    fourth: f64,
}

impl Moments {
    fn new(moment: Moment) -> Self {
        Self {
            moment,
            count: 0.0,
            mean: 0.0,
            second: 0.0,
            third: 0.0,
            fourth: 0.0,
        }
    }

    /// Adds the values of another group.
    fn merge(&mut self, other: &Self) {
        if other.count == 0.0 {
            return;
        }
        let (a, b) = (self.count, other.count);
        let count = a + b;
        let delta = other.mean - self.mean;
        let share = delta / count;
        self.fourth += other.fourth
            + delta * share.powi(3) * a * b * (a * a - a * b + b * b)
            + 6.0 * share * share * (a * a * other.second + b * b * self.second)
            + 4.0 * share * (a * other.third - b * self.third);
        self.third += other.third
            + delta * share * share * a * b * (a - b)
            + 3.0 * share * (a * other.second - b * self.second);
        self.second += other.second + delta * share * a * b;
        self.mean += share * b;
        self.count = count;
    }

    fn value(&self) -> Option<f64> {
        // Without variance the result is null, as in Spark since version 3.1.
        if self.second == 0.0 {
            return None;
        }
        Some(match self.moment {
            Moment::Third => self.count.sqrt() * self.third / self.second.powf(1.5),
            Moment::Fourth => self.count * self.fourth / (self.second * self.second) - 3.0,
        })
    }
}

impl Accumulator for Moments {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<Float64Type>().iter().flatten() {
            let single = Self {
                count: 1.0,
                mean: value,
                ..Self::new(self.moment)
            };
            self.merge(&single);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.value()))
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let parts = [self.count, self.mean, self.second, self.third, self.fourth];
        Ok(parts.into_iter().map(ScalarValue::from).collect())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let column = |index: usize| states[index].as_primitive::<Float64Type>();
        for row in 0..states[0].len() {
            let other = Self {
                moment: self.moment,
                count: column(0).value(row),
                mean: column(1).value(row),
                second: column(2).value(row),
                third: column(3).value(row),
                fourth: column(4).value(row),
            };
            self.merge(&other);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_groups_are_one_group() {
        let values: Vec<f64> = (0..50).map(|value| f64::from(value * value % 17)).collect();
        let moment = |values: &[f64]| {
            let mut moments = Moments::new(Moment::Fourth);
            let column = datafusion::arrow::array::Float64Array::from(values.to_vec());
            moments
                .update_batch(&[std::sync::Arc::new(column)])
                .unwrap();
            moments
        };
        let mut merged = moment(&values[..20]);
        merged.merge(&moment(&values[20..]));
        let mean = values.iter().sum::<f64>() / 50.0;
        let power = |power| {
            values
                .iter()
                .map(|value| (value - mean).powi(power))
                .sum::<f64>()
        };
        let kurtosis = 50.0 * power(4) / power(2).powi(2) - 3.0;
        assert!((merged.value().unwrap() - kurtosis).abs() < 1e-9);
        assert!((moment(&values).value().unwrap() - kurtosis).abs() < 1e-9);
    }
}
