//! Determines why the process of an executor ended, from its exit status and the kernel's counters.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use faisca_executor::control::ServeError;

use crate::scheduler::LossCause;

/// File with the number of processes that the kernel has killed for memory.
const KILLS_FILE: &str = "/proc/vmstat";
/// Beginning of the line with that number.
const KILLS_FIELD: &str = "oom_kill ";

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
/// Shells and container runtimes add this to the number of the signal that ended a process.
const SIGNAL_CODE_OFFSET: i32 = 128;

/// Returns the number of processes of the system that the kernel has killed for memory; 0 if the
/// kernel does not count them.
pub(super) fn kills_for_memory() -> u64 {
    let text = std::fs::read_to_string(KILLS_FILE).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix(KILLS_FIELD));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Returns why a child ended. `kills_before` is [`kills_for_memory`] from when it was started.
pub(super) fn cause_of_end(status: ExitStatus, kills_before: u64) -> LossCause {
    match (status.signal(), status.code()) {
        // The kernel counts the kill before the process is reaped.
        (Some(SIGKILL), _) if kills_for_memory() > kills_before => LossCause::OutOfMemory,
        (Some(signal), _) => cause_of_signal(signal),
        (None, Some(code)) => cause_of_code(code),
        (None, None) => LossCause::Unknown,
    }
}

/// Returns why a process that a signal ended is lost.
#[must_use]
pub fn cause_of_signal(signal: i32) -> LossCause {
    match signal {
        SIGKILL => LossCause::Killed,
        SIGHUP | SIGINT | SIGTERM => LossCause::Drained,
        _ => LossCause::Crashed,
    }
}

/// Returns why a process that ended with this code is lost.
#[must_use]
pub fn cause_of_code(code: i32) -> LossCause {
    match code {
        0 => LossCause::Drained,
        ServeError::BROKEN => LossCause::Unknown,
        ServeError::UNUSABLE => LossCause::Killed,
        code if code > SIGNAL_CODE_OFFSET => cause_of_signal(code - SIGNAL_CODE_OFFSET),
        // Executors never end with such a code: a user's function has ended the process.
        _ => LossCause::Crashed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(wait_status: i32) -> LossCause {
        cause_of_end(ExitStatus::from_raw(wait_status), u64::MAX)
    }

    #[test]
    fn an_abort_and_a_fault_are_crashes_and_a_kill_from_outside_is_not() {
        for (signal, expected) in [
            (4, LossCause::Crashed),
            (6, LossCause::Crashed),
            (7, LossCause::Crashed),
            (11, LossCause::Crashed),
            (9, LossCause::Killed),
            (15, LossCause::Drained),
        ] {
            assert_eq!(cause(signal), expected, "signal {signal}");
            assert_eq!(cause_of_code(128 + signal), expected, "signal {signal}");
        }
    }

    #[test]
    fn an_exit_from_within_a_function_is_a_crash() {
        assert_eq!(cause(42 << 8), LossCause::Crashed);
        assert_eq!(cause(0), LossCause::Drained);
        assert_eq!(cause(1 << 8), LossCause::Unknown);
    }

    #[test]
    fn a_kill_that_the_kernel_counted_was_for_memory() {
        let before = kills_for_memory();
        let killed = ExitStatus::from_raw(SIGKILL);
        assert_eq!(cause_of_end(killed, before), LossCause::Killed);
        let was_counted = before.checked_sub(1);
        if let Some(earlier) = was_counted {
            assert_eq!(cause_of_end(killed, earlier), LossCause::OutOfMemory);
        }
    }
}
