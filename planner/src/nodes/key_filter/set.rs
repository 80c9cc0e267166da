//! A compact set of keys: exact for integers and dates of a known range, a Bloom filter for all
//! others.

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

/// Seed of the hashes. It must differ from the seed by which rows are partitioned: within a
/// partition, those hashes are alike.
const SEED: u64 = 0x6661_6973_6361;

/// The layout of a set. Sets of equal layout can be united.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum KeySetLayout {
    /// One bit for each of `values` values, starting at `low`.
    Range { low: i64, values: u64 },
    /// A Bloom filter of this many bits.
    Bloom { bits: u64 },
}

impl KeySetLayout {
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

impl Bits {
    fn from_words(layout: KeySetLayout, words: Vec<u64>) -> Self {
        match layout {
            KeySetLayout::Range { low, .. } => Self::Range { low, words },
            KeySetLayout::Bloom { .. } => {
                Self::Bloom(Box::new(BloomFilter::from_vec(words).hashes(BLOOM_HASHES)))
            }
        }
    }
}

/// How many keys a set has. The larger one is that of the union of two sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    Empty,
    /// The keys that [`Bits`] describe.
    Described,
    /// A key outside the layout was added, so no key can be ruled out.
    All,
}

impl Extent {
    /// Returns the first byte of an encoded set.
    fn code(self) -> u8 {
        match self {
            Self::Described => 0,
            Self::Empty => 1,
            Self::All => 2,
        }
    }

    fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Described,
            1 => Self::Empty,
            _ => Self::All,
        }
    }
}

/// A set of keys, which may degrade to the set of all keys.
#[derive(Debug)]
pub(crate) struct KeySet {
    bits: Bits,
    extent: Extent,
}

impl KeySet {
    /// Creates an empty set.
    pub(crate) fn new(layout: KeySetLayout) -> Self {
        let words = usize::try_from(layout.bytes() / 8).unwrap_or(0).max(1);
        Self {
            bits: Bits::from_words(layout, vec![0; words]),
            extent: Extent::Empty,
        }
    }

    /// Creates the set of all keys.
    pub(crate) fn all() -> Self {
        Self {
            bits: Bits::Range {
                low: 0,
                words: vec![],
            },
            extent: Extent::All,
        }
    }

    /// Whether the set has no key.
    pub(crate) fn is_empty(&self) -> bool {
        self.extent == Extent::Empty
    }

    /// Whether the set has all keys.
    pub(crate) fn has_all(&self) -> bool {
        self.extent == Extent::All
    }

    /// Adds all values except nulls, which match nothing.
    ///
    /// # Errors
    /// If the values cannot be hashed or cast.
    pub(crate) fn add(&mut self, keys: &ArrayRef) -> Result<()> {
        if keys.null_count() == keys.len() {
            return Ok(());
        }
        self.extent = self.extent.max(Extent::Described);
        match &mut self.bits {
            Bits::Range { low, words } => {
                let numbers = to_int64(keys)?;
                for number in numbers.as_primitive::<Int64Type>().iter().flatten() {
                    match bit_of(number, *low, words.len()) {
                        Some((word, bit)) => words[word] |= bit,
                        None => self.extent = Extent::All,
                    }
                }
                // An integer that does not fit into 64 bits became null in the cast.
                if numbers.null_count() > keys.null_count() {
                    self.extent = Extent::All;
                }
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

    /// Returns for each value whether it may be in the set. Nulls are not.
    ///
    /// # Errors
    /// If the values cannot be hashed or cast.
    pub(crate) fn may_have(&self, keys: &ArrayRef) -> Result<BooleanArray> {
        let contained = match &self.bits {
            Bits::Range { low, words } => {
                let numbers = to_int64(keys)?;
                let values = numbers.as_primitive::<Int64Type>().values();
                let bits = BooleanBuffer::collect_bool(values.len(), |row| {
                    bit_of(values[row], *low, words.len())
                        .is_some_and(|(word, bit)| words[word] & bit != 0)
                });
                mask_nulls(&bits, numbers.nulls())
            }
            Bits::Bloom(bloom) => {
                let hashes = hashes(keys)?;
                let bits = BooleanBuffer::collect_bool(hashes.len(), |row| {
                    bloom.contains_hash(hashes[row])
                });
                mask_nulls(&bits, keys.logical_nulls().as_ref())
            }
        };
        Ok(BooleanArray::new(contained, None))
    }

    /// Encodes the set, for [`Self::add_encoded`] on a set of the same layout.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let words = match &self.bits {
            Bits::Range { words, .. } => words.as_slice(),
            Bits::Bloom(bloom) => bloom.as_slice(),
        };
        let mut bytes = Vec::with_capacity(words.len() * 8 + 1);
        bytes.push(self.extent.code());
        words
            .iter()
            .for_each(|word| bytes.extend(word.to_le_bytes()));
        bytes
    }

    /// Adds all keys of an encoded set of the same layout.
    pub(crate) fn add_encoded(&mut self, layout: KeySetLayout, bytes: &[u8]) {
        let Some((code, bytes)) = bytes.split_first() else {
            return;
        };
        self.extent = self.extent.max(Extent::from_code(*code));
        let words = bytes
            .chunks_exact(8)
            .filter_map(|word| word.try_into().ok())
            .map(u64::from_le_bytes);
        match &mut self.bits {
            Bits::Range {
                words: own_words, ..
            } => own_words
                .iter_mut()
                .zip(words)
                .for_each(|(word, other)| *word |= other),
            Bits::Bloom(bloom) => {
                if let Bits::Bloom(other) = Bits::from_words(layout, words.collect())
                    && other.num_bits() == bloom.num_bits()
                {
                    bloom.union(&other);
                }
            }
        }
    }
}

/// Whether a type's values are integers or days, so that each can have a bit of its own.
pub(crate) fn is_range_type(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Date32)
}

fn to_int64(keys: &ArrayRef) -> Result<ArrayRef> {
    Ok(if keys.data_type() == &DataType::Int64 {
        Arc::clone(keys)
    } else {
        cast(keys, &DataType::Int64)?
    })
}

/// Returns the word and the bit of a number, unless it is outside the range.
fn bit_of(number: i64, low: i64, words: usize) -> Option<(usize, u64)> {
    let offset = usize::try_from(number.checked_sub(low)?).ok()?;
    (offset / 64 < words).then_some((offset / 64, 1 << (offset % 64)))
}

fn hashes(keys: &ArrayRef) -> Result<Vec<u64>> {
    let mut hashes = vec![0; keys.len()];
    create_hashes([keys], &QualityRandomState::with_seed(SEED), &mut hashes)?;
    Ok(hashes)
}

fn mask_nulls(bits: &BooleanBuffer, nulls: Option<&NullBuffer>) -> BooleanBuffer {
    nulls.map_or_else(|| bits.clone(), |nulls| bits & nulls.inner())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, Int32Array, StringViewArray, UInt64Array};

    use super::*;

    fn lookup(set: &KeySet, keys: &ArrayRef) -> Vec<bool> {
        set.may_have(keys).unwrap().values().iter().collect()
    }

    #[test]
    fn integers_of_a_range_are_exact_and_nulls_are_never_contained() {
        let layout = KeySetLayout::Range {
            low: -3,
            values: 100,
        };
        let (mut set, mut other) = (KeySet::new(layout), KeySet::new(layout));
        assert!(set.is_empty());
        set.add(&(Arc::new(Int32Array::from(vec![Some(-3), None, Some(96)])) as _))
            .unwrap();
        other
            .add(&(Arc::new(Int32Array::from(vec![5])) as _))
            .unwrap();
        set.add_encoded(layout, &other.encode());
        let keys: ArrayRef = Arc::new(Int32Array::from(vec![
            Some(-3),
            Some(5),
            Some(96),
            Some(97),
            Some(-4),
            Some(4),
            None,
        ]));
        assert_eq!(
            lookup(&set, &keys),
            [true, true, true, false, false, false, false]
        );
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![5, 6]));
        assert_eq!(lookup(&set, &dates), [true, false]);
        assert!(!set.has_all() && !set.is_empty());
    }

    #[test]
    fn a_key_outside_the_range_makes_the_set_contain_all_keys() {
        let layout = KeySetLayout::Range { low: 0, values: 64 };
        for outside in [
            Arc::new(Int32Array::from(vec![64])) as ArrayRef,
            Arc::new(UInt64Array::from(vec![u64::MAX])),
        ] {
            let (mut set, mut union) = (KeySet::new(layout), KeySet::new(layout));
            set.add(&outside).unwrap();
            union.add_encoded(layout, &set.encode());
            assert!(union.has_all());
        }
    }

    #[test]
    fn added_text_is_always_contained_and_other_text_seldom() {
        let layout = KeySetLayout::Bloom { bits: 10_000 };
        let text = |range: std::ops::Range<u32>| {
            Arc::new(StringViewArray::from_iter_values(
                range.map(|n| n.to_string()),
            )) as ArrayRef
        };
        let (mut set, mut other) = (KeySet::new(layout), KeySet::new(layout));
        set.add(&text(0..500)).unwrap();
        other.add(&text(500..1000)).unwrap();
        set.add_encoded(layout, &other.encode());
        assert!(
            lookup(&set, &text(0..1000))
                .into_iter()
                .all(|contained| contained)
        );
        let false_positives = lookup(&set, &text(1000..11_000))
            .into_iter()
            .filter(|contained| *contained)
            .count();
        assert!(false_positives < 300, "{false_positives} of 10,000");
    }
}
