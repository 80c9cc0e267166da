//! `max_by` and `min_by`: the value of the row with the greatest or least key.

use std::cmp::Ordering;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::compute::{SortColumn, SortOptions, lexsort_to_indices};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

use super::Aggregate;

/// Returns the aggregates of this family.
pub(super) fn aggregates() -> Vec<Aggregate> {
    let by_key = |name, create| Aggregate {
        name,
        aliases: &[],
        arguments: (2, 2),
        returns: |types: &[DataType]| Ok(types[0].clone()),
        coerce: |types: &[DataType]| types.to_vec(),
        state: |types: &[DataType]| types.to_vec(),
        create,
    };
    vec![
        by_key("max_by", |types, _| {
            Ok(Box::new(Extreme::new(types, Ordering::Greater)?))
        }),
        by_key("min_by", |types, _| {
            Ok(Box::new(Extreme::new(types, Ordering::Less)?))
        }),
    ]
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
