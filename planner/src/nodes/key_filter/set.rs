//! A set of keys in little space: exact for whole numbers and dates of a known range, a Bloom filter for all others.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::Result;
use datafusion::common::hash_utils::{QualityRandomState, create_hashes};
use fastbloom::BloomFilter;
use serde::{Deserialize, Serialize};

use crate::cost::BLOOM_HASHES;

/// Not the seed by which rows are spread over buckets: a bucket's hashes are alike in that one.
const SEED: u64 = 0x6661_6973_6361;

/// What a set is made like. Sets of one shape can be added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Shape {
    /// A bit for each of so many values, from `low` on.
    Range { low: i64, values: u64 },
    /// So many bits.
    Bloom { bits: u64 },
}

impl Shape {
    pub(crate) fn bytes(self) -> u64 {
        let (Self::Range { values: bits, .. } | Self::Bloom { bits }) = self;
        bits.div_ceil(64) * 8
    }
}

#[derive(Debug)]
enum Bits {
    Range { low: i64, words: Vec<u64> },
    Bloom(Box<BloomFilter>),
}

/// Keys, or all there are.
#[derive(Debug)]
pub(crate) struct KeySet {
    bits: Bits,
    is_empty: bool,
    /// A key came that has no place in the shape: nothing can be ruled out.
    has_all: bool,
}

impl KeySet {
    pub(crate) fn new(shape: Shape) -> Self {
        Self::of(
            shape,
            vec![0; usize::try_from(shape.bytes() / 8).unwrap_or(0).max(1)],
            true,
            false,
        )
    }

    /// The set that rules nothing out.
    pub(crate) fn all() -> Self {
        Self {
            bits: Bits::Range {
                low: 0,
                words: vec![],
            },
            is_empty: false,
            has_all: true,
        }
    }

    fn of(shape: Shape, words: Vec<u64>, is_empty: bool, has_all: bool) -> Self {
        let bits = match shape {
            Shape::Range { low, .. } => Bits::Range { low, words },
            Shape::Bloom { .. } => {
                Bits::Bloom(Box::new(BloomFilter::from_vec(words).hashes(BLOOM_HASHES)))
            }
        };
        Self {
            bits,
            is_empty,
            has_all,
        }
    }

    /// Whether no key is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Whether it rules nothing out.
    pub(crate) fn has_all(&self) -> bool {
        self.has_all
    }

    /// Adds all values but nulls, which join with nothing.
    ///
    /// # Errors
    /// If they cannot be hashed.
    pub(crate) fn add(&mut self, keys: &ArrayRef) -> Result<()> {
        if keys.null_count() == keys.len() {
            return Ok(());
        }
        self.is_empty = false;
        match &mut self.bits {
            Bits::Range { low, words } => {
                let numbers = numbers(keys)?;
                for number in numbers.as_primitive::<Int64Type>().iter().flatten() {
                    match place(number, *low, words.len()) {
                        Some((word, bit)) => words[word] |= bit,
                        None => self.has_all = true,
                    }
                }
                // A number beyond 64 bits became null on the way.
                self.has_all |= numbers.null_count() > keys.null_count();
            }
            Bits::Bloom(bloom) => {
                let hashes = hashes(keys)?;
                for (row, hash) in hashes.iter().enumerate() {
                    if keys.is_valid(row) {
                        bloom.insert_hash(*hash);
                    }
                }
            }
        }
        Ok(())
    }

    /// Which of these values may be in it; nulls are not.
    ///
    /// # Errors
    /// If they cannot be hashed.
    pub(crate) fn may_have(&self, keys: &ArrayRef) -> Result<BooleanArray> {
        let found = match &self.bits {
            Bits::Range { low, words } => {
                let numbers = numbers(keys)?;
                let values = numbers.as_primitive::<Int64Type>().values();
                let found = BooleanBuffer::collect_bool(values.len(), |row| {
                    place(values[row], *low, words.len())
                        .is_some_and(|(word, bit)| words[word] & bit != 0)
                });
                valid(&found, numbers.nulls())
            }
            Bits::Bloom(bloom) => {
                let hashes = hashes(keys)?;
                let found = BooleanBuffer::collect_bool(hashes.len(), |row| {
                    bloom.contains_hash(hashes[row])
                });
                valid(&found, keys.logical_nulls().as_ref())
            }
        };
        Ok(BooleanArray::new(found, None))
    }

    /// The set as bytes, which [`Self::add_encoded`] adds to another one of its shape.
    pub(crate) fn encoded(&self) -> Vec<u8> {
        let words = match &self.bits {
            Bits::Range { words, .. } => words.as_slice(),
            Bits::Bloom(bloom) => bloom.as_slice(),
        };
        let mut bytes = Vec::with_capacity(words.len() * 8 + 1);
        bytes.push(u8::from(self.is_empty) | u8::from(self.has_all) << 1);
        words
            .iter()
            .for_each(|word| bytes.extend(word.to_le_bytes()));
        bytes
    }

    /// Adds a set of the same shape.
    pub(crate) fn add_encoded(&mut self, shape: Shape, bytes: &[u8]) {
        let Some((flags, bytes)) = bytes.split_first() else {
            return;
        };
        self.is_empty &= flags & 1 != 0;
        self.has_all |= flags & 2 != 0;
        let words = bytes
            .chunks_exact(8)
            .filter_map(|word| word.try_into().ok())
            .map(u64::from_le_bytes);
        match &mut self.bits {
            Bits::Range { words: own, .. } => own
                .iter_mut()
                .zip(words)
                .for_each(|(own, other)| *own |= other),
            Bits::Bloom(own) => {
                if let Bits::Bloom(other) = Self::of(shape, words.collect(), false, false).bits
                    && other.num_bits() == own.num_bits()
                {
                    own.union(&other);
                }
            }
        }
    }
}

/// Whole numbers and dates, whose keys can be told by a bit each.
pub(crate) fn has_places(of: &DataType) -> bool {
    of.is_integer() || matches!(of, DataType::Date32)
}

fn numbers(keys: &ArrayRef) -> Result<ArrayRef> {
    Ok(if keys.data_type() == &DataType::Int64 {
        Arc::clone(keys)
    } else {
        cast(keys, &DataType::Int64)?
    })
}

fn place(number: i64, low: i64, words: usize) -> Option<(usize, u64)> {
    let place = usize::try_from(number.checked_sub(low)?).ok()?;
    (place / 64 < words).then_some((place / 64, 1 << (place % 64)))
}

fn hashes(keys: &ArrayRef) -> Result<Vec<u64>> {
    let mut hashes = vec![0; keys.len()];
    create_hashes([keys], &QualityRandomState::with_seed(SEED), &mut hashes)?;
    Ok(hashes)
}

fn valid(found: &BooleanBuffer, nulls: Option<&NullBuffer>) -> BooleanBuffer {
    nulls.map_or_else(|| found.clone(), |nulls| found & nulls.inner())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, Int32Array, StringViewArray, UInt64Array};

    use super::*;

    fn found(set: &KeySet, keys: &ArrayRef) -> Vec<bool> {
        set.may_have(keys).unwrap().values().iter().collect()
    }

    #[test]
    fn numbers_of_a_range_are_told_exactly_and_nulls_never_found() {
        let shape = Shape::Range {
            low: -3,
            values: 100,
        };
        let (mut set, mut other) = (KeySet::new(shape), KeySet::new(shape));
        assert!(set.is_empty());
        set.add(&(Arc::new(Int32Array::from(vec![Some(-3), None, Some(96)])) as _))
            .unwrap();
        other
            .add(&(Arc::new(Int32Array::from(vec![5])) as _))
            .unwrap();
        set.add_encoded(shape, &other.encoded());
        let asked: ArrayRef = Arc::new(Int32Array::from(vec![
            Some(-3),
            Some(5),
            Some(96),
            Some(97),
            Some(-4),
            Some(4),
            None,
        ]));
        assert_eq!(
            found(&set, &asked),
            [true, true, true, false, false, false, false]
        );
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![5, 6]));
        assert_eq!(found(&set, &dates), [true, false]);
        assert!(!set.has_all() && !set.is_empty());
    }

    #[test]
    fn a_key_without_a_place_lets_everything_pass() {
        let shape = Shape::Range { low: 0, values: 64 };
        for outside in [
            Arc::new(Int32Array::from(vec![64])) as ArrayRef,
            Arc::new(UInt64Array::from(vec![u64::MAX])),
        ] {
            let (mut set, mut sum) = (KeySet::new(shape), KeySet::new(shape));
            set.add(&outside).unwrap();
            sum.add_encoded(shape, &set.encoded());
            assert!(sum.has_all());
        }
    }

    #[test]
    fn text_is_found_where_it_is_and_seldom_where_it_is_not() {
        let shape = Shape::Bloom { bits: 10_000 };
        let text = |range: std::ops::Range<u32>| {
            Arc::new(StringViewArray::from_iter_values(
                range.map(|n| n.to_string()),
            )) as ArrayRef
        };
        let (mut set, mut other) = (KeySet::new(shape), KeySet::new(shape));
        set.add(&text(0..500)).unwrap();
        other.add(&text(500..1000)).unwrap();
        set.add_encoded(shape, &other.encoded());
        assert!(found(&set, &text(0..1000)).into_iter().all(|found| found));
        let wrong = found(&set, &text(1000..11_000))
            .into_iter()
            .filter(|found| *found)
            .count();
        assert!(wrong < 300, "{wrong} of 10,000");
    }
}
