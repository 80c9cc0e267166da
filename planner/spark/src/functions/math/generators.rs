//! The generators of random numbers that Spark uses, with the same numbers for a seed.

/// Marsaglia's xorshift generator with a hashed seed, from which Spark draws numbers and text.
#[derive(Debug)]
pub(crate) struct XorShift {
    state: u64,
    /// The second number of the last pair.
    next_normal: Option<f64>,
}

impl XorShift {
    /// Starts with a seed.
    pub(crate) fn new(seed: i64) -> Self {
        /// Seed of Scala's hashes of arrays.
        const ARRAY_SEED: u32 = 0x3c07_4a61;
        let bytes = seed.to_be_bytes();
        let low = murmur3(&bytes, ARRAY_SEED);
        let high = murmur3(&bytes, low);
        Self {
            state: u64::from(high) << 32 | u64::from(low),
            next_normal: None,
        }
    }

    /// Returns this many random bits; at most 32.
    fn next_bits(&mut self, bits: u32) -> u32 {
        self.state ^= self.state << 21;
        self.state ^= self.state >> 35;
        self.state ^= self.state << 4;
        let kept = self.state & ((1 << bits) - 1);
        u32::try_from(kept).unwrap_or(u32::MAX)
    }

    /// Returns an `INT` of any value.
    pub(crate) fn next_int(&mut self) -> i32 {
        self.next_bits(32).cast_signed()
    }

    /// Returns a number from 0 to less than 1.
    pub(crate) fn next_double(&mut self) -> f64 {
        double(self.next_bits(26), self.next_bits(27))
    }

    /// Returns a number of the normal distribution, by Marsaglia's polar method, which makes two at
    /// a time.
    pub(crate) fn next_normal(&mut self) -> f64 {
        if let Some(normal) = self.next_normal.take() {
            return normal;
        }
        loop {
            let x = 2.0 * self.next_double() - 1.0;
            let y = 2.0 * self.next_double() - 1.0;
            let square = x * x + y * y;
            if square < 1.0 && square != 0.0 {
                let factor = (-2.0 * square.ln() / square).sqrt();
                self.next_normal = Some(y * factor);
                return x * factor;
            }
        }
    }
}

/// Returns a fraction of 53 random bits.
fn double(high: u32, low: u32) -> f64 {
    const UNIT: f64 = 1.0 / (1_u64 << 53) as f64;
    ((u64::from(high) << 27) + u64::from(low)) as f64 * UNIT
}

fn murmur3(bytes: &[u8; 8], seed: u32) -> u32 {
    let mut hash = seed;
    for word in bytes.chunks_exact(4) {
        let word = word
            .iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u32::from(*byte));
        let word = word.wrapping_mul(0xcc9e_2d51).rotate_left(15);
        hash ^= word.wrapping_mul(0x1b87_3593);
        hash = hash
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64);
    }
    hash ^= 8;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

/// Matsumoto's and Nishimura's MT19937, with which Spark shuffles arrays.
#[derive(Debug)]
pub(crate) struct MersenneTwister {
    state: Vec<u32>,
    position: usize,
}

impl MersenneTwister {
    const LENGTH: usize = 624;
    const MIDDLE: usize = 397;

    /// Starts with the two halves of a seed.
    pub(crate) fn new(seed: i64) -> Self {
        let bytes = seed.to_be_bytes();
        let half = |range: std::ops::Range<usize>| {
            bytes[range]
                .iter()
                .fold(0, |word, byte| word << 8 | u32::from(*byte))
        };
        Self::from_key(&[half(0..4), half(4..8)])
    }

    fn from_key(key: &[u32]) -> Self {
        let mut state = vec![19_650_218_u32; 1];
        for n in 1..Self::LENGTH {
            let last = state[n - 1];
            let index = u32::try_from(n).unwrap_or(u32::MAX);
            state.push(mix(last).wrapping_mul(1_812_433_253).wrapping_add(index));
        }
        let (mut n, mut k) = (1, 0);
        for _ in 0..Self::LENGTH.max(key.len()) {
            let index = u32::try_from(k).unwrap_or(u32::MAX);
            let mix = mix(state[n - 1]).wrapping_mul(1_664_525);
            state[n] = (state[n] ^ mix).wrapping_add(key[k]).wrapping_add(index);
            n = Self::next_index(&mut state, n);
            k = (k + 1) % key.len();
        }
        for _ in 1..Self::LENGTH {
            let index = u32::try_from(n).unwrap_or(u32::MAX);
            let mix = mix(state[n - 1]).wrapping_mul(1_566_083_941);
            state[n] = (state[n] ^ mix).wrapping_sub(index);
            n = Self::next_index(&mut state, n);
        }
        state[0] = 1 << 31;
        Self {
            state,
            position: Self::LENGTH,
        }
    }

    /// Returns the index after `n`; after the last one the first word becomes the last.
    fn next_index(state: &mut [u32], n: usize) -> usize {
        if n + 1 < Self::LENGTH {
            return n + 1;
        }
        state[0] = state[Self::LENGTH - 1];
        1
    }

    fn next_word(&mut self) -> u32 {
        if self.position == Self::LENGTH {
            self.refill();
        }
        let mut word = self.state[self.position];
        self.position += 1;
        word ^= word >> 11;
        word ^= word << 7 & 0x9d2c_5680;
        word ^= word << 15 & 0xefc6_0000;
        word ^ word >> 18
    }

    fn refill(&mut self) {
        const UPPER: u32 = 1 << 31;
        for n in 0..Self::LENGTH {
            let next = self.state[(n + 1) % Self::LENGTH];
            let word = self.state[n] & UPPER | next & !UPPER;
            let odd = if word & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[n] = self.state[(n + Self::MIDDLE) % Self::LENGTH] ^ word >> 1 ^ odd;
        }
        self.position = 0;
    }

    /// Returns a number from 0 to less than `bound`, which is more than 0.
    pub(crate) fn next_below(&mut self, bound: u32) -> u32 {
        if bound.is_power_of_two() {
            let scaled = (u64::from(bound) * u64::from(self.next_word() >> 1)) >> 31;
            return u32::try_from(scaled).unwrap_or(u32::MAX);
        }
        loop {
            let bits = self.next_word() >> 1;
            let value = bits % bound;
            // Above the largest multiple of `bound`, numbers are rejected: they would make small
            // values more frequent.
            if bits - value <= (1 << 31) - bound {
                return value;
            }
        }
    }
}

fn mix(word: u32) -> u32 {
    word ^ word >> 30
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that Spark documents for `rand(0)`, `randn(0)` and `shuffle`.
    #[test]
    fn numbers_are_those_of_spark() {
        assert_eq!(
            XorShift::new(0).next_double().to_string(),
            "0.7604953758285915"
        );
        let normal = XorShift::new(0).next_normal();
        assert!((normal - 1.603_499_160_927_843_3).abs() < 1e-12);
    }

    /// The first numbers of the authors' own test of `init_by_array`.
    #[test]
    fn the_twister_has_the_numbers_of_its_authors() {
        let mut twister = MersenneTwister::from_key(&[0x123, 0x234, 0x345, 0x456]);
        let words: Vec<u32> = (0..5).map(|_| twister.next_word()).collect();
        assert_eq!(
            words,
            [
                1_067_595_299,
                955_945_823,
                477_289_528,
                4_107_218_783,
                4_228_976_476
            ]
        );
    }
}
