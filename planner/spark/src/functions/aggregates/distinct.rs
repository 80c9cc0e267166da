//! `DISTINCT` in a call of an aggregate: each row of arguments counts once.

use std::collections::HashSet;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

use crate::functions::arrays::list_of;

/// Keeps the different rows of arguments, and gives them to an aggregate at the end.
#[derive(Debug)]
pub(super) struct DistinctRows {
    aggregate: Box<dyn Accumulator>,
    types: Vec<DataType>,
    rows: HashSet<Vec<ScalarValue>>,
    /// The rows in the order in which they came, which some aggregates return.
    in_order: Vec<Vec<ScalarValue>>,
    bytes: usize,
}

/// Returns the types of the state: a list for each argument.
pub(super) fn state_types(arguments: &[DataType]) -> Vec<DataType> {
    arguments.iter().cloned().map(list_of).collect()
}

impl DistinctRows {
    pub(super) fn new(aggregate: Box<dyn Accumulator>, types: Vec<DataType>) -> Self {
        Self {
            aggregate,
            types,
            rows: HashSet::new(),
            in_order: Vec::new(),
            bytes: 0,
        }
    }

    fn add(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let count = columns.first().map_or(0, |column| column.len());
        for row in 0..count {
            let values = columns.iter().map(|column| {
                let mut value = ScalarValue::try_from_array(column, row)?;
                value.compact();
                Ok(value)
            });
            let values = values.collect::<Result<Vec<_>>>()?;
            let bytes: usize = values.iter().map(ScalarValue::size).sum();
            if self.rows.insert(values.clone()) {
                // Both collections have a copy.
                self.bytes += 2 * bytes;
                self.in_order.push(values);
            }
        }
        Ok(())
    }

    fn column(&self, argument: usize) -> Vec<ScalarValue> {
        let rows = self.in_order.iter();
        rows.map(|row| row[argument].clone()).collect()
    }
}

impl Accumulator for DistinctRows {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.add(columns)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if !self.in_order.is_empty() {
            let columns = (0..self.types.len())
                .map(|argument| ScalarValue::iter_to_array(self.column(argument)))
                .collect::<Result<Vec<_>>>()?;
            self.aggregate.update_batch(&columns)?;
        }
        self.aggregate.evaluate()
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.bytes + self.aggregate.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let lists = self.types.iter().enumerate().map(|(argument, data_type)| {
            let list = ScalarValue::new_list(&self.column(argument), data_type, true);
            ScalarValue::List(list)
        });
        Ok(lists.collect())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let count = states.first().map_or(0, |state| state.len());
        for row in 0..count {
            let columns: Vec<ArrayRef> = states
                .iter()
                .map(|state| state.as_list::<i32>().value(row))
                .collect();
            self.add(&columns)?;
        }
        Ok(())
    }
}
