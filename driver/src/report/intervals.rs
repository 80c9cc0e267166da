//! Sets of moments, as disjoint half-open intervals in ascending order.

/// A set of moments, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Intervals(Vec<(u64, u64)>);

impl Intervals {
    /// Returns the union of intervals in any order.
    pub(super) fn union(intervals: impl Iterator<Item = (u64, u64)>) -> Self {
        let mut sorted: Vec<(u64, u64)> = intervals.filter(|(from, to)| from < to).collect();
        sorted.sort_unstable();
        let mut union: Vec<(u64, u64)> = vec![];
        for (from, to) in sorted {
            match union.last_mut() {
                Some((_, end)) if from <= *end => *end = to.max(*end),
                _ => union.push((from, to)),
            }
        }
        Self(union)
    }

    /// Returns the moments that are not in another set.
    pub(super) fn minus(&self, other: &Self) -> Self {
        let mut left = vec![];
        let mut cuts = other.0.iter().peekable();
        for &(from, to) in &self.0 {
            let mut from = from;
            // An interval of the other set may reach into the next one of this set.
            while let Some(&&(cut_from, cut_to)) = cuts.peek() {
                if cut_from >= to {
                    break;
                }
                if from < cut_from {
                    left.push((from, cut_from));
                }
                from = from.max(cut_to);
                if cut_to > to {
                    break;
                }
                cuts.next();
            }
            if from < to {
                left.push((from, to));
            }
        }
        Self(left)
    }

    /// Returns the number of milliseconds in the set.
    pub(super) fn length(&self) -> u64 {
        self.0.iter().map(|(from, to)| to - from).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(intervals: &[(u64, u64)]) -> Intervals {
        Intervals::union(intervals.iter().copied())
    }

    #[test]
    fn a_union_joins_what_touches() {
        let union = set(&[(5, 7), (0, 2), (2, 3), (6, 9), (4, 4)]);
        assert_eq!(union.0, [(0, 3), (5, 9)]);
        assert_eq!(union.length(), 7);
    }

    #[test]
    fn a_difference_keeps_what_only_the_first_has() {
        let all = set(&[(0, 10), (12, 20), (30, 40)]);
        let other = set(&[(2, 3), (5, 13), (15, 16), (19, 35)]);
        assert_eq!(
            all.minus(&other).0,
            [(0, 2), (3, 5), (13, 15), (16, 19), (35, 40)]
        );
        assert_eq!(all.minus(&all).length(), 0);
        assert_eq!(all.minus(&Intervals::default()), all);
    }
}
