//! Numbers: elementary functions, and arithmetic that returns NULL instead of failing.

mod arithmetic;
mod buckets;
mod elementary;
mod generators;
mod random;
mod rounding;

use super::scalar::Function;

pub(crate) use generators::{MersenneTwister, XorShift};

/// Returns the functions of numbers.
pub(crate) fn functions() -> Vec<Function> {
    [
        arithmetic::functions(),
        buckets::functions(),
        elementary::functions(),
        random::functions(),
        rounding::functions(),
    ]
    .concat()
}
