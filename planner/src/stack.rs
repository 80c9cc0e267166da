//! Provides enough stack for recursion over plans, expressions and statements.
//!
//! Users decide how deep a plan is: a chain of 200 views is a plan of more than 200 levels. A
//! thread of Tokio or of a test has a stack of 2 MiB. DataFusion grows the stack in most of its
//! recursive functions, but not in all. A stack reserves addresses; only pages in use take memory.

/// Stack that must be left so that one step of a recursion runs on the present stack.
const STEP_MIN_BYTES: usize = 512 * 1024;
/// Size of a stack for further steps of a recursion.
const STEP_BYTES: usize = 8 * 1024 * 1024;

/// Stack that must be left so that planning runs on the present stack.
const PLANNING_MIN_BYTES: usize = 48 * 1024 * 1024;
/// Size of a stack for planning a query as a whole.
const PLANNING_BYTES: usize = 64 * 1024 * 1024;

/// Runs one step of a recursive function, on a new stack if little of the present one is left.
pub fn recurse<T>(step: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STEP_MIN_BYTES, STEP_BYTES, step)
}

/// Runs work that plans, encodes or decodes a query, on a stack that is large enough for it.
///
/// A new stack takes some 20 µs, so this is not for work that is done for each batch.
pub fn on_large_stack<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(PLANNING_MIN_BYTES, PLANNING_BYTES, work)
}
