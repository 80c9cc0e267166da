//! The median duration of a stage's committed attempts, in constant space.

use std::collections::BTreeMap;
use std::time::Duration;

/// Histogram buckets for each doubling of a duration.
const STEPS_PER_OCTAVE: f64 = 4.0;

/// A histogram of durations whose bucket bounds are powers of the fourth root of two, in
/// milliseconds.
#[derive(Debug, Default)]
pub(super) struct Durations {
    counts: BTreeMap<u32, u32>,
    total: u32,
}

impl Durations {
    pub(super) fn add(&mut self, duration: Duration) {
        let step = ((duration.as_secs_f64() * 1e3).max(1.0).log2() * STEPS_PER_OCTAVE).ceil();
        *self.counts.entry(step as u32).or_default() += 1;
        self.total += 1;
    }

    /// Returns the median, at most a fifth too high; zero if nothing was added.
    pub(super) fn median(&self) -> Duration {
        let mut seen = 0;
        for (step, count) in &self.counts {
            seen += count;
            if seen * 2 >= self.total {
                return Duration::from_secs_f64((f64::from(*step) / STEPS_PER_OCTAVE).exp2() / 1e3);
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_at_most_a_fifth_too_long() {
        let mut durations = Durations::default();
        assert_eq!(durations.median(), Duration::ZERO);
        (1..=999).for_each(|ms| durations.add(Duration::from_millis(ms)));
        let median = durations.median().as_secs_f64();
        assert!((0.5..0.6).contains(&median), "{median}");
    }
}
