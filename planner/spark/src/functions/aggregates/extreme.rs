//! `max_by` and `min_by`: the value of the row with the greatest or least key.

use std::cmp::Ordering;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::{SortColumn, SortOptions, lexsort_to_indices};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::Accumulator;

use super::Aggregate;
use crate::functions::arrays::list_of;

/// Values that a call returns, at most.
const NUMBER_MAX: usize = 100_000;

/// Returns the aggregates of this family.
pub(super) fn aggregates() -> Vec<Aggregate> {
    let by_key = |name, create| Aggregate {
        name,
        aliases: &[],
        arguments: (2, 3),
        returns: |types: &[DataType]| match types.len() {
            2 => Ok(types[0].clone()),
            _ => Ok(list_of(types[0].clone())),
        },
        coerce: |types: &[DataType]| {
            let number = types.get(2).map(|_| DataType::Int64);
            types.iter().take(2).cloned().chain(number).collect()
        },
        state: |types: &[DataType]| match types.len() {
            2 => types.to_vec(),
            _ => vec![
                list_of(types[0].clone()),
                list_of(types[1].clone()),
                DataType::Int64,
            ],
        },
        create,
    };
    vec![
        by_key("max_by", |types, _| create(types, Ordering::Greater)),
        by_key("min_by", |types, _| create(types, Ordering::Less)),
    ]
}

fn create(types: &[DataType], better: Ordering) -> Result<Box<dyn Accumulator>> {
    Ok(match types.len() {
        2 => Box::new(Extreme::new(types, better)?),
        _ => Box::new(Extremes::new(types, better)),
    })
}

/// The values of the rows with the best keys: `max_by(x, y, 3)`.
#[derive(Debug)]
struct Extremes {
    types: Vec<DataType>,
    better: Ordering,
    number: usize,
    /// Keys and values, the best first.
    best: Vec<(ScalarValue, ScalarValue)>,
}

impl Extremes {
    fn new(types: &[DataType], better: Ordering) -> Self {
        Self {
            types: types.to_vec(),
            better,
            number: 0,
            best: Vec::new(),
        }
    }

    fn add(&mut self, values: &ArrayRef, keys: &ArrayRef) -> Result<()> {
        let nulls = keys.logical_nulls();
        for row in 0..keys.len() {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                continue;
            }
            let mut key = ScalarValue::try_from_array(keys, row)?;
            let is_better = |kept: &ScalarValue| key.partial_cmp(kept) == Some(self.better);
            let position = self.best.partition_point(|(kept, _)| !is_better(kept));
            if position < self.number {
                let mut value = ScalarValue::try_from_array(values, row)?;
                key.compact();
                value.compact();
                self.best.insert(position, (key, value));
                self.best.truncate(self.number);
            }
        }
        Ok(())
    }

    fn set_number(&mut self, numbers: &ArrayRef) -> Result<()> {
        let number = numbers.as_primitive::<Int64Type>().iter().flatten().next();
        match number.map(usize::try_from) {
            Some(Ok(number @ 1..=NUMBER_MAX)) => self.number = number,
            Some(_) => {
                return exec_err!("max_by and min_by return 1 to {NUMBER_MAX} values");
            }
            None => {}
        }
        Ok(())
    }

    fn list(
        &self,
        side: fn(&(ScalarValue, ScalarValue)) -> &ScalarValue,
        item: &DataType,
    ) -> ScalarValue {
        let values: Vec<_> = self.best.iter().map(|pair| side(pair).clone()).collect();
        ScalarValue::List(ScalarValue::new_list(&values, item, true))
    }
}

impl Accumulator for Extremes {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.set_number(&columns[2])?;
        self.add(&columns[0], &columns[1])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.list(|(_, value)| value, &self.types[0]))
    }

    fn size(&self) -> usize {
        let sizes = self
            .best
            .iter()
            .map(|(key, value)| key.size() + value.size());
        size_of::<Self>() + sizes.sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![
            self.list(|(_, value)| value, &self.types[0]),
            self.list(|(key, _)| key, &self.types[1]),
            ScalarValue::Int64(i64::try_from(self.number).ok().filter(|number| *number > 0)),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.set_number(&states[2])?;
        let (values, keys) = (states[0].as_list::<i32>(), states[1].as_list::<i32>());
        for row in 0..values.len() {
            self.add(&values.value(row), &keys.value(row))?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Extreme {
    value: ScalarValue,
    /// Null until a row has a key.
    key: ScalarValue,
    /// How the key of the result compares to all other keys.
    preferred: Ordering,
}

impl Extreme {
    fn new(types: &[DataType], preferred: Ordering) -> Result<Self> {
        Ok(Self {
            value: ScalarValue::try_from(&types[0])?,
            key: ScalarValue::try_from(&types[1])?,
            preferred,
        })
    }
}

impl Accumulator for Extreme {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let keys = &columns[1];
        if keys.logical_null_count() == keys.len() {
            return Ok(());
        }
        let options = SortOptions::new(self.preferred == Ordering::Greater, false);
        let column = SortColumn {
            values: ArrayRef::clone(keys),
            options: Some(options),
        };
        let row = lexsort_to_indices(&[column], Some(1))?.value(0) as usize;
        let key = ScalarValue::try_from_array(keys, row)?;
        if self.key.is_null() || key.partial_cmp(&self.key) == Some(self.preferred) {
            self.key = key;
            self.value = ScalarValue::try_from_array(&columns[0], row)?;
            self.key.compact();
            self.value.compact();
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.value.size() + self.key.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), self.key.clone()])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}
