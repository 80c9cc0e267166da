//! The process's memory as the kernel sees it: what a container's limit is held against.

/// Most memory that this process ever held, in bytes: `VmHWM` of Linux; 0 elsewhere.
pub(crate) fn resident_peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|n| n.parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}
