//! How much a page shows.

/// Divides the limits of a page, so that a page of a large run becomes small enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Detail {
    divisor: usize,
}

impl Detail {
    /// The limits as they are.
    pub(super) const FULL: Self = Self { divisor: 1 };
    /// No page needs less.
    const DIVISOR_MAX: usize = 64;

    /// Returns half the detail, or none if there is no less.
    pub(super) fn half(self) -> Option<Self> {
        let divisor = 2 * self.divisor;
        (divisor <= Self::DIVISOR_MAX).then_some(Self { divisor })
    }

    /// Returns the limit that replaces one of the full page.
    pub(super) fn limit(self, full: usize) -> usize {
        (full / self.divisor).max(1)
    }
}
