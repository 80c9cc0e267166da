//! Sketches: small summaries of many values, with estimates of what the values have in common.
//!
//! The bytes of a sketch are of this engine alone. Spark's are those of other libraries, and
//! neither reads the other's.
//!
//! ```text
//! values ──*_agg──▶ sketch (BINARY) ──union, intersection, difference──▶ sketch ──estimate──▶ number
//! ```

mod aggregates;
mod distinct;
mod frequent;
mod keys;
mod quantiles;

pub(crate) use aggregates::aggregates;

use datafusion::common::Result;

use super::scalar::Function;

/// Returns the functions of one row of this family.
pub(crate) fn functions() -> Vec<Function> {
    [
        distinct::functions(),
        frequent::functions(),
        quantiles::functions(),
    ]
    .concat()
}

/// Reads the parts of a sketch from its bytes, from the left.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts after the mark of a kind of sketch; `None` if the bytes are another one's.
    fn after_mark(bytes: &'a [u8], mark: &[u8]) -> Option<Self> {
        let bytes = bytes.strip_prefix(mark)?;
        Some(Self { bytes })
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn word(&mut self) -> Option<u64> {
        let (word, rest) = self.bytes.split_first_chunk::<8>()?;
        self.bytes = rest;
        Some(u64::from_le_bytes(*word))
    }

    fn size(&mut self) -> Option<usize> {
        usize::try_from(self.word()?).ok()
    }

    fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Fails because bytes are no sketch of a kind.
fn no_sketch<T>(kind: &str) -> Result<T> {
    datafusion::common::exec_err!(
        "[{kind}_INVALID_INPUT_SKETCH_BUFFER] the value is no {kind} sketch of this engine"
    )
}
