//! Where fields without quotes end: at a delimiter or at a line break.
//!
//! Fields are short, a few bytes on average. A loop over bytes mispredicts a branch at the end of
//! each. So 64 bytes are compared at once, without branches, and their ends are kept as bits.

/// Bytes that are compared at once: one for each bit of the mask.
const WINDOW_BYTES: usize = 64;
const WORD_BYTES: usize = size_of::<u64>();
/// One in the lowest bit of each byte of a word.
const LOW_BITS: u64 = u64::from_le_bytes([1; WORD_BYTES]);
const HIGH_BITS: u64 = LOW_BITS << 7;
/// Multiplied with the lowest bits of a word's bytes, it gathers them in the top byte.
const GATHER: u64 = 0x0102_0408_1020_4080;

/// Finds the ends of fields in a buffer, and remembers those of the window it has compared last.
#[derive(Debug)]
pub(super) struct FieldEnds {
    /// Each byte that ends a field, repeated in a word.
    patterns: [u64; 3],
    /// First byte of the compared window, and the byte after it: the same before the first window.
    window: std::ops::Range<usize>,
    /// Bit `i` is set if byte `window.start + i` ends a field.
    ends: u64,
}

impl FieldEnds {
    pub(super) fn new(delimiter: u8) -> Self {
        Self {
            patterns: [delimiter, b'\n', b'\r'].map(|byte| u64::from(byte) * LOW_BITS),
            window: 0..0,
            ends: 0,
        }
    }

    /// Forgets the window. To be called when the buffer has changed.
    pub(super) fn reset(&mut self) {
        self.window = 0..0;
    }

    /// Returns the first position from `position` on that ends a field.
    #[inline]
    pub(super) fn find(&mut self, buffer: &[u8], mut position: usize) -> Option<usize> {
        loop {
            if self.window.contains(&position) {
                let ends = self.ends >> (position - self.window.start);
                if ends != 0 {
                    return Some(position + ends.trailing_zeros() as usize);
                }
                position = self.window.end;
            }
            let Some(window) = buffer.get(position..position + WINDOW_BYTES) else {
                return self.find_in_rest(buffer, position);
            };
            self.window = position..position + WINDOW_BYTES;
            self.ends = self.compare(window);
        }
    }

    /// The last bytes of a buffer, which are less than a window.
    fn find_in_rest(&self, buffer: &[u8], position: usize) -> Option<usize> {
        let is_end = |byte: &u8| self.patterns.contains(&(u64::from(*byte) * LOW_BITS));
        let length = buffer.get(position..)?.iter().position(is_end)?;
        Some(position + length)
    }

    fn compare(&self, window: &[u8]) -> u64 {
        let (words, _) = window.as_chunks::<WORD_BYTES>();
        words.iter().rev().fold(0, |ends, word| {
            let word = u64::from_le_bytes(*word);
            let equal = self
                .patterns
                .iter()
                .fold(0, |equal, pattern| equal | zero_bytes(word ^ pattern));
            (ends << WORD_BYTES) | ((equal >> 7).wrapping_mul(GATHER) >> 56)
        })
    }
}

/// Sets the highest bit of each byte that is zero, and no other bit.
fn zero_bytes(word: u64) -> u64 {
    let without_high = word & !HIGH_BITS;
    !((without_high + !HIGH_BITS) | word) & HIGH_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_those_of_a_loop_over_bytes() {
        // Bytes of all values, with ends at gaps of every length up to two windows.
        let mut buffer: Vec<u8> = vec![];
        for gap in 0..2 * WINDOW_BYTES {
            buffer.extend((0..gap).map(|i| (i * 37 + gap * 11 + 128) as u8));
            buffer.push([b';', b'\n', b'\r', 0xff][gap % 4]);
        }
        let mut ends = FieldEnds::new(b';');
        for start in 0..buffer.len() + 2 {
            let expected = buffer
                .get(start..)
                .and_then(|rest| rest.iter().position(|b| b";\n\r".contains(b)))
                .map(|length| start + length);
            assert_eq!(ends.find(&buffer, start), expected, "from {start}");
        }
        // A position before the window is compared again.
        assert_eq!(ends.find(&buffer, 0), Some(0));
    }
}
