//! Floating-point numbers: NaN, infinities and zeros.

pub(super) mod min_max;
pub(super) mod not_a_number;
pub(super) mod top_groups;
