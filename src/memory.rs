//! Memory that was freed, and will be wanted again in a moment.
//!
//! A query frees and asks for hundreds of megabytes a second. Memory that goes back to the system in between comes back as
//! pages that the kernel has to clear: a fifth of a query's time. The allocator keeps it for a while if its environment says
//! so, and reads that before `main`.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// The allocator's own variable: milliseconds that freed memory is kept. Whoever sets it is obeyed.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";
/// Longer than any pause in a job.
const PURGE_DELAY_MS: &str = "600000";

/// Starts this program anew, as the same process, with an allocator that keeps freed memory for ten minutes. For the first
/// line of the `main` of a program whose allocator is mimalloc; executors that it starts inherit it.
pub fn keep_freed_memory() {
    if std::env::var_os(PURGE_DELAY).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let mut arguments = std::env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // It comes back only if it failed, and what was asked for can be done without.
    let _failed = again
        .args(arguments)
        .env(PURGE_DELAY, PURGE_DELAY_MS)
        .exec();
}
