//! Keeps freed memory in the process instead of returning it to the system.
//!
//! A query frees and allocates hundreds of megabytes per second. If freed memory is returned to the
//! system in between, the kernel must clear its pages again, which costs a fifth of a query's time.
//! The allocator keeps freed memory for a while if its environment says so, and it reads that
//! environment before `main`.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// The allocator's own variable: milliseconds for which freed memory is kept. A value that is
/// already set stays.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";
/// Longer than any pause in a job.
const PURGE_DELAY_MS: &str = "600000";

/// Executes this program again in the same process, with an allocator that keeps freed memory for
/// ten minutes.
///
/// Call it first in the `main` of a program whose allocator is mimalloc. Executors that the
/// program starts inherit the setting.
pub(crate) fn keep_freed_memory() {
    if std::env::var_os(PURGE_DELAY).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let mut arguments = std::env::args_os();
    let mut restarted = Command::new(program);
    if let Some(name) = arguments.next() {
        restarted.arg0(name);
    }
    // `exec` returns only if it failed. The program works without the setting, only slower.
    let _failed = restarted
        .args(arguments)
        .env(PURGE_DELAY, PURGE_DELAY_MS)
        .exec();
}
