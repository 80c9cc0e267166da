//! The sketch behind `theta_…`, `hll_…` and `tuple_…`: the least hashes of the values, each with a
//! summary.
//!
//! A sketch of up to 2^`lg_size` different values is exact. With more it keeps the least hashes;
//! their density says how many there are, with a relative error of about 1 / sqrt(2^`lg_size`).

use std::collections::BTreeMap;

use datafusion::common::{Result, exec_err};

use super::{Reader, no_sketch};

/// Size without an argument, as a power of two.
pub(super) const LG_SIZE: u8 = 12;
/// All hashes are below it.
const ALL: u64 = u64::MAX;

/// What a sketch is made for, which is part of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Hll,
    Theta,
    TupleDouble,
    TupleInteger,
}

impl Kind {
    /// The word in the names of Spark's errors.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Hll => "HLL",
            Self::Theta => "THETA",
            Self::TupleDouble | Self::TupleInteger => "TUPLE",
        }
    }

    fn mark(self) -> &'static [u8; 4] {
        match self {
            Self::Hll => b"FSH1",
            Self::Theta => b"FST1",
            Self::TupleDouble => b"FSD1",
            Self::TupleInteger => b"FSI1",
        }
    }

    /// The sizes that Spark allows.
    fn sizes(self) -> std::ops::RangeInclusive<i64> {
        match self {
            Self::Hll => 4..=21,
            _ => 4..=26,
        }
    }

    /// Checks a size.
    ///
    /// # Errors
    /// If it is not one of the sizes that Spark allows.
    pub(super) fn size(self, lg_size: i64) -> Result<u8> {
        match u8::try_from(lg_size) {
            Ok(size) if self.sizes().contains(&lg_size) => Ok(size),
            _ => {
                let (word, sizes) = (self.word(), self.sizes());
                exec_err!(
                    "[{word}_INVALID_LG_K] the size of a sketch is a power of two from {} to {}, not {lg_size}",
                    sizes.start(),
                    sizes.end()
                )
            }
        }
    }
}

/// How summaries of one key are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Sum,
    Min,
    Max,
    /// Every summary is one.
    AlwaysOne,
}

impl Mode {
    const ALL: [Self; 4] = [Self::Sum, Self::Min, Self::Max, Self::AlwaysOne];

    /// A number for the mode, in the state of an aggregate.
    pub(super) fn code(self) -> u8 {
        let position = Self::ALL.iter().position(|mode| *mode == self);
        position
            .and_then(|position| u8::try_from(position).ok())
            .unwrap_or(0)
    }

    /// Returns the mode with a number.
    pub(super) fn of_code(code: u8) -> Self {
        Self::ALL
            .get(usize::from(code))
            .copied()
            .unwrap_or(Self::Sum)
    }

    /// Reads the name of a mode.
    ///
    /// # Errors
    /// If there is no such mode.
    pub(super) fn parse(name: &str) -> Result<Self> {
        Ok(match name.to_lowercase().as_str() {
            "sum" => Self::Sum,
            "min" => Self::Min,
            "max" => Self::Max,
            "alwaysone" => Self::AlwaysOne,
            _ => {
                return exec_err!(
                    "[TUPLE_INVALID_MODE] '{name}' is none of sum, min, max, alwaysone"
                );
            }
        })
    }

    /// Combines the bits of two summaries.
    pub(super) fn combine(self, kind: Kind, a: u64, b: u64) -> u64 {
        match kind {
            Kind::TupleDouble => {
                let (a, b) = (f64::from_bits(a), f64::from_bits(b));
                match self {
                    Self::Sum => a + b,
                    Self::Min => a.min(b),
                    Self::Max => a.max(b),
                    Self::AlwaysOne => 1.0,
                }
                .to_bits()
            }
            Kind::TupleInteger => {
                let (a, b) = (a.cast_signed(), b.cast_signed());
                match self {
                    Self::Sum => a.wrapping_add(b),
                    Self::Min => a.min(b),
                    Self::Max => a.max(b),
                    Self::AlwaysOne => 1,
                }
                .cast_unsigned()
            }
            Kind::Hll | Kind::Theta => 0,
        }
    }
}

/// The least hashes of a set of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) kind: Kind,
    pub(super) lg_size: u8,
    /// Every hash below it is kept.
    bound: u64,
    /// The bits of the summary of each hash.
    pub(super) entries: BTreeMap<u64, u64>,
}

impl Keys {
    pub(super) fn new(kind: Kind, lg_size: u8) -> Self {
        Self {
            kind,
            lg_size,
            bound: ALL,
            entries: BTreeMap::new(),
        }
    }

    /// Adds a value by its hash.
    pub(super) fn add(&mut self, hash: u64, summary: u64, mode: Mode) {
        if hash >= self.bound {
            return;
        }
        let kind = self.kind;
        let summary = match mode {
            Mode::AlwaysOne => mode.combine(kind, summary, summary),
            _ => summary,
        };
        self.entries
            .entry(hash)
            .and_modify(|kept| *kept = mode.combine(kind, *kept, summary))
            .or_insert(summary);
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.entries.len() > 1 << self.lg_size {
            if let Some((greatest, _)) = self.entries.pop_last() {
                self.bound = greatest;
            }
        }
    }

    fn lower_bound(&mut self, bound: u64) {
        if bound < self.bound {
            self.bound = bound;
            self.entries.split_off(&bound);
        }
    }

    /// Adds the values of another sketch.
    pub(super) fn union(&mut self, other: &Self, mode: Mode) {
        self.lower_bound(other.bound);
        for (hash, summary) in &other.entries {
            self.add(*hash, *summary, mode);
        }
    }

    /// Keeps the values that another sketch has, too.
    pub(super) fn intersect(&mut self, other: &Self, mode: Mode) {
        self.lower_bound(other.bound);
        let kind = self.kind;
        self.entries
            .retain(|hash, summary| match other.entries.get(hash) {
                Some(second) => {
                    // A sketch without summaries has none to add.
                    if other.kind == kind {
                        *summary = mode.combine(kind, *summary, *second);
                    }
                    true
                }
                None => false,
            });
    }

    /// Removes the values of another sketch.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.lower_bound(other.bound);
        self.entries
            .retain(|hash, _| !other.entries.contains_key(hash));
    }

    /// The share of all hashes that would be kept.
    #[expect(clippy::cast_precision_loss, reason = "an estimate has fewer digits")]
    pub(super) fn share(&self) -> f64 {
        match self.bound {
            ALL => 1.0,
            bound => bound as f64 / ALL as f64,
        }
    }

    /// Estimates the number of different values.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a sketch has at most 2^26 entries"
    )]
    pub(super) fn estimate(&self) -> f64 {
        self.entries.len() as f64 / self.share()
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32 + self.entries.len() * 16);
        bytes.extend(self.kind.mark());
        bytes.push(self.lg_size);
        bytes.extend(self.bound.to_le_bytes());
        for (hash, summary) in &self.entries {
            bytes.extend(hash.to_le_bytes());
            if matches!(self.kind, Kind::TupleDouble | Kind::TupleInteger) {
                bytes.extend(summary.to_le_bytes());
            }
        }
        bytes
    }

    /// Reads a sketch of a kind.
    ///
    /// # Errors
    /// If the bytes are no such sketch.
    pub(super) fn from_bytes(bytes: &[u8], kind: Kind) -> Result<Self> {
        match Self::read(bytes, kind) {
            Some(keys) => Ok(keys),
            None => no_sketch(kind.word()),
        }
    }

    fn read(bytes: &[u8], kind: Kind) -> Option<Self> {
        let mut reader = Reader::after_mark(bytes, kind.mark())?;
        let mut keys = Self::new(kind, reader.byte()?);
        keys.bound = reader.word()?;
        while !reader.is_at_end() {
            let hash = reader.word()?;
            let summary = match kind {
                Kind::TupleDouble | Kind::TupleInteger => reader.word()?,
                Kind::Hll | Kind::Theta => 0,
            };
            keys.entries.insert(hash, summary);
        }
        Some(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash whose values are spread over all numbers.
    fn spread(value: u64) -> u64 {
        value.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn sketch(values: std::ops::Range<u64>, lg_size: u8) -> Keys {
        let mut keys = Keys::new(Kind::Theta, lg_size);
        for value in values {
            keys.add(spread(value), 0, Mode::Sum);
        }
        keys
    }

    #[test]
    fn few_values_are_counted_exactly() {
        let mut keys = sketch(0..100, 12);
        keys.union(&sketch(50..150, 12), Mode::Sum);
        assert!((keys.estimate() - 150.0).abs() < 1e-9);
        keys.intersect(&sketch(0..10, 12), Mode::Sum);
        assert!((keys.estimate() - 10.0).abs() < 1e-9);
        keys.subtract(&sketch(0..4, 12));
        assert!((keys.estimate() - 6.0).abs() < 1e-9);
    }

    #[test]
    fn many_values_are_estimated() {
        let keys = sketch(0..100_000, 12);
        assert_eq!(keys.entries.len(), 4096);
        assert!((keys.estimate() / 100_000.0 - 1.0).abs() < 0.05);
        let read = Keys::from_bytes(&keys.to_bytes(), Kind::Theta).unwrap();
        assert_eq!(read, keys);
        assert!(Keys::from_bytes(&keys.to_bytes(), Kind::Hll).is_err());
    }
}
