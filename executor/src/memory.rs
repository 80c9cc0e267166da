//! Memory of the process as the kernel counts it for a container's limit.

/// Returns the peak resident memory of this process in bytes: `VmHWM` of Linux; 0 elsewhere.
pub(crate) fn resident_peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|n| n.parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}
