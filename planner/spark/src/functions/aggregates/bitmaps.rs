//! Bitmaps of 32,768 bits: `bitmap_construct_agg`, `bitmap_or_agg`, `bitmap_and_agg`.

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::Accumulator;

use super::{Aggregate, Create};

/// Bytes of a bitmap.
const BITMAP_BYTES: usize = 4096;

/// Returns the aggregates of this family.
pub(super) fn aggregates() -> Vec<Aggregate> {
    vec![
        bitmap_aggregate("bitmap_construct_agg", &DataType::Int64, |_, _| {
            Ok(Box::new(Bitmap::new(Operation::Construct)))
        }),
        bitmap_aggregate("bitmap_or_agg", &DataType::Binary, |_, _| {
            Ok(Box::new(Bitmap::new(Operation::Or)))
        }),
        bitmap_aggregate("bitmap_and_agg", &DataType::Binary, |_, _| {
            Ok(Box::new(Bitmap::new(Operation::And)))
        }),
    ]
}

fn bitmap_aggregate(name: &'static str, argument: &DataType, create: Create) -> Aggregate {
    Aggregate {
        name,
        aliases: &[],
        arguments: (1, 1),
        returns: |_| Ok(DataType::Binary),
        coerce: match argument {
            DataType::Int64 => |_| vec![DataType::Int64],
            _ => |_| vec![DataType::Binary],
        },
        state: |_| vec![DataType::Binary],
        create,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    /// Sets the bits at positions that are numbers.
    Construct,
    Or,
    And,
}

#[derive(Debug)]
struct Bitmap {
    operation: Operation,
    bytes: Vec<u8>,
}

impl Bitmap {
    fn new(operation: Operation) -> Self {
        let neutral = if operation == Operation::And { 0xFF } else { 0 };
        Self {
            operation,
            bytes: vec![neutral; BITMAP_BYTES],
        }
    }

    fn set(&mut self, position: i64) -> Result<()> {
        let byte = usize::try_from(position)
            .ok()
            .and_then(|position| self.bytes.get_mut(position / 8));
        let Some(byte) = byte else {
            return exec_err!(
                "[INVALID_BITMAP_POSITION] a bitmap has the positions 0 to {}, not {position}",
                BITMAP_BYTES * 8 - 1
            );
        };
        *byte |= 1 << (position % 8);
        Ok(())
    }

    /// Combines with another bitmap, whose missing bytes are zero.
    fn combine(&mut self, other: &[u8]) {
        for (index, byte) in self.bytes.iter_mut().enumerate() {
            let other = other.get(index).copied().unwrap_or(0);
            match self.operation {
                Operation::And => *byte &= other,
                Operation::Or | Operation::Construct => *byte |= other,
            }
        }
    }
}

impl Accumulator for Bitmap {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        if self.operation != Operation::Construct {
            return self.merge_batch(columns);
        }
        let positions = columns[0].as_primitive::<Int64Type>();
        positions
            .iter()
            .flatten()
            .try_for_each(|position| self.set(position))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Binary(Some(self.bytes.clone())))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let bitmaps = states[0].as_binary::<i32>();
        for bitmap in bitmaps.iter().flatten() {
            self.combine(bitmap);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_set_and_combined() {
        let mut bitmap = Bitmap::new(Operation::Construct);
        bitmap.set(0).unwrap();
        bitmap.set(9).unwrap();
        assert_eq!(bitmap.bytes[..2], [1, 2]);
        assert!(bitmap.set(32_768).is_err());
        let mut both = Bitmap::new(Operation::And);
        both.combine(&[0xF0]);
        both.combine(&[0x70, 1]);
        assert_eq!(both.bytes[..2], [0x70, 0]);
    }
}
