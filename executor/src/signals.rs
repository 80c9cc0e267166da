//! The signals that ask a process to end: SIGTERM, and SIGHUP when its terminal is closed.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// File in which the kernel lists the signals that a process ignores.
const STATUS_FILE: &str = "/proc/self/status";
/// Start of the line that has a bit for each of them, as a hexadecimal number.
const IGNORED_FIELD: &str = "SigIgn:";

/// Requests to end.
#[derive(Debug)]
pub struct Termination {
    terminate: Signal,
    /// `None` if the process was started to outlive its terminal, as by `nohup`.
    hang_up: Option<Signal>,
}

impl Termination {
    /// Listens from now on. The signals no longer end the process by themselves.
    ///
    /// # Errors
    /// If the system refuses a handler.
    pub fn listen() -> io::Result<Self> {
        let status = std::fs::read_to_string(STATUS_FILE).unwrap_or_default();
        let hang_up = if ignores(&status, SignalKind::hangup()) {
            None
        } else {
            Some(signal(SignalKind::hangup())?)
        };
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            hang_up,
        })
    }

    /// Waits for the next request. Cancel-safe.
    pub async fn wait_for_request(&mut self) {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = hang_up => {}
        }
    }
}

/// Returns whether a process with this status ignores a signal.
fn ignores(status: &str, signal: SignalKind) -> bool {
    let field = status
        .lines()
        .find_map(|line| line.strip_prefix(IGNORED_FIELD));
    let ignored = field.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    let bit = signal.as_raw_value() - 1;
    ignored.is_some_and(|ignored| (ignored >> bit) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_hang_up_is_read_from_the_status() {
        let status = |bits: &str| format!("SigBlk:\t0000000000000000\nSigIgn:\t{bits}\n");
        let ignores = |bits| ignores(&status(bits), SignalKind::hangup());
        assert!(ignores("0000000000001001"));
        assert!(!ignores("0000000000001000"));
        assert!(!super::ignores("", SignalKind::hangup()));
    }
}
