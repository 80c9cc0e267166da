//! Sketches of quantiles: `kll_sketch_agg_bigint`, `kll_sketch_get_quantile_double` and the like.
//!
//! A sketch keeps values in levels. A value of level n stands for 2^n values: a full level is
//! sorted, and every second of its values moves up.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BinaryArray, Float32Array};
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::Accumulator;

use super::{Reader, no_sketch};
use crate::functions::aggregates::Aggregate;
use crate::functions::scalar::{Call, Function, Param, Returns};

const MARK: &[u8; 4] = b"FSK1";
/// Values of a level without an argument.
const LEVEL_VALUES: usize = 200;
/// Levels are larger than Spark's, since they do not shrink towards the bottom.
const LEVEL_FACTOR: usize = 4;
/// The numbers of values of a level that Spark allows.
const LEVEL_RANGE: std::ops::RangeInclusive<i64> = 8..=65_535;
const SIGN: u64 = 1 << 63;

/// Values as numbers with the same order, so that all types share one sketch.
fn ordered_of_double(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

fn double_of_ordered(ordered: u64) -> f64 {
    f64::from_bits(if ordered & SIGN == 0 {
        !ordered
    } else {
        ordered & !SIGN
    })
}

fn ordered_of_long(value: i64) -> u64 {
    value.cast_unsigned() ^ SIGN
}

fn long_of_ordered(ordered: u64) -> i64 {
    (ordered ^ SIGN).cast_signed()
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Quantiles {
    level_values: usize,
    count: u64,
    least: u64,
    greatest: u64,
    levels: Vec<Vec<u64>>,
}

impl Quantiles {
    fn new(level_values: usize) -> Self {
        Self {
            level_values,
            count: 0,
            least: u64::MAX,
            greatest: 0,
            levels: vec![Vec::new()],
        }
    }

    fn add(&mut self, value: u64) {
        self.count += 1;
        self.least = self.least.min(value);
        self.greatest = self.greatest.max(value);
        self.levels[0].push(value);
        self.compact();
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
        for (level, values) in other.levels.iter().enumerate() {
            while self.levels.len() <= level {
                self.levels.push(Vec::new());
            }
            self.levels[level].extend(values);
        }
        self.compact();
    }

    /// Moves half of each level that is full one level up.
    fn compact(&mut self) {
        let capacity = self.level_values * LEVEL_FACTOR;
        let mut level = 0;
        while level < self.levels.len() {
            if self.levels[level].len() >= capacity {
                let mut values = std::mem::take(&mut self.levels[level]);
                values.sort_unstable();
                if !values.len().is_multiple_of(2)
                    && let Some(last) = values.pop()
                {
                    self.levels[level].push(last);
                }
                // The half alternates, so that errors do not add up.
                let offset = usize::from(self.count % 2 == 1);
                let half = values.iter().copied().skip(offset).step_by(2);
                if self.levels.len() == level + 1 {
                    self.levels.push(Vec::new());
                }
                self.levels[level + 1].extend(half);
            }
            level += 1;
        }
    }

    /// Values with the number of values that each stands for, in order.
    fn weigh_values(&self) -> Vec<(u64, u64)> {
        let mut weighted: Vec<(u64, u64)> = Vec::new();
        for (level, values) in self.levels.iter().enumerate() {
            weighted.extend(values.iter().map(|value| (*value, 1_u64 << level)));
        }
        weighted.sort_unstable();
        weighted
    }

    #[expect(clippy::cast_precision_loss, reason = "a rank is an estimate")]
    fn rank(&self, value: u64) -> Option<f64> {
        let weighted = self.weigh_values();
        let total: u64 = weighted.iter().map(|(_, weight)| weight).sum();
        let up_to_value = weighted.iter().take_while(|(kept, _)| *kept <= value);
        let weight_up_to_value: u64 = up_to_value.map(|(_, weight)| weight).sum();
        (total > 0).then(|| weight_up_to_value as f64 / total as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "a rank is an estimate")]
    fn quantile(&self, rank: f64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        if rank <= 0.0 {
            return Some(self.least);
        }
        let weighted = self.weigh_values();
        let total: u64 = weighted.iter().map(|(_, weight)| weight).sum();
        let mut before = 0;
        let reached = weighted.iter().find(|(_, weight)| {
            before += weight;
            before as f64 >= rank * total as f64
        });
        match reached {
            Some((value, _)) if rank < 1.0 => Some(*value),
            _ => Some(self.greatest),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MARK.to_vec();
        let header = [
            self.level_values as u64,
            self.count,
            self.least,
            self.greatest,
        ];
        bytes.extend(header.iter().flat_map(|word| word.to_le_bytes()));
        for level in &self.levels {
            bytes.extend((level.len() as u64).to_le_bytes());
            bytes.extend(level.iter().flat_map(|value| value.to_le_bytes()));
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        match Self::read(bytes) {
            Some(quantiles) => Ok(quantiles),
            None => no_sketch("KLL"),
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::after_mark(bytes, MARK)?;
        let mut quantiles = Self::new(reader.size()?);
        quantiles.count = reader.word()?;
        (quantiles.least, quantiles.greatest) = (reader.word()?, reader.word()?);
        quantiles.levels.clear();
        while !reader.is_at_end() {
            let length = reader.size()?;
            let values = (0..length).map(|_| reader.word());
            quantiles.levels.push(values.collect::<Option<_>>()?);
        }
        Some(quantiles)
    }
}

/// Returns the aggregates of this family.
pub(super) fn aggregates() -> Vec<Aggregate> {
    let aggregate = |name, coerce| Aggregate {
        name,
        aliases: &[],
        arguments: (1, 2),
        returns: |_| Ok(DataType::Binary),
        coerce,
        state: |_| vec![DataType::Binary],
        create: |_, _| {
            Ok(Box::new(Building {
                sketch: None,
                level_values: LEVEL_VALUES,
            }))
        },
    };
    vec![
        aggregate("kll_sketch_agg_bigint", |types| {
            with_size(types, DataType::Int64)
        }),
        aggregate("kll_sketch_agg_double", |types| {
            with_size(types, DataType::Float64)
        }),
        aggregate("kll_sketch_agg_float", |types| {
            with_size(types, DataType::Float64)
        }),
    ]
}

fn with_size(types: &[DataType], value: DataType) -> Vec<DataType> {
    let mut coerced = vec![DataType::Int64; types.len()];
    if let Some(first) = coerced.first_mut() {
        *first = value;
    }
    coerced
}

#[derive(Debug)]
struct Building {
    sketch: Option<Quantiles>,
    level_values: usize,
}

impl Building {
    fn sketch(&mut self) -> &mut Quantiles {
        let level_values = self.level_values;
        self.sketch
            .get_or_insert_with(|| Quantiles::new(level_values))
    }
}

impl Accumulator for Building {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let sizes = columns
            .get(1)
            .map(|sizes| sizes.as_primitive::<Int64Type>());
        if let Some(size) = sizes.and_then(|sizes| sizes.iter().next().flatten()) {
            match usize::try_from(size) {
                Ok(values) if LEVEL_RANGE.contains(&size) => self.level_values = values,
                _ => {
                    return exec_err!(
                        "[KLL_SKETCH_K_OUT_OF_RANGE] the size of a sketch is from {} to {}, not {size}",
                        LEVEL_RANGE.start(),
                        LEVEL_RANGE.end()
                    );
                }
            }
        }
        let sketch = self.sketch();
        match columns[0].as_primitive_opt::<Int64Type>() {
            Some(values) => values
                .iter()
                .flatten()
                .for_each(|value| sketch.add(ordered_of_long(value))),
            None => columns[0]
                .as_primitive::<Float64Type>()
                .iter()
                .flatten()
                .filter(|value| !value.is_nan())
                .for_each(|value| sketch.add(ordered_of_double(value))),
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Binary(Some(self.sketch().to_bytes())))
    }

    fn size(&self) -> usize {
        let values = |sketch: &Quantiles| sketch.levels.iter().map(Vec::capacity).sum::<usize>();
        size_of::<Self>() + self.sketch.as_ref().map_or(0, values) * size_of::<u64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for bytes in states[0].as_binary::<i32>().iter().flatten() {
            let other = Quantiles::from_bytes(bytes)?;
            match &mut self.sketch {
                Some(sketch) => sketch.merge(&other),
                None => self.sketch = Some(other),
            }
        }
        Ok(())
    }
}

/// Returns the functions of one row of this family.
pub(super) fn functions() -> Vec<Function> {
    let sketch = &[Param::Binary];
    let two = &[Param::Binary, Param::Binary];
    let (rank, long) = (
        &[Param::Binary, Param::Double],
        &[Param::Binary, Param::Long],
    );
    let (count, double) = (
        Returns::Type(DataType::Int64),
        Returns::Type(DataType::Float64),
    );
    let (binary, text) = (
        Returns::Type(DataType::Binary),
        Returns::Type(DataType::Utf8),
    );
    let float = Returns::Type(DataType::Float32);
    let mut functions = Vec::new();
    for name in ["bigint", "double", "float"] {
        let named = |prefix: &'static str| name_of(prefix, name);
        functions.extend([
            Function::new(named("to_string"), sketch, text.clone(), to_text),
            Function::new(named("get_n"), sketch, count.clone(), |call| {
                call.primitive::<Int64Type>(|row| {
                    let count = sketch_of(call, 0, row)?.count;
                    Ok(Some(i64::try_from(count).unwrap_or(i64::MAX)))
                })
            }),
            Function::new(named("merge"), two, binary.clone(), merge),
        ]);
    }
    functions.extend([
        Function::new("kll_sketch_get_quantile_bigint", rank, count, |call| {
            call.primitive::<Int64Type>(|row| Ok(quantile(call, row)?.map(long_of_ordered)))
        }),
        Function::new(
            "kll_sketch_get_quantile_double",
            rank,
            double.clone(),
            |call| {
                call.primitive::<Float64Type>(|row| Ok(quantile(call, row)?.map(double_of_ordered)))
            },
        ),
        Function::new("kll_sketch_get_quantile_float", rank, float, |call| {
            let doubles = call
                .primitive::<Float64Type>(|row| Ok(quantile(call, row)?.map(double_of_ordered)))?;
            let doubles = doubles.as_primitive::<Float64Type>();
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the values were FLOAT before they came into the sketch"
            )]
            let floats: Float32Array = doubles.unary::<_, Float32Type>(|value| value as f32);
            Ok(Arc::new(floats))
        }),
        Function::new("kll_sketch_get_rank_bigint", long, double.clone(), |call| {
            call.primitive::<Float64Type>(|row| {
                let value = ordered_of_long(call.long(1).value(row));
                Ok(sketch_of(call, 0, row)?.rank(value))
            })
        }),
        Function::new(
            "kll_sketch_get_rank_double",
            rank,
            double.clone(),
            rank_of_double,
        ),
        Function::new("kll_sketch_get_rank_float", rank, double, rank_of_double),
    ]);
    functions
}

/// The name of a function for a type of values.
fn name_of(function: &str, value: &str) -> &'static str {
    match (function, value) {
        ("to_string", "bigint") => "kll_sketch_to_string_bigint",
        ("to_string", "double") => "kll_sketch_to_string_double",
        ("to_string", _) => "kll_sketch_to_string_float",
        ("get_n", "bigint") => "kll_sketch_get_n_bigint",
        ("get_n", "double") => "kll_sketch_get_n_double",
        ("get_n", _) => "kll_sketch_get_n_float",
        (_, "bigint") => "kll_sketch_merge_bigint",
        (_, "double") => "kll_sketch_merge_double",
        _ => "kll_sketch_merge_float",
    }
}

fn sketch_of(call: &Call, argument: usize, row: usize) -> Result<Quantiles> {
    Quantiles::from_bytes(call.arrays[argument].as_binary::<i32>().value(row))
}

fn quantile(call: &Call, row: usize) -> Result<Option<u64>> {
    let rank = call.double(1).value(row);
    if !(0.0..=1.0).contains(&rank) {
        return exec_err!("[KLL_SKETCH_INVALID_QUANTILE_RANGE] a rank is from 0 to 1, not {rank}");
    }
    Ok(sketch_of(call, 0, row)?.quantile(rank))
}

fn rank_of_double(call: &Call) -> Result<ArrayRef> {
    call.primitive::<Float64Type>(|row| {
        let value = ordered_of_double(call.double(1).value(row));
        Ok(sketch_of(call, 0, row)?.rank(value))
    })
}

fn merge(call: &Call) -> Result<ArrayRef> {
    call.strict::<BinaryArray, Vec<u8>>(|row| {
        let mut first = sketch_of(call, 0, row)?;
        first.merge(&sketch_of(call, 1, row)?);
        Ok(Some(first.to_bytes()))
    })
}

fn to_text(call: &Call) -> Result<ArrayRef> {
    call.texts(|row| {
        let sketch = sketch_of(call, 0, row)?;
        let kept: usize = sketch.levels.iter().map(Vec::len).sum();
        Ok(Some(format!(
            "quantiles of {} values, size {}, levels {}, values kept {kept}",
            sketch.count,
            sketch.level_values,
            sketch.levels.len()
        )))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_order() {
        let doubles = [f64::NEG_INFINITY, -1.5, 0.0, 2.0, f64::INFINITY];
        assert!(doubles.map(ordered_of_double).is_sorted());
        assert!(doubles.iter().all(|value| {
            double_of_ordered(ordered_of_double(*value))
                .total_cmp(value)
                .is_eq()
        }));
        assert!([i64::MIN, -1, 0, i64::MAX].map(ordered_of_long).is_sorted());
    }

    #[test]
    fn quantiles_of_many_values_are_close() {
        let (mut first, mut second) = (Quantiles::new(200), Quantiles::new(200));
        for value in 0..50_000 {
            first.add(ordered_of_long(value));
            second.add(ordered_of_long(value + 50_000));
        }
        first.merge(&Quantiles::from_bytes(&second.to_bytes()).unwrap());
        for (rank, expected) in [
            (0.0, 0),
            (0.25, 25_000),
            (0.5, 50_000),
            (0.9, 90_000),
            (1.0, 99_999),
        ] {
            let quantile = long_of_ordered(first.quantile(rank).unwrap());
            assert!((quantile - expected).abs() < 2_000, "{rank}: {quantile}");
        }
        let rank = first.rank(ordered_of_long(75_000)).unwrap();
        assert!((rank - 0.75).abs() < 0.02, "{rank}");
        assert_eq!(first.count, 100_000);
    }
}
