//! Wall time and processor time of a run.

use std::time::{Duration, Instant};

/// Ticks per second of the times in `/proc/PID/stat`: the same on every Linux.
const TICKS_PER_SECOND: u32 = 100;

/// What a run cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measurement {
    pub(crate) wall: Duration,
    /// Processor time of all threads and executors; `None` where the platform or the peer does not
    /// report it.
    pub(crate) cpu: Option<Duration>,
}

impl Measurement {
    /// Keeps the faster one of this run and an earlier one.
    pub(crate) fn fastest(self, earlier: Option<Self>) -> Self {
        earlier
            .filter(|earlier| earlier.wall <= self.wall)
            .unwrap_or(self)
    }
}

/// Measures a run in this process and in the executors that it has started.
pub(crate) struct Stopwatch {
    started: Instant,
    cpu: Option<Duration>,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self {
            cpu: processor_time(),
            started: Instant::now(),
        }
    }

    pub(crate) fn stop(self) -> Measurement {
        let wall = self.started.elapsed();
        let cpu = self
            .cpu
            .zip(processor_time())
            .map(|(before, after)| after.saturating_sub(before));
        Measurement { wall, cpu }
    }
}

/// Returns the processor time of this process and its children. A peer is a child too, but it waits
/// while an engine in this process runs.
fn processor_time() -> Option<Duration> {
    let mut ticks = ticks("self")?;
    for thread in std::fs::read_dir("/proc/self/task").ok()?.flatten() {
        let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        ticks += children
            .split_whitespace()
            .filter_map(self::ticks)
            .sum::<u32>();
    }
    Some(Duration::from_secs(1) * ticks / TICKS_PER_SECOND)
}

/// Returns the processor time of a process and of its children that have ended, in ticks.
fn ticks(process: &str) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may contain spaces. After it come the state and ten numbers.
    let (_, numbers) = stat.rsplit_once(')')?;
    let times = numbers.split_whitespace().skip(11).take(4);
    Some(times.filter_map(|time| time.parse::<u32>().ok()).sum())
}
