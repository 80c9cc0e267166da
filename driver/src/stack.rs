//! Plans on a large stack, from any thread: the async side of [`faisca_planner::stack`].

use std::future::poll_fn;

use faisca_planner::stack::on_large_stack;

/// Polls a future on a stack that is large enough to plan queries of any depth.
///
/// The calling thread may be the user's, or one of Tokio's with a stack of 2 MiB.
pub(crate) fn plan_on_large_stack<F: Future>(planning: F) -> impl Future<Output = F::Output> {
    let mut planning = Box::pin(planning);
    poll_fn(move |context| on_large_stack(|| planning.as_mut().poll(context)))
}
