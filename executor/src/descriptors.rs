//! The number of files and connections that the process may have open.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::debug;

/// `EMFILE` and `ENFILE`: the process, or the system, has no descriptor left.
const EXHAUSTED: [i32; 2] = [
    nix::errno::Errno::EMFILE as i32,
    nix::errno::Errno::ENFILE as i32,
];

/// Raises the process's limit to the most that the system allows without privileges. A shell's
/// default of 1,024 is little for a shuffle with many partitions.
pub fn raise_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok((soft, hard))
    });
    match raised {
        Ok((soft, hard)) => debug!(soft, hard, "limit of open files"),
        Err(error) => debug!("the limit of open files stays as it is: {error}"),
    }
}

/// Returns the number of descriptors that the process may have open.
#[must_use]
pub(crate) fn limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft)
}

/// Returns whether an error says that no descriptor is left.
pub(crate) fn are_exhausted(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .is_some_and(|code| EXHAUSTED.contains(&code))
}
